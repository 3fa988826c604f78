"""The handle of a pipeline job as SDK v1 has it."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator, Mapping
from typing import Any, NoReturn

from runner.client.graph import Graph, graph_of, node_ids
from runner.client.listing import states
from runner.client.ports import PortDataReference
from runner.client.published import PublishedPipeline
from runner.client.resolved import write_pipeline
from runner.client.run import Run
from runner.client.steps import StepRun, has_begun
from runner.client.waiting import wait_for_pipeline
from runner.client.words import PIPELINE_WORDS
from runner.client.workspace import Group, Workspace, check_workspace
from runner.entity.job import JobState
from runner.errors import ArgumentInvalid, RunnerError

log = logging.getLogger(__name__)
PUBLISHED = "azureml.pipelineid"
"""The property of a run that tells which published pipeline it was submitted from."""
_PUBLISH_ARGUMENTS = frozenset({"enable_email_notification"})


class PipelineRun(Run):
    """A pipeline that was submitted."""

    def __init__(self, experiment: Group, run_id: str, _service_endpoint: str | None = None, **kwargs: Any) -> None:
        """The handle of a pipeline job.

        Args:
            experiment: what the pipeline belongs to.
            run_id: the name of the job.
            _service_endpoint: the address of a service that is asked instead of the experiment's client.
            kwargs: accepted for compatibility.

        Raises:
            JobNotFound: there is no such job.
            ArgumentInvalid: it is no pipeline, or belongs to another experiment.
        """
        self._graph: Graph | None = None
        super().__init__(experiment, run_id, _service_endpoint=_service_endpoint, **kwargs)

    def _adopt(self, state: JobState) -> None:
        if state.type != "pipeline":
            what = f"{state.name!r} is a {state.type} job and no pipeline; give the name of a pipeline"
            raise ArgumentInvalid("run_id", what)
        self._check_experiment(state)

    @staticmethod
    def get(workspace: Workspace, run_id: str, _service_endpoint: str | None = None) -> PipelineRun:
        """The handle of a pipeline job, whatever experiment it belongs to.

        Raises:
            JobNotFound: there is no such job.
            ArgumentInvalid: it is no pipeline.
        """
        check_workspace(workspace)
        if not isinstance(run_id, str):
            raise ArgumentInvalid("run_id", f"is a {type(run_id).__name__}; give the name of a pipeline")
        client = workspace.at(_service_endpoint) if _service_endpoint else workspace
        state = client.backend.get(run_id)
        return PipelineRun(client.experiment_of(state.experiment_name), run_id)

    @staticmethod
    def get_pipeline_runs(
        workspace: Workspace, pipeline_id: str, _service_endpoint: str | None = None
    ) -> list[PipelineRun]:
        """The runs that a published pipeline was submitted as, the newest first.

        PublishedNotFound when there is no such pipeline.
        """
        check_workspace(workspace)
        client = workspace.at(_service_endpoint) if _service_endpoint else workspace
        client.backend.published(pipeline_id)
        found = []
        for state in states(client.backend, archived=None):
            if state.type != "pipeline" or state.properties.get(PUBLISHED) != pipeline_id:
                continue
            try:
                found.append(PipelineRun(client.experiment_of(state.experiment_name), state.name))
            except RunnerError as error:
                log.warning("the run %s is left out: %s", state.name, error)
        return found

    def get_status(self) -> str:
        """NotStarted, Running, Finished, Failed or Canceled."""
        return PIPELINE_WORDS[self._state().status]

    def get_steps(self) -> Iterator[StepRun]:
        """The steps that were started or have ended, the last started first. An iterator, which cannot be indexed."""
        group = self._own_group()
        for step, node_id in self.begun_steps():
            yield StepRun.of_state(group, step, node_id)

    def begun_steps(self) -> list[tuple[JobState, str]]:
        """The steps that were started or have ended, with their nodes, the last started first."""
        steps = self._backend.steps(self._job)
        ids = node_ids(self._job, [step.step for step in steps])
        begun = [
            (step.start_time or float("inf"), number, step) for number, step in enumerate(steps) if has_begun(step)
        ]
        begun.sort(key=lambda one: one[:2], reverse=True)
        return [(step, ids[step.step]) for _, _, step in begun]

    def get_children(
        self,
        recursive: bool = False,
        tags: Any = None,
        properties: Any = None,
        type: str | None = None,  # noqa: A002 - the name that users of these handles know
        status: str | None = None,
    ) -> Iterator[Run]:
        """As `get_steps`, with those only that fit.

        Args:
            recursive: accepted for compatibility; the steps of sub-pipelines are among the steps.
            tags, properties: a name that a step must have, or a mapping of names to values.
            type: of the step's job, or `azureml.StepRun`.
            status: in the words of the base run, such as Completed.
        """
        for step in self.get_steps():
            fits = has_all(step.tags, tags) and has_all(step.properties, properties)
            if fits and status in (None, step.status) and type in (None, "azureml.StepRun", step.type):
                yield step

    def find_step_run(self, name: str) -> list[StepRun]:
        """The steps of that name, which in several sub-pipelines may be the same; perhaps none."""
        return [step for step in self.get_steps() if name in (step.name, step.name.rpartition("/")[2])]

    def get_graph(self) -> Graph:
        """The nodes and edges of the pipeline; read once."""
        if self._graph is None:
            inputs = self._state().document.get("inputs")
            self._graph = graph_of(self._backend.graph(self._job), inputs if isinstance(inputs, dict) else {})
        return self._graph

    def get_pipeline_output(self, pipeline_output_name: str) -> PortDataReference:
        """Where the data of an output of the pipeline is. KeyError, with the names there are, for another name."""
        outputs = {one.name: one for one in self._backend.outputs(self._job)}
        if pipeline_output_name not in outputs:
            known = ", ".join(outputs) or "none"
            raise KeyError(f"the pipeline {self.id!r} has no output {pipeline_output_name!r}; it has: {known}")
        return PortDataReference(self._workspace, self._job, outputs[pipeline_output_name], job=self._job)

    def publish_pipeline(
        self, name: str, description: str, version: str, continue_on_step_failure: bool | None = None, **kwargs: Any
    ) -> PublishedPipeline:
        """Keep the pipeline of this run, so that it can be submitted again by id.

        Args:
            name, description, version: of the published pipeline.
            continue_on_step_failure: goes before what the pipeline says.
            kwargs: `enable_email_notification`, which has no effect.

        Raises:
            ValueError: an argument is not known.
        """
        for key in kwargs:
            if key not in _PUBLISH_ARGUMENTS:
                raise ValueError(f"parameter {key} is not recognized for method PipelineRun.publish_pipeline ")
        state = self._backend.publish(
            self._job,
            published_name=name,
            description=description,
            version=version,
            continue_on_step_failure=continue_on_step_failure,
        )
        return PublishedPipeline(self._workspace, state)

    def save(self, path: str | os.PathLike[str] | None = None) -> None:
        """Write the pipeline as YAML, which `load_job` reads back to the same graph.

        Args:
            path: a file, which is replaced if it is there, or a folder, in which the file is `pipeline.yml`; by default
                the current folder.
        """
        write_pipeline(self._state().document, path, "pipeline.yml")

    def wait_for_completion(
        self, show_output: bool = True, timeout_seconds: float | None = sys.maxsize, raise_on_error: bool = True
    ) -> str:
        """Wait until the pipeline has ended, or the time is over; its status then.

        Args:
            show_output: whether its status and its steps, one after the other, are written to standard output.
            timeout_seconds: after which the status there is comes back; the pipeline goes on. None: never.
            raise_on_error: whether an error of the pipeline or of a step is raised.

        Raises:
            ActivityFailedException: the pipeline or a step has failed.
            ExperimentExecutionException: the wait was interrupted; the pipeline goes on.
        """
        return wait_for_pipeline(self, self.get_steps, show_output, timeout_seconds, raise_on_error)

    def child_run(self, name: str | None = None, run_id: str | None = None, outputs: Any = None) -> NoReturn:
        """Not supported."""
        raise NotImplementedError("Child run is unsupported for Pipeline run.")

    def complete(self) -> NoReturn:
        """Not supported: a pipeline is complete when its steps are."""
        raise NotImplementedError("Complete is unsupported for Pipeline run.")

    def fail(self) -> NoReturn:
        """Not supported: a pipeline fails when a step does; `cancel()` ends it."""
        raise NotImplementedError("Fail is unsupported for Pipeline run.")

    def node_id_of(self, key: str) -> str:
        """The id that a step has in the graph."""
        return node_ids(self._job, [step.step for step in self._backend.steps(self._job)])[key]

    def _own_group(self) -> Group:
        """The experiment as the service that was asked in place of the client's knows it."""
        if self._workspace is self._experiment.workspace:
            return self._experiment
        return self._workspace.experiment_of(self._experiment.name)


def has_all(known: Mapping[str, str], wanted: Any) -> bool:
    """Whether a mapping has a name, or all of some names and values; None asks for nothing."""
    if wanted is None:
        return True
    if isinstance(wanted, str):
        return wanted in known
    if isinstance(wanted, Mapping):
        return all(key in known and (value is None or known[key] == str(value)) for key, value in wanted.items())
    return all(key in known for key in wanted)
