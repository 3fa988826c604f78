"""Puts what came later at its places: the order of slices of which an output is made.

An output is made of base parts, in mini-batch order, and of additions: the rows of items that had been set aside when
their base part was made, each with its place in that part. An addition without rows is a mark: items that are still
open, of which only the place is wanted.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from runner.dataset.layout import Layout
from runner.entity.lease import Part

ADDITION = np.dtype(
    [
        ("mini_batch", "<i8"),
        ("first_item", "<i8"),
        ("item_count", "<i8"),
        ("source", "<i8"),
        ("rows", "<i8"),
        ("bytes", "<i8"),
        ("start_row", "<i8"),
        ("start_byte", "<i8"),
        ("at_row", "<i8"),
        ("at_byte", "<i8"),
    ]
)
"""`source` is the number of a part, -1 for a mark; `start` is in that part, `at` in the base part."""
MARK = -1


class Piece(NamedTuple):
    """A slice of a file: bytes of lines, counted without its header, or rows."""

    path: Path
    is_base: bool
    start_byte: int
    end_byte: int
    start_row: int
    end_row: int


class Spot(NamedTuple):
    """The place of items that are still open."""

    mini_batch: int
    first_item: int
    item_count: int


@dataclass(frozen=True, slots=True)
class Additions:
    """What is put into base parts, by mini-batch and first item."""

    sources: Sequence[Part] = ()
    table: npt.NDArray[np.void] = field(default_factory=lambda: np.zeros(0, ADDITION))

    @staticmethod
    def of(sources: Sequence[Part], rows: Iterable[tuple[int, ...]]) -> Additions:
        """From tuples in the order of ADDITION's fields."""
        table = np.array(list(rows), ADDITION)
        return Additions(sources, table[np.lexsort((table["first_item"], table["mini_batch"]))])

    @property
    def has_rows(self) -> bool:
        """Whether anything is added at all."""
        return bool((self.table["source"] != MARK).any())

    @property
    def has_marks(self) -> bool:
        """Whether anything stays open."""
        return bool((self.table["source"] == MARK).any())


@dataclass(frozen=True, slots=True)
class Base:
    """The parts that an output is made of, in order, without what came later."""

    parts: Sequence[Part]
    firsts: npt.NDArray[np.int64]
    """The first mini-batch of each."""
    layout: Layout | None = None
    """When the parts are the files of a published output."""
    layout_path: Path | None = None
    """Where the layout is kept, and its borders beside it."""

    @staticmethod
    def of(parts: Sequence[Part]) -> Base:
        """Parts into which nothing is put."""
        return Base(parts, np.arange(len(parts), dtype=np.int64))

    def own(self, index: int, additions: Additions) -> npt.NDArray[np.void]:
        """The additions that belong into one part; the first takes what is before it too."""
        numbers = additions.table["mini_batch"]
        low = 0 if index == 0 else int(np.searchsorted(numbers, self.firsts[index]))
        last = index + 1 == len(self.firsts)
        high = len(numbers) if last else int(np.searchsorted(numbers, self.firsts[index + 1]))
        return additions.table[low:high]

    def changed(self, additions: Additions) -> frozenset[int]:
        """The parts into which rows are put."""
        numbers = additions.table["mini_batch"][additions.table["source"] != MARK]
        at = np.searchsorted(self.firsts, numbers, side="right") - 1
        return frozenset(np.unique(np.maximum(at, 0)).tolist())


def pieces_of(
    part: Part, own: npt.NDArray[np.void], additions: Additions, staging: Path, *, is_text: bool
) -> Iterator[Piece | Spot]:
    """One base part and what is put into it, in order."""
    path = staging / part.file
    row = byte = 0
    for one in own.tolist():
        mini_batch, first_item, item_count, source, rows, size, start_row, start_byte, at_row, at_byte = one
        if (at_byte > byte) if is_text else (at_row > row):
            yield Piece(path, True, byte, at_byte, row, at_row)
        row, byte = max(row, at_row), max(byte, at_byte)
        if source == MARK:
            yield Spot(mini_batch, first_item, item_count)
        elif size if is_text else rows:
            source_path = staging / additions.sources[source].file
            yield Piece(source_path, False, start_byte, start_byte + size, start_row, start_row + rows)
    if (part.size_bytes > byte) if is_text else (part.row_count > row):
        yield Piece(path, True, byte, part.size_bytes, row, part.row_count)
