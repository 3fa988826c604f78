"""Thrift's compact protocol, as far as the footer of a Parquet file needs it.

A struct is a dict from field number to (type, value), in the order of the file; a list is (element type, values).
Values that nobody looks at go through unchanged, so footers of newer writers survive.
Source: the compact protocol specification of Apache Thrift, and parquet.thrift of the Parquet format.
"""

from __future__ import annotations

from typing import Any

TRUE, FALSE, BYTE, I16, I32, I64, DOUBLE, BINARY, LIST, SET, MAP, STRUCT = range(1, 13)
Struct = dict[int, tuple[int, Any]]


def read_struct(data: memoryview) -> Struct:
    """The struct that `data` begins with. Raises ValueError or IndexError when it holds none."""
    return _Reader(data).struct()


def write_struct(value: Struct) -> bytes:
    """A struct in its compact form."""
    out = bytearray()
    _write_struct(out, value)
    return bytes(out)


class _Reader:
    def __init__(self, data: memoryview) -> None:
        self._data, self._at = data, 0

    def _byte(self) -> int:
        self._at += 1
        return self._data[self._at - 1]

    def _varint(self) -> int:
        value = shift = 0
        while True:
            byte = self._byte()
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7

    def _integer(self) -> int:
        value = self._varint()
        return (value >> 1) ^ -(value & 1)

    def _take(self, count: int) -> bytes:
        self._at += count
        return bytes(self._data[self._at - count : self._at])

    def struct(self) -> Struct:
        found: Struct = {}
        number = 0
        while (head := self._byte()) != 0:
            kind, delta = head & 15, head >> 4
            number = number + delta if delta else self._integer()
            found[number] = (kind, True if kind == TRUE else False if kind == FALSE else self._value(kind))
        return found

    def _value(self, kind: int) -> Any:
        if kind in (I16, I32, I64):
            return self._integer()
        if kind == BINARY:
            return self._take(self._varint())
        if kind == STRUCT:
            return self.struct()
        if kind in (LIST, SET):
            head = self._byte()
            count = head >> 4 if head >> 4 < 15 else self._varint()
            return head & 15, [self._value(head & 15) for _ in range(count)]
        if kind in (BYTE, TRUE, FALSE):
            return self._byte()
        if kind == DOUBLE:
            return self._take(8)
        raise ValueError(f"type {kind} has no place in a Parquet footer")


def _varint(out: bytearray, value: int) -> None:
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)


def _integer(out: bytearray, value: int) -> None:
    _varint(out, value << 1 if value >= 0 else (-value << 1) - 1)


def _write_struct(out: bytearray, value: Struct) -> None:
    last = 0
    for number, (kind, inner) in value.items():
        if kind in (TRUE, FALSE):
            kind = TRUE if inner else FALSE
        if 0 < number - last < 16:
            out.append((number - last) << 4 | kind)
        else:
            out.append(kind)
            _integer(out, number)
        last = number
        if kind not in (TRUE, FALSE):
            _write_value(out, kind, inner)
    out.append(0)


def _write_value(out: bytearray, kind: int, value: Any) -> None:
    if kind in (I16, I32, I64):
        _integer(out, value)
    elif kind == BINARY:
        _varint(out, len(value))
        out += value
    elif kind == STRUCT:
        _write_struct(out, value)
    elif kind in (LIST, SET):
        inner, values = value
        out.append(min(len(values), 15) << 4 | inner)
        if len(values) >= 15:
            _varint(out, len(values))
        for one in values:
            _write_value(out, inner, one)
    elif kind == DOUBLE:
        out += value
    else:
        out.append(value)
