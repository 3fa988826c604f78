"""What the journal says, in the form that a driver needs: counts, ranges, and where each part is named.

A journal may hold a million records, so of a committed range only numbers are kept: its borders and the place of its
record. Parts are read from the journal again when they are published.
"""

from __future__ import annotations

import mmap
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import overload

import msgspec
import numpy as np
import numpy.typing as npt

from runner.entity.lease import Part, Tally
from runner.entity.plan import Plan
from runner.entity.status import FailureClass
from runner.errors import JournalDamaged
from runner.schedule.causes import Causes
from runner.schedule.failures import OpenItems
from runner.schedule.journal import Begun, Committed, Mended, Opened, Reopened, Schema, decode, part_of

HOLLOW = Part(file="", size_bytes=0, sha256="", row_count=0)
"""Stands for a range that has no part."""


NO_PART = msgspec.Raw(b"")
"""Text that is not wanted is not decoded: of a long journal that is half the time."""


class _Counted(msgspec.Struct, frozen=True, gc=False, tag="committed", tag_field="kind"):
    """What counting needs of a Committed."""

    first: int
    end: int
    part: msgspec.Raw = NO_PART
    rows: int = 0
    items: int = 0
    failed_items: int = 0
    failed: dict[str, int] | None = None
    failed_mini_batches: int = -1
    failures_end: int = 0
    records_end: int = 0


class _MendCounted(msgspec.Struct, frozen=True, tag="mended", tag_field="kind"):
    """What counting needs of a Mended."""

    epoch: int
    rows: int = 0
    failed_items: int = 0
    failed: dict[str, int] = {}
    failed_mini_batches: int = 0
    failures_end: int = 0
    records_end: int = 0


READ_BYTES = 1 << 20

_counting = msgspec.json.Decoder(Begun | Opened | Schema | _Counted | Reopened | _MendCounted)
_whole = msgspec.json.Decoder(Committed | Mended)


@dataclass(slots=True)
class Ledgerbook:
    """What has been committed so far, and what this run tries again."""

    tally: Tally = field(default_factory=Tally)
    causes: Causes = field(default_factory=Causes)
    pending: Tally = field(default_factory=Tally)
    """What of the tally is being tried again: it says nothing until that is committed."""
    retried: dict[int, list[OpenItems]] = field(default_factory=dict)
    """By mini-batch, what is being tried again."""
    _first: array[int] = field(default_factory=lambda: array("q"))
    _end: array[int] = field(default_factory=lambda: array("q"))
    _line: array[int] = field(default_factory=lambda: array("q"))
    """Where the record begins in the journal; -1 when it names no part."""
    _mends: list[tuple[int, int]] = field(default_factory=list)
    """Epoch and place of each Mended record."""

    @property
    def judged(self) -> Tally:
        """The counts that thresholds look at."""
        return less(self.tally, self.pending) if self.retried else self.tally

    @property
    def is_empty(self) -> bool:
        """Nothing has been committed."""
        return not self._first

    def enter(self, first: int, end: int, tally: Tally, line: int) -> None:
        """Add one committed range."""
        self.tally = self.tally + tally
        self._first.append(first)
        self._end.append(end)
        self._line.append(line)

    def enter_mend(self, epoch: int, tally: Tally, line: int) -> None:
        """Add a lease of items that were tried again; its counts are differences."""
        self.tally = clean(self.tally + tally)
        self._mends.append((epoch, line))

    def ranges(self) -> list[tuple[int, int]]:
        """What is committed, in order, adjacent ranges as one. JournalDamaged when two overlap."""
        first, end = np.array(self._first, np.int64), np.array(self._end, np.int64)
        order = np.argsort(first, kind="stable")
        first, end = first[order], end[order]
        if (first[1:] < end[:-1]).any():
            at = int(np.flatnonzero(first[1:] < end[:-1])[0])
            raise JournalDamaged(int(self._line[order[at + 1]]), f"mini-batch {first[at + 1]} is committed twice")
        begins = np.flatnonzero(np.concatenate([[True], first[1:] != end[:-1]])[: len(first)])
        ends = np.append(begins[1:] - 1, len(first) - 1)[: len(begins)]
        return list(zip(first[begins].tolist(), end[ends].tolist(), strict=True))

    # ---- what is tried again ----------------------------------------------------------------------------
    def retry(self, items: Iterable[OpenItems], plan: Plan) -> None:
        """Have these items tried again: until that is committed their failures are not held against the job."""
        for one in items:
            self.retried.setdefault(one.mini_batch, []).append(one)
        for mini_batch, ranges in self.retried.items():
            ranges.sort(key=lambda one: one.first_item)
            self.pending = self.pending + share_of(ranges, plan.span_of(mini_batch).item_count)

    def settle(self, mini_batch: int, item_count: int) -> None:
        """What was tried again of a mini-batch has been committed."""
        share = share_of(self.retried.pop(mini_batch), item_count)
        self.pending = less(self.pending, share) if self.retried else Tally()

    # ---- parts ------------------------------------------------------------------------------------------
    def parts(self, journal: Path, schemas: dict[int, str]) -> tuple[npt.NDArray[np.int64], Sequence[Part]]:
        """The committed ranges in order: the first mini-batch of each, and its part (HOLLOW for none)."""
        first, lines = np.array(self._first, np.int64), np.array(self._line, np.int64)
        order = np.argsort(first, kind="stable")
        return first[order], _Parts(journal, lines[order], schemas)

    def mends(self, journal: Path, after_epoch: int) -> Iterator[Mended]:
        """Mended records of later epochs than the one given, in order."""
        with _Lines(journal) as lines:
            for epoch, line in self._mends:
                record = lines.at(line) if epoch > after_epoch else None
                if isinstance(record, Mended):
                    yield record

    def has_mends(self, after_epoch: int) -> bool:
        """Whether there is any."""
        return any(epoch > after_epoch for epoch, _ in self._mends)


def share_of(ranges: Sequence[OpenItems], item_count: int) -> Tally:
    """What failures of one mini-batch count: it has failed itself only if none of its items is left out."""
    items = sum(one.item_count for one in ranges)
    is_whole = int(items == item_count)
    by_class = dict(Counter(one.cls for one in ranges))
    return Tally(
        mini_batch_count=is_whole,
        failed_mini_batch_count=is_whole,
        item_count=items,
        failed_item_count=items,
        failed_by_class=by_class,
    )


def less(tally: Tally, other: Tally) -> Tally:
    """The difference of two counts."""
    by_class = dict(tally.failed_by_class)
    for cls, count in other.failed_by_class.items():
        by_class[cls] = by_class.get(cls, 0) - count
    return clean(
        Tally(
            mini_batch_count=tally.mini_batch_count - other.mini_batch_count,
            failed_mini_batch_count=tally.failed_mini_batch_count - other.failed_mini_batch_count,
            item_count=tally.item_count - other.item_count,
            failed_item_count=tally.failed_item_count - other.failed_item_count,
            row_count=tally.row_count - other.row_count,
            failed_by_class=by_class,
        )
    )


def clean(tally: Tally) -> Tally:
    """The same counts, without classes of which nothing is left."""
    if all(tally.failed_by_class.values()):
        return tally
    return Tally(
        mini_batch_count=tally.mini_batch_count,
        failed_mini_batch_count=tally.failed_mini_batch_count,
        item_count=tally.item_count,
        failed_item_count=tally.failed_item_count,
        row_count=tally.row_count,
        failed_by_class={cls: count for cls, count in tally.failed_by_class.items() if count},
    )


# ---- replay -------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Said:
    """Everything that a journal says."""

    book: Ledgerbook = field(default_factory=Ledgerbook)
    begun: Begun | None = None
    length: int = 0
    """Bytes that hold whole records; what is behind them is torn."""
    epoch: int = 0
    ends: int = 0
    failures_end: int = 0
    records_end: int = 0
    schemas: dict[int, str] = field(default_factory=dict)
    reopened: Reopened | None = None
    """The last of them."""


def read_book(path: Path) -> Said:
    """Replay a journal; one that is absent says nothing. Raises JournalDamaged."""
    said = Said()
    try:
        file = open(path, "rb", buffering=READ_BYTES)  # noqa: SIM115 - closed right below
    except FileNotFoundError:
        return said
    with file:
        _replay(file, said)
    return said


def _replay(lines: Iterable[bytes], said: Said) -> None:
    book = said.book
    first, end_of, line = book._first.append, book._end.append, book._line.append
    mini_batches = failed_mini_batches = items = failed_items = rows = start = failures_end = records_end = 0
    failed: dict[str, int] = {}
    for record, end in decode(lines, _counting):
        if type(record) is _Counted:
            first(record.first)
            end_of(record.end)
            line(start if record.part is not NO_PART else -1)
            mini_batches += record.end - record.first
            items += record.items
            rows += record.rows
            failed_items += record.failed_items
            if record.failed is not None:
                whole = record.failed_mini_batches
                failed_mini_batches += whole if whole >= 0 else sum(record.failed.values())
                _add(failed, record.failed)
            failures_end, records_end = record.failures_end, record.records_end
        elif type(record) is _MendCounted:
            book._mends.append((record.epoch, start))
            rows += record.rows
            failed_items += record.failed_items
            failed_mini_batches += record.failed_mini_batches
            _add(failed, record.failed)
            failures_end, records_end = record.failures_end, record.records_end
        else:
            _note(record, said)
        start = end
    said.length, said.failures_end, said.records_end = start, failures_end, records_end
    book.tally = Tally(
        mini_batch_count=mini_batches,
        failed_mini_batch_count=failed_mini_batches,
        item_count=items,
        failed_item_count=failed_items,
        row_count=rows,
        failed_by_class={FailureClass(cls): count for cls, count in failed.items() if count},
    )


def _add(counts: dict[str, int], more: Mapping[str, int]) -> None:
    """Add counts by class."""
    for cls, count in more.items():
        counts[cls] = counts.get(cls, 0) + count


def _note(record: object, said: Said) -> None:
    if isinstance(record, Begun):
        said.begun = record
    elif isinstance(record, Opened):
        said.epoch, said.ends = record.epoch, record.ends
    elif isinstance(record, Schema):
        said.schemas[record.number] = record.text
    elif isinstance(record, Reopened):
        said.reopened = record


class _Lines:
    """Records of a journal by their place."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._map: mmap.mmap | None = None

    def at(self, start: int) -> Committed | Mended:
        if self._map is None:
            with open(self._path, "rb") as file:
                self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        record: Committed | Mended = _whole.decode(self._map[start + 9 : self._map.find(b"\n", start)])
        return record

    def close(self) -> None:
        if self._map is not None:
            self._map.close()
            self._map = None

    def __enter__(self) -> _Lines:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Parts(Sequence[Part]):
    """Parts, each read from the journal when it is asked for."""

    def __init__(self, journal: Path, lines: npt.NDArray[np.int64], schemas: dict[int, str]) -> None:
        self._lines, self._at, self._schemas = _Lines(journal), lines, schemas

    def __len__(self) -> int:
        return len(self._at)

    @overload
    def __getitem__(self, index: int) -> Part: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Part]: ...
    def __getitem__(self, index: int | slice) -> Part | Sequence[Part]:
        if isinstance(index, slice):
            return [self[at] for at in range(len(self))[index]]
        line = int(self._at[index])
        return HOLLOW if line < 0 else part_of(self._lines.at(line), self._schemas) or HOLLOW

    def __del__(self) -> None:
        self._lines.close()
