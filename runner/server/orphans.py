"""What a service does about jobs that have lost their driver: it resumes them, until that is seen to be in vain.

Steps are their pipeline's to look after.

Whether a driver lives is told by its lock, so several services of one home, and users, may look at the same time: one
of them begins the run. How often that was done is counted in the store, so that it outlives the service.
"""

from __future__ import annotations

import logging

from runner.entity.job import JobState
from runner.entity.status import JobStatus
from runner.errors import IllegalTransition, JobNotFound, JobStatusConflict, RunnerError
from runner.server.jobs import Jobs
from runner.server.sight import START_S, end_if_abandoned, has_driver
from runner.store.orphans import Orphan
from runner.store.store import Store

log = logging.getLogger(__name__)

LOOK_S = 2.0
LIMIT = 3
"""How often in a row a job is resumed that commits nothing meanwhile."""
_COMMITS = (b'"kind":"committed"', b'"kind":"mended"')


def adopt_orphans(jobs: Jobs) -> None:
    """Look at every job that has not ended, and resume or end those that nobody drives."""
    for job in jobs.store.unended():
        try:
            _see(jobs, job)
        except (JobStatusConflict, IllegalTransition, JobNotFound):
            continue  # somebody else was quicker
        except RunnerError as error:
            log.warning("job %s has lost its driver and cannot be resumed now: %s", job.name, error)
        except Exception:  # one bad job must not keep the others from being looked at
            log.exception("job %s cannot be looked at", job.name)


def _see(jobs: Jobs, job: JobState) -> None:
    store = jobs.store
    if job.status is JobStatus.NOT_STARTED:
        if store.now() - job.create_time > START_S:
            jobs.start(job.name)  # who created it died before it could
        return
    if store.is_cancel_requested(job.name):
        end_if_abandoned(store, job)
        return
    if has_driver(store, job) is not False:
        return
    count, before = store.orphans.get(job.name)
    done = _done_count(store, job)
    if done > before:
        count = 0
    if count < LIMIT:
        log.info("job %s has lost its driver and is resumed", job.name)
        jobs.adopt(job.name, f"resumed by the service, time {count + 1} of {LIMIT}", Orphan(count + 1, done))
    elif count == LIMIT:
        why = f"its driver died {LIMIT} times in a row and committed nothing; logs/sys/driver.txt may say why"
        store.let_go(job.name, f"{why}, `runner resume {job.name}` tries again", Orphan(LIMIT + 1, done))
        log.warning("job %s is not resumed any more: %s", job.name, why)


def _done_count(store: Store, job: JobState) -> int:
    """How much of the job is done for good: steps that have completed, records of work in its journal."""
    if job.type == "pipeline":
        return sum(step.status is JobStatus.COMPLETED for step in store.steps(job.name))
    try:
        with open(
            store.home.job(job.name).journal, "rb"
        ) as file:  # that the records are whole is the driver's to check
            return sum(any(kind in line for kind in _COMMITS) for line in file)
    except FileNotFoundError:
        return 0
