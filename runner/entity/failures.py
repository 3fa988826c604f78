"""A failure as its readers see it: one row of the failures data set, under the names that users rely on."""

from __future__ import annotations

from dataclasses import dataclass

from runner.entity.status import FailureClass

COLUMNS = (
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
"""The columns in JSON, CSV and Parquet, in this order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureRow:
    """A mini-batch, or items of one, set aside with the cause of the last try."""

    mini_batch: int
    first_item: int = 0
    """Counted within the mini-batch; for a redrive, not for users."""
    unit: int
    file: str | None
    row: int | None
    """The first failing row, 0-based in its file; None for file inputs and for keys."""
    key: str | None = None
    """The partition keys as the text of a JSON object."""
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
    is_open: bool = True
    """False in the history: these items were tried again since, and succeeded or failed anew."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FailuresPage:
    """Failures in order of mini-batch and item, and the token that asks for those that follow; empty at the end."""

    failures: tuple[FailureRow, ...]
    next_page_token: str = ""
