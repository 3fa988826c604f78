"""The plan: input to units to mini-batches, numbered once and for ever."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from operator import eq
from typing import Literal, overload

PLAN_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanFile:
    """A listed file. For tables `row_count` rows are cut by `rows_per_mini_batch`; for file lists both are 0."""

    path: str
    size_bytes: int
    mtime_ns: int
    input: int = 0
    row_count: int = 0
    rows_per_mini_batch: int = 0
    nullable: tuple[str, ...] = ()
    """Columns that may hold nulls by the file's metadata: they decide the dtype that `run` sees in every mini-batch."""
    skipped_rows: int = 0
    """Rows at its beginning that are not part of the table; `row_count` counts what is."""
    is_cut: bool = False
    """Whether rows at its beginning or end are left out."""
    is_moved: bool = False
    """Whether it holds rows of other files that were grouped by key; then its path says nothing of them."""
    marks: tuple[tuple[int, int], ...] = ()
    """Number and offset of records at which the file can be entered; of ORC the number of the stripe."""
    names: tuple[str, ...] = ()
    """Of text: its columns in order."""


class FileList(Sequence[PlanFile]):
    """Listed files of which nothing but path, size and time is known, in columns: there may be a million."""

    def __init__(self, paths: Sequence[str], sizes: Sequence[int], times: Sequence[int], inputs: Sequence[int]) -> None:
        self.paths, self.sizes, self.times, self.inputs = paths, sizes, times, inputs

    def __len__(self) -> int:
        return len(self.paths)

    @overload
    def __getitem__(self, at: int) -> PlanFile: ...
    @overload
    def __getitem__(self, at: slice) -> tuple[PlanFile, ...]: ...
    def __getitem__(self, at: int | slice) -> PlanFile | tuple[PlanFile, ...]:
        if isinstance(at, slice):
            return tuple(self[index] for index in range(*at.indices(len(self))))
        return PlanFile(path=self.paths[at], size_bytes=self.sizes[at], mtime_ns=self.times[at], input=self.inputs[at])

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and len(self) == len(other) and all(map(eq, self, other))

    __hash__ = None  # type: ignore[assignment]  # as of any other collection that could be changed


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """A run of whole mini-batches that is read at once: rows of one file, or `file_count` files; with keys, the rows of
    as many files."""

    file: int
    """Index of the (first) file."""
    file_count: int = 1
    first_mini_batch: int
    mini_batch_count: int
    first_row: int = 0
    row_count: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """What one mini-batch is: rows [first_row, first_row + item_count) of a file, or that many files."""

    unit: int
    file: int
    first_row: int
    item_count: int


def no_key(mini_batch: int) -> str | None:
    """There are no keys."""
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Units in order of their mini-batches, with what a resume compares (`fingerprint`) and what reading needs."""

    version: int = PLAN_VERSION
    kind: Literal["table", "files"]
    inputs: tuple[str, ...]
    files: Sequence[PlanFile]
    units: tuple[Unit, ...]
    files_per_mini_batch: int = 0
    mini_batch_count: int
    item_count: int
    schema: str = ""
    """The unified Arrow schema of a table input, serialised and base64 encoded; of the columns that are read."""
    fingerprint: str
    keys: tuple[str, ...] = ()
    """Partition keys: then a mini-batch is all rows, or files, with the same values of these columns."""
    bounds: Sequence[int] = field(default=(), repr=False, compare=False)
    """With keys, where each mini-batch begins and the last one ends: rows (or files) counted over all files."""
    key_of: Callable[[int], str | None] = field(default=no_key, repr=False, compare=False)
    """The values of the keys of a mini-batch as a JSON object; None without keys."""
    unit_starts: tuple[int, ...] = field(default=(), repr=False, compare=False)
    file_starts: tuple[int, ...] = field(default=(), repr=False, compare=False)
    """With keys and a table, the row counted over all files that each file begins with."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "unit_starts", tuple(unit.first_mini_batch for unit in self.units))
        if self.keys and self.kind == "table":
            counts = (file.row_count for file in self.files)
            object.__setattr__(self, "file_starts", tuple(accumulate(counts, initial=0)))

    def unit_of(self, mini_batch: int) -> int:
        """Index of the unit that holds mini-batch number `mini_batch`."""
        if not 0 <= mini_batch < self.mini_batch_count:
            raise IndexError(mini_batch)
        return bisect_right(self.unit_starts, mini_batch) - 1

    def span_of(self, mini_batch: int) -> Span:
        """Where the items of mini-batch number `mini_batch` are."""
        index = self.unit_of(mini_batch)
        unit = self.units[index]
        if self.keys:
            first, end = self.bounds[mini_batch], self.bounds[mini_batch + 1]
            if self.kind == "files":
                return Span(unit=index, file=first, first_row=0, item_count=end - first)
            at = bisect_right(self.file_starts, first) - 1
            return Span(unit=index, file=at, first_row=first - self.file_starts[at], item_count=end - first)
        within = mini_batch - unit.first_mini_batch
        if self.kind == "files":
            first = within * self.files_per_mini_batch
            count = min(self.files_per_mini_batch, unit.file_count - first)
            return Span(unit=index, file=unit.file + first, first_row=0, item_count=count)
        rows = self.files[unit.file].rows_per_mini_batch
        first = within * rows
        count = min(rows, unit.row_count - first)
        return Span(unit=index, file=unit.file, first_row=unit.first_row + first, item_count=count)
