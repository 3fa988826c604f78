"""Files that an output is made of, read front to back: lines as bytes, perhaps unpacked, and rows as tables."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from runner.dataset.storage import COPY_BYTES

READ_ROWS = 1 << 18


class LineSource:
    """The lines of a file from its `skipped_bytes`-th byte on, each read once and in order."""

    def __init__(self, path: Path, compression: str = "none", skipped_bytes: int = 0) -> None:
        self._path, self._at, self._skipped = path, 0, skipped_bytes
        self._file: Any = (
            open(path, "rb", buffering=0)  # noqa: SIM115 - closed by close()
            if compression == "none"
            else pa.input_stream(str(path), compression=compression)
        )
        self._is_seekable = compression == "none"

    def read(self, start: int, end: int) -> Iterator[bytes]:
        """Bytes [start, end) of its lines; `start` is never before the end of the last call."""
        start, end = start + self._skipped, end + self._skipped
        if self._is_seekable:
            if self._at != start:
                self._file.seek(start)
        else:
            while self._at < start:
                self._at += len(self._more(min(start - self._at, COPY_BYTES)))
        self._at = start
        while self._at < end:
            chunk = self._more(min(end - self._at, COPY_BYTES))
            self._at += len(chunk)
            yield chunk

    def _more(self, size: int) -> bytes:
        chunk: bytes = self._file.read(size)
        if not chunk:
            raise OSError(errno.EIO, os.strerror(errno.EIO) + ": the file is shorter than it was", str(self._path))
        return chunk

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class RowSource:
    """The rows of a Parquet or IPC file, each read once and in order."""

    def __init__(self, path: Path, output_format: str) -> None:
        self._path = path
        self._tables = read_tables(path, output_format)
        self._left: pa.Table | None = None
        self._at = 0

    def read(self, start: int, end: int) -> Iterator[pa.Table]:
        """Rows [start, end); `start` is never before the end of the last call."""
        while self._at < end:
            if self._left is None or not self._left.num_rows:
                self._left = next(self._tables, None)
                if self._left is None:
                    raise OSError(errno.EIO, os.strerror(errno.EIO) + ": it has too few rows", str(self._path))
            stop = start if self._at < start else end
            table = self._left.slice(0, stop - self._at)
            self._left = self._left.slice(table.num_rows)
            if self._at >= start:
                yield table
            self._at += table.num_rows

    def close(self) -> None:
        """Close the file."""
        self._tables.close()


def read_tables(path: Path, output_format: str) -> Any:
    """The rows of a file in order, some at a time; a generator."""
    return _ipc_tables(path) if output_format == "ipc" else _parquet_tables(path)


def _ipc_tables(path: Path) -> Iterator[pa.Table]:
    with pa.memory_map(str(path)) as source, pa.ipc.open_file(source) as reader:
        for i in range(reader.num_record_batches):
            yield pa.Table.from_batches([reader.get_batch(i)])


def _parquet_tables(path: Path) -> Iterator[pa.Table]:
    with pq.ParquetFile(path, pre_buffer=False, buffer_size=1 << 20) as file:
        for batch in file.iter_batches(READ_ROWS):
            yield pa.Table.from_batches([batch])
