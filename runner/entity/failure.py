"""A failure as users see it: one row of the failures data set, of `runner failures` and of its exports."""

from __future__ import annotations

from dataclasses import dataclass

from runner.entity.status import FailureClass

FAILURE_COLUMNS = (
    "mini_batch",
    "unit",
    "file",
    "row",
    "key",
    "item_count",
    "class",
    "exception_type",
    "message",
    "traceback",
    "attempts",
    "instance",
    "worker",
    "time",
)
"""The same names, in the same order, in JSON, CSV and Parquet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureRow:
    """Items that were set aside. `is_open` is False once a later run has tried them again, with whatever outcome."""

    mini_batch: int
    unit: int
    file: str
    row: int | None
    """The first of its items, 0-based in its file; None for file inputs."""
    key: str | None
    item_count: int
    cls: FailureClass
    exception_type: str
    message: str
    traceback: str
    attempts: int
    instance: str
    worker: str
    time: float
    """Seconds since 1970."""
    first_item: int = 0
    """Counted within the mini-batch."""
    is_open: bool = True

    def values(self) -> tuple[object, ...]:
        """The values of FAILURE_COLUMNS, in their order."""
        return (
            self.mini_batch,
            self.unit,
            self.file or None,
            self.row,
            self.key,
            self.item_count,
            str(self.cls),
            self.exception_type,
            self.message,
            self.traceback,
            self.attempts,
            self.instance,
            self.worker,
            self.time,
        )

    def as_dict(self) -> dict[str, object]:
        """The row under the names of its columns."""
        return dict(zip(FAILURE_COLUMNS, self.values(), strict=True))
