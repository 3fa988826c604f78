"""The lock of a job, taken from a driver that holds it but does nothing any more, by killing exactly that process."""

from __future__ import annotations

import logging

from runner.entity.job import JobState
from runner.store.holder import Holder, read_holder
from runner.store.home import JobFolder
from runner.store.lock import JobLock

log = logging.getLogger(__name__)

DEATH_S = 10.0


def whereabouts(job: JobState, holder: Holder | None) -> str:
    """The driver, as a person would look for it."""
    pid, host = (holder.pid, holder.host) if holder is not None else (job.driver_pid, job.host)
    return f"process {pid} on {host}"


def kill_driver(job: JobState, folder: JobFolder) -> JobLock | None:
    """Kill the process that holds the job's lock and take the lock; None when that is not certain to hit it.

    Its workers end with it: they ask the kernel for that when they begin, stopped or not.
    """
    holder = read_holder(folder.lock)
    if holder is None or not holder.is_here:
        return None
    log.warning("job %s: its driver (%s) is killed", job.name, whereabouts(job, holder))
    try:
        holder.kill()
    except PermissionError:
        return None
    return JobLock.take(folder.lock, wait_s=DEATH_S)
