"""Lists the files below a path in one fixed order: the byte order of whole relative paths.

Skipped are names that begin with a dot, `_manifest.json` and `_SUCCESS`; a folder with a manifest of parts is read as
the manifest says. Names that are no UTF-8 travel by surrogateescape, like everywhere in Python.
"""

from __future__ import annotations

import glob
import logging
import os
import stat
from array import array
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, overload

import msgspec

from runner.errors import EmptyInput, InputUnreadable

MANIFEST = "_manifest.json"
MLTABLE = "MLTable"
MANIFEST_VERSION = 1
_MARKERS = frozenset({MANIFEST, "_SUCCESS"})
_KIND = 0o170000
"""The bits of a mode that say what a name is."""
_REGULAR = stat.S_IFREG

logger = logging.getLogger(__name__)


class ListedFile(NamedTuple):
    """A regular file as it was when it was listed."""

    path: str
    size_bytes: int
    mtime_ns: int


class Listing(Sequence[ListedFile]):
    """Files in columns: a million of them as objects would take three times the memory."""

    def __init__(self) -> None:
        self.paths: list[str] = []
        self.sizes = array("q")
        self.times = array("q")

    @staticmethod
    def of(files: Iterable[ListedFile]) -> Listing:
        """These files in their order."""
        made = Listing()
        for file in files:
            made.add(*file)
        return made

    def add(self, path: str, size_bytes: int, mtime_ns: int) -> None:
        """One more file."""
        self.paths.append(path)
        self.sizes.append(size_bytes)
        self.times.append(mtime_ns)

    def in_order(self) -> Listing:
        """The same files in the byte order of their paths."""
        # Text compares like its UTF-8, but for what stands for bytes that are none.
        is_plain = all(map(str.isascii, self.paths))
        key = self.paths.__getitem__ if is_plain else [os.fsencode(path) for path in self.paths].__getitem__
        order = sorted(range(len(self.paths)), key=key)
        made = Listing()
        made.paths = [self.paths[at] for at in order]
        made.sizes = array("q", map(self.sizes.__getitem__, order))
        made.times = array("q", map(self.times.__getitem__, order))
        return made

    def __len__(self) -> int:
        return len(self.paths)

    @overload
    def __getitem__(self, at: int) -> ListedFile: ...
    @overload
    def __getitem__(self, at: slice) -> list[ListedFile]: ...
    def __getitem__(self, at: int | slice) -> ListedFile | list[ListedFile]:
        if isinstance(at, slice):
            return [self[index] for index in range(*at.indices(len(self)))]
        return ListedFile(self.paths[at], self.sizes[at], self.times[at])


class _ManifestPart(msgspec.Struct):
    file: str


class _Manifest(msgspec.Struct):
    version: int = 0
    parts: list[_ManifestPart] | None = None


_MANIFEST = msgspec.json.Decoder(_Manifest)
"""Made here: msgspec crashes when two threads decode a type for the first time at once."""


def shown(path: str) -> str:
    r"""The path as text that can be printed anywhere: bytes that are no UTF-8 as `\xNN`."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


@dataclass(frozen=True, slots=True)
class _Rules:
    """Which names count, and which folders are refused by the names in them."""

    accepts: Callable[[str], bool]
    check: Callable[[str, set[str]], None] | None


def list_files(path: str, *, input_name: str = "", paths: Sequence[str] = ()) -> Listing:
    """Every file at or below `path`, in byte order of whole relative paths; an empty listing is refused.

    `paths` are what an MLTable file names instead: files, folders and patterns, in their order.
    """
    rules = _Rules(lambda name: name[0] != "." and name not in _MARKERS, None)
    if paths:
        named = _named(paths, input_name, rules)
        return Listing.of(file for file in named if os.path.basename(file.path) != MLTABLE)
    return _list(path, input_name, rules)


def list_table(path: str, *, input_name: str = "", paths: Sequence[str] = ()) -> Listing:
    """The data files of a table at or below `path`: as `list_files`, without names that begin with an underscore."""
    rules = _Rules(lambda name: name[0] not in "._" and name != MLTABLE, _refuse_foreign_table)
    if paths:
        return _named(paths, input_name, rules)
    return _list(path, input_name, rules)


def _named(paths: Sequence[str], input_name: str, rules: _Rules) -> Listing:
    found = [file for each in paths for one in _matching(each, rules) for file in _list(one, input_name, rules)]
    if not found:
        raise EmptyInput(input_name, shown(paths[0]), "matches no file that counts")
    return Listing.of(found)


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


def _list(path: str, input_name: str, rules: _Rules) -> Listing:
    root = os.path.abspath(path)
    try:
        info = os.stat(root)
    except FileNotFoundError:
        raise EmptyInput(input_name, shown(root), "does not exist") from None
    except OSError as error:
        raise InputUnreadable(shown(root), error.strerror or str(error)) from error
    if stat.S_ISDIR(info.st_mode):
        found = _walk(root, (info.st_dev, info.st_ino), rules)
        if not found:
            raise EmptyInput(input_name, shown(root), "has no files")
        return found.in_order()
    if not stat.S_ISREG(info.st_mode):
        raise InputUnreadable(shown(root), "it is neither a file nor a folder")
    if rules.check is not None:
        rules.check(os.path.dirname(root), {os.path.basename(root)})
    return Listing.of([ListedFile(root, info.st_size, info.st_mtime_ns)])


_Identity = tuple[int, int]


def _walk(root: str, identity: _Identity, rules: _Rules) -> Listing:
    """Files below `root`, in no order. A link back to a folder that it stands in is not followed: it has no end."""
    found = Listing()
    add_path, add_size, add_time, accepts = found.paths.append, found.sizes.append, found.times.append, rules.accepts
    waiting: list[tuple[str, tuple[_Identity, ...]]] = [(root, (identity,))]
    while waiting:
        folder, ancestors = waiting.pop()
        try:
            if rules.check is not None:
                rules.check(folder, set(os.listdir(folder)))
            parts = _manifest_parts(folder) if os.path.lexists(os.path.join(folder, MANIFEST)) else None
            if parts is not None:
                for part in parts:
                    found.add(*part)
                continue
            # Entries are looked at one by one: a list of a million of them takes more memory than all else.
            with os.scandir(folder) as entries:
                for entry in entries:
                    if not accepts(entry.name):
                        continue
                    try:
                        info = entry.stat()
                    except OSError as error:
                        raise _unseen(entry, error) from error
                    kind = info.st_mode & _KIND
                    if kind == _REGULAR:
                        add_path(entry.path)
                        add_size(info.st_size)
                        add_time(info.st_mtime_ns)
                    elif kind != stat.S_IFDIR:
                        logger.warning("%s is skipped: it is neither a file nor a folder", shown(entry.path))
                    elif (info.st_dev, info.st_ino) in ancestors:
                        logger.warning("%s is skipped: it links to a folder that it stands in", shown(entry.path))
                    else:
                        waiting.append((entry.path, (*ancestors, (info.st_dev, info.st_ino))))
        except OSError as error:
            raise InputUnreadable(shown(folder), error.strerror or str(error)) from error
    return found


def _unseen(entry: os.DirEntry[str], error: OSError) -> InputUnreadable:
    if isinstance(error, FileNotFoundError):
        return InputUnreadable(shown(entry.path), "it is a link to nothing, or vanished while it was listed")
    return InputUnreadable(shown(entry.path), error.strerror or str(error))


def _manifest_parts(folder: str) -> list[ListedFile] | None:
    """The files a manifest of parts names; None when the file is no such manifest."""
    path = os.path.join(folder, MANIFEST)
    try:
        with open(path, "rb") as file:
            manifest = _MANIFEST.decode(file.read())
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
