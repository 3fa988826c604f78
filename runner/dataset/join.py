"""Makes the final files of an output of tables from base parts and additions, in staging; what they are made of stays.

Whatever needs no change is not copied: a part that is large enough becomes a file as it is, a published file that gets
no rows stays where it is.
"""

from __future__ import annotations

import mmap
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from runner.dataset.encode import TableFile
from runner.dataset.final import Final, Made, part_name
from runner.dataset.glue import GluedFile
from runner.dataset.layout import LaidFile, Mark
from runner.dataset.output_schema import plain, unify_returned
from runner.dataset.schemas import decode_schema, encode_schema
from runner.dataset.sources import RowSource, read_tables
from runner.dataset.splice import MARK, Additions, Base, Piece, Spot, pieces_of
from runner.dataset.storage import HashedFile
from runner.entity.lease import Part
from runner.entity.parallel import OutputSpec

__all__ = ["join_tables", "read_tables"]

GLUE_BYTES = 1 << 20
"""Parts of at least this size are joined without decoding them; row groups that are smaller are slow to read."""
SMALL = 1 / 16
"""Of `part_size`: smaller parts are joined. Joining decodes and encodes again, which at full speed costs as much as the
job itself; from 8 MB on a file is large enough to be left as it is, and a slow job's tiny parts cost little to join."""
OPEN_FILES = 64


def join_tables(output: OutputSpec, staging: Path, base: Base, additions: Additions) -> Made:
    """One file for a single target, else small parts that follow each other joined to about `part_size`."""
    return _Tables(output, staging, base, additions).make()


def _unified(parts: Sequence[Part]) -> tuple[pa.Schema, str, int]:
    """The schema of all that was returned, as text too, and the first mini-batch that returned rows."""
    full = sorted((part for part in parts if part.row_count), key=lambda part: part.frame_mini_batch)
    unified = unify_returned((decode_schema(part.schema), part.frame_mini_batch) for part in full)
    return unified, encode_schema(unified), full[0].frame_mini_batch


class _Tables:
    """The files being made, and what a layout says of them."""

    def __init__(self, output: OutputSpec, staging: Path, base: Base, additions: Additions) -> None:
        self._output, self._staging, self._base, self._additions = output, staging, base, additions
        unified, self._text, self._first = _unified([*base.parts, *additions.sources])
        self._schema = plain(unified)
        self._wants_layout = additions.has_marks or base.layout is not None
        self._sources: dict[tuple[Path, bool], RowSource] = {}
        self._made = Made([], [], [])

    def make(self) -> Made:
        """All files."""
        try:
            groups = self._groups()
            for number, group in enumerate(groups):
                name = part_name(number, self._output) if self._output.is_folder else Path(self._output.target).name
                self._one_file(group, number, name)
        finally:
            for source in self._sources.values():
                source.close()
        return self._made

    def _groups(self) -> list[list[int]]:
        """The base parts of each file: published files stay apart, small parts are joined until they are large enough.

        Parts without any row have no say; what is open in them belongs to the file before, or to the first.
        """
        count = len(self._base.parts)
        if not self._output.is_folder:
            return [list(range(count))]
        if self._base.layout is not None:
            return [[index] for index in range(count)]
        changed = self._base.changed(self._additions)
        groups: list[list[int]] = []
        early: list[int] = []
        limit = self._output.part_size_bytes
        size = limit
        for index, part in enumerate(self._base.parts):
            if not part.row_count and index not in changed:
                (groups[-1] if groups else early).append(index)
                continue
            is_small = part.size_bytes < limit * SMALL
            if not groups or not is_small or size >= limit:
                groups.append(early if not groups else [])
                size = 0
            groups[-1].append(index)
            size = size + part.size_bytes if is_small else limit
        return groups

    # ---- one file ---------------------------------------------------------------------------------------
    def _one_file(self, group: Sequence[int], number: int, name: str) -> None:
        kept = self._kept(group)
        if kept is not None:
            self._keep(kept, group, number, name)
            return
        path = self._staging / f"joined-{number:05d}"
        writer = (GluedFile if self._output.format == "parquet" else TableFile)(
            HashedFile(path), self._schema, self._output
        )
        at = 0
        try:
            for index in group:
                at = self._copy(writer, index, number, at)
            writer.finish()
        finally:
            writer.close()
        size, sha256 = writer.file.size_bytes, writer.file.sha256
        self._made.files.append(Final(path.name, name, writer.row_count, size, sha256))
        self._lay(name, writer.row_count, size, sha256, group)

    def _kept(self, group: Sequence[int]) -> int | None:
        """The only part of a group that has rows, if it is good as it is."""
        parts = self._base.parts
        own = [self._base.own(index, self._additions) for index in group]
        if any((one["source"] != MARK).any() for one in own):
            return None
        full = [index for index in group if parts[index].row_count]
        if len(full) != 1 or plain(decode_schema(parts[full[0]].schema)) != self._schema:
            return None
        return full[0]

    def _keep(self, index: int, group: Sequence[int], number: int, name: str) -> None:
        part = self._base.parts[index]
        if self._base.layout is None:
            self._made.files.append(Final(part.file, name, part.row_count, part.size_bytes, part.sha256))
            self._lay(name, part.row_count, part.size_bytes, part.sha256, group)
        else:
            self._made.laid.append(self._base.layout.files[index])
        at = 0
        for one in group:
            at = self._walk(one, number, at)

    def _lay(self, name: str, rows: int, size: int, sha256: str, group: Sequence[int]) -> None:
        if self._wants_layout:
            self._made.laid.append(
                LaidFile(
                    name=name,
                    rows=rows,
                    size_bytes=size,
                    sha256=sha256,
                    first_mini_batch=int(self._base.firsts[group[0]]),
                    frame_mini_batch=self._first,
                    schema=self._text,
                )
            )

    # ---- one base part ----------------------------------------------------------------------------------
    def _copy(self, writer: TableFile, index: int, number: int, at: int) -> int:
        """Write one base part with what is put into it; how many rows the file has then."""
        part, own = self._base.parts[index], self._base.own(index, self._additions)
        is_alone = not (own["source"] != MARK).any()
        if is_alone and isinstance(writer, GluedFile) and self._may_glue(part):
            self._walk(index, number, at)
            _glue(writer, self._staging / part.file, part)
            return at + part.row_count
        for one in self._pieces(index, part, own):
            if isinstance(one, Spot):
                self._made.marks.append(Mark(*one, number, at, 0))
                continue
            for table in self._source(one).read(one.start_row, one.end_row):
                writer.write(table)
            at += one.end_row - one.start_row
        for key in [key for key in self._sources if key[1]]:
            self._sources.pop(key).close()
        return at

    def _may_glue(self, part: Part) -> bool:
        """Row groups are taken over as they are unless they are tiny, or of another schema."""
        return part.size_bytes >= GLUE_BYTES and plain(decode_schema(part.schema)) == self._schema

    def _walk(self, index: int, number: int, at: int) -> int:
        """Note what is open in one base part that is not written piece by piece; the row behind it."""
        for one in self._pieces(index, self._base.parts[index], self._base.own(index, self._additions)):
            if isinstance(one, Spot):
                self._made.marks.append(Mark(*one, number, at, 0))
            else:
                at += one.end_row - one.start_row
        return at

    def _pieces(self, index: int, part: Part, own: npt.NDArray[np.void]) -> list[Piece | Spot]:
        return list(pieces_of(part, own, self._additions, self._staging, is_text=False))

    def _source(self, piece: Piece) -> RowSource:
        key = (piece.path, piece.is_base)
        if key not in self._sources:
            if len(self._sources) >= OPEN_FILES:
                self._sources.pop(next(iter(self._sources))).close()
            self._sources[key] = RowSource(piece.path, self._output.format)
        return self._sources[key]


def _glue(writer: GluedFile, path: Path, part: Part) -> None:
    with (
        open(path, "rb") as file,
        mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as mapped,
        memoryview(mapped) as encoded,
    ):
        writer.take_over(encoded, part.row_count)
