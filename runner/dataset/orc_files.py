"""ORC files: their stripes, and their rows as a stream of batches."""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Collection, Iterator, Sequence
from itertools import accumulate

import pyarrow as pa
from pyarrow import orc

from runner.dataset.schemas import normal_schema
from runner.dataset.table_layout import How, Layout, RowGroup, TableReader, row_bytes
from runner.entity.table import TableOptions

NAME = "ORC"
EXTENSIONS = frozenset({".orc"})


def is_mine(head: bytes) -> bool:
    """Whether a file that begins with `head` is of this format."""
    return head[:3] == b"ORC"


def layout(path: str, columns: Collection[str] | None, options: TableOptions) -> Layout:
    """Rows, stripes and schema; what it says of nulls cannot be asked for, so every column may hold some."""
    with pa.OSFile(os.fsencode(path)) as source:
        file = orc.ORCFile(source)
        schema = normal_schema(file.schema)
        counts = _stripe_rows(file)
        size = source.size()
    mean = size / max(sum(counts), 1) / max(len(schema), 1)
    return Layout(
        schema=schema,
        row_groups=tuple(RowGroup(count, size // max(len(counts), 1)) for count in counts),
        nullable=tuple(schema.names),
        row_bytes=row_bytes(schema, dict.fromkeys(schema.names, 4 * mean)),
        marks=tuple(zip(accumulate(counts[:-1], initial=0), range(len(counts)), strict=True)),
    )


def _stripe_rows(file: orc.ORCFile) -> list[int]:
    """Rows of each stripe: one stripe has all; of several, the narrowest column is counted."""
    if file.nstripes <= 1:
        return [file.nrows] * file.nstripes
    narrowest = min(file.schema, key=_width).name
    return [file.read_stripe(index, columns=[narrowest]).num_rows for index in range(file.nstripes)]


def _width(field: pa.Field) -> int:
    try:
        return int(field.type.bit_width)
    except ValueError:
        return 1 << 20


def open_reader(path: str, how: How) -> TableReader:
    """Open the file for reading its rows."""
    return _Reader(path, how)


class _Reader:
    """Rows of one file in order, from any stripe on."""

    def __init__(self, path: str, how: How) -> None:
        self._source = pa.OSFile(os.fsencode(path))
        try:
            self._file = orc.ORCFile(self._source)
            self._starts = [row for row, _ in how.marks]
            if len(self._starts) != self._file.nstripes:
                self._starts = list(accumulate(_stripe_rows(self._file), initial=0))[:-1]
        except BaseException:
            self._source.close()
            raise
        self.schema: pa.Schema = self._file.schema

    def entry_before(self, row: int) -> int:
        """The last row at or before `row` from which a stream can begin."""
        return self._starts[self._stripe_of(row)]

    def stream(self, row: int, columns: Sequence[str], batch_rows: int) -> Iterator[pa.RecordBatch]:
        """Batches of `columns` from `row`, which is one that `entry_before` gave, to the end of the file."""
        wanted = list(columns) or self.schema.names[:1]  # without any, nobody would know how many rows there are
        for index in range(self._stripe_of(row), self._file.nstripes):
            stripe = self._file.read_stripe(index, columns=wanted)
            table = pa.Table.from_batches([stripe]) if isinstance(stripe, pa.RecordBatch) else stripe
            yield from table.select(wanted).to_batches(max_chunksize=batch_rows)

    def close(self) -> None:
        self._source.close()

    def _stripe_of(self, row: int) -> int:
        return max(bisect_right(self._starts, row) - 1, 0)
