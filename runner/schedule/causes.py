"""The first failure of each class, as summaries and errors show it. By mini-batch number, so the same in every run."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from runner.entity.lease import Failure
from runner.entity.status import FailureClass

TEXT_LIMIT = 300
_OWN = (FailureClass.CRASH, FailureClass.TIMEOUT, FailureClass.INFRASTRUCTURE)
"""Their messages are the runner's own, and whole sentences."""


@dataclass(frozen=True, slots=True)
class Cause:
    """One mini-batch that failed, and why in one line."""

    mini_batch: int
    text: str
    traceback: str

    def __str__(self) -> str:
        return f"mini-batch {self.mini_batch}: {self.text}"


class _Line(msgspec.Struct):
    """What is needed of a line of failures.jsonl."""

    mini_batch: int
    exception_type: str
    message: str
    traceback: str
    cls: FailureClass = msgspec.field(name="class")


@dataclass(slots=True)
class Causes:
    """Sees every committed failure and keeps the lowest of each class."""

    _found: dict[FailureClass, Cause] = field(default_factory=dict)

    def see(self, failure: Failure | _Line) -> None:
        """Take one in."""
        known = self._found.get(failure.cls)
        if known is None or failure.mini_batch < known.mini_batch:
            self._found[failure.cls] = Cause(failure.mini_batch, _one_line(failure), failure.traceback)

    def recall(self, path: Path, length: int) -> None:
        """Take in what an earlier run has committed: the first `length` bytes of failures.jsonl."""
        if not length:
            return
        with open(path, "rb") as file:
            for line in file:
                length -= len(line)
                if length < 0:
                    return
                self.see(msgspec.json.decode(line, type=_Line))

    @property
    def first(self) -> Cause | None:
        """The lowest of all."""
        return min(self._found.values(), key=lambda cause: cause.mini_batch, default=None)

    @property
    def lines(self) -> dict[str, str]:
        """Class to its first failure, in one line each."""
        return {str(cls): str(cause) for cls, cause in self._found.items()}


def _one_line(failure: Failure | _Line) -> str:
    """Type and first line of the message; text that is no UTF-8 is escaped, since it goes on the wire."""
    lines = failure.message.encode("utf-8", "backslashreplace").decode().splitlines()
    text = lines[0] if lines else ""
    if failure.exception_type and failure.cls not in _OWN:
        text = f"{failure.exception_type}: {text}" if text else failure.exception_type
    return text if len(text) <= TEXT_LIMIT else text[:TEXT_LIMIT] + " ..."
