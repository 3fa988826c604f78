"""Files that are written once: hashed on the way, made durable, moved without replacing anybody's work."""

from __future__ import annotations

import ctypes
import errno
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from runner.errors import StorageFailed

COPY_BYTES = 8 << 20
HASH_BYTES = 1 << 18
"""Small enough for the cache of a core."""
_AT_FDCWD = -100
_RENAME_NOREPLACE = 1


@contextmanager
def telling(path: str | Path, doing: str) -> Iterator[None]:
    """Tell what the disk says as StorageFailed with the path and what was being done."""
    try:
        yield
    except OSError as error:
        what = os.strerror(error.errno) if error.errno else str(error)
        where = error.filename if isinstance(error.filename, str) else str(path)
        raise StorageFailed(where, f"{doing}: {what}{_remedy(error.errno)}") from error


def _remedy(number: int | None) -> str:
    if number in (errno.ENOSPC, errno.EDQUOT):
        return "; make room and resume the job"
    if number in (errno.EACCES, errno.EPERM, errno.EROFS):
        return "; choose a target that this user may write to"
    return ""


class HashedFile:
    """A new file, written front to back, with its SHA-256 and size; durable once `finish` has returned."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.size_bytes = 0
        self._sha = hashlib.sha256()
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o666)

    def write(self, data: bytes | memoryview) -> int:
        """Write all of `data`."""
        view = memoryview(data).cast("B")
        self._sha.update(view)
        written = len(view)
        self.size_bytes += written
        while view:
            view = view[os.write(self._fd, view) :]
        return written

    @property
    def sha256(self) -> str:
        """The digest of what has been written so far, as hex."""
        return self._sha.hexdigest()

    def finish(self) -> None:
        """Make the content durable and close; the folder's entry needs `sync_folder`."""
        os.fsync(self._fd)
        self.close()

    @property
    def is_closed(self) -> bool:
        """True once `finish` or `close` has been called."""
        return self._fd < 0

    def close(self) -> None:
        """Close; once is enough."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __enter__(self) -> HashedFile:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class ContinuedFile(HashedFile):
    """A file that others have begun: what is written goes to its end, and all of it is hashed at last."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._sha = hashlib.sha256()
        self._fd = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC)
        self.size_bytes = os.fstat(self._fd).st_size

    def write(self, data: bytes | memoryview) -> int:
        """Write all of `data`."""
        view = memoryview(data).cast("B")
        written = len(view)
        self.size_bytes += written
        while view:
            view = view[os.write(self._fd, view) :]
        return written

    def finish(self) -> None:
        """Hash everything, make it durable and close."""
        room = memoryview(bytearray(HASH_BYTES))
        at = 0
        while got := os.preadv(self._fd, [room], at):
            self._sha.update(room[:got])
            at += got
        super().finish()


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def sync_tree(folder: Path) -> None:
    """Make everything in and below a folder durable, its own content and names."""
    for root, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(root, name)
            if os.path.isfile(path) and not os.path.islink(path):
                fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
                try:
                    os.fsync(fd)
                finally:
                    os.close(fd)
        sync_folder(Path(root))


def write_durably(path: Path, data: bytes) -> None:
    """Put `data` at `path` by one rename; after a crash it is there whole or not at all."""
    temporary = path.with_name(f"{path.name}.tmp")
    with HashedFile(temporary) as file:
        file.write(data)
        file.finish()
    os.replace(temporary, path)
    sync_folder(path.parent)


def copy_range(source: Path, fd: int) -> None:
    """Append the whole of `source` to the open file, inside the kernel where it can."""
    with open(source, "rb", buffering=0) as file:
        left = os.fstat(file.fileno()).st_size
        while left:
            try:
                copied = os.copy_file_range(file.fileno(), fd, min(left, 1 << 30))
            except OSError as error:
                if error.errno not in (errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP):
                    raise
                copied = os.sendfile(fd, file.fileno(), None, min(left, COPY_BYTES))
            if not copied:
                raise OSError(errno.EIO, "the file is shorter than it was", str(source))
            left -= copied


_libc = ctypes.CDLL(None, use_errno=True)


def rename_without_replacing(source: Path, target: Path) -> None:
    """Rename, or raise FileExistsError if anything has the target's name. The check and the move are one step."""
    rename = getattr(_libc, "renameat2", None)
    if rename is not None:
        args = (_AT_FDCWD, os.fsencode(source), _AT_FDCWD, os.fsencode(target), _RENAME_NOREPLACE)
        if rename(*args) == 0:
            return
        number = ctypes.get_errno()
        if number not in (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP):
            raise OSError(number, os.strerror(number), str(target))
    # A file system without that flag: a link fails where the name is taken. A crash in between leaves both names.
    os.link(source, target)
    os.unlink(source)
