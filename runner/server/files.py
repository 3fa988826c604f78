"""The files of a job that clients read: logs and outputs, listed and cut into chunks."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from runner.entity.job import OutputState
from runner.entity.page import Chunk, LogFile
from runner.errors import LogMissing, StorageFailed

CHUNK_BYTES = 1024 * 1024
USER_STDOUT = "user/stdout/"
"""What the entry script printed: one file for each worker."""


def list_logs(folder: Path) -> tuple[LogFile, ...]:
    """The log files below `folder`, by path."""
    found = []
    for path in _files_below(folder):
        try:
            size = (folder / path).stat().st_size
        except FileNotFoundError:
            continue
        found.append(LogFile(path=path, size_bytes=size))
    return tuple(found)


class LogTail:
    """Reads what has been written since the last look, of one log file or of the standard output of all workers."""

    def __init__(self, job: str, folder: Path, file: str) -> None:
        """LogMissing when there is no such file. A name is only ever compared with those that were listed."""
        self._folder, self._file = folder, file
        self._offsets: dict[str, int] = {}
        if file and file not in self._names():
            raise LogMissing(job, file)

    def read(self) -> Iterator[Chunk]:
        """Chunks of what is new, file by file."""
        for name in self._names():
            try:
                with open(self._folder / name, "rb") as file:
                    file.seek(self._offsets.get(name, 0))
                    while data := file.read(CHUNK_BYTES):
                        self._offsets[name] = self._offsets.get(name, 0) + len(data)
                        yield Chunk(path=name, data=data)
            except FileNotFoundError:
                continue
            except OSError as error:
                raise StorageFailed(str(self._folder / name), f"cannot be read: {error.strerror}") from error

    def _names(self) -> list[str]:
        names = _files_below(self._folder)
        return [name for name in names if (name == self._file if self._file else name.startswith(USER_STDOUT))]


def read_output(output: OutputState) -> Iterator[Chunk]:
    """The files of an output in the order of their paths; nothing when it is empty or not there."""
    root = Path(output.path)
    names = [""] if root.is_file() else _files_below(root)
    for name in names:
        path = root / name if name else root
        try:
            with open(path, "rb") as file:
                data = file.read(CHUNK_BYTES)
                yield Chunk(path=name or root.name, data=data)
                while data := file.read(CHUNK_BYTES):
                    yield Chunk(path=name or root.name, data=data)
        except OSError as error:
            raise StorageFailed(str(path), f"cannot be read: {error.strerror}") from error


def _files_below(folder: Path) -> list[str]:
    """Paths of regular files relative to `folder`, sorted; links to folders are not followed."""
    found = []
    for root, _, files in os.walk(folder):
        inside = os.path.relpath(root, folder)
        found += [name if inside == "." else f"{inside}/{name}" for name in files if os.path.isfile(f"{root}/{name}")]
    return sorted(found)
