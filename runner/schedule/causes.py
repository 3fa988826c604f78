"""The first failure of each class, as summaries and errors show it. By mini-batch number, so the same in every run."""

from __future__ import annotations

from dataclasses import dataclass, field

from runner.entity.failure import FailureRow
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


@dataclass(slots=True)
class Causes:
    """Sees every committed failure and keeps the lowest of each class."""

    _found: dict[FailureClass, Cause] = field(default_factory=dict)

    def see(self, failure: Failure | FailureRow) -> None:
        """Take one in."""
        known = self._found.get(failure.cls)
        if known is None or failure.mini_batch < known.mini_batch:
            self._found[failure.cls] = Cause(failure.mini_batch, _one_line(failure), failure.traceback)

    @property
    def first(self) -> Cause | None:
        """The lowest of all."""
        return min(self._found.values(), key=lambda cause: cause.mini_batch, default=None)

    @property
    def lines(self) -> dict[str, str]:
        """Class to its first failure, in one line each."""
        return {str(cls): str(cause) for cls, cause in self._found.items()}


def _one_line(failure: Failure | FailureRow) -> str:
    """Type and first line of the message; text that is no UTF-8 is escaped, since it goes on the wire."""
    lines = failure.message.encode("utf-8", "backslashreplace").decode().splitlines()
    text = lines[0] if lines else ""
    if failure.exception_type and failure.cls not in _OWN:
        text = f"{failure.exception_type}: {text}" if text else failure.exception_type
    return text if len(text) <= TEXT_LIMIT else text[:TEXT_LIMIT] + " ..."
