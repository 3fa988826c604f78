"""A driver that loads while its job is still checked: what it has to know by then, guessed from the text of the file.

A wrong guess costs nothing but the process: another driver is started for the job.
"""

from __future__ import annotations

import re
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from runner.compose.launch import EarlyDriver

_NAME = re.compile(r"^name:[ \t]*([\w-]+)[ \t]*$", re.MULTILINE)
_PARALLEL = re.compile(r"^type:[ \t]*['\"]?parallel\b", re.MULTILINE | re.IGNORECASE)
_LOCAL = re.compile(r"^compute:[ \t]*['\"]?local\b", re.MULTILINE)


def start_early(
    job_file: str, settings: tuple[str, ...], name: str | None, server: str | None
) -> AbstractContextManager[EarlyDriver | None]:
    """The driver, or nothing where this process starts none, or nothing can be said of the job.

    Only for parallel jobs, whose drivers load much: those of others are ready as soon as they are wanted.
    """
    try:
        text = "" if server else Path(job_file).read_text()
    except (OSError, UnicodeDecodeError):
        text = ""
    if not _PARALLEL.search(text):
        return nullcontext()
    from runner.compose.launch import EarlyDriver
    from runner.server.names import new_name
    from runner.store.home import Home

    found = _NAME.search(text)
    is_local = _LOCAL.search(text) or "compute=local" in settings
    return EarlyDriver(Home(), name or (found[1] if found else new_name()), wants_ray=not is_local)
