"""The files of a job that clients read: logs and outputs, listed and cut into chunks."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from runner.entity.job import OutputState
from runner.entity.page import Chunk, LogFile
from runner.errors import LogMissing, StorageFailed
from runner.store.home import JobFolder

CHUNK_BYTES = 1024 * 1024
USER_OUTPUT = ("user/stdout/", "user_logs/std_log", "azureml/executionlogs.txt")
"""What a script printed in each worker, what a command printed in each process, what a pipeline has decided."""
DEFAULT_OUTPUT = "default"
"""The name under which the artifacts of a job are read."""


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
    """Reads what has been written since the last look: of one log file, of those below a folder whose name ends in a
    slash, or of what the user's code printed.
    """

    def __init__(self, job: str, find: Callable[[], Path], file: str) -> None:
        """LogMissing when there is no such file. A name is only ever compared with those that were listed.

        `find` tells the folder at each look: a step that is waited for may turn out to be a reused one.
        """
        self._find, self._file = find, file
        self._offsets: dict[str, int] = {}
        if file and not file.endswith("/") and file not in self._names(find()):
            raise LogMissing(job, file)

    def read(self) -> Iterator[Chunk]:
        """Chunks of what is new, file by file."""
        folder = self._find()
        for name in self._names(folder):
            try:
                with open(folder / name, "rb") as file:
                    file.seek(self._offsets.get(name, 0))
                    while data := file.read(CHUNK_BYTES):
                        self._offsets[name] = self._offsets.get(name, 0) + len(data)
                        yield Chunk(path=name, data=data)
            except FileNotFoundError:
                continue
            except OSError as error:
                raise StorageFailed(str(folder / name), f"cannot be read: {error.strerror}") from error

    def _names(self, folder: Path) -> list[str]:
        names = _files_below(folder)
        if self._file and not self._file.endswith("/"):
            return [name for name in names if name == self._file]
        wanted = [name for name in names if name.startswith(self._file or USER_OUTPUT)]
        return sorted(wanted, key=lambda name: "/std_err" in name)  # what was printed goes before errors


def read_output(output: OutputState) -> Iterator[Chunk]:
    """The files of an output in the order of their paths; nothing when it is empty or not there."""
    root = Path(output.path)
    if root.is_file():
        yield from _read_file(root, root.name)
        return
    for name in _files_below(root):
        yield from _read_file(root / name, name)


def read_artifacts(folder: JobFolder) -> Iterator[Chunk]:
    """What a job left besides its outputs: `outputs/` and `logs/` of its working folder, and its logs."""
    found = {name: folder.artifacts / name for name in _files_below(folder.artifacts)}
    for name in _files_below(folder.logs):
        shown = name if name.startswith("user_logs/") else f"logs/{name}"
        found.setdefault(shown, folder.logs / name)
    for shown in sorted(found):
        yield from _read_file(found[shown], shown)


def _read_file(path: Path, shown: str) -> Iterator[Chunk]:
    try:
        with open(path, "rb") as file:
            data = file.read(CHUNK_BYTES)
            yield Chunk(path=shown, data=data)
            while data := file.read(CHUNK_BYTES):
                yield Chunk(path=shown, data=data)
    except OSError as error:
        raise StorageFailed(str(path), f"cannot be read: {error.strerror}") from error


def _files_below(folder: Path) -> list[str]:
    """Paths of regular files relative to `folder`, sorted; links to folders are not followed."""
    found = []
    for root, _, files in os.walk(folder):
        inside = os.path.relpath(root, folder)
        found += [name if inside == "." else f"{inside}/{name}" for name in files if os.path.isfile(f"{root}/{name}")]
    return sorted(found)
