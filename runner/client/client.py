"""The client: `Client(...).jobs` has every operation on jobs, here or behind a service alike."""

from __future__ import annotations

from types import TracebackType

from runner.client.assets import ComponentOperations, DataOperations
from runner.client.backend import Backend
from runner.client.experiments import ExperimentOperations
from runner.client.jobs import JobOperations
from runner.client.workspace import Group
from runner.store.home import Home


class Client:
    """Jobs of one home or of one service, whatever the back end is; a context manager that closes it."""

    def __init__(self, backend: Backend, home: Home) -> None:
        """`home` is where names of datastores and compute are looked up when a job is validated here."""
        self.backend = backend
        self.home = home
        self.jobs = JobOperations(backend, home)
        self.data = DataOperations(backend)
        self.components = ComponentOperations(backend)
        self.experiments = ExperimentOperations(backend)

    def experiment_of(self, name: str) -> Group:
        """The handle of an experiment that jobs are in; `Experiment(client, name)` makes one that is missing."""
        from runner.client.experiment import Experiment  # not loaded by whoever only submits

        return Experiment._of(self, name)

    def at(self, address: str) -> Client:
        """A client of the service at another address."""
        from runner.client.remote import Remote, find_token  # gRPC is not loaded by whoever needs no service

        return Client(Remote(address.removeprefix("grpc://"), find_token(self.home)), self.home)

    def describe(self) -> str:
        """Where the jobs are: the address of a service, or the folder of a home."""
        address = getattr(self.backend, "address", None)
        return f"grpc://{address}" if address else self.home.root.as_uri()

    def close(self) -> None:
        """Let go of the back end; jobs go on."""
        self.backend.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
