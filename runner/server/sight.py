"""What a reader of jobs does on the way: it ends cancelled jobs without a driver, and notices a driver that is dead.

A driver that dies cannot say so, and its heartbeat is missed only after 30 s. Its lock is free at once.
"""

from __future__ import annotations

from collections.abc import Iterable

from runner.entity.job import JobError, JobState
from runner.entity.status import JobStatus
from runner.errors import DriverGone, IllegalTransition
from runner.server.specs import cancel_grace_of
from runner.server.wrest import kill_driver
from runner.store.holder import read_holder
from runner.store.lock import JobLock, is_held
from runner.store.silence import BEATING
from runner.store.store import Store

START_S = 30.0
"""A driver that has not taken its lock by then never started."""
OVERTIME_S = 15.0
"""What a driver that is to end a job may need beyond the time that calls of run() have."""


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


def is_over(store: Store, job: JobState) -> bool:
    """Whether nothing of the job changes any more: it has ended, or never starts because its pipeline has."""
    if job.status is JobStatus.NOT_STARTED and job.parent:
        return store.get(job.parent).status.is_terminal
    return job.status.is_terminal


def is_looked_after(store: Store, job: JobState) -> bool:
    """Whether the job is a step whose pipeline goes on, so that it is resumed when it loses its driver."""
    if not job.parent:
        return False
    above = store.get(job.parent)
    return not above.status.is_terminal and has_driver(store, above) is not False


def end_if_abandoned(store: Store, job: JobState) -> JobState:
    """Write Canceled when a cancel was asked for and nobody answers; whoever sees it does that.

    Nobody answers when no driver is there, or one of this host that is stopped, or that has let its time pass: it is
    killed, and its workers end with it. Of a pipeline all steps have to end first.
    """
    if job.status is not JobStatus.CANCEL_REQUESTED and not (
        job.status is JobStatus.NOT_RESPONDING and store.is_cancel_requested(job.name)
    ):
        return job
    folder = store.home.job(job.name)
    lock, message = None, "no driver was there to end it"
    if folder.root.is_dir():
        lock = JobLock.take(folder.lock)
        if lock is None:
            message = "its driver did not answer and was killed"
            lock = kill_driver(job, folder) if _is_deaf(store, job) else None
            if lock is None:
                return job
    try:
        if job.type == "pipeline" and not _have_ended(store, store.steps(job.name)):
            return store.get(job.name)  # the next look may find them ended
        if job.type == "command":
            from runner.schedule.attempt import end_leftovers  # not loaded by whoever only submits

            end_leftovers(folder)
        # A driver that starts now waits for the lock, and then finds a job that has ended.
        return store.move(job.name, JobStatus.CANCELED, message)
    except IllegalTransition:
        return store.get(job.name)  # somebody else was first
    finally:
        if lock is not None:
            lock.release()


def _have_ended(store: Store, steps: Iterable[JobState]) -> bool:
    """End the steps of a pipeline that has no driver, and that is to end; whether all have that had begun."""
    going_on = False
    for step in steps:
        if step.status is JobStatus.NOT_STARTED:
            continue
        step = _given_up(store, step) if _is_published_by_nobody(store, step) else end_if_abandoned(store, step)
        going_on |= not step.status.is_terminal
    return not going_on


def _is_published_by_nobody(store: Store, step: JobState) -> bool:
    """Whether a step lost its driver too late for a cancel, and has nobody who would resume it."""
    return has_driver(store, step) is False and not store.is_cancel_requested(step.name)


def _given_up(store: Store, step: JobState) -> JobState:
    """A step that has lost its driver while its pipeline was to end is Failed, unless a driver has come after all."""
    lock = JobLock.take(store.home.job(step.name).lock)
    if lock is None:
        return step
    with lock:
        error = JobError(reason=DriverGone.reason, message="its driver was lost while its pipeline was cancelled")
        try:
            return store.move(step.name, JobStatus.FAILED, error.message, error=error)
        except IllegalTransition:
            return store.get(step.name)  # somebody else was first


def _is_deaf(store: Store, job: JobState) -> bool:
    """Whether the driver, which holds its lock, is not going to end the job any more."""
    folder = store.home.job(job.name)
    holder = read_holder(folder.lock)
    if holder is None:
        return False
    if holder.is_stopped:
        return True
    began = store.cancel_time(job.name)
    if began is None:
        return False
    for step in store.steps(job.name) if job.type == "pipeline" else ():
        if step.status in BEATING:
            return False  # it waits for a step, which has a grace of its own
        began = max(began, step.end_time or began)
    return store.now() - began > cancel_grace_of(folder) + OVERTIME_S
