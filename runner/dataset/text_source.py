"""The bytes of a text file in order: as they are, unpacked, or brought to UTF-8."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
from collections.abc import Iterator
from typing import Any

import pyarrow as pa

BLOCK_BYTES = 1 << 20
BOM = b"\xef\xbb\xbf"
_PACKED: dict[str, str] = {
    ".gz": "gzip",
    ".gzip": "gzip",
    ".bz2": "bz2",
    ".xz": "xz",
    ".zst": "zstd",
    ".zstd": "zstd",
    ".lz4": "lz4",
}
_BYTEWISE = {
    "utf8": "utf8", "utf-8": "utf8", "utf8bom": "utf8", "utf-8-sig": "utf8", "ascii": "utf8", "us-ascii": "utf8",
    "latin1": "latin1", "latin-1": "latin1", "iso88591": "latin1", "iso-8859-1": "latin1",
    "windows1252": "cp1252", "windows-1252": "cp1252", "cp1252": "cp1252",
}  # fmt: skip
_OTHERS = {"utf16": "utf-16", "utf-16": "utf-16", "utf32": "utf-32", "utf-32": "utf-32"}
ENCODINGS = tuple(sorted({*_BYTEWISE, *_OTHERS}))


def packing_of(path: str) -> str:
    """How the file is compressed, by its extension; empty when it is not."""
    return _PACKED.get(os.path.splitext(path.lower())[1], "")


def is_stream(path: str, encoding: str) -> bool:
    """Whether the file is only read from its beginning: compressed, or of an encoding in which bytes say nothing."""
    return bool(packing_of(path)) or encoding.lower() not in _BYTEWISE


def codec_of(encoding: str) -> str:
    """The name of the encoding in Python, as the parser is told; what is a stream has been brought to UTF-8."""
    return _BYTEWISE.get(encoding.lower(), "utf8")


def open_bytes(path: str, encoding: str) -> Any:
    """A file object of the text's bytes, unpacked; in UTF-8 where its own encoding cannot be split."""
    packing, name = packing_of(path), os.fsencode(path)
    stream: Any
    if packing == "gzip":
        stream = gzip.open(name, "rb")  # noqa: SIM115 - as below
    elif packing == "bz2":
        stream = bz2.open(name, "rb")  # noqa: SIM115 - as below
    elif packing == "xz":
        stream = lzma.open(name, "rb")  # noqa: SIM115 - as below
    elif packing:
        stream = pa.CompressedInputStream(pa.OSFile(name), packing)
    else:
        stream = open(name, "rb", buffering=0)  # noqa: SIM115 - closed by whoever asked
    if encoding.lower() in _OTHERS:
        return _Recoded(io.TextIOWrapper(stream, encoding=_OTHERS[encoding.lower()], newline=""))
    return stream


class _Recoded(io.RawIOBase):
    """Text as UTF-8 bytes."""

    def __init__(self, text: io.TextIOWrapper) -> None:
        self._text, self._left = text, b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if not self._left:
            self._left = self._text.read(BLOCK_BYTES // 4).encode()
        count = min(len(buffer), len(self._left))
        buffer[:count], self._left = self._left[:count], self._left[count:]
        return count

    def close(self) -> None:
        self._text.close()
        super().close()


def blocks_of(stream: Any) -> Iterator[bytes]:
    """The rest of a stream in blocks."""
    while block := stream.read(BLOCK_BYTES):
        yield block
