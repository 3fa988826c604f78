"""Plans by partition keys: one mini-batch for each combination of values of some columns.

Where paths, or exact statistics of Parquet, tell the keys apart no row is moved: groups are runs of files and of their
row groups, numbered by the first.
Otherwise rows are exchanged first, and the plan's files are those of the groups.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from runner.dataset.exchange import Exchange
from runner.dataset.group_reader import Batch, read_rows
from runner.dataset.key_hash import HASH_VERSION, is_key_type
from runner.dataset.key_values import KeyTable, TableSchema, join_keys, key_table, save_keys
from runner.dataset.listing import shown
from runner.dataset.machine_memory import memory_bytes
from runner.dataset.parquet_files import constant_runs, is_parquet
from runner.dataset.path_columns import path_values
from runner.dataset.saved_plan import save_plan
from runner.dataset.schemas import decode_schema
from runner.dataset.storage import telling
from runner.dataset.table_layout import row_bytes
from runner.entity.parallel import MiniBatchSize, ParallelSpec
from runner.entity.plan import Plan, PlanFile, Unit
from runner.errors import ArgumentInvalid, SchemaMismatch, StorageFailed
from runner.plan.cut import UNIT_FILES, UNIT_ROWS
from runner.plan.listed import plan_files, plan_tables

MEMORY_SHARE = 4
"""Rows are grouped within this part of the machine's memory when the job says nothing about memory."""
Tell = Callable[[int], None]
"""Told how many rows were read; what it raises ends the work."""
_Values = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class _Grouped:
    """What becomes of the files and rows of an input when they are grouped."""

    files: tuple[PlanFile, ...]
    units: tuple[Unit, ...]
    bounds: npt.NDArray[np.int64]
    keys: KeyTable


def say_nothing(row_count: int) -> None:
    """Nobody wants to know."""


def plan_by_keys(spec: ParallelSpec, path: Path, tell: Tell = say_nothing) -> Plan:
    """The plan of a job with partition keys; the values of the keys are saved beside `path`.

    Raises:
        ArgumentInvalid: a key is no column of the input, or nested.
        SchemaMismatch: a file lacks a key that others have.
    """
    keys = spec.partition_keys
    by_size = replace(spec, partition_keys=(), mini_batch_size=_any_size(spec))
    is_table = spec.inputs[0].kind == "table"
    if is_table and spec.columns is not None:
        # The key columns stay in what `run` gets, also when the job does not name them.
        by_size = replace(by_size, columns=tuple(dict.fromkeys((*spec.columns, *keys))))
    plan = plan_tables(by_size, keys) if is_table else plan_files(by_size)
    if is_table:
        _check_keys(keys, decode_schema(plan.schema))
    pieces = _pieces(spec, plan)
    if pieces is not None:
        grouped = _by_piece(keys, pieces, decode_schema(plan.schema) if is_table else None)
    elif is_table:
        grouped = _by_rows(by_size, keys, plan, path, tell)
    else:
        what = f"{', '.join(keys)}: no path below {spec.inputs[0].path} has folders name=value for them"
        raise ArgumentInvalid("partition_keys", what)
    save_keys(grouped.keys, path)
    return replace(
        plan,
        files=grouped.files,
        units=grouped.units,
        files_per_mini_batch=0,
        mini_batch_count=len(grouped.bounds) - 1,
        item_count=int(grouped.bounds[-1]),
        fingerprint=f"{plan.fingerprint}.keys{HASH_VERSION}.{json.dumps(keys, ensure_ascii=False)}",
        keys=keys,
        bounds=memoryview(grouped.bounds.data).cast("B").cast("q"),
    )


def _any_size(spec: ParallelSpec) -> MiniBatchSize:
    """Some size, for a plan that only lists: keys go before the size that the job says."""
    is_table = spec.inputs[0].kind == "table"
    return MiniBatchSize(kind="rows", value=UNIT_ROWS) if is_table else MiniBatchSize(kind="files", value=1)


def _check_keys(keys: Sequence[str], schema: TableSchema) -> None:
    for key in keys:
        if key not in schema.names:
            nearest = get_close_matches(key, schema.names, n=1, cutoff=0.4)
            hint = f"did you mean {nearest[0]!r}?" if nearest else f"there are: {', '.join(schema.names[:20])}"
            raise ArgumentInvalid("partition_keys", f"no file of the input has a column {key!r}; {hint}")
        if not is_key_type(schema.field(key).type):
            what = f"{key!r} is {schema.field(key).type}; rows cannot be grouped by it"
            raise ArgumentInvalid("partition_keys", what)


# ---- where nothing has to be moved --------------------------------------------------------------------------
def _pieces(spec: ParallelSpec, plan: Plan) -> list[tuple[PlanFile, _Values]] | None:
    """Files, or runs of their row groups, with the keys that all of their rows have; None unless that is so for all."""
    keys = spec.partition_keys
    roots = [os.path.abspath(split.path) for split in spec.inputs]
    found: list[tuple[PlanFile, _Values]] = []
    for file in plan.files:
        if plan.kind == "table" and not file.row_count:
            continue
        columns: dict[str, Any] = dict(path_values(roots[file.input], file.path, spec.inputs[file.input].table))
        lacking = [key for key in keys if key not in columns]
        if not lacking:
            found.append((file, tuple(columns[key] for key in keys)))
            continue
        if plan.kind == "files":
            if found or _have_all(spec, plan, roots):
                first = next(each for each in plan.files if _has_all(spec, each, roots))
                what = f"only the path of the first has folders for the partition keys {', '.join(keys)}"
                raise SchemaMismatch(shown(first.path), shown(file.path), what)
            return None
        runs = constant_runs(file.path, lacking) if is_parquet(file.path) else None
        if runs is None:
            return None
        for piece, values in _run_pieces(file, runs):
            known = columns | dict(zip(lacking, values, strict=True))
            found.append((piece, tuple(known[key] for key in keys)))
    return found


def _has_all(spec: ParallelSpec, file: PlanFile, roots: Sequence[str]) -> bool:
    columns = path_values(roots[file.input], file.path, spec.inputs[file.input].table)
    return all(key in columns for key in spec.partition_keys)


def _have_all(spec: ParallelSpec, plan: Plan, roots: Sequence[str]) -> bool:
    return any(_has_all(spec, file, roots) for file in plan.files)


def _run_pieces(file: PlanFile, runs: Sequence[tuple[int, _Values]]) -> Iterator[tuple[PlanFile, _Values]]:
    """The runs of rows as files of their own, without the rows that are no part of the table."""
    at, first, last = 0, file.skipped_rows, file.skipped_rows + file.row_count
    for count, values in runs:
        start, end = max(at, first), min(at + count, last)
        at += count
        if end > start:
            is_cut = file.is_cut or end - start != file.row_count
            yield replace(file, skipped_rows=start, row_count=end - start, is_cut=is_cut), values


def _by_piece(keys: Sequence[str], pieces: Sequence[tuple[PlanFile, _Values]], schema: TableSchema | None) -> _Grouped:
    """Pieces in the order of their groups, groups in the order of their first pieces; no group spans two inputs."""
    groups: dict[tuple[int, _Values], list[PlanFile]] = {}
    for file, values in pieces:
        groups.setdefault((file.input, values), []).append(file)
    sizes = [sum(file.row_count if schema is not None else 1 for file in members) for members in groups.values()]
    names = [values for _, values in groups]
    bounds = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    files = tuple(file for members in groups.values() for file in members)
    starts = np.arange(len(files) + 1)
    most = UNIT_FILES
    if schema is not None:
        starts = np.concatenate([[0], np.cumsum([file.row_count for file in files])]).astype(np.int64)
        most = UNIT_ROWS
    units = tuple(_units(bounds, starts, [file.input for file in files], most))
    return _Grouped(files, units, bounds, key_table(keys, names, schema))


def _units(
    bounds: npt.NDArray[np.int64], starts: npt.NDArray[np.int64], inputs: Sequence[int], most: int
) -> Iterator[Unit]:
    """Runs of whole groups of one input, of about `most` items; how the groups lie in files does not matter.

    `starts` is the item that each file begins with, counted over all, and where the last one ends.
    """
    changes = [index for index in range(1, len(inputs)) if inputs[index] != inputs[index - 1]]
    ends = [int(np.searchsorted(bounds, starts[index])) for index in changes] + [len(bounds) - 1]
    first = 0
    for last in ends:
        while first < last:
            end = int(np.searchsorted(bounds, bounds[first] + most, side="right")) - 1
            end = min(max(end, first + 1), last)
            low, high = int(bounds[first]), int(bounds[end])
            file = int(np.searchsorted(starts, low, side="right")) - 1
            yield Unit(
                file=file,
                file_count=int(np.searchsorted(starts, high)) - file,
                first_mini_batch=first,
                mini_batch_count=end - first,
                first_row=low - int(starts[file]),
                row_count=high - low,
            )
            first = end


# ---- where rows are moved -----------------------------------------------------------------------------------
def _by_rows(spec: ParallelSpec, keys: Sequence[str], plan: Plan, path: Path, tell: Tell) -> _Grouped:
    """Move the rows of tables into files of groups beside the plan."""
    schema = decode_schema(plan.schema)
    folder = path.with_name("groups")
    save_plan(plan, path.with_name(f"{path.name}.input"))
    check_space(plan, schema, folder)
    budget = spec.memory_bytes or memory_bytes() // MEMORY_SHARE
    files: list[PlanFile] = []
    counts: list[npt.NDArray[np.int64]] = []
    tables: list[KeyTable] = []
    for index in range(len(spec.inputs)):
        own = tuple(file for file in plan.files if file.input == index)
        read = sum(int(count.sum()) for count in counts)
        rows = _told(read_rows(replace(plan, files=own), spec, schema), tell, read)
        groups = Exchange(schema, keys, folder / str(index), budget).run(rows, _decoded_bytes(own, schema))
        nullable = tuple(sorted({name for file in own for name in file.nullable}))
        files.extend(_plan_file(file.path, file.row_count, nullable, index) for file in groups.files)
        counts.append(groups.counts)
        tables.append(groups.keys)
    bounds = np.concatenate([[0], np.cumsum(np.concatenate(counts))]).astype(np.int64)
    starts = np.concatenate([[0], np.cumsum([file.row_count for file in files])]).astype(np.int64)
    units = tuple(_units(bounds, starts, [file.input for file in files], UNIT_ROWS))
    return _Grouped(tuple(files), units, bounds, join_keys(tables))


def _decoded_bytes(files: Sequence[PlanFile], schema: TableSchema) -> int:
    """About how large the rows are in memory: exact for numbers; text is packed on disk, to a quarter often."""
    rows = sum(file.row_count for file in files)
    widths = row_bytes(schema, dict.fromkeys(schema.names, 1e-9))
    fixed = sum(width for width in widths.values() if width >= 0.1)
    is_fixed = all(width >= 0.1 for width in widths.values())
    return int(rows * (fixed + 8)) + (0 if is_fixed else 4 * sum(file.size_bytes for file in files))


def check_space(plan: Plan, schema: TableSchema, folder: Path) -> None:
    """Refuse at once what cannot fit: what has no fixed width is taken as no larger than the files."""
    widths = row_bytes(schema, dict.fromkeys(schema.names, 1e-9))
    row = sum(width for width in widths.values() if width >= 0.1)
    needed = int(row * sum(file.row_count for file in plan.files))
    if any(width < 0.1 for width in widths.values()):
        needed = max(needed, sum(file.size_bytes for file in plan.files))
    with telling(folder.parent, "rows cannot be grouped by key"):
        free = shutil.disk_usage(folder.parent).free
    if needed > free:
        what = f"has {free} bytes free, and grouping rows by key needs about {needed}; make room and resume the job"
        raise StorageFailed(str(folder.parent), what)


def _told(batches: Iterator[Batch], tell: Tell, count: int) -> Iterator[Batch]:
    for batch in batches:
        count += batch.num_rows
        tell(count)
        yield batch


def _plan_file(path: str, row_count: int, nullable: tuple[str, ...], index: int) -> PlanFile:
    info = os.stat(path)
    return PlanFile(
        path=path,
        size_bytes=info.st_size,
        mtime_ns=info.st_mtime_ns,
        input=index,
        row_count=row_count,
        nullable=nullable,
        is_moved=True,
    )
