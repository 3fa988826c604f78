"""The schema of a whole table input: its files unified, the columns of its paths, the columns that are asked for."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches

import pyarrow as pa

from runner.dataset.listing import shown
from runner.dataset.path_columns import DATE, Values, value_type
from runner.dataset.schemas import encode_schema, unify_schemas
from runner.dataset.table_files import TableFile
from runner.dataset.text_types import join_schemas, settled
from runner.entity.table import TableOptions
from runner.errors import ArgumentInvalid, InputUnreadable, SchemaMismatch

CONVERTED: dict[str, pa.DataType] = {
    "string": pa.string(),
    "int64": pa.int64(),
    "float64": pa.float64(),
    "bool": pa.bool_(),
    "timestamp[us]": DATE,
    "date32": pa.date32(),
}
"""Types that an MLTable file may ask for."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class TableSchema:
    """The columns that a job reads of its tables."""

    text: str
    """Serialised and base64 encoded, as the plan holds it."""
    names: tuple[str, ...]

    def nullable(self, table: TableFile, keys: Values, options: TableOptions) -> tuple[str, ...]:
        """The columns that may hold nulls in one file: by its metadata, by its lack of them, by its path."""
        own = {name for name in table.layout.schema.names if options.gives(name)}
        unsure = set(table.layout.nullable)

        def may_be_null(name: str) -> bool:
            if name in keys:
                return keys[name] is None
            return name in unsure or name not in own or name in options.column_types

        return tuple(name for name in self.names if may_be_null(name))

    def row_bytes(self, table: TableFile) -> float:
        """Estimated decoded bytes of one row of these columns."""
        return sum(table.layout.row_bytes.get(name, 0.0) for name in self.names)


def table_schema(
    tables: Sequence[TableFile],
    in_paths: Sequence[Values],
    inputs: Sequence[int],
    options: Sequence[TableOptions],
    columns: Sequence[str] | None,
    keep: Sequence[str],
) -> TableSchema:
    """The columns to read, `columns` first and then those only to keep; one that no file has is refused.

    `inputs` says for each file which of the inputs it is of, and `options` how each of these is read.
    """
    keys = _common_keys(tables, in_paths)
    given = []
    for index, each in enumerate(options):
        own = [table for table, of in zip(tables, inputs, strict=True) if of == index]
        given.append((pa.schema(list(_of_one_input(own, keys, each).items())), own))
    types = {field.name: field.type for field in _joined([schema for schema, _ in given], [own for _, own in given])}
    if not types:
        raise InputUnreadable(shown(tables[0].file.path), "it has rows but no columns")
    if columns is not None and not columns:
        raise ArgumentInvalid("columns", "is empty; name at least one column, or leave it out to read all")
    for setting, wanted in (("columns", columns or ()), ("keep_columns", keep)):
        _check_known(setting, wanted, list(types))
    names = tuple(dict.fromkeys((*(types if columns is None else columns), *keep)))
    schema = pa.schema([(name, types[name]) for name in names])
    if any(table.layout.is_text for table in tables):
        schema = settled(schema)
    return TableSchema(encode_schema(schema), names)


def _of_one_input(
    tables: Sequence[TableFile], keys: dict[str, pa.DataType], options: TableOptions
) -> dict[str, pa.DataType]:
    """Columns and types of the files of one input, as its MLTable file wants them."""
    unified = _joined([table.layout.schema for table in tables], [[table] for table in tables])
    hidden = [name for name in keys if name in unified.names]
    if hidden:
        logger.warning(
            "columns %s are taken from the paths, the files' own columns of that name are not read", ", ".join(hidden)
        )
    types = {field.name: field.type for field in unified if field.name not in keys}
    return _transformed(types | keys, options)


def _joined(schemas: Sequence[pa.Schema], tables: Sequence[Sequence[TableFile]]) -> pa.Schema:
    """One schema: types that were told from samples give way to text, others must fit together."""
    if any(table.layout.is_text for own in tables for table in own):
        return join_schemas(schemas)
    return unify_schemas(list(schemas), [shown(own[0].file.path) for own in tables])


def _transformed(types: dict[str, pa.DataType], options: TableOptions) -> dict[str, pa.DataType]:
    """What an MLTable file makes of the columns."""
    asked = ((options.keep_columns or ()), options.drop_columns, tuple(options.column_types))
    for names, what in zip(asked, ("keep_columns", "drop_columns", "convert_column_types"), strict=True):
        _check_known(f"{what} of the MLTable file", names, list(types))
    for name, kind in options.column_types.items():
        types[name] = CONVERTED[kind]
    order = types if options.keep_columns is None else options.keep_columns
    return {name: types[name] for name in order if options.gives(name)}


def _check_known(setting: str, asked: Sequence[str], known: list[str]) -> None:
    for name in asked:
        if name not in known:
            nearest = get_close_matches(name, known, n=1, cutoff=0.4)
            hint = f"did you mean {nearest[0]!r}?" if nearest else f"there are: {', '.join(known[:20])}"
            raise ArgumentInvalid(setting, f"no file of the input has a column {name!r}; {hint}")


def _common_keys(tables: Sequence[TableFile], in_paths: Sequence[Values]) -> dict[str, pa.DataType]:
    """Names and types of the path columns, which all files must have."""
    first = in_paths[0]
    types: dict[str, pa.DataType] = dict.fromkeys(first, pa.string())
    for table, keys in zip(tables, in_paths, strict=True):
        if keys.keys() != first.keys():
            name = min(keys.keys() ^ first.keys())
            path = table.file.path
            having, lacking = (path, tables[0].file.path) if name in keys else (tables[0].file.path, path)
            what = f"only the path of the first has a folder {name}=..., and all or none must"
            raise SchemaMismatch(shown(having), shown(lacking), what)
        types.update((name, value_type(value)) for name, value in keys.items() if value is not None)
    return types
