"""Plans by partition keys: one mini-batch for each combination of values of some columns.

Where the paths alone tell the keys apart no row is moved: groups are runs of files, numbered by their first file.
Otherwise rows are exchanged first, and the plan's files are those of the groups.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from difflib import get_close_matches
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from runner.dataset.exchange import Exchange
from runner.dataset.group_reader import read_rows
from runner.dataset.key_hash import HASH_VERSION, is_key_type
from runner.dataset.key_values import save_keys
from runner.dataset.listing import shown
from runner.dataset.path_columns import path_values, value_type
from runner.dataset.saved_plan import save_plan
from runner.dataset.schemas import decode_schema
from runner.entity.parallel import MiniBatchSize, ParallelSpec
from runner.entity.plan import Plan, PlanFile, Unit
from runner.errors import ArgumentInvalid, SchemaMismatch
from runner.plan.cut import UNIT_FILES, UNIT_ROWS
from runner.plan.listed import plan_files, plan_tables

EXCHANGE_BYTES = 512 << 20
"""Rows that are grouped in memory at a time when the job says nothing about memory."""
Tell = Callable[[int], None]
"""Told how many rows were read; what it raises ends the work."""
_Values = tuple[str | datetime | None, ...]


@dataclass(frozen=True, slots=True)
class _Grouped:
    """What becomes of the files and rows of an input when they are grouped."""

    files: tuple[PlanFile, ...]
    units: tuple[Unit, ...]
    bounds: npt.NDArray[np.int64]
    keys: pa.Table


def say_nothing(row_count: int) -> None:
    """Nobody wants to know."""


def plan_by_keys(spec: ParallelSpec, path: Path, tell: Tell = say_nothing) -> Plan:
    """The plan of a job with partition keys; the values of the keys are saved beside `path`.

    Raises:
        ArgumentInvalid: a key is no column of the input, or nested.
        SchemaMismatch: a file lacks a key that others have in their paths.
    """
    by_size = replace(spec, partition_keys=(), mini_batch_size=_any_size(spec))
    is_table = spec.inputs[0].kind == "table"
    if is_table and spec.columns is not None:
        # The key columns stay in what `run` gets, also when the job does not name them.
        by_size = replace(by_size, columns=tuple(dict.fromkeys((*spec.columns, *spec.partition_keys))))
    plan = plan_tables(by_size) if is_table else plan_files(by_size)
    values = _path_values(spec, plan)
    if values is not None:
        grouped = _by_path(spec.partition_keys, values, plan.files, are_rows=is_table)
    elif is_table:
        grouped = _by_rows(by_size, spec.partition_keys, plan, path, tell)
    else:
        what = f"{', '.join(spec.partition_keys)}: no path below {spec.inputs[0].path} has folders name=value for them"
        raise ArgumentInvalid("partition_keys", what)
    save_keys(grouped.keys, path)
    return replace(
        plan,
        files=grouped.files,
        units=grouped.units,
        files_per_mini_batch=0,
        mini_batch_count=len(grouped.bounds) - 1,
        item_count=int(grouped.bounds[-1]),
        fingerprint=f"{plan.fingerprint}.keys{HASH_VERSION}.{'/'.join(spec.partition_keys)}",
        keys=spec.partition_keys,
        bounds=memoryview(grouped.bounds).cast("B").cast("q"),
    )


def _any_size(spec: ParallelSpec) -> MiniBatchSize:
    """Some size, for a plan that only lists: keys go before the size that the job says."""
    is_table = spec.inputs[0].kind == "table"
    return MiniBatchSize(kind="rows", value=UNIT_ROWS) if is_table else MiniBatchSize(kind="files", value=1)


def _path_values(spec: ParallelSpec, plan: Plan) -> list[_Values] | None:
    """The keys in the path of each file, when all have all of them there; None when no path has all."""
    keys = spec.partition_keys
    roots = [os.path.abspath(split.path) for split in spec.inputs]
    found: list[_Values | None] = []
    for file in plan.files:
        columns = path_values(roots[file.input], file.path, spec.inputs[file.input].table)
        found.append(tuple(columns[key] for key in keys) if all(key in columns for key in keys) else None)
    having = [index for index, values in enumerate(found) if values is not None]
    if not having:
        return None
    if len(having) < len(found):
        lacking = plan.files[found.index(None)]
        what = f"only the path of the first has folders for the partition keys {', '.join(keys)}"
        raise SchemaMismatch(shown(plan.files[having[0]].path), shown(lacking.path), what)
    return [values for values in found if values is not None]


def _by_path(keys: Sequence[str], values: list[_Values], files: Sequence[PlanFile], *, are_rows: bool) -> _Grouped:
    """Files in the order of their groups, groups in the order of their first files; no group spans two inputs."""
    groups: dict[tuple[int, _Values], list[int]] = {}
    for index, value in enumerate(values):
        groups.setdefault((files[index].input, value), []).append(index)
    sizes = [sum(files[index].row_count if are_rows else 1 for index in members) for members in groups.values()]
    kept = [name for (_, name), size in zip(groups, sizes, strict=True) if size]
    bounds = np.concatenate([[0], np.cumsum([size for size in sizes if size])]).astype(np.int64)
    columns = [pa.array([name[at] for name in kept], _type_of(kept, at)) for at in range(len(keys))]
    counts = [len(members) for members in groups.values()]
    return _Grouped(
        tuple(files[index] for members in groups.values() for index in members),
        tuple(_units_of_files(sizes, counts, UNIT_ROWS if are_rows else UNIT_FILES)),
        bounds,
        pa.table(columns, names=list(keys)),
    )


def _type_of(names: Sequence[_Values], at: int) -> pa.DataType:
    return value_type(next((name[at] for name in names if name[at] is not None), None))


def _units_of_files(sizes: Sequence[int], counts: Sequence[int], most: int) -> Iterator[Unit]:
    """Runs of whole groups with about `most` rows or files; a group without rows has no number."""
    first_file = file = first = end = rows = 0
    for size, count in zip(sizes, counts, strict=True):
        if rows and rows + size > most:
            yield _unit(first_file, file, first, end, rows)
            first_file, first, rows = file, end, 0
        file, rows, end = file + count, rows + size, end + (1 if size else 0)
    if rows:
        yield _unit(first_file, file, first, end, rows)


def _unit(first_file: int, end_file: int, first: int, end: int, rows: int) -> Unit:
    count = end_file - first_file
    return Unit(file=first_file, file_count=count, first_mini_batch=first, mini_batch_count=end - first, row_count=rows)


def _by_rows(spec: ParallelSpec, keys: Sequence[str], plan: Plan, path: Path, tell: Tell) -> _Grouped:
    """Move the rows of a table into files of groups beside the plan."""
    schema = decode_schema(plan.schema)
    for key in keys:
        if key not in schema.names:
            nearest = get_close_matches(key, schema.names, n=1, cutoff=0.4)
            hint = f"did you mean {nearest[0]!r}?" if nearest else f"there are: {', '.join(schema.names[:20])}"
            raise ArgumentInvalid("partition_keys", f"no file of the input has a column {key!r}; {hint}")
        if not is_key_type(schema.field(key).type):
            raise ArgumentInvalid(
                "partition_keys", f"{key!r} is {schema.field(key).type}; rows cannot be grouped by it"
            )
    if len({file.input for file in plan.files}) > 1:
        raise ArgumentInvalid(
            "partition_keys", "are given with several split inputs; give one, or write their keys as folders"
        )
    size = sum(file.size_bytes for file in plan.files)
    budget = spec.memory_bytes // 4 if spec.memory_bytes else EXCHANGE_BYTES
    folder = path.with_name("groups")
    save_plan(plan, path.with_name(f"{path.name}.input"))
    rows = _told(read_rows(plan, spec, schema), tell)
    # What is on disk is packed: decoded it is a few times as large.
    groups = Exchange(schema, keys, folder, budget).run(rows, 4 * size)
    nullable = tuple(sorted({name for file in plan.files for name in file.nullable}))
    files = tuple(_plan_file(file.path, file.row_count, nullable) for file in groups.files)
    bounds = np.concatenate([[0], np.cumsum(groups.counts)]).astype(np.int64)
    return _Grouped(files, tuple(_units_of_groups(files, bounds)), bounds, groups.keys)


def _told(batches: Iterator[pa.RecordBatch], tell: Tell) -> Iterator[pa.RecordBatch]:
    count = 0
    for batch in batches:
        count += batch.num_rows
        tell(count)
        yield batch


def _plan_file(path: str, row_count: int, nullable: tuple[str, ...]) -> PlanFile:
    info = os.stat(path)
    return PlanFile(
        path=path,
        size_bytes=info.st_size,
        mtime_ns=info.st_mtime_ns,
        row_count=row_count,
        nullable=nullable,
        is_moved=True,
    )


def _units_of_groups(files: Sequence[PlanFile], bounds: npt.NDArray[np.int64]) -> Iterator[Unit]:
    """Runs of whole groups within one file, of about UNIT_ROWS rows."""
    base = 0
    for index, file in enumerate(files):
        at = int(np.searchsorted(bounds, base))
        last = int(np.searchsorted(bounds, base + file.row_count))
        while at < last:
            end = int(np.searchsorted(bounds, bounds[at] + UNIT_ROWS, side="right")) - 1
            end = min(max(end, at + 1), last)
            yield Unit(
                file=index,
                first_mini_batch=at,
                mini_batch_count=end - at,
                first_row=int(bounds[at]) - base,
                row_count=int(bounds[end] - bounds[at]),
            )
            at = end
        base += file.row_count
