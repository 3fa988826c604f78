"""Writes the outputs of a job below `artifacts/` and `named-outputs/`."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from runner.client.backend import Backend
from runner.entity.job import JobState
from runner.entity.page import Chunk
from runner.errors import DownloadRefused, OutputMissing, StorageFailed

DEFAULT = "default"
"""The output that every job has: its logs, and what a command left in `outputs/` and `logs/` of its working folder."""
_READABLE = ("Completed", "Failed", "Canceled", "NotResponding")


def download(
    backend: Backend, name: str, into: Path, output: str | None = None, *, everything: bool = False
) -> list[Path]:
    """Write one output to `into`, or with `everything` all of them that hold anything; the paths of the files.

    OutputMissing, naming what there is, when there is nothing to write.
    """
    state = backend.get(name)
    if state.status not in _READABLE:
        raise DownloadRefused(name, str(state.status), "downloaded", f"wait for its end: `runner watch {name}`")
    if output not in (None, DEFAULT):
        return write_chunks(backend.read_output(name, output), into / "named-outputs" / output)
    # What a parallel job makes goes to its named outputs alone.
    is_named = everything or (output is None and state.type == "parallel")
    written = [] if is_named and not everything else _artifacts(backend, state, into)
    if is_named:
        written += _named(backend, state, into)
    if not written:
        raise OutputMissing(name, "that holds anything", _names(state))
    return written


def _named(backend: Backend, state: JobState, into: Path) -> list[Path]:
    written: list[Path] = []
    for one in backend.outputs(state.name):
        if one.name == DEFAULT:
            continue
        try:
            written += write_chunks(backend.read_output(state.name, one.name), into / "named-outputs" / one.name)
        except OutputMissing:
            continue  # a folder that the script may write to, and did not
    return written


def _artifacts(backend: Backend, state: JobState, into: Path) -> list[Path]:
    try:
        return write_chunks(backend.read_output(state.name, DEFAULT), into / "artifacts")
    except OutputMissing:
        return []


def _names(state: JobState) -> str:
    return ", ".join([one.name for one in state.outputs if one.name != DEFAULT] + [DEFAULT])


def write_chunks(
    chunks: Iterator[Chunk], folder: Path, *, is_wanted: Callable[[Path], bool] = lambda target: True
) -> list[Path]:
    """Write the files that the chunks belong to below `folder`, each if it is wanted; the paths of those written."""
    written: list[Path] = []
    path, file = "", None
    try:
        for chunk in chunks:
            if chunk.path != path:
                if file is not None:
                    file.close()
                path, file = chunk.path, None
                target = inside(folder, path)
                if is_wanted(target):
                    target.parent.mkdir(parents=True, exist_ok=True)
                    file = open(target, "wb")  # noqa: SIM115 - several chunks fill it
                    written.append(target)
            if file is not None:
                file.write(chunk.data)
    except OSError as error:
        raise StorageFailed(str(error.filename or folder), error.strerror or str(error)) from error
    finally:
        if file is not None:
            file.close()
    return written


def inside(folder: Path, path: str) -> Path:
    """A service says the names of files; none may lead out of the folder."""
    if os.path.isabs(path) or ".." in path.split("/") or not path:
        raise StorageFailed(str(folder), f"the service names a file {path!r}, which is not below the output")
    return folder / path
