"""Writes rows as Parquet or Arrow IPC files with settings chosen by measurement."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from runner.dataset.output_schema import conform
from runner.dataset.storage import HashedFile
from runner.entity.parallel import OutputSpec

ROW_GROUP_ROWS = 1 << 20
ROW_GROUP_BYTES = 128 << 20
"""A row group ends at whichever comes first; it is what the writer holds in memory."""


class TableFile:
    """One Parquet or IPC file being written from slices; rows keep their order, row groups are made of whole slices."""

    def __init__(self, path: Path, schema: pa.Schema, output: OutputSpec) -> None:
        self.file = HashedFile(path)
        self.row_count = 0
        self._schema = schema
        self._pending: list[pa.Table] = []
        self._pending_rows = 0
        self._pending_bytes = 0
        self._writer = _open_writer(pa.PythonFile(self.file, mode="w"), schema, output)

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
        if self._pending_rows:
            rows = pa.concat_tables(self._pending)
            self.row_count += rows.num_rows
            self._pending, self._pending_rows, self._pending_bytes = [], 0, 0
            if isinstance(self._writer, pq.ParquetWriter):
                self._writer.write_table(rows, row_group_size=rows.num_rows)
            else:
                self._writer.write_table(rows.combine_chunks(), max_chunksize=ROW_GROUP_ROWS)

    def finish(self) -> None:
        """Write the rest and make the file durable."""
        self._flush()
        self._writer.close()
        self.file.finish()

    def close(self) -> None:
        """Give up a file that was not finished."""
        self.file.close()


def _open_writer(sink: pa.NativeFile, schema: pa.Schema, output: OutputSpec) -> Any:
    if output.format == "ipc":
        codec = None if output.compression == "none" else output.compression
        return pa.ipc.new_file(sink, schema, options=pa.ipc.IpcWriteOptions(compression=codec))
    return pq.ParquetWriter(sink, schema, **parquet_settings(schema, output.compression))


def parquet_settings(schema: pa.Schema, compression: str) -> dict[str, Any]:
    """Arguments of the Parquet writer."""
    text = [field.name for field in schema if _repeats(field.type)]
    return {
        "compression": compression,
        "use_dictionary": text or False,
        "write_statistics": True,
        "version": "2.6",
        "store_schema": True,
    }


def _repeats(kind: pa.DataType) -> bool:
    """True for types whose values often repeat and are dear to write."""
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))
