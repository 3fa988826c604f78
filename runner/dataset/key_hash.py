"""Key columns as words that are equal exactly when the keys are, and as one hash for each row.

Dictionaries count as their values, decimals by value, timestamps by instant, -0 as 0, every NaN as the same, null as a
value of its own; text byte for byte.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from runner.dataset._keys import hash_bytes, hash_words

HASH_VERSION = 1
_BEGIN = np.uint64(0x9E3779B97F4A7C15)
_NULL, _VALUE = np.uint64(0), np.uint64(1)
Words = npt.NDArray[np.uint64]


def is_key_type(kind: pa.DataType) -> bool:
    """Whether rows can be grouped by a column of this type: not by nested values, nor by calendar intervals."""
    return not (pa.types.is_nested(kind) or pa.types.is_interval(kind))


def hashes_of(columns: Sequence[pa.Array]) -> Words:
    """One hash for each row, over all key columns in their order."""
    hashes = np.full(len(columns[0]), _BEGIN)
    for column in columns:
        hash_words(np.where(_is_null(column), _NULL, _VALUE), hashes)
        if _is_text(column.type):
            offsets, data = _bytes_of(column)
            hash_bytes(offsets, data, hashes)
        else:
            for words in words_of(column):
                hash_words(words, hashes)
    return hashes


def differs_from_next(columns: Sequence[pa.Array]) -> npt.NDArray[np.bool_]:
    """For each row but the last, whether the next one has other keys."""
    count = max(len(columns[0]) - 1, 0)
    differs = np.zeros(count, np.bool_)
    for column in columns:
        nulls = _is_null(column)
        differs |= nulls[1:] != nulls[:-1]
        if _is_text(column.type):
            other = pc.not_equal(column.slice(0, count), column.slice(1, count))
            differs |= np.asarray(pc.fill_null(other, False), np.bool_)
        else:
            for words in words_of(column):
                differs |= words[1:] != words[:-1]
    return differs


def keys_as_tuples(columns: Sequence[pa.Array]) -> list[tuple[bytes | int, ...]]:
    """Each row's keys as something that is equal exactly when they are."""
    parts: list[list[bytes | int]] = []
    for column in columns:
        parts.append(_is_null(column).tolist())
        if _is_text(column.type):
            parts.append(pc.fill_null(column.cast(pa.large_binary()), b"").to_pylist())
        else:
            parts.extend(words.tolist() for words in words_of(column))
    return list(zip(*parts, strict=True))


def words_of(column: pa.Array) -> list[Words]:
    """A column of fixed width as one or more columns of words; nulls are 0."""
    kind = column.type
    if pa.types.is_null(kind):
        return [np.zeros(len(column), np.uint64)]
    if pa.types.is_decimal(kind):
        return _decimal_words(column)
    if pa.types.is_boolean(kind):
        column, kind = column.cast(pa.uint8()), pa.uint8()
    elif pa.types.is_temporal(kind):
        column = column.view(pa.int32() if kind.bit_width == 32 else pa.int64())
        kind = column.type
    if column.null_count:
        column = pc.fill_null(column, pa.scalar(0, kind))
    values = column.to_numpy(zero_copy_only=False)
    if values.dtype.kind == "f":
        values = values.astype(np.float64) + 0.0  # -0 becomes 0
        values[np.isnan(values)] = np.nan
        return [values.view(np.uint64)]
    if values.dtype.kind == "u":
        return [values.astype(np.uint64)]
    return [values.astype(np.int64).view(np.uint64)]


def _decimal_words(column: pa.Array) -> list[Words]:
    """All digits, at the scale that all rows of the column share."""
    if column.type.bit_width < 128:
        column = column.cast(pa.decimal128(column.type.precision, column.type.scale))
    width = column.type.byte_width
    if column.null_count:
        column = pc.fill_null(column, pa.scalar(0, column.type))
    raw = np.frombuffer(column.buffers()[1], np.uint64)
    per = width // 8
    first = column.offset * per
    table = raw[first : first + len(column) * per].reshape(-1, per)
    return [np.ascontiguousarray(table[:, index]) for index in range(per)]


def _is_text(kind: pa.DataType) -> bool:
    types = pa.types
    return bool(
        types.is_string(kind)
        or types.is_large_string(kind)
        or types.is_binary(kind)
        or types.is_large_binary(kind)
        or types.is_fixed_size_binary(kind)
    )


def _bytes_of(column: pa.Array) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.uint8]]:
    column = column.cast(pa.large_binary())
    if column.null_count:
        column = pc.fill_null(column, b"")
    buffers = column.buffers()
    offsets = np.frombuffer(buffers[1], np.int64)[column.offset : column.offset + len(column) + 1]
    data = np.frombuffer(buffers[2], np.uint8) if buffers[2] is not None else np.empty(0, np.uint8)
    return offsets, data


def _is_null(column: pa.Array) -> npt.NDArray[np.bool_]:
    return np.asarray(column.is_null(), np.bool_)
