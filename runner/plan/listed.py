"""Plans of listed inputs: files in groups of a size, tables in mini-batches of rows.

Only listings and footers are read. Nothing depends on the time, the machine or the number of threads.
"""

from __future__ import annotations

import hashlib
import os
from array import array
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from itertools import accumulate, repeat

import msgspec

from runner.dataset.frames import check_format
from runner.dataset.listing import ListedFile, list_files, list_table, shown
from runner.dataset.path_columns import Values, path_values
from runner.dataset.table_files import TableFile, check_one_format, probe_table_file
from runner.dataset.table_schema import table_schema
from runner.entity.parallel import ParallelSpec, SplitInput
from runner.entity.plan import FileList, Plan, PlanFile, Unit
from runner.entity.table import TableOptions
from runner.errors import ArgumentInvalid, EmptyInput, SchemaMismatch
from runner.plan.cut import ALGORITHM_VERSION, Rows, cut_files, cut_rows, rows_per_mini_batch

_PROBE_THREADS = 16
"""Footers are small reads, worth overlapping where the storage is far away."""


def plan_files(spec: ParallelSpec) -> Plan:
    if spec.mini_batch_size.kind != "files":
        raise ArgumentInvalid("mini_batch_size", "must be a number of files for an input of files")
    keep = spec.output.keep_columns if spec.output else ()
    foreign = [name for name in keep if name != "path"]
    if foreign:
        raise ArgumentInvalid("keep_columns", f"has {foreign[0]!r}, but of an input of files only 'path' can be kept")
    per = spec.mini_batch_size.value
    paths: list[str] = []
    sizes, times, inputs = array("q"), array("q"), array("l")
    units: list[Unit] = []
    mini_batches = 0
    for index, split in enumerate(spec.inputs):
        listed = list_files(split.path, input_name=split.name, paths=split.table.paths)
        units.extend(cut_files(len(paths), len(listed), per, mini_batches))
        mini_batches += -(-len(listed) // per)
        paths += listed.paths
        sizes += listed.sizes
        times += listed.times
        inputs.extend(repeat(index, len(listed)))
    return Plan(
        kind="files",
        inputs=tuple(split.name for split in spec.inputs),
        files=FileList(paths, sizes, times, inputs),
        units=tuple(units),
        files_per_mini_batch=per,
        mini_batch_count=mini_batches,
        item_count=len(paths),
        fingerprint=_fingerprint(spec, zip(paths, inputs, sizes, times, strict=True), ""),
    )


@dataclass(frozen=True, slots=True)
class Probed:
    """A probed file, and where in the job's inputs it stands."""

    input: int
    root: str
    table: TableFile
    skipped: int
    """Rows at its beginning that are left out."""
    row_count: int
    """Rows that are not left out."""


def plan_tables(spec: ParallelSpec, keys: Sequence[str] = ()) -> Plan:
    """The plan of tables by sizes; `keys` are columns that no file may lack when others have them.

    Raises:
        SchemaMismatch: files do not fit together.
    """
    if spec.mini_batch_size.kind == "files":
        raise ArgumentInvalid(
            "mini_batch_size", "must be a size or a number of rows for a table, like 1mb or '1000 rows'"
        )
    check_format(spec.mini_batch_format)
    keep = spec.output.keep_columns if spec.output else ()
    read = None if spec.columns is None else frozenset((*spec.columns, *keep))
    found = [table for index, split in enumerate(spec.inputs) for table in _probe_input(index, split, read)]
    in_paths = [path_values(each.root, each.table.file.path, spec.inputs[each.input].table) for each in found]
    _check_keys(keys, found, in_paths)
    options = [split.table for split in spec.inputs]
    tables, inputs = [each.table for each in found], [each.input for each in found]
    schema = table_schema(tables, in_paths, inputs, options, spec.columns, keep)
    files: list[PlanFile] = []
    units: list[Unit] = []
    mini_batches = 0
    for index, (each, values) in enumerate(zip(found, in_paths, strict=True)):
        rows = _rows_of(each, schema.row_bytes(each.table))
        per = rows_per_mini_batch(rows, spec.mini_batch_size)
        cut = cut_rows(index, rows, per, mini_batches)
        units.extend(replace(unit, first_row=unit.first_row + each.skipped) for unit in cut)
        mini_batches += -(-rows.row_count // per)
        files.append(
            PlanFile(
                path=each.table.file.path,
                size_bytes=each.table.file.size_bytes,
                mtime_ns=each.table.file.mtime_ns,
                input=each.input,
                row_count=rows.row_count,
                rows_per_mini_batch=per,
                nullable=schema.nullable(each.table, values, options[each.input]),
                skipped_rows=each.skipped,
                is_cut=rows.row_count != each.table.row_count,
                marks=each.table.layout.marks,
                names=each.table.layout.names,
            )
        )
    return Plan(
        kind="table",
        inputs=tuple(split.name for split in spec.inputs),
        files=tuple(files),
        units=tuple(units),
        mini_batch_count=mini_batches,
        item_count=sum(file.row_count for file in files),
        schema=schema.text,
        fingerprint=fingerprint_of(spec, files, schema.text),
    )


def _check_keys(keys: Sequence[str], found: Sequence[Probed], in_paths: Sequence[Values]) -> None:
    for key in keys:
        having = [
            key in values or key in each.table.layout.schema.names for each, values in zip(found, in_paths, strict=True)
        ]
        if any(having) and not all(having):
            first, second = (found[having.index(has)].table.file.path for has in (True, False))
            raise SchemaMismatch(shown(first), shown(second), f"only the first has the partition key {key!r}")


def _probe_input(index: int, split: SplitInput, columns: frozenset[str] | None) -> Iterator[Probed]:
    """The files of one table input, footers read; an input without a row is refused."""
    listed = list_table(split.path, input_name=split.name, paths=split.table.paths)
    check_one_format(listed, split.table)
    root = os.path.abspath(split.path)
    skip, take = split.table.skip, split.table.take
    row_count = 0
    for table in _probed(listed, columns, split.table):
        skipped = min(skip, table.row_count)
        count = table.row_count - skipped if take is None else min(table.row_count - skipped, take - row_count)
        skip -= skipped
        row_count += count
        yield Probed(index, root, table, skipped, count)
    if not row_count:
        raise EmptyInput(split.name, shown(root), "has files, but none of them holds a row")


def _probed(listed: Sequence[ListedFile], columns: frozenset[str] | None, options: TableOptions) -> Iterator[TableFile]:
    """What the files say of themselves, in their order."""
    first: TableFile | None = None
    if options.header == "from_first_file" and len(listed) > 1:
        # The others have no header: their columns are called like those of the first.
        first = probe_table_file(listed[0], columns, options)
        yield first
        listed, options = listed[1:], replace(options, header="no_header")
    with ThreadPoolExecutor(min(_PROBE_THREADS, len(listed))) as threads:
        for table in threads.map(partial(probe_table_file, columns=columns, options=options), listed):
            yield table if first is None else table.renamed(first.layout.names)


def _rows_of(each: Probed, row_bytes: float) -> Rows:
    table = each.table
    return Rows(
        row_count=each.row_count,
        size_bytes=table.file.size_bytes,
        group_rows=_window([group.row_count for group in table.layout.row_groups], each.skipped, each.row_count),
        row_bytes=row_bytes,
        is_stream=table.layout.is_stream,
    )


def _window(group_rows: Sequence[int], skipped: int, row_count: int) -> list[int]:
    """The rows of each group that are between those left out at the beginning and at the end."""
    if not skipped and sum(group_rows) == row_count:
        return list(group_rows)
    ends = [min(max(end - skipped, 0), row_count) for end in accumulate(group_rows)]
    return [end - start for start, end in zip([0, *ends[:-1]], ends, strict=True) if end > start]


def fingerprint_of(spec: ParallelSpec, files: Iterable[PlanFile], schema: str) -> str:
    """What a resume compares: paths, sizes and times of the input, what is asked of it, and how it is cut."""
    return _fingerprint(spec, ((file.path, file.input, file.size_bytes, file.mtime_ns) for file in files), schema)


def _fingerprint(spec: ParallelSpec, files: Iterable[tuple[str, int, int, int]], schema: str) -> str:
    encode = msgspec.json.Encoder().encode
    digest = hashlib.sha256(encode((ALGORITHM_VERSION, spec.mini_batch_size, spec.columns, schema)))
    roots = [os.fsencode(os.path.abspath(split.path)) for split in spec.inputs]
    for split in spec.inputs:
        digest.update(encode((split.name, split.kind, split.table)))
    skipped = [len(root) + 1 for root in roots]
    for path, number, size_bytes, mtime_ns in files:
        name = path.encode("utf-8", "surrogateescape")
        digest.update(b"%s\0%s\0%d %d %d;" % (name, name[skipped[number] :], number, size_bytes, mtime_ns))
    return digest.hexdigest()
