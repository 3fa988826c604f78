"""The failures data set: what a job has set aside, as Parquet beside its output, for whoever reads the output.

It is made whole in a hidden sibling and takes its name by a rename; what had the name before goes afterwards. A crash
in between leaves hidden folders, which the next one to write removes, and perhaps no data set: the job's own records
have everything. It belongs to the job whose folder its marker names.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from runner.dataset.encode import open_sink
from runner.dataset.storage import HashedFile, sync_folder, telling, write_durably
from runner.entity.failure import FAILURE_COLUMNS, FailureRow
from runner.entity.parallel import OutputSpec
from runner.errors import TargetExists

SUFFIX = ".failures"
MARKER = ".job"
PART = "part-00000.parquet"
MANIFEST = "_manifest.json"
GROUP_ROWS = 10_000
GROUP_BYTES = 16 << 20
"""A row group ends at whichever comes first: tracebacks may be long."""

_TYPES = {
    **dict.fromkeys(("mini_batch", "unit", "row", "item_count", "attempts"), pa.int64()),
    "time": pa.timestamp("us", "UTC"),
}
SCHEMA = pa.schema([(name, _TYPES.get(name, pa.string())) for name in FAILURE_COLUMNS])


def failures_of(output: OutputSpec) -> Path:
    """Where the failures of an output stand: beside it, never inside."""
    target = Path(output.target)
    return target.with_name(target.name + SUFFIX)


def write_failures(path: Path, rows: Iterable[FailureRow]) -> tuple[int, int, str]:
    """Write failures as one Parquet file, durable when this returns: rows, bytes, SHA-256. Memory is bounded."""
    with HashedFile(path) as file:
        count = _write_rows(open_sink(file), rows)
        file.finish()
    return count, file.size_bytes, file.sha256


def stream_failures(file: BinaryIO, rows: Iterable[FailureRow]) -> None:
    """Write failures as one Parquet file to a stream, such as standard output, which stays open."""
    _write_rows(pa.PythonFile(file, mode="w"), rows)
    file.flush()


def _write_rows(sink: pa.NativeFile, rows: Iterable[FailureRow]) -> int:
    count = 0
    with pq.ParquetWriter(sink, SCHEMA, compression="zstd") as writer:
        for group in _groups(rows):
            writer.write_table(_table(group))
            count += len(group)
    return count


def _groups(rows: Iterable[FailureRow]) -> Iterator[list[FailureRow]]:
    group: list[FailureRow] = []
    size = 0
    for row in rows:
        group.append(row)
        size += len(row.message) + len(row.traceback)
        if len(group) >= GROUP_ROWS or size >= GROUP_BYTES:
            yield group
            group, size = [], 0
    if group:
        yield group


def _table(group: Sequence[FailureRow]) -> pa.Table:
    columns: Iterable[Sequence[Any]] = zip(*(row.values() for row in group), strict=True)
    arrays = []
    for field, values in zip(SCHEMA, columns, strict=True):
        if field.name == "time":
            values = [round(value * 1e6) for value in values]
        arrays.append(pa.array(values, pa.int64() if field.name == "time" else field.type).cast(field.type))
    return pa.Table.from_arrays(arrays, schema=SCHEMA)


def claim_failures(output: OutputSpec, owner: Path) -> None:
    """Before a job begins: make sure that its failures can stand beside its output.

    What another job has left there tells of an output that is not there any more, and is removed, unless the output is
    about to be overwritten: then both stay until then. Raises TargetExists for what no job has written.
    """
    place = failures_of(output)
    if output.overwrite or not os.path.lexists(place):
        return
    if owner_of(place) is None:
        raise TargetExists(str(place))
    put_failures(place, (), owner, may_replace=True)


def owner_of(place: Path) -> str | None:
    """The folder of the job whose failures these are; None when they are no job's."""
    try:
        return str(json.loads((place / MARKER).read_bytes())["folder"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def put_failures(place: Path, rows: Iterable[FailureRow], owner: Path, *, may_replace: bool) -> bool:
    """Put the data set at its place, instead of what the same job, or any with `may_replace`, has there.

    Without any row there is none afterwards. False when something else has the name; nothing is changed then.
    """
    with telling(place, "the failures cannot be written"):
        new, old = (place.with_name(f".{place.name}.{owner.name}.{step}") for step in ("new", "old"))
        for left in (new, old):
            _remove(left)
        found = os.path.lexists(place)
        if found and not may_replace and owner_of(place) != str(owner):
            return False
        rows = iter(rows)
        first = next(rows, None)
        try:
            if first is not None:
                _write(new, _chain(first, rows), owner)
            if found:
                os.rename(place, old)
            if first is not None:
                os.rename(new, place)
        except OSError:
            shutil.rmtree(new, ignore_errors=True)
            raise
        if found or first is not None:
            sync_folder(place.parent)
        _remove(old)
        return True


def _chain(first: FailureRow, rows: Iterator[FailureRow]) -> Iterator[FailureRow]:
    yield first
    yield from rows


def _write(new: Path, rows: Iterator[FailureRow], owner: Path) -> None:
    new.mkdir(parents=True)
    count, size, sha256 = write_failures(new / PART, rows)
    parts = [{"file": PART, "rows": count, "bytes": size, "sha256": sha256}]
    write_durably(new / MANIFEST, json.dumps({"version": 1, "parts": parts}, indent=1).encode() + b"\n")
    write_durably(new / MARKER, json.dumps({"job": owner.name, "folder": str(owner)}).encode() + b"\n")


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    elif os.path.lexists(path):
        path.unlink()
