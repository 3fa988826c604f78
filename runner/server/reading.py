"""What can be asked of jobs without changing them; the logs and outputs of a reused step are those of its source."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator

from runner.entity.job import Event, JobState, OutputState
from runner.entity.page import Chunk, FailuresPage, JobPage, LogFile, Sighting
from runner.entity.pipeline import KEY_JOINT, NAME_JOINT, PipelineSpec
from runner.entity.status import FailureClass, JobStatus
from runner.errors import ArgumentInvalid, JobNotFound, JobStatusConflict, OutputMissing
from runner.server.failures import FailurePages
from runner.server.files import DEFAULT_OUTPUT, LogTail, list_logs, read_artifacts, read_output
from runner.server.pages import page_size_of, seal, unseal
from runner.server.sight import end_if_abandoned, has_driver, is_looked_after
from runner.server.specs import read_pipeline
from runner.server.watch import watch
from runner.store.home import Home, JobFolder
from runner.store.store import Store

FOLLOW_S = 0.2
_READABLE = (JobStatus.COMPLETED, JobStatus.FAILED, JobStatus.CANCELED, JobStatus.NOT_RESPONDING)


class Reading:
    """The jobs of one home. Blocking, and safe to share between threads."""

    def __init__(self, home: Home, store: Store | None = None) -> None:
        self.home = home
        self.store = store if store is not None else Store(home)
        self._failures = FailurePages()

    def close(self) -> None:
        """Close the store; drivers live on."""
        self.store.close()

    def get(self, name: str) -> JobState:
        """The job as it is now."""
        return end_if_abandoned(self.store, self.store.get(name))

    def list(
        self,
        *,
        page_size: int = 0,
        page_token: str = "",
        statuses: Iterable[JobStatus] = (),
        parent: str = "",
        archived: bool | None = False,
        experiment: str = "",
    ) -> JobPage:
        """One page of jobs, newest first: those that are no steps, or the steps of `parent`. `archived` None: all."""
        wanted = sorted(set(statuses))
        sealed = ("jobs", *wanted, parent, archived, experiment)
        found = self.store.list(
            limit=page_size_of(page_size),
            after=unseal(page_token, sealed),
            statuses=wanted,
            parent=parent,
            archived=archived,
            experiment=experiment,
        )
        jobs = tuple(end_if_abandoned(self.store, job) for job in found.jobs)
        token = "" if found.next_key is None else seal(found.next_key, sealed)
        return JobPage(jobs=jobs, next_page_token=token)

    def steps(self, name: str) -> tuple[JobState, ...]:
        """The jobs of the steps of a pipeline, in the order of its file; none for other jobs."""
        return tuple(end_if_abandoned(self.store, step) for step in self.store.steps(name))

    def step(self, name: str, key: str) -> JobState:
        """The job of one step of a pipeline, by its key. JobNotFound when there is no such step."""
        found = next((step for step in self.store.steps(name) if step.step == key), None)
        if found is None:
            raise JobNotFound(f"{name}{NAME_JOINT}{key.replace(KEY_JOINT, NAME_JOINT)}")
        return end_if_abandoned(self.store, found)

    def graph(self, name: str) -> PipelineSpec:
        """What the steps of a pipeline are and how they hang together. ArgumentInvalid for other jobs."""
        job = self.store.get(name)
        if job.type != "pipeline":
            raise ArgumentInvalid("name", f"{name!r} is a {job.type} job and has no steps; give the name of a pipeline")
        return read_pipeline(self.home.job(name))

    def events(self, name: str) -> tuple[Event, ...]:
        """Every change of status, oldest first."""
        return self.store.events(name)

    def watch(self, name: str, cursor: str = "") -> Iterator[Sighting]:
        """The newest state after every change until the job has ended; DriverGone when its driver died."""
        return watch(self.store, name, cursor)

    def has_driver(self, name: str) -> bool | None:
        """Whether a process drives the job; None when that cannot be said (it has ended, or is just starting)."""
        return has_driver(self.store, self.store.get(name))

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
        return self._failures.page(
            self._folder(name),
            page_size=page_size,
            page_token=page_token,
            classes=classes,
            include_history=include_history,
        )

    def logs(self, name: str) -> tuple[LogFile, ...]:
        """The log files, by path."""
        return list_logs(self._folder(name).logs)

    def tail(self, name: str, file: str = "") -> LogTail:
        """A reader of one log file, or of what the user's code printed."""
        return LogTail(name, lambda: self._folder(name).logs, file)

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
        if job.status is JobStatus.NOT_STARTED and job.parent:
            return not self.get(job.parent).status.is_terminal
        if job.status.is_terminal:
            return False
        return has_driver(self.store, job) is not False or is_looked_after(self.store, job)

    def outputs(self, name: str) -> tuple[OutputState, ...]:
        """The outputs, in the order in which the job names them."""
        return self.store.get(name).outputs

    def read_output(self, name: str, output: str) -> Iterator[Chunk]:
        """The files of an output of a job that has ended; `default`: of its artifacts, unless it has such an output.

        OutputMissing when there is none, or nothing in it.
        """
        job = self.get(name)
        found = next((one for one in job.outputs if one.name == output), None)
        available = ", ".join(one.name for one in job.outputs) or "none"
        if found is None and output != DEFAULT_OUTPUT:
            raise OutputMissing(name, repr(output), available)
        if job.status not in _READABLE:
            raise JobStatusConflict(name, str(job.status), "downloaded", "wait for its end")
        chunks = read_output(found) if found is not None else read_artifacts(self._folder(name))
        first = next(chunks, None)
        if first is None:
            where = f"nothing is at {found.path}" if found is not None else "it left no artifacts"
            raise OutputMissing(name, f"in {output!r} ({where})", available)
        return _chain(first, chunks)

    def _folder(self, name: str) -> JobFolder:
        """The folder of the job, or of the one whose results stand in for its own."""
        job = self.store.get(name)
        while job.reused_from:
            job = self.store.get(job.reused_from)
        return self.home.job(job.name)


def _chain(first: Chunk, others: Iterator[Chunk]) -> Iterator[Chunk]:
    yield first
    yield from others
