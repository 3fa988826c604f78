"""What a client needs, and has in two forms: the operations of this process's home, or a service over gRPC."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Protocol

from runner.entity.asset import Asset, AssetKind, ExperimentState, PublishedState, PublishedStatus
from runner.entity.job import Event, JobState, OutputState
from runner.entity.page import Chunk, FailuresPage, JobPage, LogFile, Sighting
from runner.entity.pipeline import PipelineSpec
from runner.entity.status import FailureClass, JobStatus


class Backend(Protocol):
    """Entities in and out; every call may raise an error of runner.errors and nothing else."""

    def create(
        self,
        document: Mapping[str, object],
        *,
        base_path: str = "/",
        name: str | None = None,
        overwrite: bool = False,
        request_id: str = "",
    ) -> JobState:
        """Create a job and start its driver."""

    def get(self, name: str) -> JobState:
        """The job as it is now."""

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

    def steps(self, name: str) -> tuple[JobState, ...]:
        """The jobs of the steps of a pipeline, in the order of its file; none for other jobs."""

    def graph(self, name: str) -> PipelineSpec:
        """What the steps of a pipeline are and how they hang together."""

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
        """Change what may change of a job that exists; tags and properties are merged, None for one removes it."""

    def cancel(self, name: str) -> JobState:
        """Ask for the end of a job; returns at once."""

    def resume(self, name: str) -> JobState:
        """Begin a new run of a job that failed, was cancelled or lost its driver."""

    def redrive(self, name: str, code: str = "") -> JobState:
        """Begin a new run of a completed job that tries only its open failures again, with the code of a folder."""

    def failures(
        self,
        name: str,
        *,
        page_size: int = 0,
        page_token: str = "",
        classes: Iterable[FailureClass] = (),
        include_history: bool = False,
    ) -> FailuresPage:
        """One page of what the job has set aside, by mini-batch and item."""

    def delete(self, name: str) -> None:
        """Forget a job that has ended."""

    def events(self, name: str) -> tuple[Event, ...]:
        """Every change of status, oldest first."""

    def watch(self, name: str, cursor: str = "") -> Iterator[Sighting]:
        """The newest state after every change, until the job has ended."""

    def has_driver(self, name: str) -> bool | None:
        """Whether a process drives the job; None when there need be none."""

    def logs(self, name: str) -> tuple[LogFile, ...]:
        """The log files, by path."""

    def read_log(self, name: str, file: str = "", *, follow: bool = False) -> Iterator[Chunk]:
        """One log file, or the standard output of all workers."""

    def outputs(self, name: str) -> tuple[OutputState, ...]:
        """The outputs of a job."""

    def read_output(self, name: str, output: str) -> Iterator[Chunk]:
        """The files of an output, in the order of their paths."""

    def assets(self, kind: AssetKind, name: str = "") -> tuple[Asset, ...]:
        """Registered assets, newest first; of one name, its versions."""

    def asset(self, kind: AssetKind, name: str, version: str = "latest") -> Asset:
        """One registered asset."""

    def create_asset(self, asset: Asset) -> Asset:
        """Register an asset; without a version it gets the next one."""

    def publish(
        self,
        name: str,
        *,
        published_name: str,
        description: str = "",
        version: str = "",
        continue_on_step_failure: bool | None = None,
    ) -> PublishedState:
        """Keep the pipeline of a job, so that it can be submitted again by id."""

    def published(self, key: str) -> PublishedState:
        """A published pipeline by its id."""

    def list_published(self, *, active_only: bool = True) -> tuple[PublishedState, ...]:
        """Published pipelines, newest first."""

    def set_published_status(self, key: str, status: PublishedStatus) -> PublishedState:
        """Enable or disable a published pipeline."""

    def submit_published(
        self,
        key: str,
        *,
        experiment_name: str = "",
        parameters: Mapping[str, object] | None = None,
        continue_on_step_failure: bool | None = None,
    ) -> JobState:
        """Submit a published pipeline, with other values for its literal inputs."""

    def experiment(self, name: str) -> ExperimentState:
        """The experiment of that name, made if it is missing, active again if it was archived."""

    def experiments(self, *, archived: bool | None = False) -> tuple[ExperimentState, ...]:
        """Experiments, newest first."""

    def update_experiment(
        self, name: str, *, tags: Mapping[str, str | None] | None = None, is_archived: bool | None = None
    ) -> ExperimentState:
        """Merge tags, archive or bring back."""

    def close(self) -> None:
        """Let go of what the back end holds open."""
