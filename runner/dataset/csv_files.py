"""CSV and TSV files: their records by one scan, their rows parsed mark by mark with types that the plan has settled."""

from __future__ import annotations

import io
import os
from bisect import bisect_right
from collections.abc import Collection, Iterator, Sequence

import pyarrow as pa
import pyarrow.csv as pc_csv

from runner.dataset._scan import RecordScan
from runner.dataset.table_layout import How, Layout, TableReader
from runner.dataset.text_layout import layout_of, scan, told_schema
from runner.dataset.text_source import BOM, codec_of, is_stream, open_bytes, packing_of
from runner.dataset.text_types import csv_conversion, without_leading_zeros
from runner.entity.table import TableOptions

NAME = "CSV"
EXTENSIONS = frozenset({".csv", ".tsv", ".txt", ".tab"})
QUOTE = '"'
HEADER_BYTES = 1 << 20


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
    scanned = scan(path, options.encoding, begin, delimiter, QUOTE)

    def tell(sample: bytes) -> pa.Schema:
        return _told(sample, names, options, delimiter)

    schema = told_schema(scanned, tell, delimiter, QUOTE) if scanned.row_count else _all_text(names)
    return layout_of(scanned, schema)


def _head(path: str, options: TableOptions, delimiter: str) -> tuple[tuple[str, ...], int]:
    """The names of the columns, and the byte with which the records begin."""
    with open_bytes(path, options.encoding) as stream:
        head = bytearray()
        while len(head) < HEADER_BYTES and (more := stream.read(HEADER_BYTES)):
            head += more
    at = len(BOM) if head.startswith(BOM) else 0
    records = RecordScan(ord(delimiter), ord(QUOTE), mark_bytes=1, offset=at)
    records.feed(memoryview(head)[at:])
    marks = records.marks
    if not marks:
        raise ValueError("it is empty, without even a header")
    first = bytes(head[marks[0][1] : marks[1][1] if len(marks) > 1 else len(head)])
    fields = _fields(first, options, delimiter)
    if options.header == "no_header":
        return tuple(f"Column{number}" for number in range(1, len(fields) + 1)), at
    return fields, marks[1][1] if len(marks) > 1 else len(head)


def _fields(record: bytes, options: TableOptions, delimiter: str) -> tuple[str, ...]:
    """The fields of one record as text."""
    parsing, codec = _parsing(options, delimiter), codec_of(options.encoding)
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


def _parsing(options: TableOptions, delimiter: str) -> pc_csv.ParseOptions:
    return pc_csv.ParseOptions(delimiter=delimiter, quote_char=QUOTE, newlines_in_values=True)


def _told(sample: bytes, names: Sequence[str], options: TableOptions, delimiter: str) -> pa.Schema:
    if not options.infer_column_types:
        return _all_text(names)
    reading = pc_csv.ReadOptions(
        column_names=list(names), use_threads=False, block_size=len(sample) + 1, encoding=codec_of(options.encoding)
    )
    parsing = _parsing(options, delimiter)
    parsing.invalid_row_handler = lambda fault: "skip"  # it will cost its mini-batch, not the job
    table = pc_csv.read_csv(
        io.BytesIO(sample),
        read_options=reading,
        parse_options=parsing,
        convert_options=csv_conversion(None, None, empty_as_string=options.empty_as_string),
    )
    whole = [field.name for field in table.schema if pa.types.is_integer(field.type)]
    as_text = (
        pc_csv.read_csv(
            io.BytesIO(sample),
            read_options=reading,
            parse_options=parsing,
            convert_options=csv_conversion(_all_text(whole), whole, empty_as_string=False),
        )
        if whole
        else table
    )
    return without_leading_zeros(table, as_text)


def _all_text(names: Sequence[str]) -> pa.Schema:
    return pa.schema([(name, pa.string()) for name in names])


def open_reader(path: str, how: How) -> TableReader:
    """Open the file for reading its rows."""
    return _Reader(path, how)


class _Reader:
    """Rows of one file in order, from any mark on; of a stream, from its beginning."""

    def __init__(self, path: str, how: How) -> None:
        self._path, self._how, self._options = path, how, how.options
        self._delimiter = delimiter_of(path, how.options)
        self.bad_rows: dict[int, str] = {}
        self._rows = [row for row, _ in how.marks]
        self._offsets = [offset for _, offset in how.marks]
        known = how.schema if how.schema is not None else pa.schema([])
        # What is converted by the user's word is read as text: what does not fit becomes null and is no error.
        types = {field.name: field.type for field in known if field.name not in how.options.column_types}
        self.schema = pa.schema([(name, types.get(name, pa.string())) for name in how.names])
        self._is_stream = is_stream(path, how.options.encoding)
        self._file = None if self._is_stream else os.open(os.fsencode(path), os.O_RDONLY | os.O_CLOEXEC)
        self._size = 0 if self._file is None else os.fstat(self._file).st_size

    def entry_before(self, row: int) -> int:
        """The last row at or before `row` from which a stream can begin."""
        return self._rows[self._mark_of(row)]

    def stream(self, row: int, columns: Sequence[str], batch_rows: int) -> Iterator[pa.RecordBatch]:
        """Batches of `columns` from `row`, which is one that `entry_before` gave, to the end of the file."""
        blocks = self._all_blocks() if self._is_stream else self._marked_blocks(self._mark_of(row))
        for first, count, text in blocks:
            table = self._parse(text, columns, first)
            if count >= 0 and table.num_rows != count:
                raise ValueError(f"{table.num_rows} records were read from row {first} on, and {count} counted")
            yield from table.combine_chunks().to_batches(max_chunksize=batch_rows)

    def close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _mark_of(self, row: int) -> int:
        return max(bisect_right(self._rows, row) - 1, 0)

    def _marked_blocks(self, mark: int) -> Iterator[tuple[int, int, bytes]]:
        assert self._file is not None
        ends = [*self._offsets[1:], self._size]
        rows = [*self._rows[1:], self._how.row_count]
        for index in range(mark, len(self._offsets)):
            start, first = self._offsets[index], self._rows[index]
            text = os.pread(self._file, ends[index] - start, start)
            yield first, rows[index] - first if rows[index] >= 0 else -1, text

    def _all_blocks(self) -> Iterator[tuple[int, int, bytes]]:
        """Whole records of a stream, some MiB at a time."""
        begin = self._offsets[0] if self._offsets else 0
        waiting, row = b"", 0
        with open_bytes(self._path, self._options.encoding) as stream:
            while begin > 0:
                begin -= len(stream.read(min(begin, HEADER_BYTES)))
            while True:
                more = stream.read(4 * HEADER_BYTES)
                waiting += more
                if not more:
                    if waiting:
                        yield row, -1, waiting
                    return
                records = RecordScan(ord(self._delimiter), ord(QUOTE), mark_bytes=1)
                records.feed(waiting)
                marks = records.marks
                if len(marks) > 1:
                    count, end = marks[-1]
                    yield row, count, waiting[:end]
                    row, waiting = row + count, waiting[end:]

    def _parse(self, text: bytes, columns: Sequence[str], first: int) -> pa.Table:
        """The records of a block. One that cannot be read is a row of nulls here, and noted in `bad_rows`."""
        reading = pc_csv.ReadOptions(
            column_names=list(self.schema.names),
            use_threads=False,
            block_size=len(text) + 1,
            encoding=codec_of(self._options.encoding),
        )
        conversion = csv_conversion(self.schema, list(columns), empty_as_string=self._options.empty_as_string)
        parsing = _parsing(self._options, self._delimiter)
        try:
            return pc_csv.read_csv(
                io.BytesIO(text), read_options=reading, parse_options=parsing, convert_options=conversion
            )
        except pa.ArrowInvalid as error:
            return self._parse_what_can_be(text, columns, first, reading, str(error))

    def _parse_what_can_be(
        self, text: bytes, columns: Sequence[str], first: int, reading: pc_csv.ReadOptions, error: str
    ) -> pa.Table:
        ragged: dict[int, str] = {}

        def note(fault: pc_csv.InvalidRow) -> str:
            what = f"{fault.actual_columns} fields instead of {fault.expected_columns}: {fault.text[:80]!r}"
            ragged[(fault.number or 1) - 1] = f"row {first + (fault.number or 1) - 1} has {what}"
            return "skip"

        parsing = _parsing(self._options, self._delimiter)
        parsing.invalid_row_handler = note
        as_text = csv_conversion(
            _all_text(self.schema.names), list(columns), empty_as_string=self._options.empty_as_string
        )
        try:
            table = pc_csv.read_csv(
                io.BytesIO(text), read_options=reading, parse_options=parsing, convert_options=as_text
            )
        except pa.ArrowInvalid:
            raise ValueError(error) from None
        if ragged:
            table = _with_gaps(table, sorted(ragged))
            self.bad_rows.update((first + at, what) for at, what in ragged.items())
        arrays = []
        for name in columns:
            kind, column = self.schema.field(name).type, table.column(name).combine_chunks()
            values, misfits = (column, []) if pa.types.is_string(kind) else typed(column, kind)
            for at in misfits:
                what = f"row {first + at}, column {name!r}: {column[at].as_py()[:80]!r} is no {kind}"
                remedy = f"write `convert_column_types` with {name!r} as string in an MLTable file"
                self.bad_rows.setdefault(first + at, f"{what}; {remedy}")
            arrays.append(values)
        if not ragged and not self.bad_rows:
            raise ValueError(error)
        return pa.table(arrays, names=list(columns))


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
