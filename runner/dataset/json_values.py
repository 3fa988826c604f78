"""Lines of JSON one by one, where the parser of whole blocks gives up: slower, and each fault has its row."""

from __future__ import annotations

import io
import json
from collections.abc import Collection, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.json as pa_json

from runner.dataset.text_types import told_type


class _Number(str):
    """A number as it is written."""

    __slots__ = ()


def lines_of(text: bytes) -> list[bytes]:
    """The lines that are records."""
    return [line for line in text.splitlines() if line.strip(b" \t")]


def object_of(line: bytes) -> dict[str, Any] | None:
    """The object of a line; None when it is none, or more than one."""
    try:
        value = json.loads(line.decode())
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def told_by_lines(text: bytes) -> pa.Schema:
    """The types of the columns, each told alone: one whose values are of several kinds is text.

    ValueError when no line is an object.
    """
    found = [value for value in map(object_of, lines_of(text)) if value is not None]
    if not found:
        raise ValueError("none of its first lines is a JSON object; write one object a line (JSON lines)")
    names = dict.fromkeys(name for value in found for name in value)
    return pa.schema([(name, _told([value[name] for value in found if name in value])) for name in names])


def _told(values: Sequence[Any]) -> pa.DataType:
    text = "\n".join(json.dumps({"c": value}) for value in values).encode()
    reading = pa_json.ReadOptions(use_threads=False, block_size=len(text) + 1)
    try:
        return told_type(pa_json.read_json(io.BytesIO(text), read_options=reading).schema.field("c").type)
    except pa.ArrowInvalid:
        return pa.string()


def parse_lines(text: bytes, schema: pa.Schema, lenient: Collection[str]) -> tuple[pa.Table, dict[int, str]]:
    """The records as rows. One that cannot be read is a row of nulls, and it is told why; a value of a `lenient`
    column that has no form in its type is only null."""
    lost: dict[int, str] = {}
    columns: dict[str, list[Any]] = {name: [] for name in schema.names}
    for at, line in enumerate(lines_of(text)):
        value = object_of(line)
        if value is None:
            lost[at] = f"is no JSON object: {line[:80].decode('utf-8', 'backslashreplace')!r}"
        for field in schema:
            given = None if value is None else value.get(field.name)
            if given is not None:
                is_lenient = field.name in lenient
                given, fits = _fitting(given, field, line, is_lenient)
                if not fits and not is_lenient:
                    shown = json.dumps(value and value[field.name], ensure_ascii=False)[:80]
                    remedy = f"write `convert_column_types` with {field.name!r} as string in an MLTable file"
                    lost.setdefault(at, f"has {shown} in column {field.name!r}, which is no {field.type}; {remedy}")
            columns[field.name].append(given)
    arrays = [pa.array(columns[field.name], field.type) for field in schema]
    return pa.table(arrays, schema=schema), lost


def _fitting(value: Any, field: pa.Field, line: bytes, is_lenient: bool) -> tuple[Any, bool]:
    """A value as one of the field's type, and whether it has a form there."""
    kind = field.type
    if pa.types.is_string(kind):
        return value if isinstance(value, str) else _written(line, field.name), True
    if not (is_lenient and isinstance(value, str)) and not _is_of(value, kind):
        return None, False
    try:
        if isinstance(value, str):
            return pa.scalar(value).cast(kind).as_py(), True
        return pa.scalar(float(value) if kind == pa.float64() else value, kind).as_py(), True
    except (pa.ArrowException, TypeError, ValueError, OverflowError):
        return None, False


def _is_of(value: Any, kind: pa.DataType) -> bool:
    """Whether JSON has that type of its own, and the value is of it; a value of other types may have a form there."""
    if kind == pa.bool_():
        return isinstance(value, bool)
    if kind == pa.int64():
        return isinstance(value, int) and not isinstance(value, bool)
    return kind != pa.float64() or (isinstance(value, int | float) and not isinstance(value, bool))


def _written(line: bytes, name: str) -> str:
    """A value that is no text as it is written in the file; objects and lists without superfluous blanks."""
    value = json.loads(line.decode(), parse_int=_Number, parse_float=_Number)[name]
    if isinstance(value, _Number):
        return str(value)
    return json.dumps(json.loads(line.decode())[name], ensure_ascii=False, separators=(",", ":"))
