"""What can be done with jobs, here or behind a service alike."""

from __future__ import annotations

import builtins
import dataclasses
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TextIO

from runner.client import submission
from runner.client.backend import Backend
from runner.client.download import download
from runner.client.job import base_job_of, job_of
from runner.client.listing import VIEWS, states, view_of
from runner.client.poller import CancelPoller
from runner.client.services import services_of
from runner.client.stream import stream
from runner.entity.failure import FailureRow
from runner.entity.job import Event, JobState
from runner.entity.page import LogFile
from runner.entity.status import FailureClass, JobStatus
from runner.errors import ArgumentInvalid, JobException, JobNotFound, PipelineChildJobError
from runner.spec.findings import Findings
from runner.spec.foreign import is_foreign, own_job
from runner.spec.jobs import Job
from runner.spec.places import Places
from runner.spec.services import JobService
from runner.spec.validate import validate
from runner.store.home import Home

POLL_S = 0.2
PAGE = 1000


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
    ) -> Job:
        """Submit a job; returns at once with a new object that carries its name. The argument is left as it is.

        An object that this client gave back shows a job that exists: then its description, display name, tags and
        properties are brought to that job, and nothing is submitted.

        Args:
            job: what to run.
            name: instead of the job's own; without either one is generated.
            description, compute, tags, experiment_name: go before what the job says.
            overwrite: whether an output that exists is replaced when the job completes.
            skip_validation: accepted for compatibility; a job that cannot run is refused all the same.
            request_id: of two calls with the same id only the first creates a job.

        Raises:
            ValidationException: everything that is wrong with the job, with file and line where it came from a file;
                or what was changed of a job that exists cannot be.
            JobExists, TargetExists: something of that name is there.
        """
        job = _own(job)
        given = {
            "description": description,
            "compute": compute,
            "experiment_name": experiment_name,
            "tags": None if tags is None else dict(tags),
        }
        if submission.is_known(job, name):
            return self._whole(submission.update(self._backend, job, given))
        made = submission.create(
            self._backend,
            job,
            submission.document_of(job, given),
            lambda: self.validate(job),
            name=name,
            overwrite=overwrite,
            request_id=request_id,
        )
        return self._whole(made)

    def validate(self, job: Job, *, raise_on_failure: bool = False) -> Findings:
        """Check file, code, data and script; imports nothing and stores nothing. See `.passed`, `.error_messages`."""
        job = _own(job)
        places = dataclasses.replace(Places.read(self._home.root, os.environ), catalog=self._backend)
        found = validate(job, places=places)
        if raise_on_failure:
            found.raise_if_any()
        return found

    def get(self, name: str) -> Job:
        """The job as it is now. JobNotFound when there is none."""
        return self._whole(self._backend.get(_name(name)))

    def list(
        self,
        *,
        parent_job_name: str | None = None,
        list_view_type: str = "ACTIVE_ONLY",
        statuses: Iterable[JobStatus | str] = (),
        experiment_name: str | None = None,
    ) -> Iterator[Job]:
        """Jobs, newest first, fetched page by page as they are asked for.

        Args:
            parent_job_name: the steps of this pipeline, without what they were made from, instead of whole jobs.
            list_view_type: ACTIVE_ONLY, ARCHIVED_ONLY or ALL.
            statuses: only those in one of them.
            experiment_name: only those of this experiment.
        """
        view = view_of(list_view_type)
        if view not in VIEWS:
            said = str(getattr(list_view_type, "value", list_view_type))
            raise ArgumentInvalid("list_view_type", f"is {said!r}; write one of {', '.join(VIEWS)}")
        wanted = tuple(JobStatus(status) for status in statuses)
        parent = "" if parent_job_name is None else _name(parent_job_name, "parent_job_name")
        return self._listed(wanted, parent, VIEWS[view], experiment_name or "")

    def _listed(
        self, wanted: tuple[JobStatus, ...], parent: str, archived: bool | None, experiment: str
    ) -> Iterator[Job]:
        for state in states(self._backend, wanted, parent=parent, archived=archived, experiment=experiment):
            try:
                yield base_job_of(state) if parent else self._whole(state)
            except JobNotFound:
                continue  # deleted meanwhile

    def steps(self, name: str) -> tuple[JobState, ...]:
        """The steps of a pipeline in the order of its file, also those that have not started; none for other jobs."""
        return self._backend.steps(_name(name))

    def cancel(self, name: str) -> Job:
        """Ask for the end of a job and return at once.

        JobStatusConflict when it has Completed or Failed; a job that is Canceled, or to be, is left as it is.
        """
        return self._whole(self._backend.cancel(_name(name)))

    def begin_cancel(self, name: str) -> CancelPoller:
        """Ask for the end of a job; the poller's `wait()` returns when it has come."""
        self._backend.cancel(_name(name))
        return CancelPoller(self._backend, name, POLL_S)

    def archive(self, name: str) -> None:
        """Leave the job out of lists; it can still be read. PipelineChildJobError for a step."""
        self._archived(name, True, "archived")

    def restore(self, name: str) -> None:
        """Show an archived job in lists again. PipelineChildJobError for a step."""
        self._archived(name, False, "restored")

    def _archived(self, name: str, is_archived: bool, verb: str) -> None:
        state = self._backend.get(_name(name))
        if state.parent:
            raise PipelineChildJobError(name, verb, state.parent)
        self._backend.update(name, is_archived=is_archived)

    def update(
        self,
        name: str,
        *,
        display_name: str | None = None,
        description: str | None = None,
        tags: Mapping[str, object] | None = None,
        properties: Mapping[str, object] | None = None,
    ) -> Job:
        """Change what may change of a job that exists; tags and properties are merged, None for one removes it.

        ArgumentInvalid when nothing is given.
        """
        if display_name is None and description is None and tags is None and properties is None:
            raise ArgumentInvalid("update", "nothing is given; give display_name, description, tags or properties")
        state = self._backend.update(
            _name(name),
            display_name=display_name,
            description=description,
            tags=_texts("tags", tags),
            properties=_texts("properties", properties),
        )
        return self._whole(state)

    def resume(self, name: str) -> Job:
        """Go on with a job that failed, was cancelled or lost its driver, and return at once.

        It begins a new run of the same job: what it has committed is kept and does not run again. What it has set
        aside is tried again if it failed or was cancelled. A driver that is silent but still holds the job is killed.

        Raises:
            JobStatusConflict: it is Completed, or its driver lives or is just starting.
            PipelineChildJobError: it is a step; its pipeline can be resumed.
        """
        return self._whole(self._backend.resume(_name(name)))

    def redrive(self, name: str, code: str | os.PathLike[str] | None = None) -> Job:
        """Try what a completed job has set aside again, and nothing else, and return at once.

        It begins a new run of the same job; what succeeds is merged into its outputs at its place. A redrive that
        failed, was cancelled or lost its driver is gone on with.

        Args:
            code: a folder with the corrected script, which is copied; by default the code of the run before.

        Raises:
            JobStatusConflict: nothing is open, the job is not Completed, or its driver lives.
            ValidationException: the folder or its script is not valid.
        """
        return self._whole(self._backend.redrive(_name(name), "" if code is None else os.path.abspath(code)))

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
        self._backend.delete(_name(name))

    def events(self, name: str) -> tuple[Event, ...]:
        """Every change of status, oldest first."""
        return self._backend.events(_name(name))

    def watch(self, name: str) -> Iterator[Job]:
        """The job now and after every change, until it has ended. DriverGone when its driver dies."""
        for sighting in self._backend.watch(name):
            if sighting.job is not None:
                yield self._whole(sighting.job)

    def stream(self, name: str, *, to: TextIO | None = None) -> None:
        """Write what the job prints to `to` (standard output) until the end; JobException if it failed.

        Of a command that is what its first process prints, of a pipeline what its driver decides.
        """
        try:
            stream(self._backend, _name(name), to if to is not None else sys.stdout)
        except KeyboardInterrupt:
            what = "The output streaming for the run was interrupted, but the run is still executing; "
            raise JobException(name, f"{what}`runner cancel {name}` ends it") from None

    def show_services(self, name: str, node_index: int = 0) -> dict[str, JobService]:
        """The services of a job by name: where it is tracked and where it can be looked at. No others are started."""
        if node_index != 0:
            raise ArgumentInvalid("node_index", f"is {node_index}; the services of a job are on node 0")
        return services_of(self._backend.get(_name(name)))

    def logs(self, name: str) -> tuple[LogFile, ...]:
        """The log files of a job, by path."""
        return self._backend.logs(_name(name))

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
        """Write outputs of a job that has ended, a step or a reused step among them, to files; the files written.

        The default output, which is `outputs/` and `logs/` of a command's working folder and the logs of the job, goes
        to `download_path/artifacts/`, named ones go to `download_path/named-outputs/<output>/`.

        Args:
            output_name: only this one; `default` is the default output. Without it a parallel job gives its named
                outputs, any other job its default output.
            all: the default output and all named ones.

        Raises:
            OutputMissing: nothing matched; with the names there are.
            DownloadRefused: the job has not ended; a JobException and a JobStatusConflict.
        """
        if all and output_name is not None:
            raise ArgumentInvalid("output_name", "is given together with all; leave one of them out")
        return tuple(download(self._backend, _name(name), Path(download_path), output_name, everything=all))

    def _whole(self, state: JobState) -> Job:
        return job_of(state, self._backend.logs(state.name), self._backend.events(state.name))


def _name(name: object, argument: str = "name") -> str:
    if not isinstance(name, str):
        raise ArgumentInvalid(argument, f"is a {type(name).__name__}; give the name of a job")
    return name


def _texts(argument: str, given: Mapping[str, object] | None) -> dict[str, str | None] | None:
    if given is None:
        return None
    if not builtins.all(isinstance(key, str) for key in given):
        raise ArgumentInvalid(argument, f"is {given!r}; give a mapping of text to text, or to None to remove one")
    return {key: submission.text_of(value) for key, value in given.items()}


def _own(job: object) -> Job:
    """A job of ours, also from one of the public SDK package."""
    if isinstance(job, Job):
        return job
    if is_foreign(job):
        return own_job(job)
    raise ArgumentInvalid("job", f"is a {type(job).__name__}; give a job, as load_job or CommandJob(...) makes")
