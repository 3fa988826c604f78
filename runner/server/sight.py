"""What a reader of jobs does on the way: it ends cancelled jobs without a driver, and notices a driver that is dead.

A driver that dies cannot say so, and its heartbeat is missed only after 30 s. Its lock is free at once.
"""

from __future__ import annotations

from runner.entity.job import JobState
from runner.entity.status import JobStatus
from runner.errors import IllegalTransition
from runner.store.lock import JobLock, is_held
from runner.store.store import BEATING, Store

START_S = 15.0
"""A driver that has not taken its lock by then never started."""


def has_driver(store: Store, job: JobState) -> bool | None:
    """Whether a process drives the job; None when there need be none: it has ended, or its driver may be starting."""
    if job.status not in BEATING and job.status is not JobStatus.NOT_RESPONDING:
        return None
    if is_held(store.home.job(job.name).lock):
        return True
    return None if is_starting(store, job) else False


def is_starting(store: Store, job: JobState) -> bool:
    """Whether the driver of a new run may be on its way to the lock."""
    return job.driver_pid == 0 and job.heartbeat_time is not None and store.now() - job.heartbeat_time < START_S


def end_if_abandoned(store: Store, job: JobState) -> JobState:
    """Write Canceled when a cancel was asked for and nobody drives the job any more; whoever sees it does that."""
    if job.status is not JobStatus.CANCEL_REQUESTED and not (
        job.status is JobStatus.NOT_RESPONDING and store.is_cancel_requested(job.name)
    ):
        return job
    folder = store.home.job(job.name)
    lock = JobLock.take(folder.lock) if folder.root.is_dir() else None
    if lock is None and folder.root.is_dir():
        return job
    try:
        # A driver that starts now waits for the lock, and then finds a job that has ended.
        return store.move(job.name, JobStatus.CANCELED, "no driver was there to end it")
    except IllegalTransition:
        return store.get(job.name)  # somebody else was first
    finally:
        if lock is not None:
            lock.release()
