"""Arrow schemas as inputs need them: normal types, one schema for many files, and a text form for the plan."""

from __future__ import annotations

import base64
from collections.abc import Sequence

import pyarrow as pa

from runner.errors import SchemaMismatch


def encode_schema(schema: pa.Schema) -> str:
    """The schema as text: serialised and base64 encoded."""
    return base64.b64encode(schema.serialize().to_pybytes()).decode()


def decode_schema(text: str) -> pa.Schema:
    """The schema that `encode_schema` made `text` of."""
    return pa.ipc.read_schema(pa.py_buffer(base64.b64decode(text)))


def normal_type(kind: pa.DataType) -> pa.DataType:
    """The type a column is read as: the values of dictionaries and runs, the storage of extensions.

    How values are packed differs between files, row groups and batches; what `run` sees must not.
    """
    if isinstance(kind, pa.BaseExtensionType):
        return normal_type(kind.storage_type)
    if pa.types.is_dictionary(kind) or pa.types.is_run_end_encoded(kind):
        return normal_type(kind.value_type)
    if pa.types.is_string_view(kind):
        return pa.string()
    return pa.binary() if pa.types.is_binary_view(kind) else kind


def normal_schema(schema: pa.Schema) -> pa.Schema:
    """The columns with their normal types, without metadata (a frame's index, the writer's version)."""
    return pa.schema([pa.field(field.name, normal_type(field.type)) for field in schema])


def unify_schemas(schemas: Sequence[pa.Schema], paths: Sequence[str]) -> pa.Schema:
    """One schema for all files: every column in order of first appearance, the widest number type of each.

    Columns that some files lack are nulls there. Types that do not fit are refused with both files named.
    """
    types: dict[str, pa.DataType] = {}
    origin: dict[str, str] = {}
    seen: set[pa.Schema] = set()
    for schema, path in zip(schemas, paths, strict=True):
        if schema in seen:
            continue
        seen.add(schema)
        for field in schema:
            known = types.get(field.name)
            if known is None:
                types[field.name], origin[field.name] = field.type, path
            elif known != field.type:
                wider = _wider(known, field.type)
                if wider is None:
                    what = f"column {field.name!r} is {known} in the first and {field.type} in the second"
                    raise SchemaMismatch(origin[field.name], path, what)
                if wider != known:
                    types[field.name], origin[field.name] = wider, path
    return pa.schema(list(types.items()))


def _wider(left: pa.DataType, right: pa.DataType) -> pa.DataType | None:
    """The type that holds the values of both, or None when there is none."""
    if any(_loses(first, second) for first, second in ((left, right), (right, left))):
        return None
    try:
        fields = [pa.schema([("c", left)]), pa.schema([("c", right)])]
        return pa.unify_schemas(fields, promote_options="permissive").field("c").type
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError):
        return None


def _loses(first: pa.DataType, second: pa.DataType) -> bool:
    """Whether Arrow would join the two, but at the price of values: overflow, lost digits, bytes taken for text."""
    types = pa.types
    return bool(
        (first == pa.uint64() and types.is_signed_integer(second))
        or (types.is_decimal(first) and types.is_floating(second))
        or (_is_text(first) and _is_bytes(second))
    )


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _is_bytes(kind: pa.DataType) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind))
