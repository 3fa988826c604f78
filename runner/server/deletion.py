"""Deleting jobs: never what something else shows or holds; of a pipeline with everything that its steps left."""

from __future__ import annotations

import logging
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from runner.entity.job import JobState
from runner.entity.status import JobStatus
from runner.errors import JobInUse, JobStatusConflict, PipelineChildJobError, StorageFailed
from runner.server.admission import remove_tree
from runner.server.specs import read_command, read_spec
from runner.server.targets import leftovers_of
from runner.store.home import JobFolder
from runner.store.lock import JobLock
from runner.store.store import Store

log = logging.getLogger(__name__)

WAIT_S = 5.0


def delete(store: Store, job: JobState) -> None:
    """Delete the job with its steps. See `Jobs.delete`."""
    if job.parent:
        raise PipelineChildJobError(job.name, "deleted", job.parent)
    family = (job, *store.steps(job.name))
    if not job.status.is_terminal:
        store.delete(job.name)  # which says why not
        return

    def check() -> None:
        _check_at_rest(store, family[1:])
        _check_unused(store, family)

    check()
    folders = [(one, store.home.job(one.name)) for one in family]
    for one, folder in folders[1:]:
        with _locked(one, folder):
            pass  # its driver has closed; that no other begins is checked once more when it is forgotten
    with _locked(*folders[0]):
        leftovers = [left for one, folder in folders for left in _leftovers(one, folder)]
        store.delete(job.name, check=check)
        for left in leftovers:
            remove_tree(left)
        for _, folder in folders:
            remove_tree(folder.root)


def _locked(job: JobState, folder: JobFolder) -> AbstractContextManager[object]:
    """The lock of a job that has ended, once its driver has let go of it."""
    if not folder.root.is_dir():
        return nullcontext()
    lock = JobLock.take(folder.lock, wait_s=WAIT_S)
    if lock is None:
        raise JobStatusConflict(job.name, str(job.status), "deleted", "its driver is still closing; try again")
    return lock


def _check_at_rest(store: Store, steps: tuple[JobState, ...]) -> None:
    """No step may be in progress: one is when it is redriven after the end of its pipeline."""
    for step in steps:
        now = store.glance(step.name)
        if now is None or not (now.status.is_terminal or now.status is JobStatus.NOT_STARTED):
            status = JobStatus.NOT_RESPONDING if now is None else now.status
            raise JobStatusConflict(step.name, str(status), "deleted", f"cancel it first: `runner cancel {step.name}`")


def _check_unused(store: Store, family: tuple[JobState, ...]) -> None:
    names = {one.name for one in family}
    for one in family:
        for user in store.reuse.users(one.name):
            if user not in names:
                raise JobInUse(one.name, f"the pipeline {store.get(user).parent}, by its reused step {user},")
        for asset in store.assets.of_job(one.name):
            raise JobInUse(one.name, f"the {asset.kind} asset {asset.name}:{asset.version}")
        for key in store.published.of_job(one.name):
            raise JobInUse(one.name, f"the published pipeline {key}")


def _leftovers(job: JobState, folder: JobFolder) -> tuple[Path, ...]:
    """What lies beside the job's targets and was never published."""
    if job.type == "pipeline" or not folder.spec.is_file():
        return ()
    try:
        return leftovers_of(read_command(folder) if job.type == "command" else read_spec(folder))
    except (OSError, StorageFailed) as error:
        log.warning("job %s: what it left beside its targets is not known: %s", job.name, error)
        return ()
