"""The operations on jobs: entities in and out, used in-process by the embedded client and by the gRPC service alike."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

import msgspec

from runner.entity.job import Event, JobError, JobState, OutputState
from runner.entity.page import Chunk, FailuresPage, JobPage, LogFile, Sighting
from runner.entity.parallel import ParallelSpec
from runner.entity.status import FailureClass, JobStatus
from runner.errors import Defect, IllegalTransition, JobStatusConflict, OutputMissing
from runner.server.admission import admit, choose_name, drafted, remove_tree, staging_of
from runner.server.failures import FailurePages
from runner.server.files import LogTail, list_logs, read_output
from runner.server.pages import page_size_of, seal, unseal
from runner.server.sight import end_if_abandoned, has_driver
from runner.server.watch import watch
from runner.store.home import Home
from runner.store.lock import JobLock
from runner.store.store import Orphan, Store

log = logging.getLogger(__name__)

DELETE_WAIT_S = 5.0
FOLLOW_S = 0.2
_READABLE = (JobStatus.COMPLETED, JobStatus.FAILED, JobStatus.CANCELED, JobStatus.NOT_RESPONDING)


class Jobs:
    """The jobs of one home. Blocking, and safe to share between threads; `launch` starts the driver of a job."""

    def __init__(self, home: Home, launch: Callable[[str], None], store: Store | None = None) -> None:
        self.home = home
        self.store = store if store is not None else Store(home)
        self._launch = launch
        self._failures = FailurePages()

    def close(self) -> None:
        """Close the store; drivers live on."""
        self.store.close()

    def create(
        self,
        document: Mapping[str, object],
        *,
        base_path: str = "/",
        name: str | None = None,
        overwrite: bool = False,
        request_id: str = "",
    ) -> JobState:
        """Create a job from its document and start its driver; of the calls with one request id only the first does.

        Whatever goes wrong, nothing is left behind: no row, no folder, no process.

        Raises:
            SpecInvalid, ArgumentInvalid: the job or its name is not valid.
            JobExists, TargetExists: something of that name is there.
        """
        known = self.store.find_request(request_id)
        if known is not None:
            return known
        chosen = choose_name(name, document)
        self.store.check_free(chosen)
        with drafted(self.home, chosen) as draft:
            made = admit(
                self.home,
                document,
                base=Path(base_path),
                name=chosen,
                overwrite=overwrite,
                draft=draft,
                now=self.store.now(),
            )
            final = self.home.job(chosen).root

            def install() -> None:
                remove_tree(final)  # without a row it is what a crash has left of a deleted job
                os.rename(draft.root, final)

            job = self.store.create(made, request_id=request_id, install=install)
        if job.name != chosen or job.status is not JobStatus.NOT_STARTED:
            return job  # another call with this request id was quicker
        return self.start(chosen)

    def get(self, name: str) -> JobState:
        """The job as it is now."""
        return end_if_abandoned(self.store, self.store.get(name))

    def list(self, *, page_size: int = 0, page_token: str = "", statuses: Iterable[JobStatus] = ()) -> JobPage:
        """One page of jobs, newest first."""
        wanted = sorted(set(statuses))
        after = unseal(page_token, ("jobs", *wanted))
        found = self.store.list(limit=page_size_of(page_size), after=after, statuses=wanted)
        jobs = tuple(end_if_abandoned(self.store, job) for job in found.jobs)
        token = "" if found.next_key is None else seal(found.next_key, ("jobs", *wanted))
        return JobPage(jobs=jobs, next_page_token=token)

    def cancel(self, name: str) -> JobState:
        """Ask for the end of a job; returns at once."""
        return end_if_abandoned(self.store, self.store.request_cancel(name))

    def resume(self, name: str) -> JobState:
        """Begin a new run of a job that failed, was cancelled or lost its driver; what it committed is not run again.

        Raises:
            JobStatusConflict: it is Completed, or its driver lives or is just starting.
        """
        from runner.server.resume import resumable  # not loaded by whoever only submits

        with resumable(self.store, self.get(name)) as message:
            job = self.store.begin_run(name, message)
        return self._launched(job)

    def adopt(self, name: str, message: str, orphan: Orphan) -> JobState:
        """Resume a job that has lost its driver, on nobody's request; `orphan` is what is counted of that.

        JobStatusConflict when it has ended or its end was asked for; only its user may resume it then.
        """
        from runner.server.resume import resumable

        with resumable(self.store, self.get(name), is_orphan=True) as told:
            job = self.store.begin_run(name, f"{message}; {told}" if told else message, orphan=orphan)
        return self._launched(job)

    def redrive(self, name: str, code: str = "") -> JobState:
        """Begin a new run that tries only what a completed job has set aside, with the code of a folder if given.

        Raises:
            JobStatusConflict: nothing is open, it is not Completed, or its driver lives.
            ArgumentInvalid, SpecInvalid: the code has no entry script that could run.
        """
        from runner.server.redrive import redrivable

        with redrivable(self.store, self.get(name), code) as message:
            job = self.store.begin_run(name, message)
        return self._launched(job)

    def failures(
        self,
        name: str,
        *,
        page_size: int = 0,
        page_token: str = "",
        classes: Iterable[FailureClass] = (),
        include_history: bool = False,
    ) -> FailuresPage:
        """One page of what the job has set aside, by mini-batch and item; while it runs, what is committed."""
        self.store.get(name)
        return self._failures.page(
            self.home.job(name),
            page_size=page_size,
            page_token=page_token,
            classes=classes,
            include_history=include_history,
        )

    def delete(self, name: str) -> None:
        """Forget a job that has ended: its row, its folder and its staging. What it published stays."""
        job = self.get(name)
        folder = self.home.job(name)
        if not job.status.is_terminal or not folder.root.is_dir():
            self.store.delete(name)
            return
        lock = JobLock.take(folder.lock, wait_s=DELETE_WAIT_S)
        if lock is None:
            raise JobStatusConflict(name, str(job.status), "deleted", "its driver is still closing; try again")
        with lock:
            staging = self._staging(name)
            self.store.delete(name)
            if staging is not None:
                remove_tree(staging)
            remove_tree(folder.root)

    def events(self, name: str) -> tuple[Event, ...]:
        """Every change of status, oldest first."""
        return self.store.events(name)

    def watch(self, name: str, cursor: str = "") -> Iterator[Sighting]:
        """The newest state after every change until the job has ended; DriverGone when its driver died."""
        return watch(self.store, name, cursor)

    def has_driver(self, name: str) -> bool | None:
        """Whether a process drives the job; None when that cannot be said (it has ended, or is just starting)."""
        return has_driver(self.store, self.store.get(name))

    def logs(self, name: str) -> tuple[LogFile, ...]:
        """The log files, by path."""
        self.store.get(name)
        return list_logs(self.home.job(name).logs)

    def tail(self, name: str, file: str = "") -> LogTail:
        """A reader of one log file, or of the standard output of all workers."""
        self.store.get(name)
        return LogTail(name, self.home.job(name).logs, file)

    def read_log(self, name: str, file: str = "", *, follow: bool = False) -> Iterator[Chunk]:
        """The text of a log; with `follow` until the job has ended."""
        tail = self.tail(name, file)
        while True:
            ended = not follow or not self.is_going_on(name)
            yield from tail.read()
            if ended:
                return
            time.sleep(FOLLOW_S)

    def is_going_on(self, name: str) -> bool:
        """Whether more can come: the job has not ended and has, or may get, a driver."""
        job = self.get(name)
        return not job.status.is_terminal and has_driver(self.store, job) is not False

    def outputs(self, name: str) -> tuple[OutputState, ...]:
        """The outputs, in the order in which the job names them."""
        return self.store.get(name).outputs

    def read_output(self, name: str, output: str) -> Iterator[Chunk]:
        """The files of an output of a job that has ended. OutputMissing when there is none, or nothing in it."""
        job = self.get(name)
        found = next((one for one in job.outputs if one.name == output), None)
        available = ", ".join(one.name for one in job.outputs) or "none"
        if found is None:
            raise OutputMissing(name, repr(output), available)
        if job.status not in _READABLE:
            raise JobStatusConflict(name, str(job.status), "downloaded", "wait for its end")
        chunks = read_output(found)
        first = next(chunks, None)
        if first is None:
            raise OutputMissing(name, f"in {output!r} (nothing is at {found.path})", available)
        return _chain(first, chunks)

    def start(self, name: str) -> JobState:
        """Start the driver of a job that never had one."""
        try:
            job = self.store.move(name, JobStatus.STARTING)
        except IllegalTransition:
            return self.get(name)  # it was cancelled before it could begin
        try:
            self._launch(name)
        except BaseException:
            self.store.discard(name)
            remove_tree(self.home.job(name).root)
            raise
        return job

    def _launched(self, job: JobState) -> JobState:
        """Start the driver of a run that was begun."""
        try:
            self._launch(job.name)
        except Exception as error:
            told = JobError(reason=Defect.reason, message=f"its driver could not be started: {error}")
            self.store.move(job.name, JobStatus.FAILED, message=told.message, error=told)
            raise
        return job

    def _staging(self, name: str) -> Path | None:
        try:
            return staging_of(msgspec.json.decode(self.home.job(name).spec.read_bytes(), type=ParallelSpec))
        except (OSError, msgspec.MsgspecError) as error:
            log.warning("job %s: its staging is not known: %s", name, error)
            return None


def _chain(first: Chunk, others: Iterator[Chunk]) -> Iterator[Chunk]:
    yield first
    yield from others
