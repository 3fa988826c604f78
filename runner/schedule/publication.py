"""Puts what a command has made at its targets: one rename each, so that nothing torn is ever there.

Every step can be cut off and repeated: an output that is no longer where the attempt made it has been put in its place.
What is replaced is moved aside first, and removed when the new is there.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from runner.dataset.storage import rename_without_replacing, telling
from runner.entity.command import CommandOutput
from runner.errors import OutputNotMade, StorageFailed, TargetExists
from runner.schedule.attempt import Attempt


def check_targets(attempt: Attempt) -> None:
    """Raise TargetExists if a target holds something that the job may not replace: with `overwrite` the wrong kind.

    StorageFailed for what could not be put in its place at all.
    """
    for output in attempt.spec.outputs:
        if os.path.ismount(output.target):
            what = f"output {output.name!r} would take the place of a mounted file system; write to a folder below it"
            raise StorageFailed(output.target, what)
        with telling(output.target, "the target cannot be looked at"):
            if _is_in_the_way(output, Path(output.target), attempt.spec.overwrite):
                raise TargetExists(output.target)


def check_made(attempt: Attempt) -> None:
    """Raise OutputNotMade if a file is missing; an empty folder is an output."""
    for output in attempt.spec.outputs:
        path = attempt.outputs[output.name]
        if not (path.exists() if output.is_folder else path.is_file()):
            raise OutputNotMade(output.name, str(path))


def is_made(attempt: Attempt) -> bool:
    """Whether each output is where the attempt made it, or at its target already."""
    outputs = attempt.spec.outputs
    return all(os.path.lexists(attempt.outputs[one.name]) or os.path.lexists(one.target) for one in outputs)


def publish(attempt: Attempt) -> None:
    """Put every output at its target. Raises TargetExists when a name was taken meanwhile."""
    for output in attempt.spec.outputs:
        with telling(output.target, f"output {output.name!r} cannot be published"):
            _publish(attempt, output)


def _publish(attempt: Attempt, output: CommandOutput) -> None:
    made, target = attempt.outputs[output.name], Path(output.target)
    if output.is_folder and target.is_dir():
        target = target.resolve()  # a link to an empty folder is filled, not replaced
    near = attempt.beside(target, attempt.number) / target.name
    aside = attempt.beside(target, "replaced")
    if os.path.lexists(made):
        target.parent.mkdir(parents=True, exist_ok=True)
        if made.parent.stat().st_dev != target.parent.stat().st_dev:
            _bring_near(made, near)
    source = near if os.path.lexists(near) else made
    if os.path.lexists(source):
        if _is_in_the_way(output, target, attempt.spec.overwrite):
            raise TargetExists(str(target))
        if os.path.lexists(target):
            _remove(aside)
            os.rename(target, aside)
        try:
            rename_without_replacing(source, target)
        except FileExistsError:
            raise TargetExists(str(target)) from None
    _remove(aside)
    _remove(near.parent)


def _bring_near(made: Path, near: Path) -> None:
    """Copy to the file system of the target; the original goes when the copy is whole."""
    if not os.path.lexists(near):
        draft = near.parent / ".draft"
        _remove(draft)
        near.parent.mkdir(exist_ok=True)
        if made.is_dir():
            shutil.copytree(made, draft, symlinks=True)
        else:
            shutil.copy2(made, draft)
        os.rename(draft, near)
    _remove(made)


def _is_in_the_way(output: CommandOutput, target: Path, overwrite: bool) -> bool:
    if not os.path.lexists(target):
        return False
    if output.is_folder != target.is_dir():
        return True
    if overwrite:
        return False
    return not output.is_folder or any(target.iterdir())


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
