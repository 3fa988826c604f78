"""Makes one part of the segments of a lease: the chosen copy of every mini-batch, in mini-batch order.

Entries that follow each other in one segment are copied as one slice, so the cost is per run of mini-batches that one
worker took together. What workers have encoded lies in the lease's payload, which becomes the part by a footer.
Segments are mapped, rows are encoded a row group at a time: memory does not grow with the part.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from runner.dataset.encode import TableFile
from runner.dataset.glue import GluedFile
from runner.dataset.output_schema import forget_origin, plain, unify_returned
from runner.dataset.schemas import encode_schema
from runner.dataset.spool import ENTRY, Segment, to_records, words_of
from runner.dataset.storage import ContinuedFile, HashedFile, sync_folder, telling
from runner.entity.lease import Part
from runner.entity.parallel import OutputSpec
from runner.errors import Defect, OutputInvalid

GATHER_BYTES = 1 << 20
"""Runs of text that are shorter are gathered before they are written."""
BORDERS_SUFFIX = ".borders"
BORDER = np.dtype([("mini_batch", "<i8"), ("bytes", "<i8"), ("rows", "<i8")])
"""Beside a CSV or JSON lines part of a folder: what each mini-batch adds, so that files can end at any of them."""


@dataclass(frozen=True, slots=True)
class Assembly:
    """What assembling gives: the part (None without output) and one RECORD struct per mini-batch that has a segment."""

    part: Part | None
    records: npt.NDArray[np.void]
    byte_counts: npt.NDArray[np.int64]
    """How many bytes of text the part has of each; zeros for tables."""


@dataclass(frozen=True, slots=True)
class _Runs:
    """Stretches of chosen entries that lie next to each other, in order: first mini-batch and place of each."""

    mini_batch: npt.NDArray[np.int64]
    segment: npt.NDArray[np.int64]
    section: npt.NDArray[np.int64]
    offset: npt.NDArray[np.int64]
    extent: npt.NDArray[np.int64]


def assemble(
    segments: Mapping[int, Path | str],
    first: int,
    numbers: npt.NDArray[np.integer],
    output: OutputSpec | None,
    target_file: Path | None,
    payload: Path | None = None,
    *,
    is_whole_lease: bool = False,
) -> Assembly:
    """Make the part of mini-batches [first, first + len(numbers)); durable when this returns.

    `numbers` holds for each mini-batch the number of the segment whose copy counts, 0 for one that was set aside;
    `segments` maps those numbers to files, and `payload` is the file to which their encoded sections were appended. It
    becomes the part itself where nobody else needs it (`is_whole_lease`). An existing `target_file` is overwritten.
    Nothing is written without output, or where all results were empty. Raises OutputInvalid naming two mini-batches
    whose results cannot stand in one output, StorageFailed when the disk says no, Defect when a segment lacks a
    mini-batch that names it.
    """
    output = output.staged if output is not None else None
    mapped = _map(payload)
    opened = {int(n): Segment.open(segments[int(n)], mapped) for n in np.unique(numbers) if n}
    chosen, owners = _choose(opened, first, np.asarray(numbers, np.int64))
    records = to_records(chosen)
    is_rows = any(segment.mode == "rows" for segment in opened.values())
    byte_counts = np.zeros(len(chosen), np.int64) if is_rows else chosen["extent"].copy()
    if output is None or target_file is None:
        return Assembly(None, records, byte_counts)
    with telling(target_file, "the part cannot be written"):
        if is_rows:
            base = payload if is_whole_lease and mapped is not None else None
            part = _assemble_rows(opened, chosen, owners, output, target_file, base)
        else:
            part = _assemble_text(opened, chosen, owners, output, target_file)
        if part is not None:
            sync_folder(target_file.parent)
    return Assembly(part, records, byte_counts)


def _map(payload: Path | None) -> pa.Buffer | None:
    if payload is None or not payload.exists():
        return None
    with telling(payload, "the payload cannot be read"), open(payload, "rb") as file:
        if not os.fstat(file.fileno()).st_size:
            return None
        return pa.py_buffer(mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ))


def _choose(
    opened: Mapping[int, Segment], first: int, numbers: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.void], npt.NDArray[np.int64]]:
    """The entry that counts for each mini-batch with a segment, in order, and the number of its segment."""
    place = np.cumsum(numbers != 0) - 1
    chosen, owners = np.zeros(int(place[-1]) + 1 if len(place) else 0, ENTRY), np.zeros_like(numbers[numbers != 0])
    found = np.zeros(len(chosen), np.int64)
    for number, segment in opened.items():
        at = segment.entries["mini_batch"] - first
        inside = np.flatnonzero((at >= 0) & (at < len(numbers)))
        mine = inside[numbers[at[inside]] == number]
        to = place[at[mine]]
        words_of(chosen)[to] = words_of(segment.entries)[mine]
        owners[to] = number
        np.add.at(found, to, 1)
    if not (found == 1).all():
        odd = (np.flatnonzero(numbers) + first)[found != 1]
        raise Defect(f"segments do not hold each mini-batch once that names them: {odd[:5].tolist()}")
    return chosen, owners


def _runs(chosen: npt.NDArray[np.void], owners: npt.NDArray[np.int64]) -> _Runs:
    """Join entries that follow each other in one section of one segment; entries without extent do not divide."""
    full = chosen["extent"] > 0
    segment, section = owners[full], chosen["section"][full].astype(np.int64)
    offset, extent = chosen["offset"][full], chosen["extent"][full]
    begins = np.ones(len(offset), np.bool_)
    begins[1:] = (
        (segment[1:] != segment[:-1]) | (section[1:] != section[:-1]) | (offset[1:] != offset[:-1] + extent[:-1])
    )
    starts = np.flatnonzero(begins)
    extents = np.add.reduceat(extent, starts) if len(starts) else extent
    return _Runs(chosen["mini_batch"][full][starts], segment[starts], section[starts], offset[starts], extents)


def _first_of_each(segment: npt.NDArray[np.int64], section: npt.NDArray[np.int64]) -> list[int]:
    """Where each pair of segment and section comes first, in order."""
    if not len(segment):
        return []
    changes = np.flatnonzero(np.append(True, (segment[1:] != segment[:-1]) | (section[1:] != section[:-1])))
    seen: dict[tuple[int, int], int] = {}
    for at in changes.tolist():
        seen.setdefault((int(segment[at]), int(section[at])), at)
    return list(seen.values())


def _assemble_text(
    opened: Mapping[int, Segment],
    chosen: npt.NDArray[np.void],
    owners: npt.NDArray[np.int64],
    output: OutputSpec,
    target_file: Path,
) -> Part | None:
    columns, mini_batch = _first_frame(opened, chosen, owners)
    if columns is None and not chosen["extent"].any():
        return None
    runs = _runs_of_text(chosen, owners)
    views = {number: segment.text() for number, segment in opened.items()}
    with HashedFile(target_file) as file:
        gathered: list[memoryview] = []
        waiting = 0
        for number, start, extent in _rows_of(runs.segment, runs.offset, runs.extent):
            gathered.append(views[number][start : start + extent])
            waiting += extent
            if waiting >= GATHER_BYTES:
                _write_all(file, gathered)
                gathered, waiting = [], 0
        _write_all(file, gathered)
        file.finish()
    if output.is_folder and output.format != "text":
        _write_borders(target_file, chosen)
    return Part(
        file=target_file.name,
        size_bytes=file.size_bytes,
        sha256=file.sha256,
        row_count=int(chosen["row_count"].sum()),
        frame_columns=columns,
        frame_mini_batch=mini_batch,
    )


def _runs_of_text(chosen: npt.NDArray[np.void], owners: npt.NDArray[np.int64]) -> _Runs:
    bare = chosen.copy()
    bare["section"] = 0  # the number of a frame's columns, which does not matter for where the lines are
    return _runs(bare, owners)


def _rows_of(*columns: npt.NDArray[np.int64]) -> Iterator[tuple[int, ...]]:
    """The rows of columns of one length, as Python integers."""
    return zip(*(column.tolist() for column in columns), strict=True)


def _write_all(file: HashedFile, views: list[memoryview]) -> None:
    if len(views) == 1:
        view = views[0]
        for start in range(0, len(view), GATHER_BYTES):
            file.write(view[start : start + GATHER_BYTES])
    elif views:
        file.write(b"".join(views))


def _write_borders(target_file: Path, chosen: npt.NDArray[np.void]) -> None:
    borders = np.empty(len(chosen), BORDER)
    borders["mini_batch"] = chosen["mini_batch"]
    borders["bytes"], borders["rows"] = chosen["extent"], chosen["row_count"]
    with HashedFile(target_file.with_name(target_file.name + BORDERS_SUFFIX)) as file:
        file.write(borders.tobytes())
        file.finish()


def _first_frame(
    opened: Mapping[int, Segment], chosen: npt.NDArray[np.void], owners: npt.NDArray[np.int64]
) -> tuple[tuple[str, ...] | None, int]:
    """Columns and mini-batch of the first frame; raises OutputInvalid if a later one has others."""
    framed = np.flatnonzero(chosen["section"] >= 0)
    if not len(framed):
        return None, -1
    found: tuple[tuple[str, ...], int] | None = None
    for at in framed[_first_of_each(owners[framed], chosen["section"][framed])].tolist():
        columns = opened[int(owners[at])].frames[chosen["section"][at]]
        mini_batch = int(chosen["mini_batch"][at])
        if found is None:
            found = (columns, mini_batch)
        check_same_columns(*found, columns, mini_batch)
    assert found is not None
    return found


def check_same_columns(first: tuple[str, ...], first_mini_batch: int, other: tuple[str, ...], mini_batch: int) -> None:
    """Raise OutputInvalid if two frames cannot stand below one header line."""
    if first != other:
        raise OutputInvalid(
            f"mini-batch {first_mini_batch} returned the columns {', '.join(first)} and mini-batch {mini_batch} the "
            f"columns {', '.join(other)}, which cannot stand below one header line; return the same columns every time"
        )


def _assemble_rows(
    opened: Mapping[int, Segment],
    chosen: npt.NDArray[np.void],
    owners: npt.NDArray[np.int64],
    output: OutputSpec,
    target_file: Path,
    payload: Path | None,
) -> Part | None:
    runs = _runs(chosen, owners)
    if not len(runs.offset):
        return None
    firsts = _first_of_each(runs.segment, runs.section)
    places = [(int(runs.segment[at]), int(runs.section[at])) for at in firsts]
    schemas = {(number, section): opened[number].section_schema(section) for number, section in places}
    in_order = [(schemas[place], int(runs.mini_batch[at])) for place, at in zip(places, firsts, strict=True)]
    schema = unify_returned(in_order)
    first = in_order[0][1]
    stretches = list(_rows_of(runs.segment, runs.section, runs.offset, runs.extent))
    whole = {
        (number, section)
        for number, section, _, extent in stretches
        if opened[number].is_encoded(section)
        and extent == opened[number].section_rows(section)
        and schemas[number, section] == plain(schema)
    }
    if payload is not None and not _is_mostly(payload, [opened[number].encoded_section(s)[0] for number, s in whole]):
        payload = None
    file = HashedFile(target_file) if payload is None else ContinuedFile(payload)
    writer = (GluedFile if output.format == "parquet" else TableFile)(file, plain(schema), output)
    tables: dict[tuple[int, int], pa.Table] = {}
    try:
        for number, section, offset, extent in stretches:
            if (number, section) in whole and isinstance(writer, GluedFile):
                encoded, at = opened[number].encoded_section(section)
                if payload is not None:
                    writer.refer(encoded, at, extent)
                else:
                    writer.take_over(encoded, extent)
                continue
            if (number, section) not in tables:
                tables[number, section] = opened[number].section(section)
            writer.write(tables[number, section].slice(offset, extent))
        writer.finish()
    finally:
        writer.close()
    if payload is not None:
        os.rename(payload, target_file)
    return Part(
        file=target_file.name,
        size_bytes=writer.file.size_bytes,
        sha256=writer.file.sha256,
        row_count=writer.row_count,
        frame_mini_batch=first,
        schema=encode_schema(forget_origin(schema, first)),
    )


def _is_mostly(payload: Path, counted: list[memoryview]) -> bool:
    """Whether a payload is worth being the part: not mostly what died workers left, or must be encoded anew."""
    return 2 * sum(map(len, counted)) >= payload.stat().st_size
