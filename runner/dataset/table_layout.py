"""What planning needs to know of a table file, whatever its format, and what a format must offer."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import pyarrow as pa

from runner.entity.table import TableOptions

_NESTED_BYTES = 32
"""Stands for a value of no fixed width where the file gives no hint of its size."""


@dataclass(frozen=True, slots=True)
class RowGroup:
    """A run of rows that a file can be entered at; `size_bytes` as the file counts them, uncompressed."""

    row_count: int
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """What the footer or the headers of a file say about its rows."""

    schema: pa.Schema
    row_groups: tuple[RowGroup, ...]
    nullable: tuple[str, ...]
    """Columns that may hold nulls, as far as the file says."""
    row_bytes: Mapping[str, float]
    """Estimated decoded bytes per row of each column: from types, and for text from the file's own sizes."""
    marks: tuple[tuple[int, int], ...] = ()
    """Number and offset of records at which the file can be entered; of ORC the number of the stripe."""
    names: tuple[str, ...] = ()
    """Of text: its columns in order."""
    is_text: bool = False
    """Whether its types were told from samples."""
    is_stream: bool = False
    """Whether the file can only be read from its beginning, so that two workers never share it."""


def row_bytes(schema: pa.Schema, means: Mapping[str, float]) -> dict[str, float]:
    """Bytes per row of each column: exact for fixed widths, `means` for the others."""
    sizes = {}
    for column in schema:
        try:
            sizes[column.name] = column.type.bit_width / 8
        except ValueError:
            sizes[column.name] = means.get(column.name, 0.0) or float(_NESTED_BYTES)
    return sizes


@dataclass(frozen=True, slots=True, kw_only=True)
class How:
    """What a reader is told that its file does not say itself: for text, whose types the plan has settled."""

    options: TableOptions = field(default_factory=TableOptions)
    schema: pa.Schema | None = None
    """The types of all columns of the input."""
    marks: tuple[tuple[int, int], ...] = ()
    names: tuple[str, ...] = ()
    row_count: int = 0


class TableReader(Protocol):
    """Rows of one open file in order."""

    schema: pa.Schema
    """As the file has it, types not yet normalised."""

    def entry_before(self, row: int) -> int:
        """The last row at or before `row` from which a stream can begin."""

    def stream(self, row: int, columns: Sequence[str], batch_rows: int) -> Iterator[pa.RecordBatch]:
        """Batches of at most `batch_rows` rows, from `row` (one that `entry_before` gave) to the end of the file."""

    def close(self) -> None:
        """Give the file back; harmless twice."""


class TableFormat(Protocol):
    """One file format: a module of this room with these names."""

    NAME: str
    EXTENSIONS: frozenset[str]

    def is_mine(self, head: bytes) -> bool:
        """Whether a file that begins with `head` is of this format."""

    def layout(self, path: str, columns: Collection[str] | None, options: TableOptions) -> Layout:
        """What the file says about its rows, without decoding any; of other columns perhaps only the types."""

    def open_reader(self, path: str, how: How) -> TableReader:
        """Open the file for reading its rows."""
