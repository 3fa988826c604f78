"""Code pinned at submission: each distinct tree is kept once, read-only, in a folder named by its content.

What counts is which files there are after the ignore rules, their bytes, and whether they may be executed; not their
times, owners or the folder they came from. A tree appears under its digest by one rename, so it is whole or not there,
and of two submissions at once the second finds the work of the first done. Nobody writes to a tree after that: commands
and scripts work in copies. Its files are read-only; its folders are not, so that a home can be removed by its owner.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runner.errors import Problem, SpecInvalid, StorageFailed
from runner.spec.script import ScriptMissing, find_script
from runner.spec.snapshot import code_files
from runner.spec.targets import Unplaceable, place

_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeTree:
    """A tree that is kept: where, and the digest of its content."""

    path: Path
    digest: str


def pin_code(
    source: Path | None,
    trees: Path,
    *,
    home: Path | None,
    only: tuple[str, ...] = (),
    includes: tuple[Path, ...] = (),
) -> CodeTree:
    """Keep code as `trees/<digest>`; nothing is copied when it is there already.

    Args:
        source: a folder, one file, or nothing but `includes`.
        trees: the folder of all trees; made if it is missing.
        home: what lies below it is never part of a tree, since the trees themselves do.
        only: the files to take, relative to `source`; all of them when empty.
        includes: more files and folders, put at the root by their names; what `source` has goes before them.

    Raises:
        StorageFailed: something cannot be read or written.
    """
    try:
        files = _files(source, home, only, includes)
        digest = _digest({inside: _hash(path) for inside, path in files.items()})
        kept = trees / digest
        if not kept.is_dir():
            digest = _keep(files, trees)
            kept = trees / digest
    except OSError as error:
        raise StorageFailed(str(error.filename or trees), error.strerror or str(error)) from None
    return CodeTree(path=kept, digest=digest)


def pin_document_code(document: Mapping[str, Any], base: Path, trees: Path, *, home: Path | None) -> CodeTree | None:
    """Keep the code of a command's or a parallel job's document; None when it has none.

    Raises:
        SpecInvalid: its code is not there.
        StorageFailed: something cannot be read or written.
    """
    is_command = document.get("type") != "parallel"
    holder: Mapping[str, Any] = document if is_command else document.get("task") or {}
    at = "code" if is_command else "task.code"
    try:
        given = holder.get("code")
        code = _placed(given, base) if given else None
        if not is_command:
            return _pin_script(code, str(holder.get("entry_script")), base, trees, home)
        includes = tuple(_placed(path, base) for path in holder.get("additional_includes") or ())
        return pin_code(code, trees, home=home, includes=includes) if code or includes else None
    except Unplaceable as error:
        raise _not_there(at, f"{at} {error.what}", error.remedy) from None
    except ScriptMissing as error:
        raise _not_there("task.entry_script", f"task.entry_script: {error}", "mend the path") from None


def _pin_script(code: Path | None, entry_script: str, base: Path, trees: Path, home: Path | None) -> CodeTree | None:
    """With a code folder all of it; without one the script alone, or nothing for an installed module."""
    script = find_script(code, entry_script, base)
    if code is not None:
        return pin_code(code, trees, home=home)
    if script.file is None:
        return None
    return pin_code(script.root, trees, home=home, only=(script.file.relative_to(script.root).as_posix(),))


def _placed(path: str, base: Path) -> Path:
    placed = place(path, base, None)
    if placed is None:
        raise Unplaceable(f"is {path!r}, which is not beside the job", "write the path of a folder")
    if not os.path.exists(placed):
        raise Unplaceable(f"leads to {placed}, and there is nothing", "write the path of the code folder")
    return Path(placed)


def _not_there(path: str, what: str, remedy: str) -> SpecInvalid:
    return SpecInvalid((Problem(file="job", line=0, path=path, what=what, remedy=remedy),))


def _files(
    source: Path | None, home: Path | None, only: tuple[str, ...], includes: tuple[Path, ...]
) -> dict[str, Path]:
    """The files of the tree by their path in it, in order."""
    found: dict[str, Path] = {}
    for include in includes:
        inside = include.name if include.is_dir() else ""
        found |= {f"{inside}/{name}" if inside else name: path for name, path in _each(include, home)}
    if source is not None:
        found |= {name: source / name for name in only} if only else dict(_each(source, home))
    return dict(sorted(found.items()))


def _each(source: Path, home: Path | None) -> Iterator[tuple[str, Path]]:
    if source.is_dir():
        for name in code_files(source, home):
            yield name, source / name
    else:
        yield source.name, source


def _hash(path: Path) -> str:
    """The content of one file, and whether it may be executed."""
    with open(path, "rb") as stream:
        mark = "x" if os.fstat(stream.fileno()).st_mode & stat.S_IXUSR else "-"
        return f"{hashlib.file_digest(stream, 'sha256').hexdigest()} {mark}"


def _digest(hashes: Mapping[str, str]) -> str:
    """One digest over names and contents; the lengths keep names with odd characters apart."""
    whole = hashlib.sha256()
    for inside in sorted(hashes):
        name = os.fsencode(inside)
        whole.update(b"%d %s %s\n" % (len(name), name, hashes[inside].encode()))
    return whole.hexdigest()


def _keep(files: Mapping[str, Path], trees: Path) -> str:
    """Copy the files to a tree named by what was copied, which may be newer than what was hashed before."""
    trees.mkdir(parents=True, exist_ok=True)
    draft = trees / f".{secrets.token_hex(8)}.new"
    try:
        draft.mkdir()
        digest = _digest({inside: _copy(path, draft / inside) for inside, path in files.items()})
        for folder, _, _ in os.walk(draft):
            _sync(folder)
        try:
            os.rename(draft, trees / digest)
            _sync(trees)
        except OSError:
            if not (trees / digest).is_dir():
                raise
        return digest
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _copy(source: Path, target: Path) -> str:
    """Copy one file to the disk itself and give its hash, from the same bytes."""
    target.parent.mkdir(parents=True, exist_ok=True)
    content = hashlib.sha256()
    with open(source, "rb") as reader, open(target, "xb") as writer:
        mode = os.fstat(reader.fileno()).st_mode
        while chunk := reader.read(_CHUNK):
            content.update(chunk)
            writer.write(chunk)
        writer.flush()
        os.fchmod(writer.fileno(), 0o555 if mode & stat.S_IXUSR else 0o444)
        os.fsync(writer.fileno())
    return f"{content.hexdigest()} {'x' if mode & stat.S_IXUSR else '-'}"


def _sync(folder: str | Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
