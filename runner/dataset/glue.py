"""Parquet files made of the row groups of others, whose pages are copied as they are: nothing is decoded.

Workers encode what they flush, and a part takes their row groups over; encoding twice would cost as much as reading
the input. Only the footer is written anew: the row groups of all pieces, with the offsets of their pages shifted.
"""

from __future__ import annotations

import threading

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from runner.dataset.encode import ROW_GROUP_ROWS, TableFile, parquet_settings
from runner.dataset.storage import HashedFile
from runner.dataset.thrift import I64, LIST, STRUCT, Struct, read_struct, write_struct
from runner.entity.parallel import OutputSpec
from runner.errors import Defect

MAGIC = b"PAR1"
SPARE_BYTES = 1 << 20
_SCHEMA, _ROW_COUNT, _ROW_GROUPS, _KEY_VALUES = 2, 3, 4, 5
_COLUMNS, _GROUP_OFFSET, _ORDINAL = 1, 5, 7
_CHUNK_OFFSET, _CHUNK_META, _INDEX_OFFSETS = 2, 3, (4, 6)
_PAGE_OFFSETS = (9, 10, 11, 14)
"""Field numbers of parquet.thrift: FileMetaData, RowGroup, ColumnChunk, ColumnMetaData."""


_kept = threading.local()
"""The memory that a thread encodes into: fresh pages for every flush would cost as much as the encoding."""


def encode_parquet(rows: pa.Table, compression: str) -> memoryview:
    """A table as a Parquet file in memory; valid until this thread encodes again."""
    room: npt.NDArray[np.uint8] | None = getattr(_kept, "room", None)
    wanted = rows.nbytes + rows.nbytes // 8 + SPARE_BYTES
    if room is None or len(room) < wanted:
        room = _kept.room = np.empty(wanted, np.uint8)
    sink = pa.FixedSizeBufferWriter(pa.py_buffer(room))
    try:
        _encode(rows, compression, sink)
        return room.data[: sink.tell()]
    except OSError:
        # Encoded it is larger than it was; that is rare enough to begin again.
        growing = pa.BufferOutputStream()
        _encode(rows, compression, growing)
        return memoryview(growing.getvalue()).cast("B")


def _encode(rows: pa.Table, compression: str, sink: pa.NativeFile) -> None:
    with pq.ParquetWriter(sink, rows.schema, **parquet_settings(rows, compression)) as writer:
        writer.write_table(rows, row_group_size=ROW_GROUP_ROWS)


class GluedFile(TableFile):
    """A Parquet part: rows that are encoded here, and whole Parquet files of the same schema taken over.

    The file may hold some of those already: the footer alone says which of its bytes count, and in what order.
    """

    def __init__(self, file: HashedFile, schema: pa.Schema, output: OutputSpec) -> None:
        super().__init__(file, schema, output)
        self._head: Struct = {}
        self._groups: list[Struct] = []
        if not file.size_bytes:
            file.write(MAGIC)

    def take_over(self, encoded: memoryview, row_count: int) -> None:
        """Append the rows of a Parquet file, which must have exactly this file's schema."""
        if self._pending:
            self._flush()
        self._append(encoded, row_count)

    def refer(self, encoded: memoryview, offset: int, row_count: int) -> None:
        """Let the rows of a Parquet file follow that lies in this file already, at `offset`."""
        if self._pending:
            self._flush()
        encoded = encoded.cast("B")
        self._enter(read_struct(encoded[-8 - _footer_bytes(encoded) : -8]), offset)
        self.row_count += row_count

    def _flush(self) -> None:
        rows = pa.concat_tables(self._pending) if self._pending else self._schema.empty_table()
        self._pending, self._pending_rows, self._pending_bytes = [], 0, 0
        self._append(encode_parquet(rows, self._output.compression), rows.num_rows)

    def _append(self, encoded: memoryview, row_count: int) -> None:
        encoded = encoded.cast("B")
        footer_bytes = _footer_bytes(encoded)
        self._enter(read_struct(encoded[-8 - footer_bytes : -8]), self.file.size_bytes - len(MAGIC))
        self.file.write(encoded[len(MAGIC) : -8 - footer_bytes])
        self.row_count += row_count

    def _enter(self, head: Struct, shift: int) -> None:
        """Take the row groups of a footer, whose file's first byte lies at `shift` of this one."""
        if not self._head:
            self._head = head
        elif any(self._head.get(n) != head.get(n) for n in (_SCHEMA, _KEY_VALUES)):
            raise Defect("row groups of two schemas were to be put into one file")
        for group in head[_ROW_GROUPS][1][1]:
            _move(group, shift)
            self._groups.append(group)

    def finish(self) -> None:
        """Write the rest and the footer, and make the file durable."""
        if self._pending or not self._head:
            self._flush()
        self._head[_ROW_COUNT] = (I64, self.row_count)
        self._head[_ROW_GROUPS] = (LIST, (STRUCT, self._groups))
        footer = write_struct(self._head)
        self.file.write(footer + len(footer).to_bytes(4, "little") + MAGIC)
        self.file.finish()


def _footer_bytes(encoded: memoryview) -> int:
    return int.from_bytes(encoded[-8:-4], "little")


def _move(group: Struct, shift: int) -> None:
    """Shift every offset of a row group."""
    _shift(group, _GROUP_OFFSET, shift)
    if _ORDINAL in group:
        # A 16-bit number that only encryption needs; without it more than 32,767 row groups are possible.
        del group[_ORDINAL]
    for chunk in group[_COLUMNS][1][1]:
        _shift(chunk, _CHUNK_OFFSET, shift)
        for number in _INDEX_OFFSETS:
            _shift(chunk, number, shift)
        for number in _PAGE_OFFSETS:
            _shift(chunk[_CHUNK_META][1], number, shift)


def _shift(struct: Struct, number: int, shift: int) -> None:
    kind, offset = struct.get(number, (I64, 0))
    if offset:
        struct[number] = (kind, offset + shift)
