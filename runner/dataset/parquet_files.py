"""Parquet files: what their footers say, and their rows as a stream of batches."""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Collection, Iterator, Sequence
from itertools import accumulate

import pyarrow as pa
import pyarrow.parquet as pq

from runner.dataset.schemas import normal_schema
from runner.dataset.table_layout import How, Layout, RowGroup, TableReader, row_bytes
from runner.entity.table import TableOptions

NAME = "Parquet"
EXTENSIONS = frozenset({".parquet", ".parq", ".pq"})

_BUFFER_BYTES = 1 << 20
"""Column chunks are read in pieces of this size, so a huge row group costs megabytes and not its own size."""
_EXACT_CHARACTERS = 16
"""No writer cuts statistics of text off before this."""


def is_mine(head: bytes) -> bool:
    """Whether a file that begins with `head` is of this format."""
    return head[:4] == b"PAR1"


def is_parquet(path: str) -> bool:
    """Whether the file at `path` is of this format."""
    with open(path, "rb") as file:
        return is_mine(file.read(4))


def _open(path: str) -> pq.ParquetFile:
    source = pa.OSFile(os.fsencode(path))
    try:
        return pq.ParquetFile(source, pre_buffer=False, buffer_size=_BUFFER_BYTES, arrow_extensions_enabled=False)
    except BaseException:
        source.close()
        raise


def layout(path: str, columns: Collection[str] | None, options: TableOptions) -> Layout:
    """Rows, row groups, schema and nullable columns, from the footer alone."""
    with _open(path) as file:
        metadata = file.metadata
        schema = normal_schema(file.schema_arrow)
        leaves = _leaves(metadata, schema)
        looked_at = [name for name in schema.names if columns is None or name in columns]
        groups = [metadata.row_group(index) for index in range(metadata.num_row_groups)]
        return Layout(
            schema=schema,
            row_groups=tuple(RowGroup(group.num_rows, group.total_byte_size) for group in groups),
            nullable=tuple(
                name for name in looked_at if _may_hold_nulls(groups, file.schema_arrow.field(name), leaves[name])
            ),
            row_bytes=row_bytes(schema, {name: _mean_bytes(groups, leaves[name]) for name in looked_at}),
        )


def _leaves(metadata: pq.FileMetaData, schema: pa.Schema) -> dict[str, list[int]]:
    """For each column the indexes of its leaves."""
    leaves: dict[str, list[int]] = {name: [] for name in schema.names}
    for index in range(metadata.num_columns):
        path = metadata.schema.column(index).path
        name = path if path in leaves else path.split(".", 1)[0]
        if name in leaves:
            leaves[name].append(index)
    return leaves


def _may_hold_nulls(groups: Sequence[pq.RowGroupMetaData], field: pa.Field, leaves: Sequence[int]) -> bool:
    if not field.nullable:
        return False
    if len(leaves) != 1 or pa.types.is_nested(field.type):
        return True
    for group in groups:
        statistics = group.column(leaves[0]).statistics
        if statistics is None or not statistics.has_null_count or statistics.null_count:
            return True
    return False


def _mean_bytes(groups: Sequence[pq.RowGroupMetaData], leaves: Sequence[int]) -> float:
    """Uncompressed bytes per row of the first row group: an estimate for columns of no fixed width."""
    if not groups or not groups[0].num_rows:
        return 0.0
    size: int = sum(groups[0].column(leaf).total_uncompressed_size for leaf in leaves)
    return size / int(groups[0].num_rows)


def open_reader(path: str, how: How) -> TableReader:
    """Open the file for reading its rows."""
    return _Reader(path)


class _Reader:
    """Rows of one file in order, from any row group on."""

    def __init__(self, path: str) -> None:
        self._file = _open(path)
        metadata = self._file.metadata
        counts = (metadata.row_group(index).num_rows for index in range(metadata.num_row_groups))
        self._starts = list(accumulate(counts, initial=0))
        self.schema: pa.Schema = self._file.schema_arrow

    def entry_before(self, row: int) -> int:
        """The last row at or before `row` from which a stream can begin."""
        return int(self._starts[self._group_of(row)])

    def stream(self, row: int, columns: Sequence[str], batch_rows: int) -> Iterator[pa.RecordBatch]:
        """Batches of `columns` from `row`, which is one that `entry_before` gave, to the end of the file.

        No batch reaches into a row group behind the one that was asked for, unless they are small: decoding the first
        rows of one costs as much as unpacking its first pages, and the next reader of them may be another worker.
        """
        for groups in self._runs(self._group_of(row), batch_rows):
            yield from self._file.iter_batches(
                batch_size=batch_rows, row_groups=groups, columns=list(columns), use_threads=False
            )

    def _runs(self, first: int, row_count: int) -> Iterator[range]:
        """The row groups from `first` on, as many together as have `row_count` rows, at least one."""
        start = first
        for group in range(first, len(self._starts) - 1):
            if self._starts[group + 1] - self._starts[start] >= row_count:
                yield range(start, group + 1)
                start = group + 1
        if start < len(self._starts) - 1:
            yield range(start, len(self._starts) - 1)

    def close(self) -> None:
        self._file.close(force=True)

    def _group_of(self, row: int) -> int:
        return min(bisect_right(self._starts, row), len(self._starts) - 1) - 1


def constant_runs(path: str, names: Sequence[str]) -> list[tuple[int, tuple[object, ...]]] | None:
    """Rows and values of each row group in which all these columns are constant; None unless that is so in all.

    Only what statistics say exactly counts: no floating-point numbers, no nulls, and text only when it is short, since
    writers cut long values off.
    """
    with _open(path) as file:
        metadata, schema = file.metadata, file.schema_arrow
        if any(name not in schema.names or not _is_exact(schema.field(name).type) for name in names):
            return None
        leaves = _leaves(metadata, schema)
        runs: list[tuple[int, tuple[object, ...]]] = []
        for index in range(metadata.num_row_groups):
            group = metadata.row_group(index)
            if not group.num_rows:
                continue
            values = [_constant(group.column(leaves[name][0])) for name in names]
            if any(value is None for value in values):
                return None
            if runs and runs[-1][1] == tuple(values):
                runs[-1] = (runs[-1][0] + group.num_rows, runs[-1][1])
            else:
                runs.append((group.num_rows, tuple(values)))
        return runs


def _is_exact(kind: pa.DataType) -> bool:
    types = pa.types
    return bool(types.is_integer(kind) or types.is_string(kind) or types.is_large_string(kind) or types.is_date32(kind))


def _constant(column: pq.ColumnChunkMetaData) -> object:
    statistics = column.statistics
    if statistics is None or not statistics.has_min_max or not statistics.has_null_count or statistics.null_count:
        return None
    least: object = statistics.min
    if isinstance(least, str) and len(least) > _EXACT_CHARACTERS:
        return None
    return least if least == statistics.max else None
