"""Segments: what a worker has flushed for some mini-batches, as one file that can be read without copying.

All numbers are little-endian. A segment is written once, front to back, and never fsynced: it is the worker's part of
an open lease, and what a power cut takes is run again. Its checksum tells a whole segment from a torn one.

====================  =====================================================================================
offset                content
====================  =====================================================================================
0                     ``HEADER``: magic ``runnerSG``, version u4, kind u4 (0 count, 1 text, 2 rows), 48 zero bytes
64                    content. Text: the entries' lines one after the other. Rows: sections of one schema each, at
                      multiples of 64 bytes: an Arrow IPC stream, uncompressed. Count: nothing
index_offset          ``ENTRY`` structs, one per mini-batch, in the order in which they were run
after them            JSON: ``{"sections": [[offset, bytes, rows, kind], ...], "frames": [[column, ...], ...]}``;
                      kind is 0 for IPC, 1 for a Parquet file of at least ``ENCODE_BYTES`` (before encoding) that lies
                      not here but at that offset of the lease's payload, which a part can take over
last 64 bytes         ``FOOTER``: magic, version u4, crc32 of index and JSON u4, index_offset u8, entry_count u8,
                      entry_bytes u4, zero u4, json_bytes u8, zero u8, zero u8
====================  =====================================================================================

Of an entry, text uses ``offset`` and ``extent`` as bytes from the start of the file, and ``section`` as the number of
its frame's columns in ``frames`` (-1 for what was no frame); rows use them as first row and row count in ``section``
(-1 for no rows).
"""

from __future__ import annotations

import json
import mmap
import os
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from runner.dataset.gather import Gathered, gather
from runner.dataset.glue import encode_parquet
from runner.dataset.output_schema import plain
from runner.dataset.payload import Payload
from runner.dataset.render import Mode, Renderer
from runner.dataset.storage import telling
from runner.dataset.text import csv_lines, table_json_lines
from runner.errors import Defect

MAGIC = b"runnerSG"
VERSION = 1
ALIGNMENT = 64
ENCODE_BYTES = 1 << 20
ONE_WRITE_BYTES = 1 << 30
"""The kernel writes at most 2 GB at once, and an append to the payload is one write."""
_IPC, _ENCODED = 0, 1
KINDS: tuple[Mode, ...] = ("count", "text", "rows")

RECORD_FIELDS = [
    ("mini_batch", "<i8"),
    ("item_count", "<i8"),
    ("length", "<i8"),
    ("succeeded", "<i8"),
    ("row_count", "<i8"),
    ("start_ns", "<i8"),
    ("elapsed_ns", "<i8"),
    ("attempt", "<i4"),
    ("slot", "<i4"),
    ("flags", "<i4"),
    ("unused", "<i4"),
]
RECORD = np.dtype(RECORD_FIELDS)
"""The native loop's record of one mini-batch, repeated here because the rooms do not know each other."""
ENTRY = np.dtype([*RECORD_FIELDS, ("section", "<i4"), ("zero", "<i4"), ("offset", "<i8"), ("extent", "<i8")])
RECORD_WORDS = RECORD.itemsize // 8
"""An entry begins with its record."""
HEADER = np.dtype([("magic", "S8"), ("version", "<u4"), ("kind", "<u4"), ("zero", "V48")])
FOOTER = np.dtype(
    [
        ("magic", "S8"),
        ("version", "<u4"),
        ("crc32", "<u4"),
        ("index_offset", "<u8"),
        ("entry_count", "<u8"),
        ("entry_bytes", "<u4"),
        ("zero", "<u4"),
        ("json_bytes", "<u8"),
        ("zeros", "V16"),
    ]
)

Entries = npt.NDArray[np.void]


class Taken(Protocol):
    """What the native loop hands over: records of ended mini-batches, their outputs, the kept rows beside them."""

    @property
    def records(self) -> npt.NDArray[np.void]: ...
    @property
    def outputs(self) -> list[Any]: ...
    @property
    def kept(self) -> list[tuple[Any, int, int]]: ...


def write_segment(path: str | Path, taken: Taken, renderer: Renderer, payload: Payload | None = None) -> int:
    """Write what was taken as one segment; returns its size in bytes.

    With a `payload`, long stretches of rows for Parquet are encoded and appended there.

    Raises StorageFailed when the disk says no, OutputInvalid when a kept column and a returned one share a name.
    Nothing that was taken can fail for what it holds: `Renderer.finish` has seen to that.
    """
    entries = np.zeros(len(taken.records), ENTRY)
    words_of(entries)[:, :RECORD_WORDS] = words_of(taken.records)
    entries["section"] = -1
    try:
        with telling(path, "the segment cannot be written"), pa.OSFile(str(path), "wb") as file:
            if renderer.mode == "rows":
                gathered = gather(taken.records, taken.outputs, taken.kept, renderer)
                if renderer.output is not None and renderer.output.format in ("csv", "jsonl"):
                    lines, frames = _rendered(entries, gathered, renderer.output.format)
                    return _write_text(file, entries, lines, frames)
                return _write_rows(file, entries, gathered, renderer, payload)
            if renderer.mode == "text":
                frames = _number_frames(entries, renderer)
                return _write_text(file, entries, taken.outputs, frames)
            return _finish(file, _begin(file, "count"), entries, [], [])
    finally:
        # Only these: another thread may have rendered one that is not taken yet.
        for mini_batch in taken.records["mini_batch"].tolist() if renderer.frames else ():
            renderer.frames.pop(mini_batch, None)


def _begin(file: pa.NativeFile, mode: Mode) -> int:
    header = np.zeros((), HEADER)
    header["magic"], header["version"], header["kind"] = MAGIC, VERSION, KINDS.index(mode)
    file.write(header.tobytes())
    return HEADER.itemsize


def _finish(
    file: pa.NativeFile, at: int, entries: Entries, sections: Sequence[object], frames: Sequence[object]
) -> int:
    """Write index and footer at offset `at`; returns the size of the file."""
    notes = json.dumps({"sections": sections, "frames": frames}, ensure_ascii=False).encode("utf-8", "surrogatepass")
    index = words_of(entries).data.cast("B") if len(entries) else b""
    footer = np.zeros((), FOOTER)
    footer["magic"], footer["version"] = MAGIC, VERSION
    footer["crc32"] = zlib.crc32(notes, zlib.crc32(index))
    footer["index_offset"], footer["entry_count"], footer["entry_bytes"] = at, len(entries), ENTRY.itemsize
    footer["json_bytes"] = len(notes)
    for piece in (index, notes, footer.tobytes()):
        file.write(piece)
    return at + len(index) + len(notes) + FOOTER.itemsize


def _number_frames(entries: Entries, renderer: Renderer) -> list[tuple[str, ...]]:
    """Give each entry that was a frame the number of its columns; returns the distinct columns."""
    if not renderer.frames:
        return []
    numbers: dict[tuple[str, ...], int] = {}
    for i, mini_batch in enumerate(entries["mini_batch"].tolist()):
        names = renderer.frames.get(mini_batch)
        if names is not None:
            entries["section"][i] = numbers.setdefault(names, len(numbers))
    return list(numbers)


def _rendered(entries: Entries, gathered: Gathered, output_format: str) -> tuple[list[bytes], list[tuple[str, ...]]]:
    """The lines of each entry, when its rows could only be rendered with the kept columns beside them."""
    lines = [b""] * len(entries)
    frames: dict[tuple[str, ...], int] = {}
    for i in np.flatnonzero(gathered.section >= 0).tolist():
        table = gathered.sections[gathered.section[i]].slice(gathered.offset[i], gathered.extent[i])
        if output_format == "jsonl":
            lines[i] = table_json_lines(table)
        else:
            frame = table.to_pandas(integer_object_nulls=True)
            lines[i] = csv_lines("frame", None, frame, ())
            entries["section"][i] = frames.setdefault(tuple(table.column_names), len(frames))
    return lines, list(frames)


def _write_text(file: pa.NativeFile, entries: Entries, lines: Sequence[bytes], frames: Sequence[Sequence[str]]) -> int:
    at = _begin(file, "text")
    extents = np.fromiter(map(len, lines), np.int64, len(lines))
    ends = np.cumsum(extents) + at
    entries["extent"], entries["offset"] = extents, ends - extents
    file.write(b"".join(lines))
    return _finish(file, int(ends[-1]) if len(ends) else at, entries, [], frames)


def _write_rows(
    file: pa.NativeFile, entries: Entries, gathered: Gathered, renderer: Renderer, payload: Payload | None = None
) -> int:
    _begin(file, "rows")
    entries["section"], entries["offset"], entries["extent"] = gathered.section, gathered.offset, gathered.extent
    output = renderer.output
    sections: list[list[int]] = []
    for number, table in enumerate(gathered.sections):
        mine = np.flatnonzero(gathered.section == number)
        for chosen, rows in [(mine, table)] if payload is None else _stretches(entries, mine, table):
            if payload is not None and output is not None and ENCODE_BYTES <= rows.nbytes <= ONE_WRITE_BYTES:
                encoded = encode_parquet(rows.cast(plain(rows.schema)), output.compression)
                place = [payload.append(encoded), len(encoded), rows.num_rows, _ENCODED]
            else:
                _align(file)
                start = file.tell()
                with pa.ipc.new_stream(file, rows.schema) as writer:
                    writer.write_table(rows)
                place = [start, file.tell() - start, rows.num_rows, _IPC]
            entries["section"][chosen] = len(sections)
            entries["offset"][chosen] = np.cumsum(entries["extent"][chosen]) - entries["extent"][chosen]
            sections.append(place)
    _align(file)
    return _finish(file, file.tell(), entries, sections, [])


def _stretches(
    entries: Entries, mine: npt.NDArray[np.int64], table: pa.Table
) -> Iterator[tuple[npt.NDArray[np.int64], pa.Table]]:
    """The entries of a section divided so that a part can take over what is large: long stretches of mini-batches.

    Stretches that would make small row groups stay together: they are encoded when the part is made.
    """
    numbers = entries["mini_batch"][mine]
    borders = np.flatnonzero(np.diff(numbers) != 1) + 1
    row_bytes = table.nbytes / max(table.num_rows, 1)
    small: list[npt.NDArray[np.int64]] = []
    for stretch in np.split(mine, borders) if len(mine) else []:
        count = int(entries["extent"][stretch].sum())
        if count * row_bytes < ENCODE_BYTES:
            small.append(stretch)
        else:
            yield stretch, table.slice(int(entries["offset"][stretch[0]]), count)
    if small:
        slices = [table.slice(int(entries["offset"][s[0]]), int(entries["extent"][s].sum())) for s in small]
        yield np.concatenate(small), pa.concat_tables(slices)


def _align(file: pa.NativeFile) -> None:
    file.write(b"\0" * (-file.tell() % ALIGNMENT))


@dataclass(frozen=True, slots=True)
class Segment:
    """A segment open for reading: its index in memory, its content and the lease's payload mapped."""

    path: Path
    mode: Mode
    entries: Entries
    """ENTRY structs."""
    frames: tuple[tuple[str, ...], ...]
    """The distinct columns of frames written as text."""
    _sections: tuple[tuple[int, int, int, int], ...]
    _buffer: pa.Buffer
    _payload: pa.Buffer | None

    @staticmethod
    def open(path: str | Path, payload: pa.Buffer | None = None) -> Segment:
        """Open a segment of a lease whose payload is mapped already.

        Raises StorageFailed if it cannot be read, Defect if it is torn or of another kind.
        """
        with telling(path, "the segment cannot be read"), open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size < HEADER.itemsize + FOOTER.itemsize:
                raise Defect(f"segment {path} is torn: it has {size} bytes")
            mapped = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
        return _parse(Path(path), pa.py_buffer(mapped), size, payload)

    @property
    def records(self) -> npt.NDArray[np.void]:
        """The entries as RECORD structs."""
        return to_records(self.entries)

    def text(self) -> memoryview:
        """The whole file, in which the offsets of text entries count."""
        return memoryview(self._buffer)

    def section(self, number: int) -> pa.Table:
        """The rows of one section, not copied unless they are encoded; valid even when the file is unlinked."""
        data = self._data(number)
        if self.is_encoded(number):
            return pq.read_table(pa.BufferReader(data))
        with pa.ipc.open_stream(data) as reader:
            return reader.read_all()

    def is_encoded(self, number: int) -> bool:
        """Whether a section is a Parquet file in the payload."""
        return self._sections[number][3] == _ENCODED

    def _data(self, number: int) -> pa.Buffer:
        offset, length, _, kind = self._sections[number]
        if kind == _IPC:
            return self._buffer.slice(offset, length)
        if self._payload is None or offset + length > self._payload.size:
            raise Defect(f"segment {self.path} is damaged: what it says of the lease's payload is not there")
        return self._payload.slice(offset, length)

    def section_schema(self, number: int) -> pa.Schema:
        """The schema of one section."""
        data = self._data(number)
        if self.is_encoded(number):
            return pq.read_schema(pa.BufferReader(data))
        with pa.ipc.open_stream(data) as reader:
            return reader.schema

    def encoded_section(self, number: int) -> tuple[memoryview, int]:
        """An encoded section as a Parquet file, and where in the payload it begins."""
        return memoryview(self._data(number)), self._sections[number][0]

    def section_rows(self, number: int) -> int:
        """How many rows one section has."""
        return self._sections[number][2]


def to_records(entries: Entries) -> npt.NDArray[np.void]:
    """The RECORD part of entries."""
    records = np.empty(len(entries), RECORD)
    words_of(records)[:] = words_of(entries)[:, :RECORD_WORDS]
    return records


def words_of(structs: Entries) -> npt.NDArray[np.int64]:
    """Structs as rows of 64-bit words, which NumPy copies and picks several times faster than it does structs."""
    return np.ascontiguousarray(structs).view(np.int64).reshape(len(structs), structs.dtype.itemsize // 8)


def _parse(path: Path, buffer: pa.Buffer, size: int, payload: pa.Buffer | None) -> Segment:
    def need(holds: bool, what: str) -> None:
        if not holds:
            raise Defect(f"segment {path} is damaged: {what}")

    header = np.frombuffer(buffer, HEADER, 1)[0]
    footer = np.frombuffer(buffer, FOOTER, 1, size - FOOTER.itemsize)[0]
    need(header["magic"] == MAGIC and footer["magic"] == MAGIC, "it does not begin and end as a segment")
    need(header["version"] == VERSION == footer["version"], f"its version is {header['version']}, not {VERSION}")
    need(header["kind"] < len(KINDS) and footer["entry_bytes"] == ENTRY.itemsize, "its kind is unknown")
    start, count, notes_bytes = int(footer["index_offset"]), int(footer["entry_count"]), int(footer["json_bytes"])
    notes_at = start + count * ENTRY.itemsize
    need(notes_at + notes_bytes == size - FOOTER.itemsize, "its lengths do not add up")
    index, notes = buffer.slice(start, notes_at - start), buffer.slice(notes_at, notes_bytes)
    need(zlib.crc32(notes, zlib.crc32(index)) == footer["crc32"], "the checksum of its index does not match")
    said = json.loads(notes.to_pybytes().decode("utf-8", "surrogatepass"))
    return Segment(
        path=path,
        mode=KINDS[header["kind"]],
        entries=np.frombuffer(index, ENTRY),
        frames=tuple(map(tuple, said["frames"])),
        _sections=tuple(map(tuple, said["sections"])),
        _buffer=buffer,
        _payload=payload,
    )
