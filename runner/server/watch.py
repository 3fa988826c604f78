"""Watching one job: the newest state whenever it changed, until it has ended.

State-based: a reader that is slow misses states in between and never the newest, and nothing is queued. The cursor is
the revision of the last state that was told.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

from runner.entity.job import JobState
from runner.entity.page import Sighting
from runner.entity.status import JobStatus
from runner.errors import ArgumentInvalid, CursorExpired, DriverGone
from runner.server.sight import end_if_abandoned, has_driver, is_looked_after, is_over
from runner.store.store import Store

POLL_S = 0.05
LOOK_S = 1.0
"""How often locks are looked at, and silence is looked for, which no writer tells of."""
HEARTBEAT_S = 15.0


def parse_cursor(cursor: str, newest: int) -> int:
    """The revision in a cursor, 0 for none. CursorExpired when it is of another store, or of one made anew."""
    if not cursor:
        return 0
    if not cursor.isascii() or not cursor.isdecimal():
        raise ArgumentInvalid("cursor", f"{cursor!r} is no cursor; give one that a watch has told, or none")
    if int(cursor) > newest:
        raise CursorExpired(cursor)
    return int(cursor)


def look(store: Store, name: str) -> JobState:
    """The job as it is, a dead driver taken into account.

    Raises DriverGone when nobody drives the job, and nobody resumes it by itself. That is of its pipeline for a step.
    """
    job = end_if_abandoned(store, store.get(name))
    if has_driver(store, job) is False and not is_looked_after(store, job):
        job = store.get(name)  # the driver may have ended the job just before it let go of its lock
        if has_driver(store, job) is False and not is_looked_after(store, job):
            raise DriverGone(_responsible(store, job))
    if job.status is JobStatus.NOT_STARTED and job.parent:
        look(store, job.parent)
    return job


def _responsible(store: Store, job: JobState) -> str:
    """What is to be resumed; a step that is redriven after the end of its pipeline goes on by itself."""
    return job.parent if job.parent and not store.get(job.parent).status.is_terminal else job.name


def watch(store: Store, name: str, cursor: str = "") -> Iterator[Sighting]:
    """See the module; for a process of its own, blocking between changes."""
    job = store.get(name)
    seen = parse_cursor(cursor, store.revision())
    told = looked = time.monotonic()
    _, version = store.has_changed(0)
    job = end_if_abandoned(store, job)
    while True:
        if job.revision > seen:
            seen, told = job.revision, time.monotonic()
            yield Sighting(job=job, cursor=str(seen))
        elif time.monotonic() - told >= HEARTBEAT_S:
            told = time.monotonic()
            yield Sighting(job=None, cursor=str(seen))
        if is_over(store, job):
            return
        changed = False
        while not changed and time.monotonic() - looked < LOOK_S:
            time.sleep(POLL_S)
            changed, version = store.has_changed(version)
        if changed:
            job = store.get(name)
        else:
            looked = time.monotonic()
            job = look(store, name)
