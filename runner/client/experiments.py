"""Experiments of a client: what jobs are grouped by."""

from __future__ import annotations

from collections.abc import Mapping

from runner.client.backend import Backend
from runner.entity.asset import ExperimentState
from runner.errors import ExperimentNotFound


class ExperimentOperations:
    """What can be done with experiments; `runner.Experiment` is the handle of one."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    def find(self, name: str) -> ExperimentState | None:
        """The experiment of that name, archived or not, or None."""
        return next((one for one in self._backend.experiments(archived=None) if one.name == name), None)

    def get(self, name: str) -> ExperimentState:
        """The experiment of that name, archived or not. ExperimentNotFound when there is none."""
        found = self.find(name)
        if found is None:
            raise ExperimentNotFound(name)
        return found

    def list(self, *, archived: bool | None = False) -> tuple[ExperimentState, ...]:
        """Experiments, the newest first; `archived` None: all."""
        return self._backend.experiments(archived=archived)

    def create(self, name: str) -> ExperimentState:
        """The experiment of that name, made if it is missing, active again if it was archived."""
        return self._backend.experiment(name)

    def update(
        self, name: str, *, tags: Mapping[str, str | None] | None = None, is_archived: bool | None = None
    ) -> ExperimentState:
        """Merge tags (None for one removes it), archive or bring back. ExperimentNotFound when there is none."""
        return self._backend.update_experiment(name, tags=tags, is_archived=is_archived)
