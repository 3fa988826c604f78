"""Failures as a job's folder keeps them: `failures.jsonl`, and what the journal says of its lines.

A line is written before the journal record that counts it, so only as much of the file as the last record says is
valid. Lines are never changed: a `Mended` record supersedes those whose items it overlaps, and that is all history is.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt

from runner.entity.failure import FailureRow
from runner.entity.lease import Failure
from runner.entity.status import FailureClass
from runner.schedule.journal import MendedItems, decode
from runner.store.home import JobFolder

MESSAGE_LIMIT = 64 << 10
TRACEBACK_LIMIT = 256 << 10
"""Characters; what is longer is cut in the middle, since a traceback tells most at its two ends."""


class Line(msgspec.Struct, frozen=True, omit_defaults=True):
    """One line of failures.jsonl, under the names that users see; the last three are for us."""

    mini_batch: int
    unit: int
    file: str
    row: int | None
    key: str | None
    item_count: int
    cls: FailureClass = msgspec.field(name="class")
    exception_type: str
    message: str
    traceback: str
    attempts: int
    instance: str
    worker: str
    time: float
    first_item: int = 0
    at_row: int = 0
    at_byte: int = 0


class _Range(msgspec.Struct, frozen=True, gc=False):
    """What sorting needs of a line."""

    mini_batch: int
    item_count: int
    first_item: int = 0


class _Mark(msgspec.Struct, frozen=True, tag="committed", tag_field="kind"):
    failures_end: int = 0


class _MendedMark(msgspec.Struct, frozen=True, tag="mended", tag_field="kind"):
    failures_end: int = 0
    mends: tuple[MendedItems, ...] = ()


class _Begun(msgspec.Struct, frozen=True, tag="begun", tag_field="kind"):
    pass


class _Opened(msgspec.Struct, frozen=True, tag="opened", tag_field="kind"):
    pass


class _Schema(msgspec.Struct, frozen=True, tag="schema", tag_field="kind"):
    pass


class _Reopened(msgspec.Struct, frozen=True, tag="reopened", tag_field="kind"):
    failures_end: int


_marks = msgspec.json.Decoder(_Mark | _MendedMark | _Begun | _Opened | _Schema | _Reopened)
_ranges = msgspec.json.Decoder(_Range)
_lines = msgspec.json.Decoder(Line)

Numbers = npt.NDArray[np.int64]


def encode_failure(failure: Failure) -> bytes:
    """One line of failures.jsonl."""
    line = Line(
        mini_batch=failure.mini_batch,
        unit=failure.unit,
        file=_text(failure.file),
        row=failure.row,
        key=failure.key,
        item_count=failure.item_count,
        cls=failure.cls,
        exception_type=failure.exception_type,
        message=_cut(_text(failure.message), MESSAGE_LIMIT),
        traceback=_cut(_text(failure.traceback), TRACEBACK_LIMIT),
        attempts=failure.attempts,
        instance=failure.instance,
        worker=failure.worker,
        time=failure.time,
        first_item=failure.first_item,
        at_row=failure.at_row,
        at_byte=failure.at_byte,
    )
    return msgspec.json.encode(line) + b"\n"


def _text(text: str) -> str:
    """Text that is no UTF-8 is escaped."""
    return text.encode("utf-8", "backslashreplace").decode()


def _cut(text: str, limit: int) -> str:
    if len(text) <= limit:
        return text
    return f"{text[: limit // 2]}\n... {len(text) - limit} characters are left out ...\n{text[-(limit // 2) :]}"


class OpenItems(msgspec.Struct, frozen=True, gc=False):
    """Items that are set aside and of which no later run has said anything, and where their rows would stand."""

    mini_batch: int
    first_item: int
    item_count: int
    cls: FailureClass
    at_row: int
    at_byte: int
    offset: int
    """Of its line; what a run reopens lies before a known offset."""


def read_failures(folder: JobFolder, *, all: bool = False) -> Iterator[FailureRow]:  # noqa: A002 - the CLI's word
    """The open failures of a job, with `all` those that were superseded too, by mini-batch and first item.

    Of failures of the same items the older one comes first. Memory is by number of failures, not by their texts, which
    are read as they are asked for. Works while the job runs. JournalDamaged if the journal is.
    """
    index = _Index.read(folder)
    with _Lines(folder.failures) as lines:
        for at in index.order(all=all).tolist():
            line = lines.at(int(index.start[at]), int(index.end[at]))
            yield FailureRow(
                mini_batch=line.mini_batch,
                unit=line.unit,
                file=line.file,
                row=line.row,
                key=line.key,
                item_count=line.item_count,
                cls=line.cls,
                exception_type=line.exception_type,
                message=line.message,
                traceback=line.traceback,
                attempts=line.attempts,
                instance=line.instance,
                worker=line.worker,
                time=line.time,
                first_item=line.first_item,
                is_open=bool(index.is_open[at]),
            )


def read_open_items(folder: JobFolder) -> Iterator[OpenItems]:
    """What is open, by mini-batch and first item, without its texts."""
    index = _Index.read(folder)
    with _Lines(folder.failures) as lines:
        for at in index.order(all=False).tolist():
            start = int(index.start[at])
            line = lines.at(start, int(index.end[at]))
            yield OpenItems(
                line.mini_batch, line.first_item, line.item_count, line.cls, line.at_row, line.at_byte, start
            )


def count_open(folder: JobFolder) -> int:
    """How many failures are open."""
    return int(_Index.read(folder).is_open.sum())


class _Lines:
    """Random access to the lines of failures.jsonl; nothing is read before it is asked for."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = -1

    def at(self, start: int, end: int) -> Line:
        if self._file < 0:
            self._file = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        return _lines.decode(os.pread(self._file, end - start, start))

    def __enter__(self) -> _Lines:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file >= 0:
            os.close(self._file)


@dataclass(slots=True)
class _Index:
    """The valid lines in the order of the file: where each is, which items it is about, whether it is open."""

    start: Numbers
    end: Numbers
    mini_batch: Numbers
    first_item: Numbers
    item_count: Numbers
    is_open: npt.NDArray[np.bool_]

    @staticmethod
    def read(folder: JobFolder) -> _Index:
        # Most jobs have no failures, and their journals may be long.
        has_any = folder.failures.exists() and folder.failures.stat().st_size > 0
        mends, length = _read_marks(folder.journal) if has_any else ([], 0)
        ends: list[int] = []
        ranges: list[int] = []
        at = 0
        if length:
            with open(folder.failures, "rb") as file:
                for line in file:
                    at += len(line)
                    if at > length:
                        break
                    one = _ranges.decode(line)
                    ends.append(at)
                    ranges += (one.mini_batch, one.first_item, one.item_count)
        end = np.array(ends, np.int64)
        table = np.array(ranges, np.int64).reshape(-1, 3)
        start = np.concatenate([np.zeros(1, np.int64), end])[:-1]
        index = _Index(start, end, table[:, 0], table[:, 1], table[:, 2], np.ones(len(end), np.bool_))
        for mend in mends:
            index.supersede(mend)
        return index

    def supersede(self, mend: _MendedBy) -> None:
        """Close what was open before a mend and overlaps its items."""
        before = int(np.searchsorted(self.end, mend.failures_start, side="right"))
        after = int(np.searchsorted(self.end, mend.failures_end, side="right"))
        touched = np.unique(np.concatenate([mend.items[:, 0], self.mini_batch[before:after]]))
        mine = np.flatnonzero(self.is_open[:before] & np.isin(self.mini_batch[:before], touched))
        if not len(mine):
            return
        items: dict[int, list[tuple[int, int]]] = {}
        again = np.stack([self.mini_batch, self.first_item, self.item_count], axis=1)[before:after]
        for mini_batch, first, count in np.concatenate([mend.items, again]).tolist():
            items.setdefault(mini_batch, []).append((first, first + count))
        for at in mine.tolist():
            first, end = int(self.first_item[at]), int(self.first_item[at] + self.item_count[at])
            if any(low < end and first < high for low, high in items[int(self.mini_batch[at])]):
                self.is_open[at] = False

    def order(self, *, all: bool) -> Numbers:  # noqa: A002
        """Places of lines by mini-batch and first item, the older one first."""
        chosen = np.arange(len(self.end)) if all else np.flatnonzero(self.is_open)
        return chosen[np.lexsort((chosen, self.first_item[chosen], self.mini_batch[chosen]))]


@dataclass(slots=True)
class _MendedBy:
    items: Numbers
    """Mini-batch, first item, item count."""
    failures_start: int
    failures_end: int


def _read_marks(journal: Path) -> tuple[list[_MendedBy], int]:
    """Every mend in order, and the valid length of the failures."""
    mends: list[_MendedBy] = []
    length = 0
    try:
        file = open(journal, "rb")  # noqa: SIM115 - closed right below
    except FileNotFoundError:
        return [], 0
    with file:
        for record, _ in decode(file, _marks):
            if isinstance(record, _MendedMark):
                items = np.array([(m.mini_batch, m.first_item, m.item_count) for m in record.mends], np.int64)
                mends.append(_MendedBy(items.reshape(-1, 3), length, max(length, record.failures_end)))
            if isinstance(record, _Mark | _MendedMark):
                length = max(length, record.failures_end)
    return mends, length
