"""Where things are in a published output, as far as a later mend needs it: kept in the job's folder.

The output itself holds rows and nothing else. So that rows can be put at their places later, publication writes down
the files with sizes and digests, where the rows of each open failure would stand, and, where files end at mini-batches
(CSV and JSON lines in a folder), how many bytes and rows each mini-batch has, in a second file of plain structs.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from zlib import crc32

import msgspec
import numpy as np
import numpy.typing as npt

from runner.dataset.parts import BORDER
from runner.dataset.storage import write_durably
from runner.entity.lease import Part
from runner.errors import OutputChanged, StorageFailed

VERSION = 1
BORDERS = ".borders"
READ_BYTES = 8 << 20


class Mark(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Items that are open, and the place in a file where their rows would stand, counted from its first line."""

    mini_batch: int
    first_item: int
    item_count: int
    file: int
    at_row: int
    at_byte: int


class LaidFile(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One published file."""

    name: str
    rows: int
    size_bytes: int
    sha256: str
    first_mini_batch: int
    header_bytes: int = 0
    line_bytes: int = 0
    """Of text: without header, not compressed."""
    border_count: int = 0
    frame_columns: tuple[str, ...] | None = None
    frame_mini_batch: int = -1
    schema: str = ""
    mtime_ns: int = 0
    inode: int = 0

    def as_part(self, folder: Path) -> Part:
        """The file as a part of an output that is made anew."""
        return Part(
            file=str(folder / self.name),
            size_bytes=self.line_bytes or self.size_bytes,
            sha256=self.sha256,
            row_count=self.rows,
            frame_columns=self.frame_columns,
            frame_mini_batch=self.frame_mini_batch,
            schema=self.schema,
        )


class Layout(msgspec.Struct, frozen=True, kw_only=True):
    """A published output. It holds everything that was committed in `epoch` or before."""

    version: int = VERSION
    epoch: int
    files: tuple[LaidFile, ...]
    marks: tuple[Mark, ...]

    def places(self) -> dict[tuple[int, int], tuple[int, int]]:
        """Mini-batch and first item of each mark to its row and byte."""
        return {(mark.mini_batch, mark.first_item): (mark.at_row, mark.at_byte) for mark in self.marks}


_LAYOUT = msgspec.json.Decoder(Layout)
"""Made here: msgspec crashes when two threads decode a type for the first time at once."""


def write_layout(path: Path, layout: Layout) -> None:
    """Write it durably: a checksum, a line feed, JSON."""
    body = msgspec.json.encode(layout)
    write_durably(path, b"%08x\n" % crc32(body) + body)


def read_layout(path: Path) -> Layout | None:
    """What was written, None if nothing was. StorageFailed when it is damaged."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    try:
        if data[:9] != b"%08x\n" % crc32(data[9:]):
            raise ValueError("its checksum does not match")
        return _LAYOUT.decode(data[9:])
    except ValueError as error:
        raise StorageFailed(str(path), f"is damaged ({error}); submit the job again") from None


def read_borders(path: Path, layout: Layout, file: int) -> npt.NDArray[np.void]:
    """The mini-batches of one file, for an output that has them."""
    before = sum(one.border_count for one in layout.files[:file])
    borders = path.with_name(f"{path.name}{BORDERS}.{layout.epoch}")
    return np.fromfile(borders, BORDER, layout.files[file].border_count, offset=before * BORDER.itemsize)


def seen(file: LaidFile, folder: Path) -> LaidFile:
    """The file with what the file system says of it now that it is published."""
    about = os.stat(folder / file.name)
    return msgspec.structs.replace(file, mtime_ns=about.st_mtime_ns, inode=about.st_ino)


def check_published(layout: Layout, folder: Path, *, thoroughly: frozenset[int] = frozenset()) -> None:
    """Raise OutputChanged unless the files are as they were published.

    One that looks the same by size, time and inode is not read, but for those that are to be read `thoroughly`.
    """
    for number, file in enumerate(layout.files):
        path = folder / file.name
        try:
            about = os.stat(path)
        except FileNotFoundError:
            raise OutputChanged(str(path), "was removed") from None
        if about.st_size != file.size_bytes:
            raise OutputChanged(str(path), f"has {about.st_size} bytes instead of {file.size_bytes}")
        is_same = (about.st_mtime_ns, about.st_ino) == (file.mtime_ns, file.inode)
        if (number in thoroughly or not is_same) and digest_of(path) != file.sha256:
            raise OutputChanged(str(path), "was changed")


def digest_of(path: Path) -> str:
    """The SHA-256 of a file."""
    sha = hashlib.sha256()
    with open(path, "rb", buffering=0) as file:
        while chunk := file.read(READ_BYTES):
            sha.update(chunk)
    return sha.hexdigest()
