"""JSON lines: one object a line, their rows parsed mark by mark with types that the plan has settled."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

import pyarrow as pa
import pyarrow.json as pa_json

from runner.dataset.json_values import lines_of, parse_lines, told_by_lines
from runner.dataset.table_layout import How, Layout, TableReader
from runner.dataset.text_blocks import Block, TextBlocks, guarded
from runner.dataset.text_layout import layout_of, scan, told_schema
from runner.dataset.text_source import BOM, codec_of, open_bytes
from runner.dataset.text_types import told_type
from runner.entity.table import TableOptions

NAME = "JSON lines"
EXTENSIONS = frozenset({".jsonl", ".ndjson", ".json"})


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

    def tell(sample: bytes) -> pa.Schema:
        return _told(sample if codec_of(options.encoding) == "utf8" else _recoded(sample, options.encoding))

    return layout_of(scanned, told_schema(scanned, tell) if scanned.row_count else pa.schema([]))


def _told(sample: bytes) -> pa.Schema:
    reading = pa_json.ReadOptions(use_threads=False, block_size=len(sample) + 1)
    try:
        table = pa_json.read_json(pa.BufferReader(sample), read_options=reading)
    except (pa.ArrowInvalid, UnicodeDecodeError):
        return told_by_lines(sample)
    if table.num_rows != len(lines_of(sample)):
        return told_by_lines(sample)
    return pa.schema([(field.name, told_type(field.type)) for field in table.schema])


def _recoded(text: bytes, encoding: str) -> bytes:
    """Text of another encoding as UTF-8; bytes that it does not know become such as UTF-8 does not know either."""
    return text.decode(codec_of(encoding), "surrogateescape").encode("utf-8", "surrogatepass")


def open_reader(path: str, how: How) -> TableReader:
    """Open the file for reading its rows."""
    return _Reader(path, how)


class _Reader:
    """Rows of one file in order, from any mark on; of a stream, from its beginning."""

    def __init__(self, path: str, how: How) -> None:
        self._options = how.options
        self.bad_rows: dict[int, str] = {}
        known = how.schema if how.schema is not None else pa.schema([])
        types = {field.name: field.type for field in known}
        self.schema = pa.schema([(name, types.get(name, pa.string())) for name in how.names])
        self._blocks = TextBlocks(path, how, -1, -1)

    def entry_before(self, row: int) -> int:
        """The last row at or before `row` from which a stream can begin."""
        return self._blocks.entry_before(row)

    def stream(self, row: int, columns: Sequence[str], batch_rows: int) -> Iterator[pa.RecordBatch]:
        """Batches of `columns` from `row`, which is one that `entry_before` gave, to the end of the file."""
        wanted = list(columns) or self.schema.names[:1]  # without any, nobody would know how many rows there are
        schema = pa.schema([self.schema.field(name) for name in wanted])
        for block in self._blocks.from_row(row):
            yield from self._parse(block, schema).combine_chunks().to_batches(max_chunksize=batch_rows)

    def close(self) -> None:
        self._blocks.close()

    def _parse(self, block: Block, schema: pa.Schema) -> pa.Table:
        """The records of a block. One that cannot be read is a row of nulls here, and noted in `bad_rows`."""
        text = block.text
        if codec_of(self._options.encoding) != "utf8":
            text = _recoded(text, self._options.encoding)
        reading = pa_json.ReadOptions(use_threads=False, block_size=len(text) + len(BOM) + 1)
        parsing = pa_json.ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore")
        try:
            if not text.isascii():
                text.decode()  # the parser takes any bytes for text
            table = pa_json.read_json(pa.BufferReader(guarded(text)), read_options=reading, parse_options=parsing)
            if table.num_rows == block.row_count:
                return table.select(schema.names)
        except (pa.ArrowInvalid, UnicodeDecodeError):
            pass
        table, lost = parse_lines(text, schema, self._options.column_types)
        self.bad_rows.update((block.first_row + at, f"row {block.first_row + at} {what}") for at, what in lost.items())
        if table.num_rows != block.row_count:
            what = f"{table.num_rows} records were read from row {block.first_row} on"
            raise ValueError(f"{what}, and {block.row_count} counted")
        return table
