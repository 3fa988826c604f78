"""Whole records of a text file, block by block: from any mark on, or of a stream from its beginning."""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass

from runner.dataset._scan import RecordScan
from runner.dataset.table_layout import How
from runner.dataset.text_source import BLOCK_BYTES, BOM, is_stream, open_bytes

STREAM_BYTES = 4 << 20
"""About how much of a stream is parsed at once."""
MOST_BYTES = (1 << 31) - 2
"""The parsers count the bytes of a block with 31 bits; a block is longer than this only where one record is."""


@dataclass(frozen=True, slots=True)
class Block:
    """Some records: the number of the first, how many there are, and their bytes."""

    first_row: int
    row_count: int
    text: bytes


class TextBlocks:
    """The records of one open file, whose letters are `delimiter` and `quote` as `RecordScan` knows them."""

    def __init__(self, path: str, how: How, delimiter: int, quote: int) -> None:
        self._path, self._how = path, how
        self._letters = (delimiter, quote)
        self._rows = [row for row, _ in how.marks]
        self._offsets = [offset for _, offset in how.marks]
        self._is_stream = is_stream(path, how.options.encoding)
        self._file = None if self._is_stream else os.open(os.fsencode(path), os.O_RDONLY | os.O_CLOEXEC)
        self._size = 0 if self._file is None else os.fstat(self._file).st_size

    def entry_before(self, row: int) -> int:
        """The last row at or before `row` that a block begins with."""
        return self._rows[self._mark_of(row)]

    def from_row(self, row: int) -> Iterator[Block]:
        """The blocks from `row`, which is one that `entry_before` gave, to the end of the file."""
        for block in self._streamed() if self._is_stream else self._marked(self._mark_of(row)):
            if len(block.text) > MOST_BYTES:
                raise ValueError(f"the record at row {block.first_row} is longer than 2 GB")
            yield block

    def close(self) -> None:
        """Give the file back; harmless twice."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _mark_of(self, row: int) -> int:
        return max(bisect_right(self._rows, row) - 1, 0)

    def _marked(self, mark: int) -> Iterator[Block]:
        ends = [*self._offsets[1:], self._size]
        for index in range(mark, len(self._offsets)):
            text = self._read(self._offsets[index], ends[index])
            end_row = self._rows[index + 1] if index + 1 < len(self._rows) else self._how.row_count
            # Of a file that is read in part the plan does not know how many rows its last block has.
            count = end_row - self._rows[index] if end_row >= 0 else self._scanned(text).row_count
            yield Block(self._rows[index], count, text)

    def _read(self, start: int, end: int) -> bytes:
        assert self._file is not None
        pieces = []
        while start < end and (piece := os.pread(self._file, end - start, start)):
            pieces.append(piece)
            start += len(piece)
        if start < end:
            raise ValueError(f"it ends at byte {start}, before the records that were counted")
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _scanned(self, text: bytes) -> RecordScan:
        records = RecordScan(*self._letters, mark_bytes=1 << 62)
        records.feed(text)
        return records

    def _streamed(self) -> Iterator[Block]:
        begin = self._offsets[0] if self._offsets else 0
        records = RecordScan(*self._letters, mark_bytes=STREAM_BYTES, offset=begin)
        waiting, start, row, at = bytearray(), begin, 0, begin
        with open_bytes(self._path, self._how.options.encoding) as stream:
            skip(stream, begin)
            while text := stream.read(BLOCK_BYTES):
                records.feed(text)
                waiting += text
                at += len(text)
                next_row, offset = records.last_mark or (0, begin)
                if next_row > row:
                    yield Block(row, next_row - row, bytes(waiting[: offset - start]))
                    del waiting[: offset - start]
                    row, start = next_row, offset
        if records.row_count > row:
            yield Block(row, records.row_count - row, bytes(waiting))


def skip(stream: object, count: int) -> None:
    """Go over the next bytes of a binary stream."""
    while count and (piece := stream.read(min(count, BLOCK_BYTES))):  # type: ignore[attr-defined] # any binary stream
        count -= len(piece)


def guarded(text: bytes) -> bytes:
    """Text for a parser that takes a byte order mark away: records have none, so one that is there is data."""
    return BOM + text if text.startswith(BOM) else text
