"""Writes the outputs of a job below `named-outputs/`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from runner.client.backend import Backend
from runner.entity.page import Chunk
from runner.errors import OutputMissing, StorageFailed


def download(backend: Backend, name: str, into: Path, output: str | None) -> list[Path]:
    """Write one output, or all that hold anything, to `into/named-outputs/<output>/`; the paths of the files.

    OutputMissing, naming what there is, when there is nothing to write.
    """
    if output is not None:
        return _write(backend.read_output(name, output), into / "named-outputs" / output)
    written: list[Path] = []
    outputs = backend.outputs(name)
    for one in outputs:
        try:
            written += _write(backend.read_output(name, one.name), into / "named-outputs" / one.name)
        except OutputMissing:
            continue  # a folder that the script may write to, and did not
    if not written:
        available = ", ".join(one.name for one in outputs) or "none"
        raise OutputMissing(name, "that holds anything", available)
    return written


def _write(chunks: Iterator[Chunk], folder: Path) -> list[Path]:
    written: list[Path] = []
    path, file = "", None
    try:
        for chunk in chunks:
            if file is None or chunk.path != path:
                if file is not None:
                    file.close()
                path = chunk.path
                target = _inside(folder, path)
                target.parent.mkdir(parents=True, exist_ok=True)
                file = open(target, "wb")  # noqa: SIM115 - several chunks fill it
                written.append(target)
            file.write(chunk.data)
    except OSError as error:
        raise StorageFailed(str(error.filename or folder), error.strerror or str(error)) from error
    finally:
        if file is not None:
            file.close()
    return written


def _inside(folder: Path, path: str) -> Path:
    """A service says the names of files; none may lead out of the folder."""
    if os.path.isabs(path) or ".." in path.split("/") or not path:
        raise StorageFailed(str(folder), f"the service names a file {path!r}, which is not below the output")
    return folder / path
