"""The work of the fault benchmark: a score of each row, a note of each call, and the deaths that are asked for.

Told by the environment: NOTES is a folder, PACE the seconds a call takes, FAULT one of `none`, `once` (the process that
is given row VICTIM is killed, the first time) and `always` (each time).
"""

from __future__ import annotations

import os
import signal
import time
from typing import Any

import numpy as np

NOTES = os.environ.get("NOTES", "")
PACE = float(os.environ.get("PACE", "0"))
FAULT = os.environ.get("FAULT", "none")
VICTIM = int(os.environ.get("VICTIM", "-1"))


def score(ids: Any) -> Any:
    """The score of each id; noted before it is worked out."""
    name = f"{ids[0]}.{len(ids)}.{os.getpid()}.{time.monotonic_ns()}"
    os.close(os.open(os.path.join(NOTES, name), os.O_CREAT | os.O_EXCL))
    time.sleep(PACE)
    if FAULT != "none" and (np.asarray(ids) == VICTIM).any() and (FAULT == "always" or is_first()):
        os.kill(os.getpid(), signal.SIGKILL)
    return ids * 2


def is_first() -> bool:
    """True for one caller only."""
    try:
        os.mkdir(NOTES + ".died")
        return True
    except FileExistsError:
        return False
