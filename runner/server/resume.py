"""Whether a job may be resumed: who holds its lock decides, not its heartbeat, and what its journal says.

A driver that is silent but holds the lock, because it is stopped or hangs, is killed if that is certain to hit it and
nobody else. What must not be resumed is told with the way out.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec

from runner.entity.job import JobState
from runner.entity.parallel import ParallelSpec
from runner.entity.status import JobStatus
from runner.errors import JobStatusConflict, JournalDamaged, ShutdownFailed, StorageFailed
from runner.schedule.journal import Committed, replay
from runner.server.sight import is_starting
from runner.store.holder import Holder, read_holder
from runner.store.home import JobFolder
from runner.store.lock import JobLock
from runner.store.store import Store

log = logging.getLogger(__name__)

GLANCE_S = 1.0
"""A reader that looks whether a driver lives holds the lock for a moment."""
CLOSING_S = 5.0
"""A driver holds the lock for a moment after it has recorded the end."""
DEATH_S = 10.0


@contextmanager
def resumable(store: Store, job: JobState) -> Iterator[str]:
    """Hold the lock of a job that may begin a new run now; what to say about the run before. Else JobStatusConflict."""
    _check(store, job)
    folder = store.home.job(job.name)
    if not folder.spec.is_file():
        raise _refusal(job, f"its folder {folder.root} is gone; submit it as a new job")
    message = ""
    lock = JobLock.take(folder.lock, wait_s=CLOSING_S if job.status.is_terminal else GLANCE_S)
    if lock is None:
        lock, message = _wrest(store.get(job.name), folder)
    with lock:
        job = store.get(job.name)  # somebody else may have been quicker
        _check(store, job)
        if job.status is JobStatus.FAILED:
            _check_failed(job, folder)
        yield message


def _check(store: Store, job: JobState) -> None:
    if job.status is JobStatus.COMPLETED:
        raise _refusal(job, "there is nothing left to do")
    if job.status is JobStatus.NOT_STARTED or (not job.status.is_terminal and is_starting(store, job)):
        raise _refusal(job, f"it is just starting; `runner watch {job.name}` follows it")


def _check_failed(job: JobState, folder: JobFolder) -> None:
    if job.error is not None and job.error.reason == ShutdownFailed.reason and not _has_output(folder):
        _begin_journal_anew(job, folder)
        return
    count = _set_aside_count(folder)
    if count:
        raise _refusal(
            job,
            f"it has set {count} mini-batches aside, and running those again is what redrive is for, "
            "which this version has not; submit it as a new job",
        )


def _wrest(job: JobState, folder: JobFolder) -> tuple[JobLock, str]:
    """The lock of a silent driver, which is killed."""
    holder = read_holder(folder.lock)
    where = f"process {holder.pid} on {holder.host}" if holder else f"process {job.driver_pid} on {job.host}"
    if job.status.is_terminal:
        raise _refusal(job, f"its driver ({where}) is still closing; try again")
    if job.status is not JobStatus.NOT_RESPONDING:
        raise _refusal(
            job, f"its driver lives ({where}); `runner watch {job.name}` follows it, `runner cancel {job.name}` ends it"
        )
    if holder is None or not holder.is_here:
        raise _refusal(job, f"its driver ({where}) is silent but alive; end that process there, then resume")
    log.warning("job %s: its silent driver (%s) is killed", job.name, where)
    lock = _kill(holder, folder)
    if lock is None:
        raise _refusal(job, f"its driver ({where}) is silent and could not be killed; end that process, then resume")
    return lock, f"{where}, the silent driver, was killed"


def _kill(holder: Holder, folder: JobFolder) -> JobLock | None:
    try:
        holder.kill()
    except PermissionError:
        return None
    return JobLock.take(folder.lock, wait_s=DEATH_S)


def _set_aside_count(folder: JobFolder) -> int:
    try:
        said = replay(folder.journal)
    except JournalDamaged:
        return 0  # the driver refuses it, and says where the damage is
    return sum(sum(record.failed.values()) for record in said.records if isinstance(record, Committed))


def _has_output(folder: JobFolder) -> bool:
    try:
        spec = msgspec.json.decode(folder.spec.read_bytes(), type=ParallelSpec)
    except (OSError, msgspec.MsgspecError) as error:
        raise StorageFailed(str(folder.spec), f"cannot be read: {error}") from None
    return spec.output is not None


def _begin_journal_anew(job: JobState, folder: JobFolder) -> None:
    """Without an output of ours, what the script made is lost with its shutdown(): every mini-batch runs again."""
    for path in (folder.journal, folder.failures):
        if path.exists():
            path.rename(path.with_name(f"{path.name}.run-{job.run_number}"))


def _refusal(job: JobState, remedy: str) -> JobStatusConflict:
    return JobStatusConflict(job.name, str(job.status), "resumed", remedy)
