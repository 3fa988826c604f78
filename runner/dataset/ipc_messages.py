"""Reads the headers of Arrow IPC messages without their bodies: rows and null counts of every record batch.

pyarrow gives these only together with the decoded batch, and planning must not read the data. Only the few flatbuffer
fields needed here are looked at: Message {version, header type, header, bodyLength} and
RecordBatch {length, nodes [{length, null_count}], buffers}; offsets are checked against the header's own bytes.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import pyarrow as pa

_CONTINUATION = 0xFFFFFFFF
_RECORD_BATCH = 3
_HEADER_LIMIT = 1 << 28


@dataclass(frozen=True, slots=True)
class BatchHeader:
    """What the header of one record batch says; `null_counts` by top-level column."""

    row_count: int
    null_counts: tuple[int, ...]
    body_bytes: int


def read_headers(source: pa.NativeFile, offset: int, schema: pa.Schema) -> list[BatchHeader]:
    """The headers of all record batches from byte `offset` on, up to the end marker; ValueError names what is wrong."""
    size = source.size()
    positions = _node_positions(schema)
    headers = []
    while offset + 4 <= size:
        length, prefix = _message_length(source.read_at(min(8, size - offset), offset))
        if length == 0:
            break
        if length > _HEADER_LIMIT or offset + prefix + length > size:
            raise ValueError(f"the message at byte {offset} is longer than the file; it is truncated or damaged")
        table = _Table.root(source.read_at(length, offset + prefix))
        body = table.int64(3)
        end = offset + prefix + length + body
        if body < 0 or end > size:
            raise ValueError(f"the message at byte {offset} ends after the file; it is truncated or damaged")
        if table.uint8(1) == _RECORD_BATCH:
            headers.append(_batch_header(table.table(2), positions, body))
        offset = end
    return headers


def _message_length(head: bytes) -> tuple[int, int]:
    """Length of the header, and of what stands before it (old writers wrote no continuation marker)."""
    (first,) = struct.unpack_from("<I", head)
    if first != _CONTINUATION:
        return first, 4
    if len(head) < 8:
        raise ValueError("the file ends inside a message")
    return struct.unpack_from("<I", head, 4)[0], 8


def _batch_header(batch: _Table, positions: list[int], body: int) -> BatchHeader:
    nodes = batch.structs(1, "<qq")
    if positions and positions[-1] >= len(nodes):
        raise ValueError("a record batch has fewer columns than the schema")
    return BatchHeader(batch.int64(0), tuple(nodes[position][1] for position in positions), body)


def _node_positions(schema: pa.Schema) -> list[int]:
    """Where in the flat list of nodes each top-level column stands: its children follow it, depth first."""
    positions, at = [], 0
    for field in schema:
        positions.append(at)
        at += _node_count(field.type)
    return positions


def _node_count(kind: pa.DataType) -> int:
    if isinstance(kind, pa.BaseExtensionType):
        return _node_count(kind.storage_type)
    if pa.types.is_run_end_encoded(kind):
        return 2 + _node_count(kind.value_type)
    if not pa.types.is_nested(kind):
        return 1
    if pa.types.is_map(kind):
        return 2 + _node_count(kind.key_type) + _node_count(kind.item_type)
    return 1 + sum(_node_count(kind.field(index).type) for index in range(kind.num_fields))


class _Table:
    """A flatbuffer table: fields by number, absent ones are 0."""

    __slots__ = ("_at", "_data", "_vtable")

    def __init__(self, data: bytes, at: int) -> None:
        self._data = data
        self._at = at
        self._vtable = at - self._unpack("<i", at)

    @classmethod
    def root(cls, data: bytes) -> _Table:
        return cls(data, cls._read(data, "<I", 0))

    def int64(self, field: int) -> int:
        at = self._field(field)
        return self._unpack("<q", at) if at else 0

    def uint8(self, field: int) -> int:
        at = self._field(field)
        return self._unpack("<B", at) if at else 0

    def table(self, field: int) -> _Table:
        at = self._field(field)
        if not at:
            raise ValueError("a message has no header")
        return _Table(self._data, at + self._unpack("<I", at))

    def structs(self, field: int, layout: str) -> list[tuple[int, ...]]:
        at = self._field(field)
        if not at:
            return []
        vector = at + self._unpack("<I", at)
        end = vector + 4 + self._unpack("<I", vector) * struct.calcsize(layout)
        if end > len(self._data):
            raise ValueError("a message's header is damaged")
        return list(struct.iter_unpack(layout, self._data[vector + 4 : end]))

    def _field(self, number: int) -> int:
        """Where a field stands, 0 when it is absent."""
        slot = 4 + 2 * number
        if slot + 2 > self._unpack("<H", self._vtable):
            return 0
        offset = self._unpack("<H", self._vtable + slot)
        return self._at + offset if offset else 0

    def _unpack(self, layout: str, at: int) -> int:
        return self._read(self._data, layout, at)

    @staticmethod
    def _read(data: bytes, layout: str, at: int) -> int:
        if at < 0:
            raise ValueError("a message's header is damaged")
        try:
            value: int = struct.unpack_from(layout, data, at)[0]
        except struct.error:
            raise ValueError("a message's header is damaged") from None
        return value
