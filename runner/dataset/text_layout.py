"""What planning knows of a text file: how many records, where they can be entered, the types of its columns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pyarrow as pa

from runner.dataset._scan import RecordScan
from runner.dataset.table_layout import Layout, RowGroup, row_bytes
from runner.dataset.text_blocks import skip
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


def letter(text: str) -> int:
    """A letter as the scan knows it; -1 for none."""
    return ord(text) if text else -1


def scan(path: str, encoding: str, begin: int, delimiter: str, quote: str) -> Scanned:
    """Go over a file once from the byte `begin` on. ValueError when a quote is never closed."""
    records = RecordScan(letter(delimiter), letter(quote), mark_bytes=MARK_BYTES, offset=begin)
    samples = _Samples(begin)
    at = begin
    with open_bytes(path, encoding) as stream:
        skip(stream, begin)
        for block in blocks_of(stream):
            records.feed(block)
            samples.see(at, block, records)
            at += len(block)
    if records.is_in_quotes:
        raise ValueError("a quote is opened and never closed")
    marks = tuple(records.marks)
    if is_stream(path, encoding):
        marks = marks[:1]
    samples.cut_to_records(delimiter, quote, at)
    return Scanned(records.row_count, marks, at, at - begin, tuple(samples.texts), is_stream(path, encoding))


class _Samples:
    """The first MiB, and some records behind each further 64 MiB, by offsets that no size of blocks changes."""

    def __init__(self, begin: int) -> None:
        self.texts: list[bytes] = []
        self._starts: list[int] = []
        self._taking: bytearray | None = bytearray()
        self._start = begin
        self._next = begin + LATER_EVERY_BYTES

    def see(self, at: int, block: bytes, records: RecordScan) -> None:
        """Take of a block, which the scan has seen, what is wanted."""
        if self._taking is None:
            mark = records.last_mark
            if mark is None or mark[1] < self._next:
                return
            self._start = next(offset for _, offset in records.marks if offset >= self._next)
            self._next = self._start + LATER_EVERY_BYTES
            self._taking, block = bytearray(), block[self._start - at :]
        self._taking += block
        is_first = not self.texts
        # However long the first record is, the first sample has it whole.
        if len(self._taking) > (FIRST_SAMPLE_BYTES if is_first else LATER_SAMPLE_BYTES) and (
            not is_first or records.row_count > 1
        ):
            self._end()

    def _end(self) -> None:
        if self._taking is not None:
            self.texts.append(bytes(self._taking))
            self._starts.append(self._start)
            self._taking = None

    def cut_to_records(self, delimiter: str, quote: str, end: int) -> None:
        """Leave out what follows the last whole record of each sample; a later one without any is dropped."""
        self._end()
        cut = []
        for number, (start, text) in enumerate(zip(self._starts, self.texts, strict=True)):
            limit = LATER_SAMPLE_BYTES if number else FIRST_SAMPLE_BYTES
            if start + len(text) == end and len(text) <= limit:
                cut.append(text)
                continue
            records = RecordScan(letter(delimiter), letter(quote), mark_bytes=1)
            records.feed(text[:limit])
            if records.row_count > 1:
                cut.append(text[: records.marks[-1][1]])
            elif not number:
                records.feed(text[limit:])
                cut.append(text[: records.marks[1][1]] if records.row_count > 1 else text)
        self.texts = cut


def told_schema(scanned: Scanned, tell: Callable[[bytes], pa.Schema]) -> pa.Schema:
    """The types that the samples tell together."""
    return join_schemas([tell(sample) for sample in scanned.samples])


def layout_of(scanned: Scanned, schema: pa.Schema) -> Layout:
    """As any format's: every mark is where a group of rows begins, and any column may hold nulls."""
    nexts = (*scanned.marks[1:], (scanned.row_count, scanned.size_bytes)) if scanned.marks else ()
    mean = scanned.size_bytes / max(scanned.row_count, 1) / max(len(schema), 1)
    return Layout(
        schema=schema,
        row_groups=tuple(
            RowGroup(end - row, stop - start) for (row, start), (end, stop) in zip(scanned.marks, nexts, strict=True)
        ),
        nullable=tuple(schema.names),
        row_bytes=row_bytes(schema, dict.fromkeys(schema.names, mean)),
        marks=scanned.marks,
        names=tuple(schema.names),
        is_text=True,
        is_stream=scanned.is_stream,
    )
