"""The handle of an experiment as SDK v1 has it: what jobs are submitted to and listed from."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, NoReturn

from runner.client import submission
from runner.client.job import moment, properties_of
from runner.client.listing import VIEWS, states, view_of
from runner.client.published import PublishedPipeline
from runner.client.run import Run
from runner.client.runs import PipelineRun, has_all
from runner.client.steps import StepRun
from runner.client.submission import text_of
from runner.client.workspace import Workspace, check_workspace
from runner.entity.asset import ExperimentState
from runner.entity.job import JobState
from runner.errors import ArgumentInvalid, ExperimentNotFound
from runner.spec.foreign import is_foreign, own_job
from runner.spec.jobs import Job

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{2,35}")
_ARGUMENTS = ("continue_on_step_failure", "regenerate_outputs", "pipeline_parameters")
_WITHOUT_EFFECT = frozenset({"parent_run_id", "credential_passthrough"})


class Experiment:
    """What jobs are grouped by. Making the object makes the experiment if there is none of that name."""

    def __init__(self, workspace: Workspace, name: str, **kwargs: Any) -> None:
        """An experiment.

        Args:
            workspace: the client.
            name: 3 to 36 letters, digits, `_` and `-`, the first a letter or a digit.
            kwargs: accepted for compatibility.

        Raises:
            ArgumentInvalid: this is no name.
        """
        check_workspace(workspace)
        if not _is_name(name):
            what = f"{name!r} is no name of an experiment; write 3 to 36 letters, digits, '_' or '-'"
            raise ArgumentInvalid("name", f"{what}, the first a letter or a digit")
        self._workspace, self._name = workspace, name
        if _find(workspace, name) is None:
            workspace.backend.experiment(name)

    @classmethod
    def _of(cls, workspace: Workspace, name: str) -> Experiment:
        """The handle of an experiment that a job is in, whatever its name is; nothing is made."""
        made = cls.__new__(cls)
        made._workspace, made._name = workspace, name
        return made

    @staticmethod
    def list(
        workspace: Workspace, experiment_name: str | None = None, view_type: str = "ActiveOnly", tags: Any = None
    ) -> list[Experiment]:
        """Experiments, the newest first.

        Args:
            experiment_name: only that of this name.
            view_type: ActiveOnly, ArchivedOnly or All.
            tags: a name that they must have, or a mapping of names to values.
        """
        check_workspace(workspace)
        view = view_of(view_type)
        if view not in VIEWS:
            raise ArgumentInvalid("view_type", f"is {view_type!r}; write ActiveOnly, ArchivedOnly or All")
        return [
            Experiment._of(workspace, one.name)
            for one in workspace.backend.experiments(archived=VIEWS[view])
            if experiment_name in (None, one.name) and has_all(one.tags, tags)
        ]

    @staticmethod
    def delete(workspace: Workspace, experiment_id: str) -> NoReturn:
        """Not supported."""
        raise NotImplementedError("Delete is unsupported for Experiment; archive it, or delete its jobs")

    @property
    def workspace(self) -> Workspace:
        return self._workspace

    @property
    def name(self) -> str:
        return self._name

    @property
    def id(self) -> str:
        """As the name, which is unique."""
        return self._name

    @property
    def archived_time(self) -> datetime | None:
        """Since when it has been archived; None for one that is active."""
        when = self._state().archived_time
        return None if when is None else moment(when)

    @property
    def tags(self) -> dict[str, str]:
        return dict(self._state().tags)

    def refresh(self) -> None:
        """Nothing is kept that could be stale; ExperimentNotFound when it is gone."""
        self._state()

    def tag(self, key: str, value: object = None) -> None:
        """Set one tag; without a value it is empty."""
        self.set_tags({key: value})

    def set_tags(self, tags: Mapping[str, object]) -> None:
        """Add tags, or change their values; others stay."""
        texts = {str(key): text_of(value) or "" for key, value in tags.items()}
        self._workspace.backend.update_experiment(self._name, tags=texts)

    def remove_tags(self, tags: str | Sequence[str]) -> None:
        """Remove tags by their names; those that are not there do no harm."""
        names = [tags] if isinstance(tags, str) else tags
        self._workspace.backend.update_experiment(self._name, tags=dict.fromkeys(names))

    def archive(self) -> None:
        """Leave it out of lists; its runs stay."""
        self._workspace.backend.update_experiment(self._name, is_archived=True)

    def reactivate(self, new_name: str | None = None) -> None:
        """Show it in lists again. ArgumentInvalid for a new name: experiments are not renamed."""
        if new_name is not None:
            what = f"the experiment {self._name!r} cannot be renamed to {new_name!r}; leave the name out"
            raise ArgumentInvalid("new_name", what)
        self._workspace.backend.update_experiment(self._name, is_archived=False)

    def start_logging(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Not supported: a run begins with a job."""
        raise NotImplementedError("start_logging is unsupported; submit a command job, or log with MLflow")

    def submit(self, config: Job | PublishedPipeline, tags: Mapping[str, object] | None = None, **kwargs: Any) -> Any:
        """Submit a job or a published pipeline to this experiment, which is active from then on; the handle of the run.

        Args:
            config: what `load_job` gives, any other job, or a published pipeline.
            tags: for the run, beside those of the job.
            kwargs: of pipelines: `continue_on_step_failure`, which goes before what its file says and is otherwise
                False; `regenerate_outputs`, whether no earlier result is used; `pipeline_parameters`, other values for
                literal inputs. `parent_run_id` and `credential_passthrough` have no effect.

        Raises:
            ValidationException: what is wrong with the job, or with an argument.
        """
        kwargs = {key: value for key, value in kwargs.items() if key not in _WITHOUT_EFFECT}
        for key in kwargs:
            if key not in _ARGUMENTS:
                raise ArgumentInvalid(key, f"is no argument of submit; there are {', '.join(_ARGUMENTS)}")
        texts = {str(key): text_of(value) or "" for key, value in (tags or {}).items()}
        if isinstance(config, PublishedPipeline):
            run: Run = self._submit_published(config, kwargs)
            if texts:
                run.set_tags(texts)
        else:
            run = self._submit_job(config, texts, kwargs)
        if isinstance(run, PipelineRun):
            sys.stdout.write(f"Submitted PipelineRun {run.id}\n")
            sys.stdout.write(f"Link to Azure Machine Learning Portal: {run.get_portal_url()}\n")
            sys.stdout.flush()
        return run

    def get_runs(
        self,
        type: str | None = None,  # noqa: A002 - the name that users of these handles know
        tags: Any = None,
        properties: Any = None,
        include_children: bool = False,
    ) -> Iterator[Run]:
        """The runs of this experiment, the newest first, fetched as they are asked for.

        Args:
            type: only jobs of this type, such as pipeline.
            tags, properties: a name that a run must have, or a mapping of names to values.
            include_children: whether each pipeline is followed by its steps, the last started first.
        """

        def fits(state: JobState) -> bool:
            is_tagged = has_all(state.tags, tags) and has_all(properties_of(state), properties)
            return is_tagged and type in (None, state.type, _kind(state))

        for state in states(self._workspace.backend, archived=None, experiment=self._name):
            if fits(state):
                yield self.run_of(state)
            if include_children and state.type == "pipeline":
                for step, node_id in PipelineRun(self, state.name).begun_steps():
                    if fits(step):
                        yield StepRun.of_state(self, step, node_id)

    def run_of(self, state: JobState) -> Run:
        """The handle of a job in this experiment, of the class for its kind."""
        if state.parent:
            pipeline = PipelineRun(self, state.parent)
            return StepRun(self, state.name, state.parent, pipeline.node_id_of(state.step))
        return PipelineRun(self, state.name) if state.type == "pipeline" else Run(self, state.name)

    def __repr__(self) -> str:
        return f"Experiment(Name: {self._name}, Workspace: {self._workspace.describe()})"

    def _submit_published(self, published: PublishedPipeline, said: Mapping[str, Any]) -> PipelineRun:
        if said.get("regenerate_outputs"):
            what = (
                "cannot be asked of a published pipeline; submit the file of the pipeline, or write force_rerun in it"
            )
            raise ArgumentInvalid("regenerate_outputs", what)
        run: PipelineRun = published.submit(
            self._workspace,
            self._name,
            said.get("pipeline_parameters"),
            continue_on_step_failure=said.get("continue_on_step_failure"),
        )
        return run

    def _submit_job(self, job: Job, tags: Mapping[str, str], said: Mapping[str, Any]) -> Run:
        if is_foreign(job):
            job = own_job(job)
        if not isinstance(job, Job):
            what = f"is a {type(job).__name__}; give a job, as load_job makes, or a published pipeline"
            raise ArgumentInvalid("config", what)
        document = submission.document_of(job, {"experiment_name": self._name, "tags": {**job.tags, **tags}})
        if job.type == "pipeline":
            _settle(document, said)
        elif said:
            raise ArgumentInvalid(next(iter(said)), f"is for pipelines, and this is a {job.type} job; leave it out")
        jobs = self._workspace.jobs
        state = submission.create(self._workspace.backend, job, document, lambda: jobs.validate(job), name=None)
        return self.run_of(state)

    def _state(self) -> ExperimentState:
        found = _find(self._workspace, self._name)
        if found is None:
            raise ExperimentNotFound(self._name)
        return found


def _settle(document: dict[str, Any], said: Mapping[str, Any]) -> None:
    """Put the arguments of a submission into a pipeline's document."""
    settings = dict(document.get("settings") or {})
    goes_on = said.get("continue_on_step_failure")
    if goes_on is not None:
        settings["continue_on_step_failure"] = bool(goes_on)
    elif settings.get("continue_on_step_failure") is None:
        settings["continue_on_step_failure"] = False
    if said.get("regenerate_outputs"):
        settings["force_rerun"] = True
    document["settings"] = settings
    inputs = dict(document.get("inputs") or {})
    for name, value in (said.get("pipeline_parameters") or {}).items():
        old = inputs.get(name)
        if name not in inputs or (isinstance(old, dict) and "path" in old):
            literals = [one for one, known in inputs.items() if not (isinstance(known, dict) and "path" in known)]
            what = f"{name!r} is no literal input of the pipeline; it has: {', '.join(literals) or 'none'}"
            raise ArgumentInvalid("pipeline_parameters", what)
        inputs[name] = value
    if inputs:
        document["inputs"] = inputs


def _find(workspace: Workspace, name: str) -> ExperimentState | None:
    return next((one for one in workspace.backend.experiments(archived=None) if one.name == name), None)


def _kind(state: JobState) -> str:
    """The type of a run as SDK v1 has it."""
    if state.parent:
        return "azureml.StepRun"
    return "azureml.PipelineRun" if state.type == "pipeline" else "azureml.scriptrun"


def _is_name(name: object) -> bool:
    return isinstance(name, str) and _NAME.fullmatch(name) is not None
