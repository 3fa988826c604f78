"""Hashes of keys and the order they give, against slow twins in plain Python."""

from __future__ import annotations

import datetime as dt
import math
import struct
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.dataset._keys import hash_bytes, hash_words, order_by_hash
from runner.dataset.key_hash import differs_from_next, hashes_of, is_key_type, keys_as_tuples

MASK = 2**64 - 1
BEGIN, FACTOR = 0x9E3779B97F4A7C15, 0x9FB21C651E98DF25


def take_in(hashed: int, word: int) -> int:
    """The twin of one step."""
    hashed = (hashed * FACTOR + word) & MASK
    hashed = ((hashed ^ (hashed >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    hashed = ((hashed ^ (hashed >> 27)) * 0x94D049BB133111EB) & MASK
    return hashed ^ (hashed >> 31)


def twin(values: tuple[int | float | str | bytes | None, ...]) -> int:
    """The hash of one row's keys, as the module's docstring has it."""
    hashed = BEGIN
    for value in values:
        hashed = take_in(hashed, 0 if value is None else 1)
        if isinstance(value, str | bytes):
            data = value.encode() if isinstance(value, str) else value
            hashed = take_in(hashed, len(data))
            for at in range(0, len(data), 8):
                hashed = take_in(hashed, int.from_bytes(data[at : at + 8].ljust(8, b"\0"), "little"))
        elif isinstance(value, float):
            clean = math.nan if math.isnan(value) else value + 0.0
            hashed = take_in(hashed, int(struct.unpack("<Q", struct.pack("<d", clean))[0]))
        else:
            hashed = take_in(hashed, (value or 0) & MASK)
    return hashed


INTEGERS = st.none() | st.integers(-(2**63), 2**63 - 1)
NUMBERS = st.none() | st.floats()
TEXTS = st.none() | st.text(max_size=20)


class TestTheHash:
    @given(st.lists(INTEGERS, min_size=1))
    def test_of_integers_is_that_of_the_twin(self, values: list[int | None]) -> None:
        assert hashes_of([pa.array(values, pa.int64())]).tolist() == [twin((value,)) for value in values]

    @given(st.lists(NUMBERS, min_size=1))
    def test_of_floats_is_that_of_the_twin(self, values: list[float | None]) -> None:
        assert hashes_of([pa.array(values, pa.float64())]).tolist() == [twin((value,)) for value in values]

    @given(st.lists(st.tuples(INTEGERS, st.none() | st.binary(max_size=20)), min_size=1), st.integers(0, 3))
    def test_of_several_keys_is_that_of_the_twin_also_in_a_slice(self, rows: list[Any], skip: int) -> None:
        numbers = pa.array([row[0] for row in rows], pa.int64())
        data = pa.array([row[1] for row in rows], pa.binary())
        skip = min(skip, len(rows) - 1)
        found = hashes_of([numbers.slice(skip), data.slice(skip)])
        assert found.tolist() == [twin(row) for row in rows[skip:]]

    @pytest.mark.parametrize("kind", [pa.string(), pa.large_string()])
    @given(values=st.lists(TEXTS, min_size=1))
    def test_of_text_is_that_of_the_twin(self, kind: pa.DataType, values: list[str | None]) -> None:
        assert hashes_of([pa.array(values, kind)]).tolist() == [twin((value,)) for value in values]

    def test_never_changes(self) -> None:
        """Version 1 for ever: groups are numbered by it in plans that are on disk."""
        assert [f"{value:016x}" for value in hashes_of([pa.array([0, 1, None]), pa.array(["", "wren", "x" * 9])])] == [
            f"{twin(row):016x}" for row in ((0, ""), (1, "wren"), (None, "x" * 9))
        ]
        assert int(hashes_of([pa.array([7])])[0]) == 0xCBD3885267174314

    @pytest.mark.parametrize("kind", [pa.int8(), pa.uint16(), pa.int32(), pa.uint32()])
    def test_does_not_depend_on_the_width_of_integers(self, kind: pa.DataType) -> None:
        values = [0, 1, 100, None]
        assert (hashes_of([pa.array(values, kind)]) == hashes_of([pa.array(values, pa.int64())])).all()

    def test_refuses_buffers_that_do_not_fit(self) -> None:
        with pytest.raises(ValueError, match="2 words for 3 hashes"):
            hash_words(np.zeros(2, np.uint64), np.zeros(3, np.uint64))
        with pytest.raises(ValueError, match="2 offsets for 2 hashes"):
            hash_bytes(np.zeros(2, np.int64), np.zeros(0, np.uint8), np.zeros(2, np.uint64))
        for offsets in ([0, 5], [-1, 0], [2, 1]):
            with pytest.raises(ValueError, match="offset 0 is out of order"):
                hash_bytes(np.array(offsets), np.zeros(4, np.uint8), np.zeros(1, np.uint64))


def _alike(kind: pa.DataType, first: Any, second: Any) -> bool:
    """Whether two values are the same key; the hash, the comparison and the tuples say the same."""
    column = pa.array([first, second], kind)
    hashes = hashes_of([column])
    tuples = keys_as_tuples([column])
    found = {bool(hashes[0] == hashes[1]), not differs_from_next([column])[0], tuples[0] == tuples[1]}
    assert len(found) == 1, (first, second, found)
    return found.pop()


NAN = float("nan")
NOON = dt.datetime(2026, 1, 1, 12, tzinfo=dt.UTC)
OTHER_NAN = struct.unpack("<d", struct.pack("<Q", 0xFFF8_0000_0000_0001))[0]


@pytest.mark.parametrize(
    ("kind", "first", "second"),
    [
        (pa.float64(), 0.0, -0.0),
        (pa.float32(), 0.0, -0.0),
        (pa.float16(), np.float16(0.0), np.float16(-0.0)),
        (pa.float64(), NAN, OTHER_NAN),
        (pa.int64(), None, None),
        (pa.null(), None, None),
        (pa.decimal128(9, 2), Decimal("1.5"), Decimal("1.50")),
        (pa.timestamp("us", "Europe/Oslo"), NOON, NOON.astimezone(dt.timezone(dt.timedelta(hours=2)))),
        (pa.string(), "é", "é"),
    ],
)
def test_values_that_are_the_same_key(kind: pa.DataType, first: Any, second: Any) -> None:
    assert _alike(kind, first, second)


@pytest.mark.parametrize(
    ("kind", "first", "second"),
    [
        (pa.float64(), NAN, None),
        (pa.float64(), 0.0, None),
        (pa.int64(), 0, None),
        (pa.bool_(), False, None),
        (pa.bool_(), False, True),
        (pa.string(), "", None),
        (pa.string(), "é", "e\u0301"),
        (pa.string(), "wren", "wren "),
        (pa.string(), "wren", "wren\0"),
        (pa.large_string(), "12345678", "12345678\0"),
        (pa.binary(), b"", b"\0"),
        (pa.binary(3), b"abc", b"abd"),
        (pa.decimal128(38, 4), Decimal("12345678901234567890.1234"), Decimal("12345678901234567890.1235")),
        (pa.decimal256(50, 4), Decimal("1.5"), Decimal("-1.5")),
        (pa.date32(), dt.date(2026, 1, 1), dt.date(2026, 1, 2)),
        (pa.date64(), dt.date(2026, 1, 1), dt.date(2026, 1, 2)),
        (pa.time32("s"), dt.time(1), dt.time(2)),
        (pa.time64("ns"), dt.time(1), None),
        (pa.duration("ms"), dt.timedelta(0), None),
        (pa.timestamp("ns", "UTC"), dt.datetime.fromtimestamp(0, dt.UTC), None),
        (pa.uint64(), 2**64 - 1, 2**63),
    ],
)
def test_values_that_are_different_keys(kind: pa.DataType, first: Any, second: Any) -> None:
    assert not _alike(kind, first, second)


def test_small_decimals_are_keys_too() -> None:
    if not hasattr(pa, "decimal32"):
        pytest.skip("this pyarrow has none")
    assert _alike(pa.decimal32(5, 2), Decimal("1.5"), Decimal("1.50"))
    assert not _alike(pa.decimal64(12, 2), Decimal("1.5"), Decimal("1.51"))


def test_columns_do_not_run_into_each_other() -> None:
    first, second = pa.array(["ab", "a"]), pa.array(["c", "bc"])
    hashes = hashes_of([first, second])
    assert hashes[0] != hashes[1]
    assert differs_from_next([first, second]).tolist() == [True]


@pytest.mark.parametrize(
    ("kind", "can"),
    [
        (pa.int64(), True),
        (pa.null(), True),
        (pa.decimal128(5, 1), True),
        (pa.list_(pa.int64()), False),
        (pa.struct({"a": pa.int64()}), False),
        (pa.map_(pa.string(), pa.int64()), False),
        (pa.month_day_nano_interval(), False),
    ],
)
def test_nested_values_and_intervals_are_no_keys(kind: pa.DataType, can: bool) -> None:
    assert is_key_type(kind) is can


class TestTheOrder:
    @given(st.lists(st.integers(0, 5) | st.integers(0, 2**64 - 1)), st.sampled_from([0, 1, 7, 64]))
    def test_is_a_stable_sort(self, values: list[int], used_bits: int) -> None:
        hashes = np.array(values, np.uint64)
        if used_bits:
            hashes &= np.uint64(2 ** (64 - used_bits) - 1)
        assert order_by_hash(hashes, used_bits).tolist() == sorted(range(len(values)), key=hashes.tolist().__getitem__)

    @pytest.mark.parametrize("distinct", [1, 3, 1000, 200_000])
    @pytest.mark.parametrize("used_bits", [0, 3])
    def test_is_a_stable_sort_of_many_rows(self, distinct: int, used_bits: int) -> None:
        keys = np.random.default_rng(distinct).integers(0, distinct, 100_000)
        hashes = hashes_of([pa.array(keys)]) >> np.uint64(used_bits)
        assert (order_by_hash(hashes, used_bits) == np.argsort(hashes, kind="stable")).all()

    def test_is_one_when_one_key_has_almost_all_rows(self) -> None:
        keys = np.random.default_rng(1).integers(0, 50_000, 60_000)
        keys[np.random.default_rng(2).random(60_000) < 0.9] = 4
        hashes = hashes_of([pa.array(keys)])
        assert (order_by_hash(hashes) == np.argsort(hashes, kind="stable")).all()

    def test_refuses_more_bits_than_there_are(self) -> None:
        with pytest.raises(ValueError, match="65 bits of 64"):
            order_by_hash(np.zeros(1, np.uint64), 65)
