"""What a driver that dies right after its job was recorded as completed leaves behind, for the next one to remove.

Before the record it notes its job's name in a folder of the home, after its own tidying it takes the note away. So
whoever looks finds what is to be done by listing a folder that is nearly always empty.
"""

from __future__ import annotations

import logging
import os
import shutil
from contextlib import suppress

import msgspec

from runner.dataset.staging import remove_staging, staging_of
from runner.entity.parallel import ParallelSpec
from runner.entity.status import JobStatus
from runner.errors import JobNotFound, RunnerError
from runner.store.home import Home
from runner.store.lock import JobLock
from runner.store.store import Store

log = logging.getLogger(__name__)


def begin_tidying(home: Home, name: str) -> None:
    """Note that job `name` is about to be recorded as completed. A disk that is full costs the note, not the job."""
    try:
        home.untidy.mkdir(exist_ok=True)
        (home.untidy / name).touch()
    except OSError as error:
        log.warning("what is left when this process is killed now stays until `runner delete`: %s", error)


def end_tidying(home: Home, name: str) -> None:
    """Take the note away."""
    with suppress(OSError):  # a note that stays is looked at once more, by whoever looks next
        (home.untidy / name).unlink()


def tidy_up(home: Home, store: Store) -> None:
    """Remove what killed drivers of completed jobs have left. Never raises; what cannot be removed is tried again."""
    try:
        names = os.listdir(home.untidy)
    except OSError:
        return  # nobody has ever made a note
    for name in names:
        try:
            _tidy(home, store, name)
        except (RunnerError, OSError) as error:
            log.warning("what job %s has left is not removed: %s", name, error)


def _tidy(home: Home, store: Store, name: str) -> None:
    folder = home.job(name)
    if not folder.root.is_dir():
        end_tidying(home, name)  # it was deleted, and its staging with it
        return
    lock = JobLock.take(folder.lock)
    if lock is None:
        return  # its driver lives
    with lock:
        try:
            is_completed = store.get(name).status is JobStatus.COMPLETED
        except JobNotFound:
            is_completed = False
        if is_completed:  # else its staging is needed, and its next driver makes a note of its own
            spec = msgspec.json.decode(folder.spec.read_bytes(), type=ParallelSpec)
            if spec.output is not None:
                remove_staging(staging_of(spec.output, name))
            shutil.rmtree(folder.scratch, ignore_errors=True)
        end_tidying(home, name)
