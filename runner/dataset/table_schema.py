"""The schema of a whole table input: its files unified, the columns of its paths, the columns that are asked for."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches

import pyarrow as pa

from runner.dataset.listing import shown
from runner.dataset.path_columns import path_columns
from runner.dataset.schemas import encode_schema, unify_schemas
from runner.dataset.table_files import TableFile
from runner.dataset.text_types import join_schemas, settled
from runner.errors import ArgumentInvalid, InputUnreadable, SchemaMismatch

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class TableSchema:
    """The columns that a job reads of its tables."""

    text: str
    """Serialised and base64 encoded, as the plan holds it."""
    names: tuple[str, ...]

    def nullable(self, table: TableFile, keys: dict[str, str | None]) -> tuple[str, ...]:
        """The columns that may hold nulls in one file: by its metadata, by its lack of them, by its path."""
        own = set(table.layout.schema.names)
        unsure = set(table.layout.nullable)

        def may_be_null(name: str) -> bool:
            return keys[name] is None if name in keys else name in unsure or name not in own

        return tuple(name for name in self.names if may_be_null(name))

    def row_bytes(self, table: TableFile) -> float:
        """Estimated decoded bytes of one row of these columns."""
        return sum(table.layout.row_bytes.get(name, 0.0) for name in self.names)


def table_schema(
    tables: Sequence[TableFile], roots: Sequence[str], columns: Sequence[str] | None, keep: Sequence[str]
) -> TableSchema:
    """The columns to read, `columns` first and then those only to keep; one that no file has is refused."""
    schemas = [table.layout.schema for table in tables]
    if any(table.layout.marks for table in tables):
        unified = settled(join_schemas(schemas))
    else:
        unified = unify_schemas(schemas, [shown(table.file.path) for table in tables])
    keys = _common_keys(tables, roots)
    hidden = [name for name in keys if name in unified.names]
    if hidden:
        logger.warning(
            "columns %s are taken from the paths, the files' own columns of that name are not read", ", ".join(hidden)
        )
    types = {field.name: field.type for field in unified if field.name not in keys}
    types.update((name, pa.string()) for name in keys)
    if not types:
        raise InputUnreadable(shown(tables[0].file.path), "it has rows but no columns")
    if columns is not None and not columns:
        raise ArgumentInvalid("columns", "is empty; name at least one column, or leave it out to read all")
    for setting, asked in (("columns", columns or ()), ("keep_columns", keep)):
        _check_known(setting, asked, list(types))
    names = tuple(dict.fromkeys((*(types if columns is None else columns), *keep)))
    return TableSchema(encode_schema(pa.schema([(name, types[name]) for name in names])), names)


def _check_known(setting: str, asked: Sequence[str], known: list[str]) -> None:
    for name in asked:
        if name not in known:
            nearest = get_close_matches(name, known, n=1, cutoff=0.4)
            hint = f"did you mean {nearest[0]!r}?" if nearest else f"there are: {', '.join(known[:20])}"
            raise ArgumentInvalid(setting, f"no file of the input has a column {name!r}; {hint}")


def _common_keys(tables: Sequence[TableFile], roots: Sequence[str]) -> tuple[str, ...]:
    """Names of the path columns, which all files must have."""
    paths = [table.file.path for table in tables]
    first = path_columns(roots[0], paths[0])
    for root, path in zip(roots, paths, strict=True):
        keys = path_columns(root, path)
        if keys.keys() != first.keys():
            name = min(keys.keys() ^ first.keys())
            having, lacking = (path, paths[0]) if name in keys else (paths[0], path)
            what = f"only the path of the first has a folder {name}=..., and all or none must"
            raise SchemaMismatch(shown(having), shown(lacking), what)
    return tuple(first)
