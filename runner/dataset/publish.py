"""Puts the parts of a finished job at their final names, by steps that may be cut off anywhere and repeated.

Theory of operation. First the final files are made inside the staging folder, from parts that stay as they are: lines
are joined, small parts are joined, parts of another schema are recast; a part that is good as it is, is only named.
Then `final.json` is put beside them, by one rename: the list of files in staging, their final names, and the manifest.
From then on nothing is made any more. With `overwrite`, what an earlier job published in the folder is moved into
staging. Then each file is renamed to its final name, in order, the manifest last. A rename that has happened is seen by
its source being gone, so a repetition goes on where the last try ended, and the end is the same.

A name that somebody else has taken meanwhile is never replaced, unless the job says so: TargetExists.
Staging itself is left for `remove_staging`: while it stands, publishing can be repeated.

A redrive publishes once more, and its base is what was published: only files that change are made, and take the place
of those with their names. The manifest is moved away before the first of them and comes back, new, after the last.
Where something stays open, a layout is written when all is done, for the redrive to come; it names the epoch of the
driver that has published, and so tells which publications have been finished.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from runner.dataset.final import Final, Made
from runner.dataset.join import join_tables
from runner.dataset.layout import (
    BORDERS,
    LaidFile,
    Layout,
    Mark,
    check_published,
    read_layout,
    seen,
    write_layout,
)
from runner.dataset.lines import NEW_BORDERS, join_lines
from runner.dataset.partition import join_partitions
from runner.dataset.splice import Additions, Base
from runner.dataset.staging import check_target, prepare_staging, remove_staging
from runner.dataset.storage import rename_without_replacing, sync_folder, telling, write_durably
from runner.entity.lease import Part
from runner.entity.parallel import OutputSpec
from runner.errors import NothingSucceeded, StorageFailed, TargetExists

__all__ = ["check_target", "prepare_staging", "publish", "remove_staging", "withdraw"]

MANIFEST = "_manifest.json"
FINAL_LIST = "final.json"
NEW_LAYOUT = "layout"
REPLACED = "replaced"
REPLACED_ALL = "replaced.done"
VERSION = 1


def publish(
    output: OutputSpec,
    staging: str | Path,
    base: Sequence[Part] | Base,
    job: str,
    additions: Additions | None = None,
    *,
    layout: Path | None = None,
    epoch: int = 0,
) -> None:
    """Publish parts, in mini-batch order, at the target. Repeatable after a crash at any point; blocks.

    `additions` are put into them at their places. Where something stays open the layout is written to `layout`.
    Raises OutputInvalid when parts cannot stand in one output, TargetExists when a name has been taken meanwhile,
    OutputChanged when a published file is not what it was, NothingSucceeded when there is no row at all, StorageFailed
    when the disk says no.
    """
    staging, target = Path(staging), Path(output.target)
    base = base if isinstance(base, Base) else Base.of(base)
    additions = additions or Additions()
    folder = target if output.is_folder else target.parent
    with telling(staging, "the output cannot be published"):
        final = _read_list(staging)
        if final is None and base.layout is not None and not additions.has_rows:
            return  # nothing is to be put into what is published
        if final is None:
            if not (additions.has_rows or any(part.row_count for part in base.parts)):
                raise NothingSucceeded(f"every mini-batch of job {job} failed or returned nothing", "")
            if base.layout is not None:
                check_published(base.layout, folder, thoroughly=_read_again(output, base, additions))
            final = _make_files(output, staging, base, additions, epoch)
        folder.mkdir(parents=True, exist_ok=True)
        is_again = any(file.replaces for file in final)
        if output.is_folder:
            _refuse_strangers(output, staging, folder, final)
            if output.overwrite and not is_again:
                _move_away(staging, folder)
            elif is_again:
                _move_manifest_away(staging, folder, final)
        for file in final:
            if file.name == MANIFEST:
                _sync_folders(folder, final)  # it says that the others are there, so they are before it is
            elif "/" in file.name:
                (folder / file.name).parent.mkdir(parents=True, exist_ok=True)
            _move(staging / file.source, folder / file.name, output.overwrite or file.replaces)
        sync_folder(folder)
        if output.is_folder:
            sync_folder(folder.parent)
        if layout is not None:
            _keep_layout(staging, folder, layout)


def _sync_folders(folder: Path, final: Sequence[Final]) -> None:
    """Make the names of all files durable, and those of the folders that they are in."""
    for inner in sorted({parent for file in final for parent in PurePosixPath(file.name).parents}, reverse=True):
        sync_folder(folder / inner)


def _read_again(output: OutputSpec, base: Base, additions: Additions) -> frozenset[int]:
    """The base parts that are made anew: where files of lines end depends on what is in those before."""
    changed = base.changed(additions)
    return frozenset(range(min(changed), len(base.parts))) if changed and _is_lines(output) else changed


def withdraw(staging: str | Path, output: OutputSpec, layout: Layout | None) -> bool:
    """Before a run adds to what it publishes: forget a publication that was only prepared, or was finished.

    False when it has begun to show, and has to be finished first.
    """
    staging, target = Path(staging), Path(output.target)
    folder = target if output.is_folder else target.parent
    with telling(staging, "the output cannot be published"):
        final = _read_list(staging)
        if final is None:
            return True
        prepared = read_layout(staging / NEW_LAYOUT)
        is_finished = layout is not None and prepared is not None and layout.epoch >= prepared.epoch
        if not is_finished and _has_begun(staging, folder, final):
            return False
        for name in (FINAL_LIST, REPLACED_ALL):
            (staging / name).unlink(missing_ok=True)
            sync_folder(staging)
        if (staging / REPLACED).exists():
            shutil.rmtree(staging / REPLACED)
        return True


def _has_begun(staging: Path, folder: Path, final: Sequence[Final]) -> bool:
    if (staging / REPLACED).exists():
        return True
    for file in final:
        source = staging / file.source
        if not os.path.lexists(source) or _is_half_moved(source, folder / file.name):
            return True
    return False


def _make_files(output: OutputSpec, staging: Path, base: Base, additions: Additions, epoch: int) -> list[Final]:
    for name in (NEW_LAYOUT, NEW_BORDERS):
        (staging / name).unlink(missing_ok=True)
    made = _join_of(output)(output, staging, base, additions)
    known = {file.name: file for file in base.layout.files} if base.layout is not None else {}
    files = [file._replace(replaces=file.name in known) for file in made.files]
    if output.is_folder and output.format != "text":
        all_files: Sequence[Final | LaidFile] = made.laid or made.files
        listed = [{"file": f.name, "rows": f.rows, "bytes": f.size_bytes, "sha256": f.sha256} for f in all_files]
        manifest = json.dumps({"version": VERSION, "parts": listed}, indent=1).encode() + b"\n"
        write_durably(staging / MANIFEST, manifest)
        files.append(Final(MANIFEST, MANIFEST, 0, len(manifest), "", bool(known)))
    if (additions.has_marks and not output.partition_by) or base.layout is not None:
        marks = tuple(sorted(made.marks, key=_place_of))
        write_layout(staging / NEW_LAYOUT, Layout(epoch=epoch, files=tuple(made.laid), marks=marks))
    sync_folder(staging)
    write_durably(staging / FINAL_LIST, json.dumps([f._asdict() for f in files]).encode())
    return files


def _join_of(output: OutputSpec) -> Callable[[OutputSpec, Path, Base, Additions], Made]:
    if output.partition_by:
        return join_partitions
    return join_lines if _is_lines(output) else join_tables


def _place_of(mark: Mark) -> tuple[int, int]:
    return mark.mini_batch, mark.first_item


def _keep_layout(staging: Path, folder: Path, path: Path) -> None:
    """Put the layout into the job's folder; the files are in their places by now."""
    new = read_layout(staging / NEW_LAYOUT)
    if new is None:
        return
    borders = staging / NEW_BORDERS
    if borders.exists():
        # Borders of another layout than the one beside them would be wrong, so they come first, under its epoch.
        write_durably(path.with_name(f"{path.name}{BORDERS}.{new.epoch}"), borders.read_bytes())
    files = tuple(seen(file, folder) for file in new.files)
    write_layout(path, Layout(epoch=new.epoch, files=files, marks=new.marks))
    for old in path.parent.glob(f"{path.name}{BORDERS}.*"):
        if old.name != f"{path.name}{BORDERS}.{new.epoch}":
            old.unlink()


def _move_manifest_away(staging: Path, folder: Path, final: Sequence[Final]) -> None:
    """So that nobody reads what is half old, half new as a whole output."""
    manifest = next((file for file in final if file.name == MANIFEST), None)
    if manifest is None or not os.path.lexists(staging / manifest.source):
        return
    away = staging / REPLACED
    away.mkdir(exist_ok=True)
    if os.path.lexists(folder / MANIFEST):
        os.rename(folder / MANIFEST, away / MANIFEST)
        sync_folder(folder)
        sync_folder(away)


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
        if not file.replaces and os.path.lexists(source) and os.path.lexists(name) and not _is_half_moved(source, name):
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
            (away / name).parent.mkdir(parents=True, exist_ok=True)
            os.rename(folder / name, away / name)
        _remove_empty(folder, name)
    sync_folder(away)
    sync_folder(folder)
    write_durably(staging / REPLACED_ALL, b"")


def _remove_empty(folder: Path, name: str) -> None:
    """Remove the folders that a file was in, as far as nothing else is there."""
    for inner in list(PurePosixPath(name).parents)[:-1]:
        try:
            (folder / inner).rmdir()
        except OSError:
            return


def _listed_in(manifest: Path) -> list[str]:
    """The files that a manifest names, those below its folder only; none if it cannot be understood."""
    try:
        names = [part["file"] for part in json.loads(manifest.read_bytes())["parts"]]
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return []
    return [name for name in names if isinstance(name, str) and not {"", ".", ".."} & set(name.split("/"))]


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
