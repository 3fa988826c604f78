"""The values of partition keys: one row for each group, beside the plan; as Python values for scripts and failures."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias

import pyarrow as pa

from runner.dataset.path_columns import value_type
from runner.dataset.storage import telling

KeyTable: TypeAlias = pa.Table
TableSchema: TypeAlias = pa.Schema


def key_table(names: Sequence[str], rows: Sequence[tuple[Any, ...]], schema: TableSchema | None) -> KeyTable:
    """One row for each group; of inputs of files, which have no schema, the types are those of values in paths."""
    columns = []
    for at, name in enumerate(names):
        values = [row[at] for row in rows]
        first = next((value for value in values if value is not None), None)
        columns.append(pa.array(values, value_type(first) if schema is None else schema.field(name).type))
    return pa.table(columns, names=list(names))


def join_keys(tables: Sequence[KeyTable]) -> KeyTable:
    """The rows of all tables in order."""
    return pa.concat_tables(tables)


def keys_of(plan_path: str | os.PathLike[str]) -> Path:
    """The file beside a plan that holds the keys of its groups."""
    return Path(f"{os.fspath(plan_path)}.keys")


def save_keys(keys: pa.Table, plan_path: str | os.PathLike[str]) -> None:
    """Write one row of values for each group; before the plan, which says how many there are."""
    path = keys_of(plan_path)
    with telling(path, "the plan cannot be written"):
        partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
        with pa.OSFile(os.fsencode(partial), "wb") as sink, pa.ipc.new_file(sink, keys.schema) as writer:
            writer.write_table(keys.combine_chunks(), max_chunksize=1 << 16)
        descriptor = os.open(partial, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        partial.replace(path)


class KeyValues:
    """The keys of a plan, mapped."""

    def __init__(self, plan_path: str | os.PathLike[str]) -> None:
        self._table: pa.Table = pa.ipc.open_file(pa.memory_map(os.fsencode(keys_of(plan_path)))).read_all()

    def of(self, mini_batch: int) -> dict[str, Any]:
        """The values of one group by key, in the order of the keys."""
        return {name: _value(self._table.column(name)[mini_batch]) for name in self._table.column_names}

    def text_of(self, mini_batch: int) -> str:
        """The same as a JSON object; what JSON has no form for as text."""
        return json.dumps(self.of(mini_batch), default=str, ensure_ascii=False)


def _value(scalar: pa.Scalar) -> Any:
    if not scalar.is_valid:
        return None
    if pa.types.is_timestamp(scalar.type) or pa.types.is_duration(scalar.type):
        import pandas

        if pa.types.is_duration(scalar.type):
            return pandas.Timedelta(scalar.value, unit=scalar.type.unit)
        stamp = pandas.Timestamp(scalar.value, unit=scalar.type.unit)
        return stamp if scalar.type.tz is None else stamp.tz_localize("UTC").tz_convert(scalar.type.tz)
    return scalar.as_py()
