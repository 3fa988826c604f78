"""Makes the final files of an output from its parts, inside the staging folder; the parts stay as they are."""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from runner.dataset.encode import TableFile, open_sink
from runner.dataset.glue import GluedFile
from runner.dataset.output_schema import plain, unify_returned
from runner.dataset.parts import BORDER, BORDERS_SUFFIX, check_same_columns
from runner.dataset.render import text_settings
from runner.dataset.schemas import decode_schema
from runner.dataset.storage import COPY_BYTES, HashedFile, copy_range
from runner.dataset.text import header_line
from runner.entity.lease import Part
from runner.entity.parallel import OutputSpec

MANIFEST = "_manifest.json"
READ_ROWS = 1 << 18
GLUE_BYTES = 1 << 20
"""Parts of at least this size are joined without decoding them; row groups that are smaller are slow to read."""
SMALL = 1 / 16
"""Of `part_size`: smaller parts are joined. Joining decodes and encodes again, which at full speed costs as much as the
job itself; from 8 MB on a file is large enough to be left as it is, and a slow job's tiny parts cost little to join."""


class Final(NamedTuple):
    """A file in staging and the name it gets at the target."""

    source: str
    name: str
    rows: int
    size_bytes: int
    sha256: str


def part_name(number: int, output: OutputSpec) -> str:
    """`part-00000.parquet` and so on, in the order of names as of rows up to a hundred thousand files."""
    extension = {"parquet": "parquet", "ipc": "arrow", "csv": "csv", "jsonl": "jsonl"}[output.format]
    packed = {"gzip": ".gz", "zstd": ".zst"}.get(output.compression, "") if output.format in ("csv", "jsonl") else ""
    return f"part-{number:05d}.{extension}{packed}"


# Lines


def join_lines(output: OutputSpec, staging: Path, parts: Sequence[Part]) -> list[Final]:
    """One file for text and for a single target, else files that end at the first mini-batch after `part_size`."""
    header = _header(output, parts)
    if output.is_folder and output.format != "text":
        return _divide_lines(output, staging, parts, header)
    name = output.file_name if output.is_folder else Path(output.target).name
    rows = sum(part.row_count for part in parts)
    if len(parts) == 1 and not header and output.compression == "none":
        return [Final(parts[0].file, name, rows, parts[0].size_bytes, parts[0].sha256)]
    joined = staging / "joined"
    if output.compression == "none":
        _concatenate(joined, header, [staging / part.file for part in parts])
    else:
        with _LineFile(joined, output.compression) as file:
            file.write(header)
            for part in parts:
                for chunk in _chunks(staging / part.file):
                    file.write(chunk)
            file.finish()
    return [Final(joined.name, name, rows, joined.stat().st_size, "")]


def _header(output: OutputSpec, parts: Sequence[Part]) -> bytes:
    """The header line, from the first part in order that has frames; raises OutputInvalid if a later one differs."""
    if not (output.frame_header or output.format == "csv"):
        return b""
    framed = [part for part in parts if part.frame_columns is not None]
    if not framed:
        return b""
    first = framed[0].frame_columns
    assert first is not None
    for part in framed[1:]:
        check_same_columns(first, framed[0].frame_mini_batch, part.frame_columns or (), part.frame_mini_batch)
    return header_line(first, text_settings(output))


def _concatenate(target: Path, header: bytes, sources: Sequence[Path]) -> None:
    fd = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o666)
    try:
        os.write(fd, header)
        for source in sources:
            copy_range(source, fd)
        os.fsync(fd)
    finally:
        os.close(fd)


def _chunks(path: Path, start: int = 0, length: int | None = None) -> Iterator[bytes]:
    with open(path, "rb", buffering=0) as file:
        file.seek(start)
        left = os.fstat(file.fileno()).st_size - start if length is None else length
        while left > 0:
            chunk = file.read(min(left, COPY_BYTES))
            if not chunk:
                raise OSError(f"{path} is shorter than it was")
            left -= len(chunk)
            yield chunk


class _LineFile:
    """A file of lines being written, compressed if asked for."""

    def __init__(self, path: Path, compression: str) -> None:
        self.file = HashedFile(path)
        self._sink = open_sink(self.file)
        self._out = self._sink if compression == "none" else pa.CompressedOutputStream(self._sink, compression)
        self.line_bytes = 0

    def write(self, data: bytes) -> None:
        if data:
            self._out.write(data)
            self.line_bytes += len(data)

    def finish(self) -> None:
        if self._out is not self._sink:
            self._out.close()
        self.file.finish()

    def __enter__(self) -> _LineFile:
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()


def _divide_lines(output: OutputSpec, staging: Path, parts: Sequence[Part], header: bytes) -> list[Final]:
    """Files that end at the first mini-batch border after `part_size`, wherever parts and leases ended."""
    made: list[Final] = []
    file: _LineFile | None = None
    rows = filled = 0
    for part in parts:
        borders = np.fromfile(staging / (part.file + BORDERS_SUFFIX), BORDER)
        ends = np.cumsum(borders["bytes"])
        row_ends = np.cumsum(borders["rows"])
        start = start_rows = 0
        while start < part.size_bytes:
            # The first mini-batch whose end makes the file full; the file takes everything up to there.
            at = int(np.searchsorted(ends, start + output.part_size_bytes - filled))
            end = int(ends[min(at, len(ends) - 1)])
            if file is None:
                file = _LineFile(staging / f"lines-{len(made):05d}", output.compression)
                file.write(header)
            for chunk in _chunks(staging / part.file, start, end - start):
                file.write(chunk)
            end_rows = int(row_ends[min(at, len(ends) - 1)])
            filled, rows = filled + end - start, rows + end_rows - start_rows
            start, start_rows = end, end_rows
            if filled >= output.part_size_bytes:
                made.append(_ended(file, len(made), rows, output))
                file, rows, filled = None, 0, 0
    if file is not None:
        made.append(_ended(file, len(made), rows, output))
    return made


def _ended(file: _LineFile, number: int, rows: int, output: OutputSpec) -> Final:
    file.finish()
    return Final(file.file.path.name, part_name(number, output), rows, file.file.size_bytes, file.file.sha256)


# Tables


def join_tables(output: OutputSpec, staging: Path, parts: Sequence[Part]) -> list[Final]:
    """One file for a single target, else small parts that follow each other joined to about `part_size`."""
    parts = [part for part in parts if part.row_count]
    schema = plain(unify_returned((decode_schema(part.schema), part.frame_mini_batch) for part in parts))
    if not output.is_folder:
        return [_one_file(output, staging, parts, schema, 0, Path(output.target).name)]
    groups = _grouped(parts, output.part_size_bytes)
    return [_one_file(output, staging, group, schema, n, part_name(n, output)) for n, group in enumerate(groups)]


def _grouped(parts: Sequence[Part], part_size_bytes: int) -> list[list[Part]]:
    """Small parts are joined with those that follow until they are large enough."""
    groups: list[list[Part]] = []
    size = part_size_bytes
    for part in parts:
        is_small = part.size_bytes < part_size_bytes * SMALL
        if not groups or not is_small or size >= part_size_bytes:
            groups.append([])
            size = 0
        groups[-1].append(part)
        size = size + part.size_bytes if is_small else part_size_bytes
    return groups


def _one_file(
    output: OutputSpec, staging: Path, parts: Sequence[Part], schema: pa.Schema, number: int, name: str
) -> Final:
    if len(parts) == 1 and plain(decode_schema(parts[0].schema)) == schema:
        part = parts[0]
        return Final(part.file, name, part.row_count, part.size_bytes, part.sha256)
    joined = staging / f"joined-{number:05d}"
    writer = (GluedFile if output.format == "parquet" else TableFile)(HashedFile(joined), schema, output)
    try:
        for part in parts:
            _copy(writer, staging / part.file, part, schema, output)
        writer.finish()
    finally:
        writer.close()
    return Final(joined.name, name, writer.row_count, writer.file.size_bytes, writer.file.sha256)


def _copy(writer: TableFile, path: Path, part: Part, schema: pa.Schema, output: OutputSpec) -> None:
    """Add the rows of a part. Its row groups are taken over as they are unless they are tiny, or of another schema."""
    is_same = plain(decode_schema(part.schema)) == schema
    if isinstance(writer, GluedFile) and is_same and part.size_bytes >= GLUE_BYTES:
        with (
            open(path, "rb") as file,
            mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as mapped,
            memoryview(mapped) as encoded,
        ):
            writer.take_over(encoded, part.row_count)
        return
    for table in read_tables(path, output.format):
        writer.write(table)


def read_tables(path: Path, output_format: str) -> Iterator[pa.Table]:
    """The rows of a part in order, some at a time."""
    if output_format == "ipc":
        with pa.memory_map(str(path)) as source, pa.ipc.open_file(source) as reader:
            for i in range(reader.num_record_batches):
                yield pa.Table.from_batches([reader.get_batch(i)])
        return
    with pq.ParquetFile(path, pre_buffer=False, buffer_size=1 << 20) as file:
        for batch in file.iter_batches(READ_ROWS):
            yield pa.Table.from_batches([batch])
