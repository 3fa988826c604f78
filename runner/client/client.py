"""The client: `Client(...).jobs` has every operation on jobs, here or behind a service alike."""

from __future__ import annotations

import os
import sys
import uuid
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

from runner.client.backend import Backend
from runner.client.download import download
from runner.client.job import job_of
from runner.client.poller import CancelPoller
from runner.client.stream import stream
from runner.entity.failure import FailureRow
from runner.entity.job import Event, JobState
from runner.entity.page import LogFile
from runner.entity.status import FailureClass, JobStatus
from runner.errors import ArgumentInvalid, JobNotFound, Problem, SpecInvalid
from runner.spec.findings import Findings, dotted
from runner.spec.jobs import Job, ParallelJob
from runner.spec.places import Places
from runner.spec.validate import validate
from runner.store.home import Home

POLL_S = 0.2
PAGE = 1000


class Client:
    """Jobs of one home or of one service, whatever the back end is; a context manager that closes it."""

    def __init__(self, backend: Backend, home: Home) -> None:
        """`home` is where names of datastores and compute are looked up when a job is validated here."""
        self.backend = backend
        self.jobs = JobOperations(backend, home)

    def close(self) -> None:
        """Let go of the back end; jobs go on."""
        self.backend.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class JobOperations:
    """What can be done with jobs. Returned jobs are new objects that show what was known at that moment."""

    def __init__(self, backend: Backend, home: Home) -> None:
        self._backend, self._home = backend, home

    def create_or_update(
        self,
        job: Job,
        *,
        name: str | None = None,
        description: str | None = None,
        compute: str | None = None,
        tags: Mapping[str, str] | None = None,
        experiment_name: str | None = None,
        overwrite: bool = False,
        skip_validation: bool = False,
        request_id: str = "",
    ) -> ParallelJob:
        """Submit a job; returns at once with a new object that carries its name. The argument is left as it is.

        Args:
            job: what to run.
            name: instead of the job's own; without either one is generated.
            description, compute, tags, experiment_name: go before what the job says.
            overwrite: whether an output that exists is replaced when the job completes.
            skip_validation: accepted for compatibility; a job that cannot run is refused all the same.
            request_id: of two calls with the same id only the first creates a job.

        Raises:
            ValidationException: everything that is wrong with the job, with file and line where it came from a file.
            JobExists, TargetExists: something of that name is there.
        """
        if not isinstance(job, Job):
            raise ArgumentInvalid(
                "job", f"is a {type(job).__name__}; give a job, as load_job or ParallelJob(...) makes"
            )
        document: dict[str, Any] = job.absolute_document()
        given = {"description": description, "compute": compute, "experiment_name": experiment_name}
        document |= {key: value for key, value in given.items() if value is not None}
        if tags is not None:
            document["tags"] = dict(tags)
        try:
            made = self._backend.create(
                document,
                base_path=str(Path(os.path.abspath(job.base_path))),
                name=name if name is not None else job.name,
                overwrite=overwrite,
                request_id=request_id or uuid.uuid4().hex,
            )
        except SpecInvalid as invalid:
            raise _at_home(invalid, job) from None
        return self._whole(made)

    def validate(self, job: Job, *, raise_on_failure: bool = False) -> Findings:
        """Check file, code, data and script; imports nothing and stores nothing. See `.problems` and `.notices`."""
        found = validate(job, places=Places.read(self._home.root, os.environ))
        if raise_on_failure:
            found.raise_if_any()
        return found

    def get(self, name: str) -> ParallelJob:
        """The job as it is now. JobNotFound when there is none."""
        if not isinstance(name, str):
            raise ArgumentInvalid("name", f"is a {type(name).__name__}; give the name of a job")
        return self._whole(self._backend.get(name))

    def list(self, *, statuses: Iterable[JobStatus | str] = ()) -> Iterator[ParallelJob]:
        """All jobs, newest first, fetched page by page; with `statuses` only those in one of them."""
        wanted = tuple(JobStatus(status) for status in statuses)
        token = ""
        while True:
            page = self._backend.list(page_token=token, statuses=wanted)
            for state in page.jobs:
                try:
                    yield self._whole(state)
                except JobNotFound:
                    continue  # deleted meanwhile
            token = page.next_page_token
            if not token:
                return

    def cancel(self, name: str) -> ParallelJob:
        """Ask for the end of a job and return at once."""
        return self._whole(self._backend.cancel(name))

    def begin_cancel(self, name: str) -> CancelPoller:
        """Ask for the end of a job; the poller's `wait()` returns when it has come."""
        self._backend.cancel(name)
        return CancelPoller(self._backend, name, POLL_S)

    def resume(self, name: str) -> ParallelJob:
        """Go on with a job that failed, was cancelled or lost its driver, and return at once.

        It begins a new run of the same job: what it has committed is kept and does not run again. What it has set
        aside is tried again if it failed or was cancelled. A driver that is silent but still holds the job is killed.

        Raises:
            JobStatusConflict: it is Completed, or its driver lives or is just starting.
        """
        return self._whole(self._backend.resume(name))

    def redrive(self, name: str, code: str | os.PathLike[str] | None = None) -> ParallelJob:
        """Try what a completed job has set aside again, and nothing else, and return at once.

        It begins a new run of the same job; what succeeds is merged into its outputs at its place. A redrive that
        failed, was cancelled or lost its driver is gone on with.

        Args:
            code: a folder with the corrected script, which is copied; by default the code of the run before.

        Raises:
            JobStatusConflict: nothing is open, the job is not Completed, or its driver lives.
            ValidationException: the folder or its script is not valid.
        """
        return self._whole(self._backend.redrive(name, "" if code is None else os.path.abspath(code)))

    def failures(
        self,
        name: str,
        *,
        classes: Iterable[FailureClass | str] = (),
        include_history: bool = False,
    ) -> Iterator[FailureRow]:
        """What a job has set aside, by mini-batch and item, fetched page by page; while it runs, what is committed.

        Args:
            classes: only failures of these.
            include_history: those too that were tried again since; `is_open` tells them apart.
        """
        for cls in (wanted := tuple(map(str, classes))):
            if cls not in set(FailureClass):
                raise ArgumentInvalid("classes", f"{cls!r} is no class of failures; write {', '.join(FailureClass)}")
        token = ""
        while True:
            page = self._backend.failures(
                name,
                page_size=PAGE,
                page_token=token,
                classes=map(FailureClass, wanted),
                include_history=include_history,
            )
            yield from page.failures
            token = page.next_page_token
            if not token:
                return

    def delete(self, name: str) -> None:
        """Forget a job that has ended, with its folder; what it published stays."""
        self._backend.delete(name)

    def events(self, name: str) -> tuple[Event, ...]:
        """Every change of status, oldest first."""
        return self._backend.events(name)

    def watch(self, name: str) -> Iterator[ParallelJob]:
        """The job now and after every change, until it has ended. DriverGone when its driver dies."""
        for sighting in self._backend.watch(name):
            if sighting.job is not None:
                yield self._whole(sighting.job)

    def stream(self, name: str, *, to: TextIO | None = None) -> None:
        """Write what the entry script prints to `to` (standard output) until the end; JobException if it failed."""
        stream(self._backend, name, to if to is not None else sys.stdout)

    def logs(self, name: str) -> tuple[LogFile, ...]:
        """The log files of a job, by path."""
        return self._backend.logs(name)

    def read_log(self, name: str, file: str = "", *, follow: bool = False) -> Iterator[bytes]:
        """Pieces of one log file, or of the standard output of all workers; with `follow` until the job has ended."""
        for chunk in self._backend.read_log(name, file, follow=follow):
            yield chunk.data

    def download(
        self,
        name: str,
        *,
        download_path: str | os.PathLike[str] = ".",
        output_name: str | None = None,
        all: bool = False,  # noqa: A002 - the name that users of these jobs know
    ) -> tuple[Path, ...]:
        """Write outputs to `download_path/named-outputs/<output>/`: one by name, or all; the files written.

        OutputMissing, with the names there are, when nothing matches.
        """
        if all and output_name is not None:
            raise ArgumentInvalid("output_name", "is given together with all; leave one of them out")
        return tuple(download(self._backend, name, Path(download_path), output_name))

    def _whole(self, state: JobState) -> ParallelJob:
        return job_of(state, self._backend.logs(state.name), self._backend.events(state.name))


def _at_home(invalid: SpecInvalid, job: Job) -> SpecInvalid:
    """The problems with the file and the lines that the job came from: the document that travels has none."""
    origin = job.origin
    if origin is None:
        return invalid
    lines = {dotted(at): line for at, line in origin.lines.items()}

    def placed(problem: Problem) -> Problem:
        if problem.file != "job" and not problem.file.startswith(type(job).__name__):
            return problem  # it is about another file, such as the entry script
        line = _line_of(problem.path, lines)
        return Problem(file=origin.file, line=line, path=problem.path, what=problem.what, remedy=problem.remedy)

    told = sorted(map(placed, invalid.problems), key=lambda one: (one.file != origin.file, one.file, one.line))
    return SpecInvalid(tuple(told))


def _line_of(path: str, lines: Mapping[str, int]) -> int:
    """The line of a place, or of the nearest around it; 0 for none."""
    while path:
        if path in lines:
            return lines[path]
        path = path[: max(path.rfind(mark) for mark in (".", "[", " "))] if any(c in path for c in ".[ ") else ""
    return lines.get("", 0)
