"""The plan on disk: JSON lines of a header, files, units, and a trailer with counts and a checksum.

It is written whole or not at all (temporary file, fsync, rename, fsync of the folder), before any work starts.
Paths that are no UTF-8 are written as `base64:` and their bytes, so that every name survives.
"""

from __future__ import annotations

import base64
import mmap
import os
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO, Literal

import msgspec

from runner.dataset.key_values import KeyValues, keys_of
from runner.dataset.listing import shown
from runner.entity.plan import PLAN_VERSION, Plan, PlanFile, Unit, no_key
from runner.errors import InputChanged, InputUnreadable, StorageFailed

_BLOCK_LINES = 10_000


class _Header(msgspec.Struct, kw_only=True):
    version: int
    kind: Literal["table", "files"]
    inputs: tuple[str, ...]
    files_per_mini_batch: int
    mini_batch_count: int
    item_count: int
    schema: str
    fingerprint: str
    keys: tuple[str, ...] = ()
    bounds_crc32: int = 0
    keys_crc32: int = 0


class _Trailer(msgspec.Struct, kw_only=True):
    file_count: int
    unit_count: int
    units_at: int
    """Byte at which the units begin."""
    crc32: int


_HEADER, _TRAILER = msgspec.json.Decoder(_Header), msgspec.json.Decoder(_Trailer)
_FILES, _UNITS = msgspec.json.Decoder(PlanFile), msgspec.json.Decoder(Unit)


def save_plan(plan: Plan, path: str | os.PathLike[str]) -> None:
    """Write the plan; after the return it survives a crash of the machine."""
    target = Path(path)
    keys_crc32 = 0
    if plan.keys:
        _save_bounds(plan, target)
        keys_crc32 = _keys_crc32(target)
    partial = target.with_name(f".{target.name}.{os.getpid()}.partial")
    try:
        with partial.open("wb") as file:
            _write(plan, file, keys_crc32)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(target)
        _sync_folder(target.parent)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise StorageFailed(str(path), f"the plan cannot be written: {error.strerror}") from error
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def bounds_of(path: str | os.PathLike[str]) -> Path:
    """The file beside a plan that holds the bounds of its groups: int64, in this machine's byte order."""
    return Path(f"{os.fspath(path)}.bounds")


def _save_bounds(plan: Plan, target: Path) -> None:
    """Before the plan itself, whose checksum of them says that they belong together."""
    path = bounds_of(target)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with partial.open("wb") as file:
            file.write(memoryview(plan.bounds).cast("B"))  # type: ignore[arg-type] # an array of int64
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        raise StorageFailed(str(path), f"the plan cannot be written: {error.strerror}") from error


def _keys_crc32(target: Path) -> int:
    """Of the values of the keys, which were saved before."""
    try:
        with keys_of(target).open("rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as mapped:
            return zlib.crc32(mapped)
    except OSError as error:
        raise InputUnreadable(str(keys_of(target)), error.strerror or str(error)) from error


def _key_texts(path: Path) -> Callable[[int], str | None]:
    """Looks keys up when the first is asked for: most readers of a plan never do."""
    opened: list[KeyValues] = []

    def text_of(mini_batch: int) -> str | None:
        if not opened:
            opened.append(KeyValues(path))
        return opened[0].text_of(mini_batch)

    return text_of


def _load_bounds(path: Path, header: _Header) -> memoryview:
    with bounds_of(path).open("rb") as file:
        mapped = memoryview(mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ))
    if zlib.crc32(mapped) != header.bounds_crc32 or len(mapped) != 8 * (header.mini_batch_count + 1):
        raise ValueError("the bounds of its groups are damaged")
    if _keys_crc32(path) != header.keys_crc32:
        raise ValueError("the keys of its groups are damaged")
    return mapped.cast("q")


def _sync_folder(path: Path) -> None:
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _write(plan: Plan, file: BinaryIO, keys_crc32: int) -> None:
    checksum = 0

    def put(block: bytes) -> int:
        nonlocal checksum
        checksum = zlib.crc32(block, checksum)
        return file.write(block)

    header = _Header(
        version=plan.version,
        kind=plan.kind,
        inputs=plan.inputs,
        files_per_mini_batch=plan.files_per_mini_batch,
        mini_batch_count=plan.mini_batch_count,
        item_count=plan.item_count,
        schema=plan.schema,
        fingerprint=plan.fingerprint,
        keys=plan.keys,
        bounds_crc32=zlib.crc32(memoryview(plan.bounds).cast("B")) if plan.keys else 0,  # type: ignore[arg-type]
        keys_crc32=keys_crc32,
    )
    encoder = msgspec.json.Encoder()
    units_at = put(encoder.encode(header) + b"\n")
    for start in range(0, len(plan.files), _BLOCK_LINES):
        units_at += put(encoder.encode_lines([_writable(each) for each in plan.files[start : start + _BLOCK_LINES]]))
    for start in range(0, len(plan.units), _BLOCK_LINES):
        put(encoder.encode_lines(plan.units[start : start + _BLOCK_LINES]))
    counts = _Trailer(file_count=len(plan.files), unit_count=len(plan.units), units_at=units_at, crc32=checksum)
    file.write(encoder.encode(counts) + b"\n")


def load_plan(path: str | os.PathLike[str]) -> Plan:
    """Read a plan back; a file that is damaged, cut short or of another version is refused."""
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise InputUnreadable(str(path), error.strerror or str(error)) from error
    try:
        return _decode(data, Path(path))
    except OSError as error:
        raise InputUnreadable(str(bounds_of(path)), error.strerror or str(error)) from error
    except (msgspec.MsgspecError, UnicodeDecodeError, ValueError, IndexError) as error:
        raise InputUnreadable(str(path), f"the plan is damaged: {error}") from error


def _decode(data: bytes, path: Path) -> Plan:
    body_end = data.rfind(b"\n", 0, len(data) - 1) + 1
    header_end = data.find(b"\n") + 1
    if not header_end or not body_end or data[-1:] != b"\n":
        raise ValueError("it is cut short")
    view = memoryview(data)
    header = _HEADER.decode(view[:header_end])
    if header.version != PLAN_VERSION:
        raise ValueError(f"version {header.version} is not known to this release")
    trailer = _TRAILER.decode(view[body_end:])
    if zlib.crc32(view[:body_end]) != trailer.crc32:
        raise ValueError("its checksum is wrong")
    files = _FILES.decode_lines(view[header_end : trailer.units_at])
    units = _UNITS.decode_lines(view[trailer.units_at : body_end])
    if (len(files), len(units)) != (trailer.file_count, trailer.unit_count):
        raise ValueError("its counts are wrong")
    bounds = _load_bounds(path, header) if header.keys else ()
    return Plan(
        kind=header.kind,
        inputs=header.inputs,
        files=tuple(_restored(file) for file in files),
        units=tuple(units),
        files_per_mini_batch=header.files_per_mini_batch,
        mini_batch_count=header.mini_batch_count,
        item_count=header.item_count,
        schema=header.schema,
        fingerprint=header.fingerprint,
        keys=header.keys,
        bounds=bounds,
        key_of=_key_texts(path) if header.keys else no_key,
    )


_RAW = "base64:"
"""Paths are absolute, so none begins like this: what follows are the bytes of a name that is no UTF-8."""


def _writable(file: PlanFile) -> PlanFile:
    """The file as JSON can hold it."""
    try:
        file.path.encode()
    except UnicodeEncodeError:
        return replace(file, path=_RAW + base64.b64encode(os.fsencode(file.path)).decode())
    return file


def _restored(file: PlanFile) -> PlanFile:
    if file.path.startswith(_RAW):
        return replace(file, path=os.fsdecode(base64.b64decode(file.path[len(_RAW) :])))
    return file


def check_file(file: PlanFile) -> None:
    """Refuse a file that is not as it was planned: gone, or of another size or modification time."""
    try:
        info = os.stat(file.path)
    except OSError as error:
        where = (
            ", or is not seen from this node: then set RUNNER_HOME to a folder that all nodes share," * file.is_moved
        )
        raise InputChanged(shown(file.path), f"is gone ({error.strerror}){where}") from error
    if info.st_size != file.size_bytes:
        raise InputChanged(shown(file.path), f"has changed from {file.size_bytes} to {info.st_size} bytes")
    if info.st_mtime_ns != file.mtime_ns:
        raise InputChanged(shown(file.path), "was written to")


def check_unchanged(plan: Plan) -> None:
    """Refuse the first file of the plan that is not as it was planned."""
    for file in plan.files:
        check_file(file)
