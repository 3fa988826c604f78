"""What a client needs, and has in two forms: the operations of this process's home, or a service over gRPC."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Protocol

from runner.entity.job import Event, JobState, OutputState
from runner.entity.page import Chunk, FailuresPage, JobPage, LogFile, Sighting
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

    def list(self, *, page_size: int = 0, page_token: str = "", statuses: Iterable[JobStatus] = ()) -> JobPage:
        """One page of jobs, newest first."""

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

    def close(self) -> None:
        """Let go of what the back end holds open."""
