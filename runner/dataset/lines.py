"""Makes the final files of an output of lines from base parts and additions; what they are made of stays."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from runner.dataset.encode import open_sink
from runner.dataset.final import Final, Made, part_name
from runner.dataset.layout import BORDERS, LaidFile, Mark, read_borders
from runner.dataset.parts import BORDER, BORDERS_SUFFIX, check_same_columns
from runner.dataset.render import text_settings
from runner.dataset.sources import LineSource
from runner.dataset.splice import MARK, Additions, Base, Piece, Spot, pieces_of
from runner.dataset.storage import HashedFile, copy_range
from runner.dataset.text import header_line
from runner.entity.lease import Part
from runner.entity.parallel import OutputSpec

LAST = np.iinfo(np.int64).max
OPEN_FILES = 64
NEW_BORDERS = "layout" + BORDERS


def join_lines(output: OutputSpec, staging: Path, base: Base, additions: Additions) -> Made:
    """One file for text and for a single target, else files that end at the first mini-batch after `part_size`."""
    frame = _first_frame(output, (*base.parts, *additions.sources))
    header = header_line(frame.frame_columns or (), text_settings(output)) if frame is not None else b""
    with _Lines(output, staging, base, additions, header, frame) as lines:
        if output.is_folder and output.format != "text":
            return lines.divide()
        if not len(additions.table) and base.layout is None:
            return Made([_as_it_is(output, staging, base.parts, header)], [], [])
        whole = [part for part in base.parts if part.file]
        is_plain = not header and output.compression == "none"
        if len(whole) == 1 and is_plain and not additions.has_rows and base.layout is None:
            return lines.name_only(whole[0])
        return lines.join()


def _single_name(output: OutputSpec) -> str:
    return output.file_name if output.is_folder else Path(output.target).name


def _as_it_is(output: OutputSpec, staging: Path, parts: Iterable[Part], header: bytes) -> Final:
    """Parts one after the other, copied inside the kernel; one alone is only named."""
    parts = [part for part in parts if part.file]
    name, rows = _single_name(output), sum(part.row_count for part in parts)
    if len(parts) == 1 and not header and output.compression == "none":
        return Final(parts[0].file, name, rows, parts[0].size_bytes, parts[0].sha256)
    joined = staging / "joined"
    if output.compression == "none":
        _concatenate(joined, header, [staging / part.file for part in parts])
    else:
        with LineFile(joined, output.compression) as file:
            file.write(header)
            for part in parts:
                source = LineSource(staging / part.file)
                for chunk in source.read(0, part.size_bytes):
                    file.write(chunk)
                source.close()
            file.finish()
    return Final(joined.name, name, rows, joined.stat().st_size, "")


def _first_frame(output: OutputSpec, parts: Iterable[Part]) -> Part | None:
    """The part with the first frame in mini-batch order, for the header; OutputInvalid if another has other columns."""
    if not (output.frame_header or output.format == "csv"):
        return None
    first: Part | None = None
    for part in parts:
        if part.frame_columns is None:
            continue
        if first is not None:
            earlier, later = sorted((first, part), key=lambda one: one.frame_mini_batch)
            check_same_columns(
                earlier.frame_columns or (), earlier.frame_mini_batch, later.frame_columns or (), later.frame_mini_batch
            )
            part = earlier
        first = part
    return first


def _concatenate(target: Path, header: bytes, sources: list[Path]) -> None:
    fd = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o666)
    try:
        os.write(fd, header)
        for source in sources:
            copy_range(source, fd)
        os.fsync(fd)
    finally:
        os.close(fd)


class LineFile:
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

    def __enter__(self) -> LineFile:
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()


class _Lines:
    """The files of lines being made, one at a time, and what a layout says of them."""

    def __init__(
        self, output: OutputSpec, staging: Path, base: Base, additions: Additions, header: bytes, frame: Part | None
    ) -> None:
        self._output, self._staging, self._base, self._additions = output, staging, base, additions
        self._header, self._frame = header, frame
        self._wants_layout = additions.has_marks or base.layout is not None
        self._file: LineFile | None = None
        self._rows = self._filled = 0
        self._first = -1
        self._entries: list[npt.NDArray[np.void]] = []
        self._waiting: list[Spot] = []
        """Open items before the first line of the next file."""
        self._sources: dict[tuple[Path, bool], LineSource] = {}
        self._borders: HashedFile | None = None
        self._made = Made([], [], [])

    # ---- one file ---------------------------------------------------------------------------------------
    def join(self) -> Made:
        """Everything in one file."""
        self._open("joined", 0)
        rows = 0
        for index, part in enumerate(self._base.parts):
            queue = self._queue(index, part)
            self._copy(queue, LAST, LAST)
            self._close_sources()
            rows += part.row_count
        own = self._additions.table
        self._end(_single_name(self._output), rows + int(own["rows"].sum()))
        return self._made

    def name_only(self, part: Part) -> Made:
        """The only part is the output as it is."""
        at = 0
        for index, one in enumerate(self._base.parts):
            for piece in self._queue(index, one):
                if isinstance(piece, Spot):
                    self._made.marks.append(Mark(*piece, 0, 0, at))
                else:
                    at += piece.end_byte - piece.start_byte
        name, rows, size, sha256 = _single_name(self._output), part.row_count, part.size_bytes, part.sha256
        self._made.files.append(Final(part.file, name, rows, size, sha256))
        self._made.laid.append(
            LaidFile(name=name, rows=rows, size_bytes=size, sha256=sha256, first_mini_batch=0, line_bytes=size)
        )
        return self._made

    # ---- several files ----------------------------------------------------------------------------------
    def divide(self) -> Made:
        """Files that end at the first mini-batch border after `part_size`, wherever parts and leases ended."""
        kept = self._keep()
        for index in range(kept, len(self._base.parts)):
            self._add(index, self._base.parts[index])
        if self._file is not None:
            self._end(part_name(len(self._made.laid), self._output), self._rows)
        self._leave_marks()
        if self._borders is not None:
            self._borders.finish()
        return self._made

    def _keep(self) -> int:
        """Published files before the first that gets rows stay: files end where they end for what is in them alone."""
        base = self._base
        changed = base.changed(self._additions)
        if base.layout is None or base.layout_path is None or not changed:
            return 0
        other = (n for n, file in enumerate(base.layout.files) if file.header_bytes != len(self._header))
        kept = min(min(changed), next(other, LAST))
        for index in range(kept):
            file = base.layout.files[index]
            for one in base.own(index, self._additions).tolist():
                mini_batch, first_item, item_count, *_, at_row, at_byte = one
                self._made.marks.append(Mark(mini_batch, first_item, item_count, index, at_row, at_byte))
            entries = read_borders(base.layout_path, base.layout, index)
            self._write_borders(entries)
            self._made.laid.append(file)
        return kept

    def _add(self, index: int, part: Part) -> None:
        queue = self._queue(index, part)
        entries = _merged(self._entries_of(index, part), self._base.own(index, self._additions))
        ends, row_ends = np.cumsum(entries["bytes"]), np.cumsum(entries["rows"])
        size = int(ends[-1]) if len(ends) else 0
        start = start_rows = low = 0
        while start < size:
            # The first mini-batch whose end makes the file full; the file takes everything up to there.
            at = int(np.searchsorted(ends, start + self._output.part_size_bytes - self._filled))
            at = min(at, len(ends) - 1)
            end, end_rows = int(ends[at]), int(row_ends[at])
            mini_batch = int(entries["mini_batch"][at])
            if self._file is None:
                number = len(self._made.laid)
                first = self._waiting[0].mini_batch if self._waiting else LAST
                self._open(f"lines-{number:05d}", min(first, _first_number(entries[low:], queue)))
            self._copy(queue, end - start, mini_batch)
            self._entries.append(entries[low : at + 1])
            self._filled, self._rows = self._filled + end - start, self._rows + end_rows - start_rows
            start, start_rows, low = end, end_rows, at + 1
            if self._filled >= self._output.part_size_bytes:
                self._end(part_name(len(self._made.laid), self._output), self._rows)
        self._close_sources()
        self._waiting += [one for one in queue if isinstance(one, Spot)]
        if self._file is not None and self._waiting:
            # They stand behind everything so far, and the file goes on.
            self._mark(self._waiting)

    def _leave_marks(self) -> None:
        """What is open behind the last line of all."""
        if self._waiting and self._made.laid:
            last = self._made.laid[-1]
            place = (len(self._made.laid) - 1, 0, last.line_bytes)
            self._made.marks.extend(Mark(*spot, *place) for spot in self._waiting)
            self._waiting = []

    def _entries_of(self, index: int, part: Part) -> npt.NDArray[np.void]:
        base = self._base
        if base.layout is not None and base.layout_path is not None:
            return read_borders(base.layout_path, base.layout, index)
        if not part.file:
            return np.zeros(0, BORDER)
        return np.fromfile(self._staging / (part.file + BORDERS_SUFFIX), BORDER)

    # ---- writing ----------------------------------------------------------------------------------------
    def _queue(self, index: int, part: Part) -> deque[Piece | Spot]:
        own = self._base.own(index, self._additions)
        return deque(pieces_of(part, own, self._additions, self._staging, is_text=True))

    def _open(self, name: str, first_mini_batch: int) -> None:
        self._file = LineFile(self._staging / name, self._output.compression)
        self._file.write(self._header)
        self._first = first_mini_batch
        self._mark(self._waiting)

    def _mark(self, spots: list[Spot]) -> None:
        """Open items stand where the file ends now."""
        assert self._file is not None
        at = self._file.line_bytes - len(self._header)
        self._made.marks.extend(Mark(*spot, len(self._made.laid), 0, at) for spot in spots)
        spots.clear()

    def _copy(self, queue: deque[Piece | Spot], size: int, up_to: int) -> None:
        """Write so many bytes of the queue; behind the last of them, open items of mini-batches up to `up_to`."""
        assert self._file is not None
        while queue:
            one = queue[0]
            if isinstance(one, Spot):
                if not size and one.mini_batch > up_to:
                    return
                self._mark([one])
            elif not size:
                return
            else:
                end = min(one.end_byte, one.start_byte + size)
                for chunk in self._source(one).read(one.start_byte, end):
                    self._file.write(chunk)
                size -= end - one.start_byte
                if end < one.end_byte:
                    queue[0] = one._replace(start_byte=end)
                    return
            queue.popleft()

    def _source(self, piece: Piece) -> LineSource:
        key = (piece.path, piece.is_base)
        if key not in self._sources:
            if len(self._sources) >= OPEN_FILES:
                # Those of additions: they are not compressed, so they can be opened again at any place.
                self._close_sources(additions=True)
            layout = self._base.layout if piece.is_base else None
            if layout is None:
                self._sources[key] = LineSource(piece.path)
            else:
                file = next(one for one in layout.files if one.name == piece.path.name)
                self._sources[key] = LineSource(piece.path, self._output.compression, file.header_bytes)
        return self._sources[key]

    def _close_sources(self, *, additions: bool = False) -> None:
        for key in [key for key in self._sources if key[1] is not additions]:
            self._sources.pop(key).close()

    def _end(self, name: str, rows: int) -> None:
        file, self._file = self._file, None
        assert file is not None
        file.finish()
        written = file.file
        self._made.files.append(Final(written.path.name, name, rows, written.size_bytes, written.sha256))
        count = self._write_borders(*self._entries) if self._wants_layout else 0
        self._made.laid.append(
            LaidFile(
                name=name,
                rows=rows,
                size_bytes=written.size_bytes,
                sha256=written.sha256,
                first_mini_batch=self._first,
                header_bytes=len(self._header),
                line_bytes=file.line_bytes - len(self._header),
                border_count=count,
                frame_columns=self._frame.frame_columns if self._frame else None,
                frame_mini_batch=self._frame.frame_mini_batch if self._frame else -1,
            )
        )
        self._entries, self._filled, self._rows = [], 0, 0

    def _write_borders(self, *entries: npt.NDArray[np.void]) -> int:
        """Keep the borders of a file; mini-batches without a byte need none."""
        if self._borders is None and self._output.is_folder and self._output.format != "text":
            self._borders = HashedFile(self._staging / NEW_BORDERS)
        count = 0
        for one in entries:
            full = one[one["bytes"] > 0]
            count += len(full)
            if self._borders is not None:
                self._borders.write(full.tobytes())
        return count

    def __enter__(self) -> _Lines:
        return self

    def __exit__(self, *_: object) -> None:
        for source in self._sources.values():
            source.close()
        for file in (self._file, self._borders):
            if isinstance(file, LineFile):
                file.file.close()
            elif file is not None:
                file.close()


def _first_number(entries: npt.NDArray[np.void], queue: deque[Piece | Spot]) -> int:
    spots = [queue[0].mini_batch] if queue and isinstance(queue[0], Spot) else []
    return min([int(entries["mini_batch"][0]), *spots])


def _merged(entries: npt.NDArray[np.void], own: npt.NDArray[np.void]) -> npt.NDArray[np.void]:
    """What each mini-batch of a base part adds, with what is put into it."""
    added = own[own["source"] != MARK]
    if not len(added):
        return entries
    numbers = np.concatenate([entries["mini_batch"], added["mini_batch"]])
    merged = np.zeros(len(np.unique(numbers)), BORDER)
    merged["mini_batch"], place = np.unique(numbers, return_inverse=True)
    for name in ("bytes", "rows"):
        total = np.zeros(len(merged), np.int64)
        np.add.at(total, place, np.concatenate([entries[name], added[name]]))
        merged[name] = total
    return merged
