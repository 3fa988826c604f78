"""Published pipelines: those that can be submitted again by their id."""

from __future__ import annotations

import builtins
import dataclasses
import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from runner.client.graph import Graph, graph_of
from runner.client.resolved import write_pipeline
from runner.client.workspace import Workspace, check_workspace
from runner.entity.asset import PublishedState, PublishedStatus
from runner.entity.pipeline import PipelineSpec
from runner.errors import ArgumentInvalid
from runner.spec.load import job_of_document
from runner.spec.places import Places


class PublishedPipeline:
    """A pipeline that was published from a run. Its status is read anew, the rest never changes."""

    def __init__(self, workspace: Workspace, state: PublishedState) -> None:
        self._workspace, self._state = workspace, state

    @staticmethod
    def get(
        workspace: Workspace,
        id: str,  # noqa: A002 - the name that users of these handles know
        _workflow_provider: Any = None,
        _service_endpoint: str | None = None,
        **kwargs: Any,
    ) -> PublishedPipeline:
        """The published pipeline of that id. PublishedNotFound when there is none."""
        check_workspace(workspace)
        if not isinstance(id, str):
            raise ArgumentInvalid("id", f"is a {type(id).__name__}; give the id of a published pipeline")
        client = workspace.at(_service_endpoint) if _service_endpoint else workspace
        return PublishedPipeline(client, client.backend.published(id))

    @staticmethod
    def list(
        workspace: Workspace, active_only: bool = True, _service_endpoint: str | None = None
    ) -> builtins.list[PublishedPipeline]:
        """Published pipelines, the newest first; with `active_only` those that can be submitted."""
        check_workspace(workspace)
        client = workspace.at(_service_endpoint) if _service_endpoint else workspace
        return [PublishedPipeline(client, one) for one in client.backend.list_published(active_only=active_only)]

    @staticmethod
    def get_all(workspace: Workspace, active_only: bool = True) -> builtins.list[PublishedPipeline]:
        """The old name of `list`."""
        warnings.warn("get_all is the old name; write PublishedPipeline.list", DeprecationWarning, stacklevel=2)
        return PublishedPipeline.list(workspace, active_only)

    @property
    def id(self) -> str:
        return self._state.id

    @property
    def name(self) -> str:
        return self._state.name

    @property
    def description(self) -> str:
        return self._state.description

    @property
    def version(self) -> str:
        return self._state.version

    @property
    def graph_id(self) -> str:
        """The run that it was published from, whose graph it has."""
        return self._state.job

    @property
    def status(self) -> str:
        """Active, Deprecated or Disabled."""
        self._state = self._workspace.backend.published(self.id)
        return str(self._state.status)

    @property
    def endpoint(self) -> str:
        """Where it is submitted: the resource below the service's address, or below the home's folder."""
        return f"{self._workspace.describe().rstrip('/')}/published/{self.id}"

    @property
    def total_run_steps(self) -> int:
        """How many steps a run has."""
        return len(self._spec().steps)

    @property
    def continue_on_step_failure(self) -> bool:
        """Whether other steps go on when one has failed."""
        said = self._state.continue_on_step_failure
        if said is None:
            settings = self._state.document.get("settings")
            said = settings.get("continue_on_step_failure") if isinstance(settings, dict) else None
        return bool(said)  # where nothing is said, the handles of SDK v1 mean False

    def submit(
        self,
        workspace: Workspace,
        experiment_name: str,
        pipeline_parameters: Mapping[str, object] | None = None,
        _workflow_provider: Any = None,
        _service_endpoint: str | None = None,
        parent_run_id: str | None = None,
        continue_on_step_failure: bool | None = None,
        **kwargs: Any,
    ) -> Any:
        """Submit the pipeline once more; the handle of the run.

        Args:
            workspace: the client.
            experiment_name: what the run belongs to.
            pipeline_parameters: other values for literal inputs of the pipeline, by name.
            parent_run_id: accepted for compatibility; a run has no parent.
            continue_on_step_failure: goes before what was published.

        Raises:
            ArgumentInvalid: it is not Active, or a value is of no such input or not of its type.
        """
        check_workspace(workspace)
        if kwargs:
            raise ValueError(f"parameter {', '.join(kwargs)} is not recognized for method PublishedPipeline.submit")
        client = workspace.at(_service_endpoint) if _service_endpoint else workspace
        state = client.backend.submit_published(
            self.id,
            experiment_name=experiment_name,
            parameters=dict(pipeline_parameters or {}),
            continue_on_step_failure=(
                self.continue_on_step_failure if continue_on_step_failure is None else continue_on_step_failure
            ),
        )
        return client.experiment_of(state.experiment_name).run_of(state)

    def enable(self) -> None:
        """Let it be submitted again."""
        self._state = self._workspace.backend.set_published_status(self.id, PublishedStatus.ACTIVE)

    def disable(self) -> None:
        """Let it not be submitted any more; runs that were stay."""
        self._state = self._workspace.backend.set_published_status(self.id, PublishedStatus.DISABLED)

    def get_graph(self) -> Graph:
        """Its nodes and edges."""
        inputs = self._state.document.get("inputs")
        return graph_of(self._spec(), inputs if isinstance(inputs, dict) else {})

    def get_step_names(self) -> builtins.list[str]:
        """The keys of its steps, in the order of the file."""
        return [step.key for step in self._spec().steps]

    def save(self, path: str | os.PathLike[str] | None = None) -> None:
        """Write it as YAML to a file, or to `<name>.yml` in a folder, by default the current one."""
        safe = "".join(c if c.isalnum() or c in "._-" else "_" for c in self.name)
        write_pipeline(self._state.document, path, f"{safe}.yml")

    def __repr__(self) -> str:
        return f"PublishedPipeline(Name: {self.name}, Id: {self.id}, Status: {self._state.status})"

    def _spec(self) -> PipelineSpec:
        from runner.spec.flatten import flatten  # not loaded by whoever only submits
        from runner.spec.pipeline_job import PipelineJob

        client = self._workspace
        job = job_of_document(self._state.document, Path("/"))
        assert isinstance(job, PipelineJob)
        places = dataclasses.replace(Places.read(client.home.root, os.environ), catalog=client.backend)
        return flatten(job, name=self.id, places=places).spec
