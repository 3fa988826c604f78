"""Arrow IPC files and streams: what their messages' headers say, and their rows as a stream of batches."""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Collection, Iterator, Sequence
from itertools import accumulate

import pyarrow as pa

from runner.dataset.ipc_messages import BatchHeader, read_headers
from runner.dataset.schemas import normal_schema
from runner.dataset.table_layout import How, Layout, RowGroup, TableReader, row_bytes
from runner.entity.table import TableOptions

NAME = "Arrow IPC"
EXTENSIONS = frozenset({".arrow", ".arrows", ".ipc", ".feather"})

_FILE_MAGIC = b"ARROW1"
_CONTINUATION = b"\xff\xff\xff\xff"


def is_mine(head: bytes) -> bool:
    """Whether a file that begins with `head` is of this format, as a file or as a stream."""
    return head[:6] == _FILE_MAGIC or head[:4] == _CONTINUATION


def layout(path: str, columns: Collection[str] | None, options: TableOptions) -> Layout:
    """Rows, record batches, schema and nullable columns, from the headers of the messages alone."""
    with pa.OSFile(os.fsencode(path)) as source:
        raw, headers = _schema_and_headers(source)
    schema = normal_schema(raw)
    nulls = {name: sum(header.null_counts[index] for header in headers) for index, name in enumerate(raw.names)}
    rows = sum(header.row_count for header in headers)
    size = sum(header.body_bytes for header in headers)
    mean = size / max(rows, 1) / max(len(raw.names), 1)
    return Layout(
        schema=schema,
        row_groups=tuple(RowGroup(header.row_count, header.body_bytes) for header in headers),
        nullable=tuple(name for name in schema.names if nulls[name]),
        row_bytes=row_bytes(schema, dict.fromkeys(schema.names, mean)),
    )


def _schema_and_headers(source: pa.NativeFile) -> tuple[pa.Schema, list[BatchHeader]]:
    is_file = source.read(6) == _FILE_MAGIC
    source.seek(0)
    if is_file:
        schema = pa.ipc.open_file(source).schema
        return schema, read_headers(source, 8, schema)
    schema = pa.ipc.open_stream(source).schema
    return schema, read_headers(source, 0, schema)


def open_reader(path: str, how: How) -> TableReader:
    """Open the file for reading its rows."""
    return _Reader(path)


class _Reader:
    """Rows of one file in order; a file can be entered at any record batch, a stream only at its beginning."""

    def __init__(self, path: str) -> None:
        self._source = pa.OSFile(os.fsencode(path))
        try:
            self._is_file = self._source.read(6) == _FILE_MAGIC
            self._source.seek(0)
            self.schema, headers = _schema_and_headers(self._source)
        except BaseException:
            self._source.close()
            raise
        self._starts = list(accumulate((header.row_count for header in headers), initial=0))

    def entry_before(self, row: int) -> int:
        """The last row at or before `row` from which a stream can begin."""
        return self._starts[self._batch_of(row)] if self._is_file else 0

    def stream(self, row: int, columns: Sequence[str], batch_rows: int) -> Iterator[pa.RecordBatch]:
        """Batches of `columns` from `row`, which is one that `entry_before` gave, to the end of the file."""
        options = pa.ipc.IpcReadOptions(
            included_fields=sorted(self.schema.get_field_index(name) for name in columns), use_threads=False
        )
        self._source.seek(0)
        for batch in self._record_batches(row, options):
            for start in range(0, batch.num_rows, batch_rows):
                yield batch.slice(start, batch_rows)

    def _record_batches(self, row: int, options: pa.ipc.IpcReadOptions) -> Iterator[pa.RecordBatch]:
        if self._is_file:
            reader = pa.ipc.open_file(self._source, options=options)
            for index in range(self._batch_of(row), reader.num_record_batches):
                yield reader.get_batch(index)
        else:
            yield from pa.ipc.open_stream(self._source, options=options)

    def close(self) -> None:
        self._source.close()

    def _batch_of(self, row: int) -> int:
        return min(bisect_right(self._starts, row), len(self._starts) - 1) - 1
