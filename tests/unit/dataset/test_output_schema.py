"""One schema for everything that `run` returned, and who is named when there is none."""

from __future__ import annotations

import pyarrow as pa
import pytest

from runner.dataset.output_schema import conform, forget_origin, plain, unify_returned
from runner.dataset.schemas import decode_schema, encode_schema
from runner.errors import OutputInvalid


def _unified(*types: pa.DataType) -> pa.DataType:
    schemas = [(pa.schema([("c", kind)]), number) for number, kind in enumerate(types)]
    return plain(unify_returned(schemas)).field("c").type


@pytest.mark.parametrize(
    ("types", "wide"),
    [
        ((pa.int64(), pa.int64()), pa.int64()),
        ((pa.int32(), pa.int64()), pa.int64()),
        ((pa.uint8(), pa.int16()), pa.int16()),
        ((pa.float32(), pa.float64()), pa.float64()),
        ((pa.int64(), pa.float64()), pa.float64()),
        ((pa.int64(), pa.float32()), pa.float64()),
        ((pa.int16(), pa.float32()), pa.float32()),
        ((pa.null(), pa.string()), pa.string()),
        ((pa.bool_(), pa.null()), pa.bool_()),
        ((pa.string(), pa.large_string()), pa.large_string()),
        ((pa.timestamp("s"), pa.timestamp("ns")), pa.timestamp("ns")),
        ((pa.list_(pa.null()), pa.list_(pa.int64())), pa.list_(pa.int64())),
        ((pa.null(), pa.int8(), pa.float32(), pa.int64()), pa.float64()),
    ],
)
def test_types_become_the_widest_in_either_order(types: tuple[pa.DataType, ...], wide: pa.DataType) -> None:
    assert _unified(*types) == wide
    assert _unified(*reversed(types)) == wide


@pytest.mark.parametrize(
    ("left", "right"),
    [
        (pa.int64(), pa.string()),
        (pa.bool_(), pa.int64()),
        (pa.int64(), pa.uint64()),
        (pa.string(), pa.binary()),
        (pa.date32(), pa.timestamp("us")),
        (pa.list_(pa.int64()), pa.int64()),
        (pa.timestamp("us"), pa.timestamp("us", "UTC")),
    ],
)
def test_types_that_do_not_fit_name_two_mini_batches(left: pa.DataType, right: pa.DataType) -> None:
    schemas = [(pa.schema([("c", left)]), 3), (pa.schema([("c", pa.null())]), 5), (pa.schema([("c", right)]), 17)]
    with pytest.raises(OutputInvalid) as caught:
        unify_returned(schemas)
    assert f"column 'c' is {left} in mini-batch 3 and {right} in mini-batch 17" in str(caught.value)


def test_the_mini_batch_that_widened_a_column_is_the_one_named() -> None:
    kinds = [(pa.null(), 0), (pa.int32(), 4), (pa.int64(), 9), (pa.string(), 12)]
    with pytest.raises(OutputInvalid, match="int64 in mini-batch 9 and string in mini-batch 12"):
        unify_returned((pa.schema([("c", kind)]), number) for kind, number in kinds)


def test_columns_come_in_order_of_first_appearance() -> None:
    schemas = [pa.schema([("b", pa.int64())]), pa.schema([("a", pa.int64()), ("b", pa.int64())]), pa.schema([])]
    assert unify_returned((schema, n) for n, schema in enumerate(schemas)).names == ["b", "a"]


def test_the_memory_of_mini_batches_survives_being_written_and_unified_again() -> None:
    part = unify_returned([(pa.schema([("a", pa.int64())]), 10), (pa.schema([("b", pa.string())]), 12)])
    stored = decode_schema(encode_schema(forget_origin(part, 10)))
    with pytest.raises(OutputInvalid, match="string in mini-batch 12 and double in mini-batch 20"):
        unify_returned([(stored, 10), (pa.schema([("b", pa.float64())]), 20)])
    with pytest.raises(OutputInvalid, match="int64 in mini-batch 10 and string in mini-batch 20"):
        unify_returned([(stored, 10), (pa.schema([("a", pa.string())]), 20)])


def test_parts_that_are_alike_have_the_same_text() -> None:
    schema = pa.schema([("a", pa.int64()), ("b", pa.string())])
    texts = {encode_schema(forget_origin(unify_returned([(schema, first)]), first)) for first in (0, 7)}
    assert len(texts) == 1


def test_rows_are_cast_and_filled_with_nulls() -> None:
    schema = pa.schema([("a", pa.float64()), ("b", pa.string()), ("c", pa.bool_())])
    table = conform(pa.table({"b": ["x", None], "a": [1, 2]}), schema)
    assert table.schema == schema
    assert table.to_pydict() == {"a": [1.0, 2.0], "b": ["x", None], "c": [None, None]}


def test_an_integer_that_a_float_cannot_hold_is_told_not_rounded() -> None:
    with pytest.raises(OutputInvalid, match="'a' is int64 in some mini-batches and double in others"):
        conform(pa.table({"a": [2**53 + 1]}), pa.schema([("a", pa.float64())]))
