"""Puts the parts of a finished job at their final names, by steps that may be cut off anywhere and repeated.

Theory of operation. First the final files are made inside the staging folder, from parts that stay as they are: lines
are joined, small parts are joined, parts of another schema are recast; a part that is good as it is, is only named.
Then `final.json` is put beside them, by one rename: the list of files in staging, their final names, and the manifest.
From then on nothing is made any more. With `overwrite`, what an earlier job published in the folder is moved into
staging. Then each file is renamed to its final name, in order, the manifest last. A rename that has happened is seen by
its source being gone, so a repetition goes on where the last try ended, and the end is the same.

A name that somebody else has taken meanwhile is never replaced, unless the job says so: TargetExists.
Staging itself is left for `remove_staging`: while it stands, publishing can be repeated.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from runner.dataset.join import MANIFEST, Final, join_lines, join_tables
from runner.dataset.staging import check_target, prepare_staging, remove_staging
from runner.dataset.storage import rename_without_replacing, sync_folder, telling, write_durably
from runner.entity.lease import Part
from runner.entity.parallel import OutputSpec
from runner.errors import NothingSucceeded, StorageFailed, TargetExists

__all__ = ["check_target", "prepare_staging", "publish", "remove_staging"]

FINAL_LIST = "final.json"
REPLACED = "replaced"
REPLACED_ALL = "replaced.done"
VERSION = 1


def publish(output: OutputSpec, staging: str | Path, parts: Sequence[Part], job: str) -> None:
    """Publish `parts`, in mini-batch order, at the target. Repeatable after a crash at any point; blocks.

    Raises OutputInvalid when parts cannot stand in one output, TargetExists when a name has been taken meanwhile,
    NothingSucceeded when there is no row at all, StorageFailed when the disk says no.
    """
    staging, target = Path(staging), Path(output.target)
    with telling(staging, "the output cannot be published"):
        final = _read_list(staging)
        if final is None:
            if not any(part.row_count for part in parts):
                raise NothingSucceeded(f"every mini-batch of job {job} failed or returned nothing", "")
            final = _make_files(output, staging, parts)
        folder = target if output.is_folder else target.parent
        folder.mkdir(parents=True, exist_ok=True)
        if output.is_folder:
            _refuse_strangers(output, staging, folder, final)
            if output.overwrite:
                _move_away(staging, folder)
        for file in final:
            _move(staging / file.source, folder / file.name, output.overwrite)
        sync_folder(folder)
        if output.is_folder:
            sync_folder(folder.parent)


def _make_files(output: OutputSpec, staging: Path, parts: Sequence[Part]) -> list[Final]:
    made = join_lines(output, staging, parts) if _is_lines(output) else join_tables(output, staging, parts)
    if output.is_folder and output.format != "text":
        listed = [{"file": f.name, "rows": f.rows, "bytes": f.size_bytes, "sha256": f.sha256} for f in made]
        manifest = json.dumps({"version": VERSION, "parts": listed}, indent=1).encode() + b"\n"
        write_durably(staging / MANIFEST, manifest)
        made.append(Final(source=MANIFEST, name=MANIFEST, rows=0, size_bytes=len(manifest), sha256=""))
    sync_folder(staging)
    write_durably(staging / FINAL_LIST, json.dumps([f._asdict() for f in made]).encode())
    return made


def _is_lines(output: OutputSpec) -> bool:
    return output.format in ("text", "csv", "jsonl")


def _read_list(staging: Path) -> list[Final] | None:
    try:
        listed: list[dict[str, Any]] = json.loads((staging / FINAL_LIST).read_bytes())
    except FileNotFoundError:
        return None
    return [Final(**file) for file in listed]


def _refuse_strangers(output: OutputSpec, staging: Path, folder: Path, final: Sequence[Final]) -> None:
    """Before the first move: a taken name, or a manifest that another job has published, stops the whole."""
    if output.overwrite:
        return
    for file in final:
        source, name = staging / file.source, folder / file.name
        if os.path.lexists(source) and os.path.lexists(name) and not _is_half_moved(source, name):
            raise TargetExists(str(name))


def _move_away(staging: Path, folder: Path) -> None:
    """Move what an earlier job has published in the folder, by its manifest, into staging."""
    if (staging / REPLACED_ALL).exists():
        return
    away = staging / REPLACED
    away.mkdir(exist_ok=True)
    old_manifest = folder / MANIFEST
    if old_manifest.exists():
        # The manifest goes first, so that nobody reads the rest as a whole output.
        os.rename(old_manifest, away / MANIFEST)
        sync_folder(folder)
    for name in _listed_in(away / MANIFEST):
        if not os.path.lexists(away / name) and os.path.lexists(folder / name):
            os.rename(folder / name, away / name)
    sync_folder(away)
    sync_folder(folder)
    write_durably(staging / REPLACED_ALL, b"")


def _listed_in(manifest: Path) -> list[str]:
    """The files that a manifest names, those in the folder itself only; none if it cannot be understood."""
    try:
        names = [part["file"] for part in json.loads(manifest.read_bytes())["parts"]]
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return []
    return [
        name
        for name in names
        if isinstance(name, str) and name == os.path.basename(name) and name not in ("", ".", "..")
    ]


def _move(source: Path, target: Path, overwrite: bool) -> None:
    if not os.path.lexists(source):
        if not os.path.lexists(target):
            raise StorageFailed(str(target), f"was published from {source}, but is gone; submit the job again")
        return
    if overwrite:
        os.replace(source, target)
    elif _is_half_moved(source, target):
        os.unlink(source)
    else:
        try:
            rename_without_replacing(source, target)
        except FileExistsError:
            raise TargetExists(str(target)) from None


def _is_half_moved(source: Path, target: Path) -> bool:
    """Where a rename had to be a link and an unlink, a crash in between leaves one file with both names."""
    return os.path.lexists(target) and os.path.samestat(os.lstat(source), os.lstat(target))
