"""The hidden folder beside a target in which a job's output grows, and what may be in its way."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from runner.dataset.storage import sync_folder, telling
from runner.entity.parallel import OutputSpec
from runner.errors import StorageFailed, TargetExists

PROBE = ".probe"
"""A file in staging that holds the job's name: an instance that can read it writes to the same place."""


def staging_of(output: OutputSpec, job: str) -> Path:
    """Where the staging folder of a job is: a hidden sibling of the target, so that publishing is renaming."""
    target = Path(output.target)
    return target.parent / f".{target.name}.{job}.staging"


def check_target(output: OutputSpec) -> None:
    """Raise TargetExists if something is at the target that the job may not replace; for before a job begins.

    An empty folder is no existing target of an output that is a folder. With `overwrite` only what is of the wrong kind
    is in the way. A resume does not ask: the script's own side files may be in the folder by then.
    """
    target = Path(output.target)
    with telling(target, "the target cannot be looked at"):
        if not os.path.lexists(target):
            return
        if output.is_folder != target.is_dir():
            raise TargetExists(str(target))
        if output.overwrite:
            return
        if not output.is_folder or any(target.iterdir()):
            raise TargetExists(str(target))


def prepare_staging(output: OutputSpec, job: str) -> Path:
    """Make the staging folder, the target's parents and, for a folder, the target; harmless to repeat.

    Raises StorageFailed if that is not allowed, before any work has been done.
    """
    staging = staging_of(output, job)
    with telling(staging, "the output cannot be staged"):
        staging.mkdir(parents=True, exist_ok=True)
        if output.is_folder:
            Path(output.target).mkdir(exist_ok=True)
        probe = staging / PROBE
        probe.write_text(job, encoding="utf-8")
        sync_folder(staging)
        sync_folder(staging.parent)
    return staging


def check_staging(staging: str | Path, job: str) -> None:
    """Raise StorageFailed unless this node sees the staging folder that the driver made."""
    probe = Path(staging) / PROBE
    with telling(
        probe, "the staging folder cannot be read on this node; put the target on storage that all nodes share"
    ):
        seen = probe.read_text(encoding="utf-8")
    if seen != job:
        raise StorageFailed(
            str(probe), f"belongs to job {seen!r}, not {job!r}; put the target on storage all nodes share"
        )


def remove_staging(staging: str | Path) -> None:
    """Remove the staging folder; for when the job is recorded as completed, or deleted."""
    with telling(staging, "the staging folder cannot be removed"):
        if Path(staging).is_dir():
            shutil.rmtree(staging)
