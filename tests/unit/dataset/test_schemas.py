"""Schemas of many files become one, or the two files that do not fit are named."""

from __future__ import annotations

import pyarrow as pa
import pytest

from runner.dataset.schemas import decode_schema, encode_schema, normal_schema, unify_schemas
from runner.errors import SchemaMismatch


def _unify(*schemas: list[tuple[str, pa.DataType]]) -> pa.Schema:
    return unify_schemas([pa.schema(fields) for fields in schemas], [f"/f{n}" for n in range(len(schemas))])


@pytest.mark.parametrize(
    ("left", "right", "both"),
    [
        (pa.int8(), pa.int64(), pa.int64()),
        (pa.uint32(), pa.int32(), pa.int64()),
        (pa.int64(), pa.float32(), pa.float64()),
        (pa.float32(), pa.float64(), pa.float64()),
        (pa.null(), pa.string(), pa.string()),
        (pa.string(), pa.large_string(), pa.large_string()),
        (pa.timestamp("ms"), pa.timestamp("us"), pa.timestamp("us")),
        (pa.decimal128(5, 2), pa.decimal128(10, 4), pa.decimal128(10, 4)),
    ],
)
def test_the_wider_type_holds_both(left: pa.DataType, right: pa.DataType, both: pa.DataType) -> None:
    assert _unify([("a", left)], [("a", right)]).field("a").type == both
    assert _unify([("a", right)], [("a", left)]).field("a").type == both


@pytest.mark.parametrize(
    ("left", "right"),
    [
        (pa.int64(), pa.string()),
        (pa.uint64(), pa.int64()),
        (pa.string(), pa.binary()),
        (pa.float64(), pa.decimal128(5, 2)),
        (pa.bool_(), pa.int8()),
        (pa.timestamp("us"), pa.timestamp("us", "UTC")),
    ],
)
def test_types_that_would_lose_values_are_refused(left: pa.DataType, right: pa.DataType) -> None:
    for pair in ((left, right), (right, left)):
        with pytest.raises(SchemaMismatch, match="column 'a'"):
            _unify([("a", pair[0])], [("a", pair[1])])


def test_columns_stand_in_order_of_first_appearance() -> None:
    schema = _unify([("b", pa.int8())], [("a", pa.string()), ("b", pa.int16())], [("c", pa.bool_())])
    assert schema == pa.schema([("b", pa.int16()), ("a", pa.string()), ("c", pa.bool_())])


def test_a_mismatch_names_the_two_files_that_differ() -> None:
    fields = [[("a", pa.int8())], [("a", pa.int64())], [("a", pa.int16())], [("a", pa.string())]]
    with pytest.raises(SchemaMismatch) as caught:
        _unify(*fields)
    assert (caught.value.first, caught.value.second) == ("/f1", "/f3")
    assert "int64" in str(caught.value)
    assert "string" in str(caught.value)


def test_how_values_are_packed_does_not_show() -> None:
    packed = pa.schema(
        [
            ("d", pa.dictionary(pa.int8(), pa.string())),
            ("r", pa.run_end_encoded(pa.int32(), pa.float32())),
            ("v", pa.string_view()),
            ("u", pa.uuid()),
        ],
        metadata={"pandas": "{}"},
    )
    plain = pa.schema([("d", pa.string()), ("r", pa.float32()), ("v", pa.string()), ("u", pa.binary(16))])
    assert normal_schema(packed).equals(plain, check_metadata=True)


def test_a_schema_survives_as_text() -> None:
    schema = pa.schema([("a", pa.timestamp("us", "Europe/Berlin")), ("ä", pa.list_(pa.struct([("x", pa.int8())])))])
    assert decode_schema(encode_schema(schema)) == schema
