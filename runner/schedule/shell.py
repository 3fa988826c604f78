"""What every driver of a job runs in: the job's lock, the store, the pulse, and the record of how it ends.

A driver is a `Journey` in a `Shell`::

    class SomeDriver:                               # also what compose calls: run() and cancel()
        def __init__(self, home, name):
            self._shell = Shell(home, name)
        def run(self) -> int:
            return self._shell.run(self)
        def cancel(self) -> None:                   # a signal handler
            self._shell.cancelled.set()
        def travel(self) -> None:                   # the job itself: returns when it is Completed
            self._shell.move(JobStatus.PREPARING)   # raises Canceled when a cancel was asked for
            ...
        def arrive(self, status, error) -> Ending:  # before the status is recorded, with what else is
        def leave(self, status) -> None:            # after that: what a crash before the record would have needed
        def close(self) -> None:                    # at last, whatever happened, while the lock is still held

`run` takes the lock (0 at once, and nothing is written, when another process drives the job), beats, lets `travel` run,
and records its end: Completed when it returned, Canceled when it raised `Canceled`, else Failed with the error. Between
them `store`, `pulse` (say, show), `folder` and `cancelled` (an Event with a `fileno`) are there for the journey.
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from runner.entity.asset import Asset, OutputRecord
from runner.entity.job import JobError, OutputState, Progress
from runner.entity.status import JobStatus
from runner.errors import MEANINGS, AssetExists, Defect, IllegalTransition, RunnerError, StorageFailed
from runner.schedule.cancel import Cancel, Canceled
from runner.schedule.pulse import Pulse
from runner.store.home import Home, JobFolder
from runner.store.lock import JobLock
from runner.store.store import Store

log = logging.getLogger(__name__)

LOCK_WAIT_S = 2.0
"""A reader that looks whether a driver lives holds the lock for a moment."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """What is recorded together with the last status of a run."""

    message: str = ""
    """What its user should know although the job is Completed."""
    progress: Progress | None = None
    outputs: Sequence[OutputState] | None = None
    records: Sequence[OutputRecord] = ()
    assets: Sequence[Asset] = ()


class Journey(Protocol):
    """One run of one job, whatever its kind."""

    def travel(self) -> None:
        """Do what the job is for; raise Canceled or a RunnerError when it does not get there."""

    def arrive(self, status: JobStatus, error: JobError | None) -> Ending:
        """Do what comes before the status is recorded, and say what is recorded with it."""

    def leave(self, status: JobStatus) -> None:
        """Do what may only be done once the status is recorded."""

    def close(self) -> None:
        """Let go of what would be in the way of the next driver."""


class Shell:
    """Runs the journey of job `name` of a home. Making it touches nothing."""

    store: Store
    pulse: Pulse

    def __init__(self, home: Home, name: str) -> None:
        self.home, self.name = home, name
        self.folder: JobFolder = home.job(name)
        self.cancelled = Cancel()

    def run(self, journey: Journey) -> int:
        """Run the job to a terminal status and return its exit code; 0 without a word when another driver runs it."""
        lock = JobLock.take(self.folder.lock, wait_s=LOCK_WAIT_S)
        if lock is None:
            return 0
        lock.sign()
        self.store = Store(self.home)
        self.pulse = Pulse(self.home, self.name, self.cancelled)
        try:
            if self.store.beat(self.name, host=socket.gethostname(), driver_pid=os.getpid()).is_terminal:
                return 0  # it was cancelled before this process had the lock
            self.pulse.start()
            return self._conclude(journey)
        finally:
            self.pulse.stop()
            self.store.close()
            journey.close()
            lock.release()

    def move(self, status: JobStatus, progress: Progress | None = None, message: str = "") -> None:
        """Record a status, unless it is that already; raise Canceled when a cancel was asked for."""
        try:
            if self.store.get(self.name).status is not status:
                self.store.move(self.name, status, message, progress=progress)
        except IllegalTransition:
            if not self.store.is_cancel_requested(self.name):
                raise
            self.cancelled.set()
            raise Canceled from None

    def _conclude(self, journey: Journey) -> int:
        try:
            journey.travel()
        except Canceled:
            return self._end(journey, JobStatus.CANCELED, None)
        except RunnerError as error:
            return self._end(journey, JobStatus.FAILED, error)
        except Exception as error:
            log.exception("the driver cannot go on")
            return self._end(journey, JobStatus.FAILED, _explain(error))
        return self._end(journey, JobStatus.COMPLETED, None)

    def _end(self, journey: Journey, status: JobStatus, error: RunnerError | None) -> int:
        failed = None
        if error is not None:
            own = getattr(error, "traceback", "")
            code = MEANINGS[error.reason].exit_code
            failed = JobError(reason=error.reason, message=str(error), traceback=str(own), exit_code=code)
            log.error("%s: %s", error.reason, error)
        try:
            ending = journey.arrive(status, failed)
        except Exception as trouble:
            log.exception("the end is not told in full")
            if status is JobStatus.COMPLETED:
                return self._end(journey, JobStatus.FAILED, _explain(trouble))
            ending = Ending()
        self.pulse.stop()
        if status is JobStatus.CANCELED and not self.store.is_cancel_requested(self.name):
            self.store.move(self.name, JobStatus.CANCEL_REQUESTED, message="a signal asked for it")
        try:
            self.store.move(
                self.name,
                status,
                message=str(error or ending.message),
                error=failed,
                progress=ending.progress,
                outputs=ending.outputs,
                records=ending.records,
                assets=ending.assets,
            )
        except AssetExists as taken:  # since the job was submitted
            return self._end(journey, JobStatus.FAILED, taken)
        journey.leave(status)
        return failed.exit_code if failed else 130 if status is JobStatus.CANCELED else 0


def _explain(error: Exception) -> RunnerError:
    """Errors of ours as they are, what the disk says as such, all else as a defect."""
    if isinstance(error, RunnerError):
        return error
    if isinstance(error, OSError) and error.filename is not None:
        return StorageFailed(os.fsdecode(error.filename), error.strerror or str(error))
    return Defect(f"{type(error).__name__}: {error}")
