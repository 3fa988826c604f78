"""A job's document to YAML text at a destination; never over an existing file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import IO, Any

from runner.errors import ArgumentInvalid, DestinationUnwritable
from runner.spec.document import write_yaml
from runner.spec.paths import portable_paths


def dump_document(
    document: dict[str, Any], base: Path, dest: str | os.PathLike[str] | IO[str] | None, **options: Any
) -> None:
    """Write the document; paths below the destination's folder become relative to it, others absolute."""
    if dest is None:
        raise ArgumentInvalid("dest", "there is no destination to dump to; give a path or a text stream")
    if isinstance(dest, str | os.PathLike):
        _dump_to_path(document, base, Path(dest), options)
        return
    name = str(getattr(dest, "name", "the stream"))
    if not hasattr(dest, "write") or not _is_writable(dest):
        raise DestinationUnwritable(name, "is not open for writing")
    folder = Path(name).parent if os.path.isfile(name) else None
    try:
        dest.write(write_yaml(portable_paths(document, base, folder), **options))
    except TypeError as error:
        raise DestinationUnwritable(name, f"is no text stream ({error})") from None


def _dump_to_path(document: dict[str, Any], base: Path, path: Path, options: dict[str, Any]) -> None:
    if not path.parent.is_dir():
        raise ArgumentInvalid("dest", f"{path} cannot be written: there is no folder {path.parent}; make it first")
    text = write_yaml(portable_paths(document, base, path.parent), **options)
    # "x" makes the file or fails, also when another process makes it at this moment.
    with open(path, "x", encoding="utf-8") as stream:
        stream.write(text)


def _is_writable(stream: IO[str]) -> bool:
    try:
        return not stream.closed and stream.writable()
    except AttributeError:
        return True
