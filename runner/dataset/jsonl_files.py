"""JSON lines: one object a line, their rows parsed mark by mark with types that the plan has settled."""

from __future__ import annotations

import io
import os
from bisect import bisect_right
from collections.abc import Collection, Iterator, Sequence

import pyarrow as pa
import pyarrow.json as pa_json

from runner.dataset.table_layout import How, Layout, TableReader
from runner.dataset.text_layout import layout_of, scan, told_schema
from runner.dataset.text_source import BOM, is_stream, open_bytes
from runner.dataset.text_types import told_type
from runner.entity.table import TableOptions

NAME = "JSON lines"
EXTENSIONS = frozenset({".jsonl", ".ndjson", ".json"})
_STREAM_BYTES = 4 << 20


def is_mine(head: bytes) -> bool:
    """Whether a file that begins with `head` is of this format."""
    return head.lstrip()[:1] == b"{"


def layout(path: str, columns: Collection[str] | None, options: TableOptions) -> Layout:
    """Lines, marks and the types that samples tell; the whole file is looked at once."""
    with open_bytes(path, options.encoding) as stream:
        head = stream.read(1 << 12)
    begin = len(BOM) if head.startswith(BOM) else 0
    if head[begin:].lstrip()[:1] == b"[":
        raise ValueError("it is one JSON array; write one object a line (JSON lines)")
    scanned = scan(path, options.encoding, begin, "", "")
    schema = told_schema(scanned, _told, "", "") if scanned.row_count else pa.schema([])
    return layout_of(scanned, schema)


def _told(sample: bytes) -> pa.Schema:
    if not sample.strip():
        return pa.schema([])
    table = pa_json.read_json(
        io.BytesIO(sample), read_options=pa_json.ReadOptions(use_threads=False, block_size=len(sample) + 1)
    )
    return pa.schema([(field.name, told_type(field.type)) for field in table.schema])


def open_reader(path: str, how: How) -> TableReader:
    """Open the file for reading its rows."""
    return _Reader(path, how)


class _Reader:
    """Rows of one file in order, from any mark on; of a stream, from its beginning."""

    def __init__(self, path: str, how: How) -> None:
        self._path, self._how = path, how
        self._rows = [row for row, _ in how.marks]
        self._offsets = [offset for _, offset in how.marks]
        known = how.schema if how.schema is not None else pa.schema([])
        types = {field.name: field.type for field in known}
        self.schema = pa.schema([(name, types[name]) for name in how.names if name in types])
        self._is_stream = is_stream(path, how.options.encoding)
        self._file = None if self._is_stream else os.open(os.fsencode(path), os.O_RDONLY | os.O_CLOEXEC)
        self._size = 0 if self._file is None else os.fstat(self._file).st_size

    def entry_before(self, row: int) -> int:
        """The last row at or before `row` from which a stream can begin."""
        return self._rows[max(bisect_right(self._rows, row) - 1, 0)]

    def stream(self, row: int, columns: Sequence[str], batch_rows: int) -> Iterator[pa.RecordBatch]:
        """Batches of `columns` from `row`, which is one that `entry_before` gave, to the end of the file."""
        schema = pa.schema([self.schema.field(name) for name in columns])
        first = row
        for count, text in self._all_blocks() if self._is_stream else self._marked_blocks(row):
            table = self._parse(text, schema, first)
            if count >= 0 and table.num_rows != count:
                raise ValueError(f"{table.num_rows} records were read from row {first} on, and {count} counted")
            first += table.num_rows
            yield from table.combine_chunks().to_batches(max_chunksize=batch_rows)

    def close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _marked_blocks(self, row: int) -> Iterator[tuple[int, bytes]]:
        assert self._file is not None
        ends = [*self._offsets[1:], self._size]
        rows = [*self._rows[1:], self._how.row_count]
        for index in range(max(bisect_right(self._rows, row) - 1, 0), len(self._offsets)):
            start = self._offsets[index]
            yield (
                rows[index] - self._rows[index] if rows[index] >= 0 else -1,
                os.pread(self._file, ends[index] - start, start),
            )

    def _all_blocks(self) -> Iterator[tuple[int, bytes]]:
        waiting = b""
        skipped = self._offsets[0] if self._offsets else 0
        with open_bytes(self._path, self._how.options.encoding) as stream:
            while skipped > 0:
                skipped -= len(stream.read(skipped))
            while more := stream.read(_STREAM_BYTES):
                waiting += more
                end = waiting.rfind(b"\n") + 1
                if end and waiting[:end].strip():
                    yield -1, waiting[:end]
                waiting = waiting[end:]
        if waiting.strip():
            yield -1, waiting

    def _parse(self, text: bytes, schema: pa.Schema, first: int) -> pa.Table:
        reading = pa_json.ReadOptions(use_threads=False, block_size=len(text) + 1)
        parsing = pa_json.ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore")
        try:
            return pa_json.read_json(io.BytesIO(text), read_options=reading, parse_options=parsing).select(schema.names)
        except pa.ArrowInvalid as error:
            at = _first_fault(text, schema)
            raise ValueError(f"row {first + at}: {error}" if at >= 0 else str(error)) from None


def _first_fault(text: bytes, schema: pa.Schema) -> int:
    """The number of the first line that cannot be read alone; -1 when all can."""
    parsing = pa_json.ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore")
    for number, line in enumerate(line for line in text.splitlines() if line.strip()):
        try:
            pa_json.read_json(
                io.BytesIO(line), read_options=pa_json.ReadOptions(use_threads=False), parse_options=parsing
            )
        except pa.ArrowInvalid:
            return number
    return -1
