"""Types of columns that are written as text: told from samples, the same for every reader of the file.

Told are whole numbers, numbers, true and false, ISO dates and timestamps. A whole number with a leading zero is text.
"""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pc_csv

# Arrow would take over SIGINT while it reads text, which drivers and workers handle themselves, and would keep a pipe
# for it whose descriptors a fork of this process may not close: Arrow aborts the children of one that has.
pa.enable_signal_handlers(False)

FIRST_SAMPLE_BYTES = 1 << 20
LATER_SAMPLE_BYTES = 64 << 10
LATER_EVERY_BYTES = 64 << 20
TRUTHS = (["true", "True", "TRUE"], ["false", "False", "FALSE"])
_LEADING_ZERO = r"^[+-]?0[0-9]"


def told_type(kind: pa.DataType) -> pa.DataType:
    """The type that a sample's inferred type counts as."""
    types = pa.types
    if types.is_integer(kind):
        return pa.int64()
    if types.is_floating(kind):
        return pa.float64()
    if types.is_boolean(kind) or types.is_date(kind) or types.is_timestamp(kind) or types.is_null(kind):
        return kind
    return kind if types.is_nested(kind) else pa.string()


def join_types(left: pa.DataType, right: pa.DataType) -> pa.DataType:
    """The type of a column that is told differently in two places: numbers widen, everything else becomes text."""
    if left == right or pa.types.is_null(right):
        return left
    if pa.types.is_null(left):
        return right
    numbers = (pa.int64(), pa.float64())
    if left in numbers and right in numbers:
        return pa.float64()
    if pa.types.is_timestamp(left) and pa.types.is_timestamp(right) and left.tz == right.tz:
        return pa.timestamp("ns", left.tz)
    are_numbers = all(pa.types.is_integer(kind) or pa.types.is_floating(kind) for kind in (left, right))
    if are_numbers or pa.types.is_nested(left) or pa.types.is_nested(right):
        both = [pa.schema([("c", left)]), pa.schema([("c", right)])]
        try:
            return pa.unify_schemas(both, promote_options="permissive").field("c").type
        except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError):
            return pa.string()
    return pa.string()


def join_schemas(schemas: Sequence[pa.Schema]) -> pa.Schema:
    """One schema for all, columns in order of first appearance."""
    types: dict[str, pa.DataType] = {}
    for schema in schemas:
        for field in schema:
            known = types.get(field.name)
            types[field.name] = field.type if known is None else join_types(known, field.type)
    return pa.schema(list(types.items()))


def settled(schema: pa.Schema) -> pa.Schema:
    """What a plan holds: a column in which no sample has a value is text."""
    return pa.schema([(field.name, _settled(field.type)) for field in schema])


def _settled(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_null(kind):
        return pa.string()
    if pa.types.is_struct(kind):
        return pa.struct([(field.name, _settled(field.type)) for field in kind])
    return pa.list_(_settled(kind.value_type)) if pa.types.is_list(kind) else kind


def without_leading_zeros(table: pa.Table, as_text: pa.Table) -> pa.Schema:
    """The schema of a parsed sample, columns of whole numbers that begin with a zero as text."""
    fields = []
    for field in table.schema:
        kind = told_type(field.type)
        if kind == pa.int64() and pc.any(pc.match_substring_regex(as_text.column(field.name), _LEADING_ZERO)).as_py():
            kind = pa.string()
        fields.append((field.name, kind))
    return pa.schema(fields)


def csv_conversion(
    types: pa.Schema | None, columns: Sequence[str] | None, *, empty_as_string: bool
) -> pc_csv.ConvertOptions:
    """How fields become values: an empty field that is not quoted is null, unless it shall be an empty text."""
    return pc_csv.ConvertOptions(
        column_types=types,
        include_columns=columns,
        null_values=[""],
        strings_can_be_null=not empty_as_string,
        quoted_strings_can_be_null=False,
        true_values=TRUTHS[0],
        false_values=TRUTHS[1],
    )
