"""Columns that stand in paths: below a table input, folders `name=value` are text columns at the end of the rows."""

from __future__ import annotations

import os
from urllib.parse import unquote

NULL = "__HIVE_DEFAULT_PARTITION__"


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
