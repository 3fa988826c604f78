"""The plan on disk: JSON lines of a header, files, units, and a trailer with counts and a checksum.

It is written whole or not at all (temporary file, fsync, rename, fsync of the folder), before any work starts.
Paths that are no UTF-8 are written as `base64:` and their bytes, so that every name survives.
"""

from __future__ import annotations

import base64
import os
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal

import msgspec

from runner.dataset.listing import shown
from runner.entity.plan import PLAN_VERSION, Plan, PlanFile, Unit
from runner.errors import InputChanged, InputUnreadable

_BLOCK_BYTES = 1 << 20


class _Header(msgspec.Struct, kw_only=True):
    version: int
    kind: Literal["table", "files"]
    inputs: tuple[str, ...]
    files_per_mini_batch: int
    mini_batch_count: int
    item_count: int
    schema: str
    fingerprint: str


class _File(msgspec.Struct, array_like=True, omit_defaults=False):
    path: str
    size_bytes: int
    mtime_ns: int
    input: int
    row_count: int
    rows_per_mini_batch: int
    nullable: tuple[str, ...]


class _Unit(msgspec.Struct, array_like=True):
    file: int
    file_count: int
    first_mini_batch: int
    mini_batch_count: int
    first_row: int
    row_count: int


class _Trailer(msgspec.Struct, kw_only=True):
    file_count: int
    unit_count: int
    crc32: int


def save_plan(plan: Plan, path: str | os.PathLike[str]) -> None:
    """Write the plan; after the return it survives a crash of the machine."""
    target = Path(path)
    partial = target.with_name(f".{target.name}.{os.getpid()}.partial")
    try:
        with partial.open("wb") as file:
            checksum = 0
            for block in _blocks(_lines(plan)):
                checksum = zlib.crc32(block, checksum)
                file.write(block)
            trailer = _Trailer(file_count=len(plan.files), unit_count=len(plan.units), crc32=checksum)
            file.write(msgspec.json.encode(trailer) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        partial.replace(target)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    folder = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _lines(plan: Plan) -> Iterator[bytes]:
    encode = msgspec.json.Encoder().encode
    yield encode(
        _Header(
            version=plan.version,
            kind=plan.kind,
            inputs=plan.inputs,
            files_per_mini_batch=plan.files_per_mini_batch,
            mini_batch_count=plan.mini_batch_count,
            item_count=plan.item_count,
            schema=plan.schema,
            fingerprint=plan.fingerprint,
        )
    )
    for file in plan.files:
        yield encode(
            (
                _path_text(file.path),
                file.size_bytes,
                file.mtime_ns,
                file.input,
                file.row_count,
                file.rows_per_mini_batch,
                file.nullable,
            )
        )
    for unit in plan.units:
        yield encode(
            (
                unit.file,
                unit.file_count,
                unit.first_mini_batch,
                unit.mini_batch_count,
                unit.first_row,
                unit.row_count,
            )
        )


def _blocks(lines: Iterable[bytes]) -> Iterator[bytes]:
    waiting: list[bytes] = []
    size = 0
    for line in lines:
        waiting.append(line + b"\n")
        size += len(line)
        if size >= _BLOCK_BYTES:
            yield b"".join(waiting)
            waiting, size = [], 0
    yield b"".join(waiting)


def load_plan(path: str | os.PathLike[str]) -> Plan:
    """Read a plan back; a file that is damaged, cut short or of another version is refused."""
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise InputUnreadable(str(path), error.strerror or str(error)) from error
    try:
        return _decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, ValueError, IndexError) as error:
        raise InputUnreadable(str(path), f"the plan is damaged: {error}") from error


def _decode(data: bytes) -> Plan:
    body_end = data.rfind(b"\n", 0, len(data) - 1) + 1
    header_end = data.find(b"\n") + 1
    if not header_end or not body_end or data[-1:] != b"\n":
        raise ValueError("it is cut short")
    header = msgspec.json.decode(memoryview(data)[:header_end], type=_Header)
    if header.version != PLAN_VERSION:
        raise ValueError(f"version {header.version} is not known to this release")
    trailer = msgspec.json.decode(memoryview(data)[body_end:], type=_Trailer)
    if zlib.crc32(memoryview(data)[:body_end]) != trailer.crc32:
        raise ValueError("its checksum is wrong")
    lines = data[header_end:body_end].splitlines()
    if len(lines) != trailer.file_count + trailer.unit_count:
        raise ValueError("its counts are wrong")
    return Plan(
        kind=header.kind,
        inputs=header.inputs,
        files=tuple(_files(lines[: trailer.file_count])),
        units=tuple(_units(lines[trailer.file_count :])),
        files_per_mini_batch=header.files_per_mini_batch,
        mini_batch_count=header.mini_batch_count,
        item_count=header.item_count,
        schema=header.schema,
        fingerprint=header.fingerprint,
    )


def _files(lines: list[bytes]) -> Iterator[PlanFile]:
    decode = msgspec.json.Decoder(_File).decode
    for line in lines:
        found = decode(line)
        yield PlanFile(
            path=_path_of(found.path),
            size_bytes=found.size_bytes,
            mtime_ns=found.mtime_ns,
            input=found.input,
            row_count=found.row_count,
            rows_per_mini_batch=found.rows_per_mini_batch,
            nullable=found.nullable,
        )


def _units(lines: list[bytes]) -> Iterator[Unit]:
    decode = msgspec.json.Decoder(_Unit).decode
    for line in lines:
        found = decode(line)
        yield Unit(
            file=found.file,
            file_count=found.file_count,
            first_mini_batch=found.first_mini_batch,
            mini_batch_count=found.mini_batch_count,
            first_row=found.first_row,
            row_count=found.row_count,
        )


_RAW = "base64:"
"""Paths are absolute, so none begins like this: what follows are the bytes of a name that is no UTF-8."""


def _path_text(path: str) -> str:
    try:
        path.encode()
    except UnicodeEncodeError:
        return _RAW + base64.b64encode(os.fsencode(path)).decode()
    return path


def _path_of(text: str) -> str:
    return os.fsdecode(base64.b64decode(text[len(_RAW) :])) if text.startswith(_RAW) else text


def check_file(file: PlanFile) -> None:
    """Refuse a file that is not as it was planned: gone, or of another size or modification time."""
    try:
        info = os.stat(file.path)
    except OSError as error:
        raise InputChanged(shown(file.path), f"is gone ({error.strerror})") from error
    if info.st_size != file.size_bytes:
        raise InputChanged(shown(file.path), f"has changed from {file.size_bytes} to {info.st_size} bytes")
    if info.st_mtime_ns != file.mtime_ns:
        raise InputChanged(shown(file.path), "was written to")


def check_unchanged(plan: Plan) -> None:
    """Refuse the first file of the plan that is not as it was planned."""
    for file in plan.files:
        check_file(file)
