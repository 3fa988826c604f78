"""What planning knows of a text file: how many records, where they can be entered, the types of its columns."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pyarrow as pa

from runner.dataset._scan import RecordScan
from runner.dataset.table_layout import Layout, RowGroup, row_bytes
from runner.dataset.text_source import blocks_of, is_stream, open_bytes
from runner.dataset.text_types import (
    FIRST_SAMPLE_BYTES,
    LATER_EVERY_BYTES,
    LATER_SAMPLE_BYTES,
    join_schemas,
)

MARK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Scanned:
    """Records of a file behind its header."""

    row_count: int
    marks: tuple[tuple[int, int], ...]
    """Number and offset of the first record, and of about one in each MiB."""
    size_bytes: int
    """Of the text: unpacked, in UTF-8."""
    data_bytes: int
    """Of it, behind the header."""
    samples: tuple[bytes, ...]
    is_stream: bool


def scan(path: str, encoding: str, begin: int, delimiter: str, quote: str) -> Scanned:
    """Go over a file once from the byte `begin` on. ValueError when a quote is never closed."""
    records = RecordScan(
        ord(delimiter) if delimiter else -1, ord(quote) if quote else -1, mark_bytes=MARK_BYTES, offset=begin
    )
    samples = _Samples(begin, delimiter, quote)
    at = begin
    with open_bytes(path, encoding) as stream:
        _skip(stream, begin)
        for block in blocks_of(stream):
            records.feed(block)
            samples.see(at, block)
            at += len(block)
    if records.is_in_quotes:
        raise ValueError("a quote is opened and never closed")
    marks = tuple(records.marks)
    if is_stream(path, encoding):
        marks = marks[:1]
    return Scanned(records.row_count, marks, at, at - begin, tuple(samples.taken()), is_stream(path, encoding))


def _skip(stream: object, count: int) -> None:
    while count:
        count -= len(stream.read(min(count, MARK_BYTES)))  # type: ignore[attr-defined] # any binary stream


class _Samples:
    """The first MiB, and some records behind each further 64 MiB."""

    def __init__(self, begin: int, delimiter: str, quote: str) -> None:
        self._first = bytearray()
        self._later: list[bytes] = []
        self._next = begin + LATER_EVERY_BYTES
        self._letters = (ord(delimiter), ord(quote) if quote else -1)

    def see(self, at: int, block: bytes) -> None:
        if len(self._first) < FIRST_SAMPLE_BYTES:
            self._first += block
        elif at >= self._next:
            self._later.append(block[:LATER_SAMPLE_BYTES])
            self._next = at + LATER_EVERY_BYTES

    def taken(self) -> Iterator[bytes]:
        yield bytes(self._first)
        for sample in self._later:
            # It begins and ends anywhere, so only what lies between two line breaks is sure to be whole lines.
            first, last = sample.find(b"\n"), sample.rfind(b"\n")
            if 0 <= first < last:
                yield sample[first + 1 : last + 1]


def whole_records(sample: bytes, delimiter: str, quote: str, *, is_whole: bool) -> bytes:
    """A sample up to the end of its last whole record."""
    if is_whole:
        return sample
    records = RecordScan(ord(delimiter) if delimiter else -1, ord(quote) if quote else -1, mark_bytes=1)
    records.feed(sample)
    marks = records.marks
    return sample[: marks[-1][1]] if len(marks) > 1 else sample


def told_schema(scanned: Scanned, tell: Callable[[bytes], pa.Schema], delimiter: str, quote: str) -> pa.Schema:
    """The types that the samples tell; a sample that lies in quotes of its own makes no sense and is left out."""
    is_whole = scanned.data_bytes <= len(scanned.samples[0])
    first = whole_records(scanned.samples[0], delimiter, quote, is_whole=is_whole)
    schemas = [tell(first)]
    for sample in scanned.samples[1:]:
        try:
            schemas.append(tell(sample))
        except pa.ArrowInvalid:
            continue
    return join_schemas(schemas)


def layout_of(scanned: Scanned, schema: pa.Schema) -> Layout:
    """As any format's: every mark is where a group of rows begins, and any column may hold nulls."""
    ends = [row for row, _ in scanned.marks[1:]] + [scanned.row_count]
    offsets = [offset for _, offset in scanned.marks[1:]] + [scanned.size_bytes]
    mean = scanned.size_bytes / max(scanned.row_count, 1) / max(len(schema), 1)
    return Layout(
        schema=schema,
        row_groups=tuple(
            RowGroup(end - row, stop - start)
            for (row, start), end, stop in zip(scanned.marks, ends, offsets, strict=True)
        ),
        nullable=tuple(schema.names),
        row_bytes=row_bytes(schema, dict.fromkeys(schema.names, mean)),
        marks=scanned.marks,
        names=tuple(schema.names),
        is_stream=scanned.is_stream,
    )
