"""What is at a path: a digest of a tree's names and bytes, and a stamp by which an unchanged tree is known unread.

A tree is looked at first: names, sizes, times and inodes of everything in it make its stamp. Only when the store does
not know the tree by that stamp is it read. Two writes within one tick of the file system's clock leave the same time,
so a tree that was written to within the last tick is looked at again, before it is read, when the tick is over. Then
whoever writes to it later leaves another stamp, and what is kept under this one is never met again.

How drivers use it, in the last move of a job:

    contents = Contents(store)
    records = records_of(outputs, contents)                       # those outputs that are there
    assets = assets_of(outputs, asset_names(document), job_name)  # those to which the user gave a name
    store.move(job_name, JobStatus.COMPLETED, ..., records=records, assets=assets)

A command's driver records always; of its spec, names are `{o.name: (o.asset_name, o.asset_version)}` for outputs with
an `asset_name`. The hidden sibling of a target that an attempt writes to is a folder `.{target}.{anything}.staging`:
what has such a name belongs to no content.
"""

from __future__ import annotations

import hashlib
import logging
import os
import stat
import threading
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from typing import NamedTuple

from runner.entity.asset import Asset, Content, OutputRecord
from runner.entity.job import OutputState
from runner.errors import StorageFailed
from runner.store.store import Store

log = logging.getLogger(__name__)

TICK_S = 0.012
"""Longer than the clock of a file system may lag behind: with 100 ticks a second, 10 ms."""
_TRIES = 3
"""Whether a tree that is written to without end is looked at once more or less is no difference."""
_THREADS = min(8, os.cpu_count() or 1)
_BLOCK_BYTES = 1 << 20
_CHEAP_BYTES, _CHEAP_FILES = 1 << 20, 64
"""What is read faster than a row is written is not remembered."""


class _Seen(NamedTuple):
    """One name in a tree, from outside. Folders are only here when they are empty."""

    name: bytes
    kind: int
    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int

    @property
    def line(self) -> bytes:
        return b"%d:%b %d %d %d %d %d\n" % (len(self.name), *self)


class Contents:
    """Digests of trees, with the store for a memory. Threads may share one: a tree is read by one of them at a time."""

    def __init__(self, store: Store) -> None:
        self._known = store.reuse
        self._mutex = threading.Lock()
        self._turns: dict[str, threading.Lock] = {}

    def of(self, path: str) -> Content:
        """What is at a path now. Reads only what the store does not know by its stamp.

        Links are followed, but into no folder that they are in; what is neither file nor folder counts by its name.
        Raises StorageFailed when there is nothing, or something cannot be read.
        """
        name = os.path.abspath(path)
        with self._mutex:
            turn = self._turns.setdefault(name, threading.Lock())
        with turn:
            return self._read(name)

    def _read(self, name: str) -> Content:
        root = os.fsencode(name)
        try:
            seen, is_file = _look(root)
            for _ in range(_TRIES):
                if is_settled := not _wait_for_tick(seen):
                    break
                seen, is_file = _look(root)
            stamp = _stamp(seen)
            known = self._known.known_content(_utf8(name), stamp)
            if known is not None:
                return known
            made = Content(
                digest=_digest(root, seen, is_file),
                stamp=stamp,
                file_count=sum(stat.S_ISREG(one.kind) for one in seen),
                size_bytes=sum(one.size for one in seen),
            )
        except OSError as error:
            at = os.fsdecode(error.filename) if error.filename else name
            raise StorageFailed(at, f"cannot be read: {error.strerror or error}") from error
        if is_settled and (made.size_bytes > _CHEAP_BYTES or made.file_count > _CHEAP_FILES):
            self._known.keep_content(_utf8(name), made)
        return made

    def is_still(self, path: str, content: Content) -> bool:
        """Whether what was at a path is there unchanged: by its stamp, else by its digest."""
        root = os.fsencode(os.path.abspath(path))
        try:
            if _stamp(_look(root)[0]) == content.stamp:
                return True
            return self.of(path).digest == content.digest
        except (OSError, StorageFailed):
            return False


def records_of(outputs: Iterable[OutputState], contents: Contents) -> tuple[OutputRecord, ...]:
    """The outputs that are there, as they are now, for `Store.move(Completed, records=...)`.

    One that cannot be read is left out, with a warning: its job has completed, but is no source for reuse.
    """
    records = []
    for output in outputs:
        if not output.path or not os.path.exists(output.path):
            continue
        try:
            content = contents.of(output.path)
        except StorageFailed as error:
            log.warning("output %s is not recorded and so not reused: %s", output.name, error)
            continue
        records.append(OutputRecord(name=output.name, type=output.type, path=output.path, content=content))
    return tuple(records)


def asset_names(document: Mapping[str, object]) -> dict[str, tuple[str, str]]:
    """By output, the `name` and `version` that a job's document asks to register it under; version empty: the next."""
    outputs = document.get("outputs")
    asked = {}
    for output, value in outputs.items() if isinstance(outputs, Mapping) else ():
        if isinstance(value, Mapping) and value.get("name"):
            version = value.get("version")
            asked[str(output)] = (str(value["name"]), "" if version is None else str(version))
    return asked


def assets_of(outputs: Iterable[OutputState], names: Mapping[str, tuple[str, str]], job: str) -> tuple[Asset, ...]:
    """The data assets that a completed job registers: its outputs with a name, as far as they are there."""
    return tuple(
        Asset(kind="data", name=names[one.name][0], version=names[one.name][1], type=one.type, path=one.path, job=job)
        for one in outputs
        if one.name in names and one.path and os.path.exists(one.path)
    )


# ---- trees ----------------------------------------------------------------------------------------------
def _look(root: bytes) -> tuple[list[_Seen], bool]:
    """Everything at or below a path in the byte order of relative names, and whether it is one file."""
    found = os.stat(root)
    if not stat.S_ISDIR(found.st_mode):
        return [_seen(b"", found)], True
    seen: list[_Seen] = []
    _look_into(root, b"", ((found.st_dev, found.st_ino),), seen)
    seen.sort()
    return seen, False


def _look_into(folder: bytes, prefix: bytes, above: tuple[tuple[int, int], ...], seen: list[_Seen]) -> None:
    with os.scandir(folder) as entries:
        for entry in entries:
            base = entry.name
            name = prefix + base
            try:
                found = entry.stat()
            except FileNotFoundError:
                found = entry.stat(follow_symlinks=False)  # a link to nothing, which is what its reader would find
            mode = found.st_mode
            if not stat.S_ISDIR(mode):
                seen.append(_seen(name, found))
                continue
            place = (found.st_dev, found.st_ino)
            if _is_staging(base) or place in above:
                continue
            count = len(seen)
            _look_into(entry.path, name + b"/", (*above, place), seen)
            if len(seen) == count:
                seen.append(_Seen(name, stat.S_IFDIR, 0, 0, 0, 0))


def _seen(name: bytes, found: os.stat_result) -> _Seen:
    kind = stat.S_IFMT(found.st_mode)
    if kind != stat.S_IFREG:
        return _Seen(name, kind, 0, 0, 0, found.st_ino if kind == stat.S_IFLNK else 0)
    return _Seen(name, kind, found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino)


def _is_staging(name: bytes) -> bool:
    """A folder in which an output of this runner grows beside its target."""
    return name.startswith(b".") and name.endswith(b".staging")


def _stamp(seen: list[_Seen]) -> str:
    return hashlib.sha256(b"".join([one.line for one in seen])).hexdigest()


def _wait_for_tick(seen: list[_Seen]) -> bool:
    """Return when a write must leave another time than any that was seen; whether there was anything to wait for."""
    newest = max((max(one.mtime_ns, one.ctime_ns) for one in seen), default=0) / 1e9
    left = newest + TICK_S - time.time()
    if not 0 < left <= TICK_S:  # a time in the future cannot be waited for
        return False
    time.sleep(left)
    return True


def _digest(root: bytes, seen: list[_Seen], is_file: bool) -> str:
    if is_file:
        return _read(root).hex() if stat.S_ISREG(seen[0].kind) else hashlib.sha256().hexdigest()
    whole = hashlib.sha256(b"tree 1\n")
    files = [one for one in seen if stat.S_ISREG(one.kind)]
    digests = iter(_read_all([root + b"/" + one.name for one in files], sum(one.size for one in files)))
    for one in seen:
        inside = next(digests) if stat.S_ISREG(one.kind) else b"%d" % one.kind
        whole.update(b"%d:%b%b\n" % (len(one.name), one.name, inside))
    return whole.hexdigest()


def _read_all(paths: list[bytes], size_bytes: int) -> Iterable[bytes]:
    """The digests of files, in their order. Hashing lets other threads go on, opening small files does not."""
    if len(paths) < 2 or size_bytes < 8 * _BLOCK_BYTES or _THREADS == 1:
        return map(_read, paths)
    count = max(1, min(256, len(paths) // (4 * _THREADS)))
    stretches = [paths[at : at + count] for at in range(0, len(paths), count)]
    with ThreadPoolExecutor(_THREADS, thread_name_prefix="digest") as pool:
        return list(chain.from_iterable(pool.map(lambda some: [*map(_read, some)], stretches)))


def _read(path: bytes) -> bytes:
    made = hashlib.sha256()
    # Not to wait for a writer if a pipe has taken the file's place.
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        while block := os.read(descriptor, _BLOCK_BYTES):
            made.update(block)
    finally:
        os.close(descriptor)
    return made.digest()


def _utf8(path: str) -> str:
    """The path as the store can keep it: names may hold bytes that are no UTF-8."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")
