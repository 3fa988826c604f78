"""Columns that stand in paths: folders `name=value`, what an MLTable's partition format names, and the path itself."""

from __future__ import annotations

import os
import re
from datetime import datetime
from functools import lru_cache
from urllib.parse import unquote

import pyarrow as pa

from runner.entity.table import TableOptions
from runner.errors import InputUnreadable

NULL = "__HIVE_DEFAULT_PARTITION__"


DATE = pa.timestamp("us")
_DATE_PARTS = (
    ("yyyy", r"\d{4}", "%Y"),
    ("MM", r"\d{2}", "%m"),
    ("dd", r"\d{2}", "%d"),
    ("HH", r"\d{2}", "%H"),
    ("mm", r"\d{2}", "%M"),
    ("ss", r"\d{2}", "%S"),
)
Values = dict[str, str | datetime | None]


def path_values(root: str, path: str, options: TableOptions) -> Values:
    """What the path of a file says of its rows, by column. InputUnreadable when it has not the partition format."""
    values: Values = (
        {options.path_column: os.fsencode(path).decode("utf-8", "backslashreplace")}
        if options.include_path_column
        else {}
    )
    values |= path_columns(root, path)
    if options.partition_format:
        pattern, dates = _format(options.partition_format)
        found = pattern.search(path)
        if found is None:
            shown = os.fsencode(path).decode("utf-8", "backslashreplace")
            raise InputUnreadable(shown, f"its path has not the form {options.partition_format!r} of the MLTable file")
        for number, (name, form) in enumerate(dates):
            text = found[number + 1]
            try:
                values[name] = datetime.strptime(text, form) if form else _decoded(text)  # noqa: DTZ007 - no zone is said
            except ValueError as error:
                raise InputUnreadable(path, f"{text!r} in its path is no date of the partition format") from error
    return values


def value_type(value: str | datetime | None) -> pa.DataType:
    """The type of a column of the path."""
    return DATE if isinstance(value, datetime) else pa.string()


@lru_cache(maxsize=64)
def _format(partition_format: str) -> tuple[re.Pattern[str], tuple[tuple[str, str], ...]]:
    """The end of a path as a pattern, and for each group its column and, if it is a date, how that is written."""
    pattern, columns = "", []
    for piece in re.split(r"(\{[^{}]+\})", partition_format):
        if not piece.startswith("{"):
            pattern += ".*".join(re.escape(part) for part in piece.split("*"))
            continue
        name, _, form = piece[1:-1].partition(":")
        told, written = "", ""
        while form:
            known = next((part for part in _DATE_PARTS if form.startswith(part[0])), None)
            told += known[1] if known else re.escape(form[0])
            written += known[2] if known else form[0]
            form = form[len(known[0]) if known else 1 :]
        pattern += f"({told or '[^/]+'})"
        columns.append((name.strip(), written))
    return re.compile(pattern + r"\Z"), tuple(columns)


def path_columns(root: str, path: str) -> dict[str, str | None]:
    """Names and values of the folders between `root` and the file, outermost first; a repeated name keeps the last."""
    folder = os.path.dirname(os.path.relpath(path, root)) if path != root else ""
    columns: dict[str, str | None] = {}
    for part in folder.split(os.sep):
        name, equals, value = part.partition("=")
        if equals and name:
            columns[_decoded(name)] = None if value == NULL else _decoded(value)
    return columns


def _decoded(text: str) -> str:
    r"""Percent signs decoded; bytes that are no UTF-8 as `\xNN`, since a column holds text."""
    return os.fsencode(unquote(text, errors="surrogateescape")).decode("utf-8", "backslashreplace")
