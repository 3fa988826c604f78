"""The operations on jobs: entities in and out, used in-process by the embedded client and by the gRPC service alike."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path

from runner.entity.asset import PublishedState, PublishedStatus
from runner.entity.job import JobError, JobState
from runner.entity.status import JobStatus
from runner.errors import ArgumentInvalid, Defect, IllegalTransition, PipelineChildJobError
from runner.server.admission import admit, choose_name, drafted, read_job, remove_tree
from runner.server.catalog import StoreCatalog
from runner.server.registry import Registry, check_experiment
from runner.server.sight import end_if_abandoned
from runner.server.standing import changed_only_in_words
from runner.store.home import Home
from runner.store.orphans import Orphan
from runner.store.store import Store


class Jobs(Registry):
    """The jobs of one home. Blocking, and safe to share between threads; `launch` starts the driver of a job."""

    def __init__(self, home: Home, launch: Callable[[str], None], store: Store | None = None) -> None:
        super().__init__(home, store)
        self._launch = launch

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

        A document that says of a job that exists the same but for display_name, description, tags and properties
        changes those. Whatever goes wrong, nothing is left behind: no row, no folder, no process.

        Raises:
            SpecInvalid, ArgumentInvalid: the job or its name is not valid.
            JobExists, TargetExists: something of that name is there.
        """
        known = self.store.find_request(request_id)
        if known is not None:
            return known
        chosen = choose_name(name, document)
        catalog = StoreCatalog(self.store)
        job = read_job(document, base=Path(base_path), name=chosen, overwrite=overwrite, catalog=catalog)
        if (changes := changed_only_in_words(self.store, chosen, job)) is not None:
            return self.store.update(chosen, **changes)
        self.store.check_free(chosen)
        with drafted(self.home, chosen) as draft:
            admitted = admit(self.store, job, draft, catalog)
            check_experiment(admitted.job.experiment_name)
            final = self.home.job(chosen).root

            def install() -> None:
                # Without a row it is what a crash has left of a deleted job.
                for stale in (final, *(self.home.job(step.name).root for step in admitted.steps)):
                    remove_tree(stale)
                os.rename(draft.root, final)

            made = self.store.create(admitted.job, steps=admitted.steps, request_id=request_id, install=install)
        if made.name != chosen or made.status is not JobStatus.NOT_STARTED:
            return made  # another call with this request id was quicker
        return self.start(chosen)

    def update(
        self,
        name: str,
        *,
        display_name: str | None = None,
        description: str | None = None,
        tags: Mapping[str, str | None] | None = None,
        properties: Mapping[str, str | None] | None = None,
        is_archived: bool | None = None,
    ) -> JobState:
        """Change what may change of a job that exists; tags and properties are merged, None for one removes it.

        Raises:
            ArgumentInvalid: nothing is given.
            PipelineChildJobError: a step cannot be archived by itself.
        """
        if all(one is None for one in (display_name, description, is_archived)) and not tags and not properties:
            what = "nothing is given; give a display_name, a description, tags or properties"
            raise ArgumentInvalid("update", what)
        if is_archived is not None:
            parent = self.store.get(name).parent
            if parent:
                raise PipelineChildJobError(name, "archived" if is_archived else "restored", parent)
        return self.store.update(
            name,
            display_name=display_name,
            description=description,
            tags=tags,
            properties=properties,
            is_archived=is_archived,
        )

    def cancel(self, name: str) -> JobState:
        """Ask for the end of a job; returns at once."""
        return end_if_abandoned(self.store, self.store.request_cancel(name))

    def resume(self, name: str) -> JobState:
        """Begin a new run of a job that failed, was cancelled or lost its driver; what it committed is not run again.

        Raises:
            JobStatusConflict: it is Completed, or its driver lives or is just starting.
            PipelineChildJobError: it is a step, which its pipeline resumes.
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

    def delete(self, name: str) -> None:
        """Forget a job that has ended: its row, its folder and its staging. What it published stays.

        Raises:
            JobStatusConflict: it has not ended.
            JobInUse: something refers to its outputs.
            PipelineChildJobError: it is a step.
        """
        from runner.server.deletion import delete

        delete(self.store, self.get(name))

    def publish(
        self,
        name: str,
        *,
        published_name: str,
        description: str = "",
        version: str = "",
        continue_on_step_failure: bool | None = None,
    ) -> PublishedState:
        """Keep the pipeline of a job, with the code that it ran with, so that it can be submitted again by id."""
        from runner.server.publishing import publish

        return publish(
            self.store,
            self.store.get(name),
            self.graph(name),
            published_name=published_name,
            description=description,
            version=version,
            continue_on_step_failure=continue_on_step_failure,
        )

    def published(self, key: str) -> PublishedState:
        """A published pipeline by its id. PublishedNotFound when there is none."""
        return self.store.published.get(key)

    def list_published(self, *, active_only: bool = True) -> tuple[PublishedState, ...]:
        """Published pipelines, newest first."""
        return self.store.published.list(active_only=active_only)

    def set_published_status(self, key: str, status: PublishedStatus) -> PublishedState:
        """Enable or disable a published pipeline."""
        return self.store.published.set_status(key, status)

    def submit_published(
        self,
        key: str,
        *,
        experiment_name: str = "",
        parameters: Mapping[str, object] | None = None,
        continue_on_step_failure: bool | None = None,
    ) -> JobState:
        """Submit a published pipeline, with other values for its literal inputs.

        ArgumentInvalid when it is disabled, or a value is of no such input or not of its type.
        """
        from runner.server.publishing import document_of

        document = document_of(
            self.published(key),
            experiment_name=experiment_name,
            parameters=parameters or {},
            continue_on_step_failure=continue_on_step_failure,
        )
        return self.create(document)

    def start(self, name: str) -> JobState:
        """Start the driver of a job that never had one."""
        try:
            job = self.store.move(name, JobStatus.STARTING)
        except IllegalTransition:
            return self.get(name)  # it was cancelled before it could begin
        try:
            self.store.experiments.ensure(job.experiment_name)
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
