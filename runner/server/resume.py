"""Whether a job may begin a new run: who holds its lock decides, not its heartbeat.

A driver that is silent but holds the lock, because it is stopped or hangs, is killed if that is certain to hit it and
nobody else. What must not be resumed is told with the way out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from runner.entity.job import JobState
from runner.entity.status import JobStatus
from runner.errors import JobStatusConflict, PipelineChildJobError, ShutdownFailed
from runner.server.sight import is_starting
from runner.server.specs import read_spec
from runner.server.wrest import kill_driver, whereabouts
from runner.store.holder import read_holder
from runner.store.home import JobFolder
from runner.store.lock import JobLock
from runner.store.store import Store

GLANCE_S = 1.0
"""A reader that looks whether a driver lives holds the lock for a moment."""
CLOSING_S = 5.0
"""A driver holds the lock for a moment after it has recorded the end."""


@contextmanager
def resumable(store: Store, job: JobState, *, is_orphan: bool = False) -> Iterator[str]:
    """Hold the lock of a job that may be resumed now; what to say about the run before. Else JobStatusConflict.

    With `is_orphan` only one that has lost its driver may be, and not one that has ended or is to end.
    PipelineChildJobError for a step, which its pipeline resumes.
    """
    if job.parent:
        raise PipelineChildJobError(job.name, "resumed", job.parent)

    def check(job: JobState) -> None:
        if job.status is JobStatus.COMPLETED:
            raise refusal(job, "resumed", _remedy(job))
        if is_orphan and (job.status.is_terminal or store.is_cancel_requested(job.name)):
            raise refusal(job, "resumed", f"`runner resume {job.name}` does it nevertheless")

    with held(store, job, "resumed", check) as (job, message):
        if job.status is JobStatus.FAILED:
            _prepare_failed(job, store.home.job(job.name))
        yield message


@contextmanager
def held(store: Store, job: JobState, verb: str, check: Callable[[JobState], None]) -> Iterator[tuple[JobState, str]]:
    """Hold the lock of a job that has no driver and passes `check`: the job as it is then, and what was done for it."""
    _check(store, job, verb, check)
    folder = store.home.job(job.name)
    if not folder.spec.is_file():
        raise refusal(job, verb, f"its folder {folder.root} is gone; submit it as a new job")
    message = ""
    lock = JobLock.take(folder.lock, wait_s=CLOSING_S if job.status.is_terminal else GLANCE_S)
    if lock is None:
        lock, message = _wrest(store.get(job.name), folder, verb)
    with lock:
        job = store.get(job.name)  # somebody else may have been quicker
        _check(store, job, verb, check)
        yield job, message


def refusal(job: JobState, verb: str, remedy: str) -> JobStatusConflict:
    """Why a job may not begin a new run, and what to do."""
    return JobStatusConflict(job.name, str(job.status), verb, remedy)


def _check(store: Store, job: JobState, verb: str, check: Callable[[JobState], None]) -> None:
    if job.status is JobStatus.NOT_STARTED or (not job.status.is_terminal and is_starting(store, job)):
        raise refusal(job, verb, f"it is just starting; `runner watch {job.name}` follows it")
    check(job)


def _remedy(job: JobState) -> str:
    if job.progress.failed_mini_batch_count or job.progress.failed_item_count:
        return f"`runner redrive {job.name}` tries what failed again"
    return "there is nothing left to do"


def _wrest(job: JobState, folder: JobFolder, verb: str) -> tuple[JobLock, str]:
    """The lock of a silent driver, which is killed."""
    holder = read_holder(folder.lock)
    where = whereabouts(job, holder)
    if job.status.is_terminal:
        raise refusal(job, verb, f"its driver ({where}) is still closing; try again")
    if job.status is not JobStatus.NOT_RESPONDING:
        watch, cancel = f"`runner watch {job.name}` follows it", f"`runner cancel {job.name}` ends it"
        raise refusal(job, verb, f"its driver lives ({where}); {watch}, {cancel}")
    if holder is None or not holder.is_here:
        raise refusal(job, verb, f"its driver ({where}) is silent but alive; end that process there, then try again")
    lock = kill_driver(job, folder)
    if lock is None:
        raise refusal(
            job, verb, f"its driver ({where}) is silent and could not be killed; end that process, then try again"
        )
    return lock, f"{where}, the silent driver, was killed"


def _prepare_failed(job: JobState, folder: JobFolder) -> None:
    """Without an output of ours, what a script made is lost with its shutdown(): every mini-batch runs again."""
    if job.error is None or job.error.reason != ShutdownFailed.reason or read_spec(folder).output is not None:
        return  # not a parallel job either: no other has that reason
    for path in (folder.journal, folder.failures):
        if path.exists():
            path.rename(path.with_name(f"{path.name}.run-{job.run_number}"))
