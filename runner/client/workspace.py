"""What the run handles need of a client, and of the experiment that a run is in."""

from __future__ import annotations

from typing import Any, Protocol

from runner.client.backend import Backend
from runner.client.jobs import JobOperations
from runner.entity.job import JobState
from runner.errors import ArgumentInvalid
from runner.store.home import Home


class Workspace(Protocol):
    """A client, which stands where SDK v1 has a workspace."""

    backend: Backend
    home: Home
    jobs: JobOperations

    def experiment_of(self, name: str) -> Group:
        """The handle of an experiment that jobs are in; nothing is checked or made."""

    def at(self, address: str) -> Workspace:
        """A client of the service at another address."""

    def describe(self) -> str:
        """Where its jobs are: the address of a service, or the folder of a home."""


class Group(Protocol):
    """An experiment."""

    @property
    def name(self) -> str:
        """What its jobs say as `experiment_name`."""

    @property
    def workspace(self) -> Workspace:
        """The client it was reached by."""

    def run_of(self, state: JobState) -> Any:
        """The handle of a job in it, of the class for its kind."""


def check_workspace(given: object) -> None:
    """ArgumentInvalid unless this is a client."""
    if not hasattr(given, "backend") or not hasattr(given, "experiment_of"):
        raise ArgumentInvalid("workspace", f"is a {type(given).__name__}; give a runner.Client")
