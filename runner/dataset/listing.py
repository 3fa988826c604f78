"""Lists the files below a path in one fixed order: the byte order of whole relative paths.

Skipped are names that begin with a dot, `_manifest.json` and `_SUCCESS`; a folder with a manifest of parts is read as
the manifest says. Names that are no UTF-8 travel by surrogateescape, like everywhere in Python.
"""

from __future__ import annotations

import glob
import logging
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import msgspec

from runner.errors import EmptyInput, InputUnreadable

MANIFEST = "_manifest.json"
MLTABLE = "MLTable"
MANIFEST_VERSION = 1
_MARKERS = frozenset({MANIFEST, "_SUCCESS"})

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ListedFile:
    """A regular file as it was when it was listed."""

    path: str
    size_bytes: int
    mtime_ns: int


class _ManifestPart(msgspec.Struct):
    file: str


class _Manifest(msgspec.Struct):
    version: int = 0
    parts: list[_ManifestPart] | None = None


def shown(path: str) -> str:
    r"""The path as text that can be printed anywhere: bytes that are no UTF-8 as `\xNN`."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


@dataclass(frozen=True, slots=True)
class _Rules:
    """Which names count, and which folders are refused by the names in them."""

    accepts: Callable[[str], bool]
    check: Callable[[str, set[str]], None]


def list_files(path: str, *, input_name: str = "", paths: Sequence[str] = ()) -> list[ListedFile]:
    """Every file at or below `path`, in byte order of whole relative paths; an empty listing is refused.

    `paths` are what an MLTable file names instead: files, folders and patterns, in their order.
    """
    rules = _Rules(lambda name: name[0] != "." and name not in _MARKERS, lambda _, __: None)
    if paths:
        named = [file for each in paths for one in _matching(each, rules) for file in _list(one, input_name, rules)]
        return [file for file in named if os.path.basename(file.path) != MLTABLE]
    return _list(path, input_name, rules)


def list_table(path: str, *, input_name: str = "", paths: Sequence[str] = ()) -> list[ListedFile]:
    """The data files of a table at or below `path`: as `list_files`, without names that begin with an underscore."""
    rules = _Rules(lambda name: name[0] not in "._" and name != MLTABLE, _refuse_foreign_table)
    if paths:
        return [file for each in paths for one in _matching(each, rules) for file in _list(one, input_name, rules)]
    return _list(path, input_name, rules)


def _matching(path: str, rules: _Rules) -> list[str]:
    """The files that a pattern matches and that count, in byte order; a path that exists is itself, whatever letters
    it has."""
    if os.path.lexists(path):
        return [path]
    found = sorted(glob.glob(path, recursive=True), key=os.fsencode)
    return [one for one in found if rules.accepts(os.path.basename(one)) and not os.path.isdir(one)]


def _refuse_foreign_table(folder: str, names: set[str]) -> None:
    for name, what in (("_delta_log", "a Delta table"),):
        if name in names:
            raise InputUnreadable(
                shown(folder),
                f"it holds {what}, which this release does not read; "
                "write the rows as plain Parquet files to a folder and give that folder",
            )
    if "metadata" in names and _has_iceberg_metadata(os.path.join(folder, "metadata")):
        raise InputUnreadable(
            shown(folder),
            "it holds an Iceberg table, whose folder may have files that are no longer part of it; "
            "write the rows as plain Parquet files to a folder and give that folder",
        )


def _has_iceberg_metadata(folder: str) -> bool:
    try:
        return any(name.endswith(".metadata.json") for name in os.listdir(folder))
    except NotADirectoryError:
        return False


def _list(path: str, input_name: str, rules: _Rules) -> list[ListedFile]:
    root = os.path.abspath(path)
    try:
        info = os.stat(root)
    except FileNotFoundError:
        raise EmptyInput(input_name, shown(root), "does not exist") from None
    except OSError as error:
        raise InputUnreadable(shown(root), error.strerror or str(error)) from error
    if stat.S_ISDIR(info.st_mode):
        found = list(_walk(root, (info.st_dev, info.st_ino), rules))
        if not found:
            raise EmptyInput(input_name, shown(root), "has no files")
        found.sort(key=lambda file: os.fsencode(file.path))
        return found
    if not stat.S_ISREG(info.st_mode):
        raise InputUnreadable(shown(root), "it is neither a file nor a folder")
    rules.check(os.path.dirname(root), {os.path.basename(root)})
    return [ListedFile(root, info.st_size, info.st_mtime_ns)]


_Identity = tuple[int, int]


def _walk(root: str, identity: _Identity, rules: _Rules) -> Iterator[ListedFile]:
    """Files below `root`, in no order. A link back to a folder that it stands in is not followed: it has no end."""
    waiting: list[tuple[str, tuple[_Identity, ...]]] = [(root, (identity,))]
    while waiting:
        folder, ancestors = waiting.pop()
        entries = _entries(folder)
        names = {entry.name for entry in entries}
        rules.check(folder, names)
        parts = _manifest_parts(folder) if MANIFEST in names else None
        if parts is not None:
            yield from parts
            continue
        for entry in entries:
            if not rules.accepts(entry.name):
                continue
            info = _stat(entry)
            if stat.S_ISREG(info.st_mode):
                yield ListedFile(entry.path, info.st_size, info.st_mtime_ns)
            elif not stat.S_ISDIR(info.st_mode):
                logger.warning("%s is skipped: it is neither a file nor a folder", shown(entry.path))
            elif (info.st_dev, info.st_ino) in ancestors:
                logger.warning("%s is skipped: it links to a folder that it stands in", shown(entry.path))
            else:
                waiting.append((entry.path, (*ancestors, (info.st_dev, info.st_ino))))


def _entries(folder: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError as error:
        raise InputUnreadable(shown(folder), error.strerror or str(error)) from error


def _stat(entry: os.DirEntry[str]) -> os.stat_result:
    try:
        return entry.stat()
    except FileNotFoundError:
        raise InputUnreadable(shown(entry.path), "it is a link to nothing, or vanished while it was listed") from None
    except OSError as error:
        raise InputUnreadable(shown(entry.path), error.strerror or str(error)) from error


def _manifest_parts(folder: str) -> list[ListedFile] | None:
    """The files a manifest of parts names; None when the file is no such manifest."""
    path = os.path.join(folder, MANIFEST)
    try:
        with open(path, "rb") as file:
            manifest = msgspec.json.decode(file.read(), type=_Manifest)
    except msgspec.ValidationError:
        return None
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InputUnreadable(shown(path), f"it should list the parts of its folder: {error}") from error
    if manifest.parts is None:
        return None
    if manifest.version != MANIFEST_VERSION:
        raise InputUnreadable(shown(path), f"version {manifest.version} of the manifest is not known to this release")
    return [_manifest_part(folder, path, part.file) for part in manifest.parts]


def _manifest_part(folder: str, manifest: str, name: str) -> ListedFile:
    if os.path.isabs(name) or ".." in name.split("/"):
        raise InputUnreadable(shown(manifest), f"it names {name!r}, which is not below its folder")
    path = os.path.join(folder, name)
    try:
        info = os.stat(path)
    except OSError as error:
        raise InputUnreadable(shown(path), f"the manifest beside it names it, but: {error.strerror}") from error
    return ListedFile(path, info.st_size, info.st_mtime_ns)
