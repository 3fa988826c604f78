"""CSV and TSV files: their records by one scan, their rows parsed mark by mark with types that the plan has settled."""

from __future__ import annotations

import io
import os
from collections.abc import Collection, Iterator, Sequence

import pyarrow as pa
import pyarrow.csv as pc_csv

from runner.dataset._scan import RecordScan
from runner.dataset.table_layout import How, Layout, TableReader
from runner.dataset.text_blocks import Block, TextBlocks, guarded
from runner.dataset.text_layout import layout_of, letter, scan, told_schema
from runner.dataset.text_source import BOM, codec_of, open_bytes, packing_of
from runner.dataset.text_types import csv_conversion, without_leading_zeros
from runner.entity.table import TableOptions

NAME = "CSV"
EXTENSIONS = frozenset({".csv", ".tsv", ".txt", ".tab"})
QUOTE = '"'
HEADER_BYTES = 1 << 20
_OPEN = "has a quote that is not closed on its line, and `support_multi_line` is false"


def is_mine(head: bytes) -> bool:
    """Whether a file that begins with `head` is of this format: text says nothing of itself."""
    return False


def delimiter_of(path: str, options: TableOptions) -> str:
    """What separates fields: as asked for, else by the extension."""
    if options.delimiter:
        return options.delimiter
    stem = os.path.splitext(path)[0] if packing_of(path) else path
    return "\t" if stem.lower().endswith((".tsv", ".tab")) else ","


def layout(path: str, columns: Collection[str] | None, options: TableOptions) -> Layout:
    """Records, marks and the types that samples tell; the whole file is looked at once."""
    delimiter = delimiter_of(path, options)
    names, begin = _head(path, options, delimiter)
    doubled = sorted({name for name in names if names.count(name) > 1}) if len(set(names)) < len(names) else []
    if doubled:
        raise ValueError(f"its header names {doubled[0]!r} twice; rename one")
    scanned = scan(path, options.encoding, begin, delimiter, _quote(options))

    def tell(sample: bytes) -> pa.Schema:
        return _told(sample, names, options, delimiter)

    schema = told_schema(scanned, tell) if scanned.row_count else pa.schema([(name, pa.null()) for name in names])
    return layout_of(scanned, schema)


def _quote(options: TableOptions) -> str:
    """What protects line breaks; nothing does where a record is a line."""
    return QUOTE if options.is_multi_line else ""


def _head(path: str, options: TableOptions, delimiter: str) -> tuple[tuple[str, ...], int]:
    """The names of the columns, and the byte with which the records begin."""
    head = bytearray()
    with open_bytes(path, options.encoding) as stream:
        while len(head) < HEADER_BYTES and (more := stream.read(HEADER_BYTES)):
            head += more
    at = len(BOM) if head.startswith(BOM) else 0
    records = RecordScan(ord(delimiter), letter(_quote(options)), mark_bytes=1, offset=at)
    records.feed(memoryview(head)[at:])
    marks = records.marks
    if not marks:
        raise ValueError("it is empty, without even a header")
    if len(marks) == 1 and records.is_in_quotes:
        raise ValueError("a quote is opened in its first record and not closed within 1 MiB")
    if len(marks) == 1 and len(head) >= HEADER_BYTES:
        raise ValueError("its first record is longer than 1 MiB")
    end = marks[1][1] if len(marks) > 1 else len(head)
    fields = _fields(bytes(head[marks[0][1] : end]), options, delimiter)
    if options.header == "no_header":
        return tuple(f"Column{number}" for number in range(1, len(fields) + 1)), at
    return fields, end


def _fields(record: bytes, options: TableOptions, delimiter: str) -> tuple[str, ...]:
    """The fields of one record as text."""
    parsing, codec = _parsing(delimiter), codec_of(options.encoding)
    counted = pc_csv.read_csv(
        io.BytesIO(record),
        read_options=pc_csv.ReadOptions(autogenerate_column_names=True, use_threads=False, encoding=codec),
        parse_options=parsing,
    )
    names = list(counted.column_names)
    table = pc_csv.read_csv(
        io.BytesIO(record),
        read_options=pc_csv.ReadOptions(column_names=names, use_threads=False, encoding=codec),
        parse_options=parsing,
        convert_options=pc_csv.ConvertOptions(column_types=_all_text(names), null_values=[], strings_can_be_null=False),
    )
    return tuple(column[0].as_py() for column in table.columns)


def _parsing(delimiter: str) -> pc_csv.ParseOptions:
    return pc_csv.ParseOptions(delimiter=delimiter, quote_char=QUOTE, newlines_in_values=True)


def _told(sample: bytes, names: Sequence[str], options: TableOptions, delimiter: str) -> pa.Schema:
    if not options.infer_column_types:
        return _all_text(names)
    if not options.is_multi_line:
        sample = b"\n".join(line for line in sample.splitlines() if not _is_open(line, delimiter)) + b"\n"
    reading = pc_csv.ReadOptions(
        column_names=list(names), use_threads=False, block_size=len(sample) + 1, encoding=codec_of(options.encoding)
    )
    parsing = _parsing(delimiter)
    parsing.invalid_row_handler = lambda fault: "skip"  # it will cost its mini-batch, not the job

    def read(types: pa.Schema | None, columns: Sequence[str] | None, *, empty_as_string: bool) -> pa.Table:
        return pc_csv.read_csv(
            pa.BufferReader(sample),
            read_options=reading,
            parse_options=parsing,
            convert_options=csv_conversion(types, columns, empty_as_string=empty_as_string),
        )

    table = read(None, None, empty_as_string=options.empty_as_string)
    for field in table.schema:
        if pa.types.is_binary(field.type):
            what = f"column {field.name!r} holds bytes that are no {options.encoding}"
            raise ValueError(f"{what}; say the `encoding`, such as latin1, in an MLTable file")
    whole = [field.name for field in table.schema if pa.types.is_integer(field.type)]
    as_text = read(_all_text(whole), whole, empty_as_string=False) if whole else table
    return without_leading_zeros(table, as_text)


def _is_open(line: bytes, delimiter: str) -> bool:
    """Whether a quote is open at the end of a line."""
    if QUOTE.encode() not in line:
        return False
    records = RecordScan(ord(delimiter), ord(QUOTE), mark_bytes=1)
    records.feed(line)
    return records.is_in_quotes


def _all_text(names: Sequence[str]) -> pa.Schema:
    return pa.schema([(name, pa.string()) for name in names])


def open_reader(path: str, how: How) -> TableReader:
    """Open the file for reading its rows."""
    return _Reader(path, how)


class _Reader:
    """Rows of one file in order, from any mark on; of a stream, from its beginning."""

    def __init__(self, path: str, how: How) -> None:
        self._options = how.options
        self._delimiter = delimiter_of(path, how.options)
        self.bad_rows: dict[int, str] = {}
        known = how.schema if how.schema is not None else pa.schema([])
        # What is converted by the user's word is read as text: what does not fit becomes null and is no error.
        types = {field.name: field.type for field in known if field.name not in how.options.column_types}
        self.schema = pa.schema([(name, types.get(name, pa.string())) for name in how.names])
        self._blocks = TextBlocks(path, how, ord(self._delimiter), letter(_quote(how.options)))

    def entry_before(self, row: int) -> int:
        """The last row at or before `row` from which a stream can begin."""
        return self._blocks.entry_before(row)

    def stream(self, row: int, columns: Sequence[str], batch_rows: int) -> Iterator[pa.RecordBatch]:
        """Batches of `columns` from `row`, which is one that `entry_before` gave, to the end of the file."""
        columns = list(columns) or self.schema.names[:1]  # without any, nobody would know how many rows there are
        for block in self._blocks.from_row(row):
            yield from self._parse(block, columns).combine_chunks().to_batches(max_chunksize=batch_rows)

    def close(self) -> None:
        self._blocks.close()

    def _parse(self, block: Block, columns: Sequence[str]) -> pa.Table:
        """The records of a block. One that cannot be read is a row of nulls here, and noted in `bad_rows`."""
        codec = codec_of(self._options.encoding)
        text = guarded(block.text) if codec == "utf8" else block.text
        conversion = csv_conversion(self.schema, columns, empty_as_string=self._options.empty_as_string)
        try:
            table = pc_csv.read_csv(
                pa.BufferReader(text),
                read_options=self._reading(len(text), codec),
                parse_options=_parsing(self._delimiter),
                convert_options=conversion,
            )
        except (pa.ArrowInvalid, UnicodeDecodeError):
            return self._parse_what_can_be(block, columns)
        return table if table.num_rows == block.row_count else self._parse_what_can_be(block, columns)

    def _reading(self, size: int, codec: str) -> pc_csv.ReadOptions:
        names = self.schema.names
        return pc_csv.ReadOptions(column_names=names, use_threads=False, block_size=size + 1, encoding=codec)

    def _parse_what_can_be(self, block: Block, columns: Sequence[str]) -> pa.Table:
        """As `_parse`, with a look at each record that may be at fault."""
        lost: dict[int, str] = {}
        text, codec = block.text, codec_of(self._options.encoding)
        if codec != "utf8":  # bytes that it does not know become such as UTF-8 does not know either
            text = text.decode(codec, "surrogateescape").encode("utf-8", "surrogatepass")
        records: Sequence[int] = range(block.row_count)
        if not self._options.is_multi_line:
            lines = [line for line in text.splitlines() if line]
            lost = {at: _OPEN for at, line in enumerate(lines) if _is_open(line, self._delimiter)}
            records = [at for at in records if at not in lost]
            text = b"\n".join(line for at, line in enumerate(lines) if at not in lost) + b"\n"

        def note(fault: pc_csv.InvalidRow) -> str:
            what = f"{fault.actual_columns} fields instead of {fault.expected_columns}: {fault.text[:80]!r}"
            lost[records[(fault.number or 1) - 1]] = f"has {what}"
            return "skip"

        parsing = _parsing(self._delimiter)
        parsing.invalid_row_handler = note
        kinds = pa.schema([(name, pa.binary()) for name in self.schema.names])
        table = pc_csv.read_csv(
            pa.BufferReader(guarded(text)),
            read_options=self._reading(len(text) + len(BOM), "utf8"),
            parse_options=parsing,
            convert_options=csv_conversion(kinds, columns, empty_as_string=self._options.empty_as_string),
        )
        if table.num_rows + len(lost) != block.row_count:
            what = f"{table.num_rows + len(lost)} records were read from row {block.first_row} on"
            raise ValueError(f"{what}, and {block.row_count} counted")
        if lost:
            table = _with_gaps(table, sorted(lost))
        arrays = [self._column(table, name, lost) for name in columns]
        self.bad_rows.update((block.first_row + at, f"row {block.first_row + at} {what}") for at, what in lost.items())
        return pa.table(arrays, names=list(columns))

    def _column(self, table: pa.Table, name: str, lost: dict[int, str]) -> pa.Array:
        """The values of a column as its type; where one has no form there, why the row is lost."""
        kind = self.schema.field(name).type
        values, foreign = _as_text(table.column(name).combine_chunks())
        for at in foreign:
            lost.setdefault(at, f"has bytes in column {name!r} that are no {self._options.encoding}")
        if pa.types.is_string(kind):
            return values
        parsed, misfits = typed(values, kind)
        for at in misfits:
            what = f"has {values[at].as_py()[:80]!r} in column {name!r}, which is no {kind}"
            remedy = f"write `convert_column_types` with {name!r} as string in an MLTable file"
            lost.setdefault(at, f"{what}; {remedy}")
        return parsed


def _as_text(column: pa.Array) -> tuple[pa.Array, list[int]]:
    """Bytes as text; what is no UTF-8 is null, and its places are told."""
    try:
        return column.cast(pa.string()), []
    except pa.ArrowInvalid:
        pass
    values: list[str | None] = []
    foreign = []
    for at, value in enumerate(column.to_pylist()):
        try:
            values.append(None if value is None else value.decode())
        except UnicodeDecodeError:
            values.append(None)
            foreign.append(at)
    return pa.array(values, pa.string()), foreign


def _with_gaps(table: pa.Table, gaps: Sequence[int]) -> pa.Table:
    """Rows of nulls at the places of those that were left out."""
    rows: list[int | None] = list(range(table.num_rows))
    for gap in gaps:
        rows.insert(gap, None)
    return table.take(pa.array(rows, pa.int64()))


def typed(column: pa.Array, kind: pa.DataType) -> tuple[pa.Array, list[int]]:
    """Text as the parser of CSV would read it as another type; what does not fit is null, and its places are told."""
    values = column.to_pylist()
    misfits = _misfits(values, 0, kind)
    for at in misfits:
        values[at] = None
    parsed = _parsed(values, kind)
    assert parsed is not None
    return parsed, misfits


def _misfits(values: Sequence[str | None], start: int, kind: pa.DataType) -> list[int]:
    """Found by halving: most values fit, and whole stretches of them are parsed at once."""
    if _parsed(values, kind) is not None:
        return []
    if len(values) == 1:
        return [start]
    half = len(values) // 2
    return _misfits(values[:half], start, kind) + _misfits(values[half:], start + half, kind)


def _parsed(values: Sequence[str | None], kind: pa.DataType) -> pa.Array | None:
    """The values as the type; None when one of them is not."""
    lines = ("," if value is None else '"' + value.replace('"', '""') + '",' for value in values)
    try:
        table = pc_csv.read_csv(
            io.BytesIO(("\n".join(lines) + "\n").encode()),
            read_options=pc_csv.ReadOptions(column_names=["c", "end"], use_threads=False, block_size=1 << 30),
            parse_options=pc_csv.ParseOptions(newlines_in_values=True),
            convert_options=csv_conversion(pa.schema([("c", kind)]), ["c"], empty_as_string=False),
        )
    except pa.ArrowInvalid:
        return None
    return table.column("c").combine_chunks()
