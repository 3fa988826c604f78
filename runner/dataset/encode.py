"""Writes rows as Parquet or Arrow IPC files with settings chosen by measurement."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from runner.dataset.output_schema import conform
from runner.dataset.plain_numbers import numbers_of
from runner.dataset.storage import HashedFile
from runner.entity.parallel import OutputSpec

ROW_GROUP_ROWS = 1 << 20
ROW_GROUP_BYTES = 128 << 20
"""A row group ends at whichever comes first; it is what the writer holds in memory."""
SAMPLE_ROWS = 1 << 14


class Sink:
    """A file as Arrow writes to it. Arrow's writers close what they are given, even when given up; this stays open."""

    closed = False

    def __init__(self, file: HashedFile) -> None:
        self._file = file

    def write(self, data: bytes | memoryview) -> int:
        """Write all of `data`; what comes after the file was closed is the farewell of a writer that was given up."""
        return len(data) if self._file.is_closed else self._file.write(data)

    def flush(self) -> None:
        """Nothing is held back."""

    def close(self) -> None:
        """The file is closed by whoever opened it."""


def open_sink(file: HashedFile) -> pa.NativeFile:
    """The file for Arrow's writers."""
    return pa.PythonFile(Sink(file), mode="w")


class TableFile:
    """One Parquet or IPC file being written from slices; rows keep their order, row groups are made of whole slices."""

    def __init__(self, file: HashedFile, schema: pa.Schema, output: OutputSpec) -> None:
        self.file = file
        self.row_count = 0
        self._schema = schema
        self._output = output
        self._pending: list[pa.Table] = []
        self._pending_rows = 0
        self._pending_bytes = 0
        self._writer: Any = None

    def write(self, table: pa.Table) -> None:
        """Append rows, cast to the file's schema."""
        table = conform(table, self._schema)
        row_bytes = table.nbytes / max(table.num_rows, 1)
        most = max(1, min(ROW_GROUP_ROWS, int(ROW_GROUP_BYTES / max(row_bytes, 1))))
        for start in range(0, table.num_rows, most):
            piece = table.slice(start, most)
            self._pending.append(piece)
            self._pending_rows += piece.num_rows
            self._pending_bytes += int(piece.num_rows * row_bytes)
            if self._pending_rows >= ROW_GROUP_ROWS or self._pending_bytes >= ROW_GROUP_BYTES:
                self._flush()

    def _flush(self) -> None:
        rows = pa.concat_tables(self._pending) if self._pending else self._schema.empty_table()
        self.row_count += rows.num_rows
        self._pending, self._pending_rows, self._pending_bytes = [], 0, 0
        if self._writer is None:
            self._writer = _open_writer(open_sink(self.file), rows, self._output)
        if isinstance(self._writer, pq.ParquetWriter):
            self._writer.write_table(rows, row_group_size=ROW_GROUP_ROWS)
        elif rows.num_rows:
            self._writer.write_table(rows.combine_chunks(), max_chunksize=ROW_GROUP_ROWS)

    def finish(self) -> None:
        """Write the rest and make the file durable."""
        if self._pending or self._writer is None:
            self._flush()
        self._writer.close()
        self.file.finish()

    def close(self) -> None:
        """Give up a file that was not finished."""
        self.file.close()


def _open_writer(sink: pa.NativeFile, rows: pa.Table, output: OutputSpec) -> Any:
    if output.format == "ipc":
        codec = None if output.compression == "none" else output.compression
        return pa.ipc.new_file(sink, rows.schema, options=pa.ipc.IpcWriteOptions(compression=codec))
    return pq.ParquetWriter(sink, rows.schema, **parquet_settings(rows, output.compression))


def parquet_settings(rows: pa.Table, compression: str) -> dict[str, Any]:
    """Arguments of the Parquet writer, from the first row group of a file.

    Measured on one core, a column of 8 M rows, M rows/s and bytes a row: random float32 plain 87 to 134 (4.00), with a
    dictionary 19 (4.54); sequential int64 plain 173 (8.00), deltas 175 (0.02), with a dictionary 34 (8.26); random
    int64 plain 50 to 90 (8.00), deltas 23 (7.69). So no numbers get a dictionary, and integers are written as deltas
    where a sample says that this makes them small. Text repeats more often than not and keeps its dictionary. Without
    `compression` pages are not compressed: zstd halves the speed and saves nothing on scores. Smallest and largest
    values are not kept of floats: nobody selects by them in a file of scores, and they took a seventh of the encoding.
    """
    text = [field.name for field in rows.schema if _is_text(field.type)]
    deltas = {
        field.name: "DELTA_BINARY_PACKED"
        for field, column in zip(rows.schema, rows.columns, strict=True)
        if pa.types.is_integer(field.type) and _is_small_as_deltas(column)
    }
    return {
        "compression": compression,
        "use_dictionary": text or False,
        "column_encoding": deltas or None,
        "write_statistics": [field.name for field in rows.schema if not pa.types.is_floating(field.type)] or False,
        "version": "2.6",
    }


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _is_small_as_deltas(column: pa.ChunkedArray) -> bool:
    """True if the differences of neighbours need at most half of the type's bits."""
    chunks = column.slice(0, SAMPLE_ROWS).drop_null().chunks
    sample = np.concatenate([numbers_of(chunk).astype(np.float64) for chunk in chunks]) if chunks else np.empty(0)
    if len(sample) < 2:
        return False
    steps = np.diff(sample)
    return bool(steps.max() - steps.min() < 2.0 ** (column.type.bit_width // 2))
