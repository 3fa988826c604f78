"""One schema for everything that `run` returned: the union of columns, in mini-batch order, with the widest types."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from runner.dataset.plain_numbers import is_plain
from runner.errors import OutputInvalid

_ORIGIN = b"runner.mini_batch"
"""Metadata of a field: the mini-batch that decided its type, where that is not the first one of its part."""


def unify_returned(schemas: Iterable[tuple[pa.Schema, int]]) -> pa.Schema:
    """The unification of schemas, each with the first mini-batch that had it, in mini-batch order.

    Columns come in order of first appearance. Fields remember the mini-batch that decided their type.
    Raises OutputInvalid naming two mini-batches whose types do not fit.
    """
    types: dict[str, pa.DataType] = {}
    origins: dict[str, int] = {}
    for schema, mini_batch in schemas:
        for field in schema:
            origin = origin_of(field, mini_batch)
            known = types.get(field.name)
            if known is None:
                types[field.name], origins[field.name] = field.type, origin
            elif known != field.type:
                wider = _wider(known, field.type)
                if wider is None:
                    raise _unfit(field.name, (known, origins[field.name]), (field.type, origin))
                if wider != known:
                    types[field.name], origins[field.name] = wider, origin
    return pa.schema([pa.field(name, kind, metadata={_ORIGIN: str(origins[name])}) for name, kind in types.items()])


def origin_of(field: pa.Field, otherwise: int) -> int:
    """The mini-batch that decided the type of a field."""
    return int((field.metadata or {}).get(_ORIGIN, otherwise))


def plain(schema: pa.Schema) -> pa.Schema:
    """The schema as it is written to files, without the memory of mini-batches."""
    return pa.schema([pa.field(field.name, field.type) for field in schema])


def forget_origin(schema: pa.Schema, mini_batch: int) -> pa.Schema:
    """The schema without the memory of `mini_batch`, which its part names anyway: equal schemas become equal text."""
    return pa.schema([field.remove_metadata() if origin_of(field, -1) == mini_batch else field for field in schema])


def _unfit(name: str, first: tuple[pa.DataType, int], second: tuple[pa.DataType, int]) -> OutputInvalid:
    return OutputInvalid(
        f"column {name!r} is {first[0]} in mini-batch {first[1]} and {second[0]} in mini-batch {second[1]}, "
        "which cannot stand in one column; return one type from every mini-batch"
    )


def _wider(left: pa.DataType, right: pa.DataType) -> pa.DataType | None:
    """The type that holds the values of both without loss, or None when there is none."""
    if is_plain(left) and is_plain(right):
        # Arrow would give float32 for int64 and float32, and int64 for int64 and uint64; both lose values.
        wide = np.promote_types(left.to_pandas_dtype(), right.to_pandas_dtype())
        both_integers = pa.types.is_integer(left) and pa.types.is_integer(right)
        return None if both_integers and wide.kind == "f" else pa.from_numpy_dtype(wide)
    if pa.types.is_binary(left) != pa.types.is_binary(right) and _is_text(left) != _is_text(right):
        return None
    try:
        pair = [pa.schema([("c", left)]), pa.schema([("c", right)])]
        return pa.unify_schemas(pair, promote_options="permissive").field("c").type
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError):
        return None


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def conform(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """The table with exactly these columns: cast where types differ, nulls where it lacks one.

    Raises OutputInvalid for values that the wider type cannot hold (an integer above 2**53 among floats).
    """
    if table.schema == schema:
        return table
    columns = []
    for field in schema:
        at = table.schema.get_field_index(field.name)
        if at < 0:
            columns.append(pa.nulls(table.num_rows, field.type))
        elif table.schema.field(at).type == field.type:
            columns.append(table.column(at))
        else:
            columns.append(_cast(table.column(at), field))
    return pa.Table.from_arrays(columns, schema=schema)


def _cast(column: pa.ChunkedArray, field: pa.Field) -> pa.ChunkedArray:
    try:
        return pc.cast(column, field.type)
    except pa.ArrowInvalid as error:
        raise OutputInvalid(
            f"column {field.name!r} is {column.type} in some mini-batches and {field.type} in others, and a value does "
            f"not fit both ({error}); return one type from every mini-batch"
        ) from error
