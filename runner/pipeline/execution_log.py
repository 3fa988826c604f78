"""What a pipeline decides about its steps, line by line, for those who follow it."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from pathlib import Path

log = logging.getLogger(__name__)

PLACE = "azureml/executionlogs.txt"
"""Below the job's `logs` folder; users' tools know the name."""
_SHOWN = 5


class ExecutionLog:
    """Appends to the log of one pipeline. A line that cannot be written costs the line, not the job."""

    def __init__(self, logs: Path) -> None:
        self._path = logs / PLACE
        self._is_broken = False

    def say(self, text: str) -> None:
        """One line with the time."""
        stamp = time.strftime("%Y-%m-%d %H:%M:%SZ", time.gmtime())
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with open(self._path, "a", encoding="utf-8", errors="backslashreplace") as file:
                file.write(f"[{stamp}] {text}\n")
        except OSError as error:
            if not self._is_broken:
                log.warning("%s is not written: %s", self._path, error)
            self._is_broken = True

    def submitting(self, steps: Sequence[tuple[str, str]]) -> None:
        """The steps, by key and job, that are started now."""
        shown = ",".join(f"{key}:{job}" for key, job in steps[:_SHOWN])
        self.say(f"Submitting {len(steps)} runs, first five are: {shown}")
