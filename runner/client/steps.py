"""The handle of a step of a pipeline as SDK v1 has it."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from typing import Any, NoReturn

from runner.client.graph import node_ids
from runner.client.ports import PortDataReference, StepRunOutput
from runner.client.run import DEFAULT, Run
from runner.client.stream import is_of_the_first_rank
from runner.client.waiting import wait_for_step
from runner.client.words import STEP_WORDS
from runner.client.workspace import Group
from runner.entity.job import JobState
from runner.entity.status import JobStatus
from runner.errors import ArgumentInvalid, JobNotFound

JOB_LOG = "sys/driver.txt"
_STDOUT = ("user_logs/std_log", "user/stdout/")
_STDERR = ("user_logs/std_err", "user/stderr/")
_MADE = re.compile(r"\$\{\{steps\.(?P<step>[^.}]+)\.outputs\.(?P<output>[^.}]+)\}\}")
"""An output of another step, as a step's document has it."""
_INTERNAL = frozenset({DEFAULT, "_run_after_output"})


class StepRun(Run):
    """A step of a pipeline. `name` is its key in the pipeline, `id` the job whose results it shows."""

    def __init__(
        self,
        experiment: Group,
        step_run_id: str,
        pipeline_run_id: str,
        node_id: str,
        _service_endpoint: str | None = None,
        _is_reused: bool | None = None,
        _current_node_id: str | None = None,
        _reused_run_id: str | None = None,
        _reused_node_id: str | None = None,
        _reused_pipeline_run_id: str | None = None,
        **kwargs: Any,
    ) -> None:
        """The handle of a step.

        Args:
            experiment: what the pipeline belongs to.
            step_run_id: the job of the step, or the one that stands in for it.
            pipeline_run_id: the pipeline.
            node_id: the step in the graph of the pipeline.
            _service_endpoint: the address of a service that is asked instead of the experiment's client.
            _is_reused, _reused_run_id, _reused_node_id, _reused_pipeline_run_id: what stands in for the step; read
                from the store when they are not given.
            _current_node_id: goes before `node_id`.
            kwargs: accepted for compatibility.

        Raises:
            JobNotFound: there is no such step, or no such pipeline.
            ArgumentInvalid: the step is not one of that pipeline, or that belongs to another experiment.
        """
        if not isinstance(pipeline_run_id, str):
            what = f"is a {type(pipeline_run_id).__name__}; give the name of a pipeline"
            raise ArgumentInvalid("pipeline_run_id", what)
        self._pipeline_run_id = pipeline_run_id
        super().__init__(experiment, step_run_id, _service_endpoint=_service_endpoint, **kwargs)
        self._tell_of(
            self._state(),
            _current_node_id or node_id,
            _is_reused,
            (_reused_run_id, _reused_node_id, _reused_pipeline_run_id),
        )

    @classmethod
    def of_state(cls, experiment: Group, state: JobState, node_id: str) -> StepRun:
        """The handle of a step that was just read, as one of a pipeline of this experiment."""
        made = cls.__new__(cls)
        made._workspace, made._experiment = experiment.workspace, experiment
        made._job = made._run_id = state.name
        made._ended = str(state.status) if state.status.is_terminal else None
        made._pipeline_run_id = state.parent
        made._tell_of(state, node_id, None, (None, None, None))
        return made

    def _tell_of(
        self, state: JobState, node_id: str, is_reused: bool | None, source: tuple[str | None, str | None, str | None]
    ) -> None:
        """Keep what never changes; `source` is run, node and pipeline of what stands in, as far as it was told."""
        self._key, self._node_id = state.step, node_id
        run_id, self._reused_node_id, self._reused_pipeline_run_id = source
        if bool(state.reused_from) if is_reused is None else is_reused:
            self._reused_run_id = run_id or state.reused_from or None
        else:
            self._reused_run_id = None
        self._run_id = self._reused_run_id or self._job
        self._has_looked = self._reused_run_id is None

    def _adopt(self, state: JobState) -> None:
        pipeline = self._backend.get(self._pipeline_run_id)
        if pipeline.type != "pipeline":
            what = f"{pipeline.name!r} is a {pipeline.type} job and has no steps; give the name of a pipeline"
            raise ArgumentInvalid("pipeline_run_id", what)
        if state.parent == pipeline.name:
            self._check_experiment(pipeline)
            return
        for step in self._backend.steps(pipeline.name):
            if step.reused_from == state.name:
                self._job = step.name  # its id, and its experiment, are those of the job that stands in for it
                if state.experiment_name != self._experiment.name:
                    self._check_experiment(pipeline)
                return
        self._check_experiment(pipeline)
        raise ArgumentInvalid("step_run_id", f"{state.name!r} is no step of the pipeline {pipeline.name!r}")

    def _look_at_source(self) -> None:
        """Read what of the job that stands in was not told; a job that is not there (it was told) tells nothing."""
        if self._has_looked:
            return
        self._has_looked = True
        try:
            source = self._backend.get(self._reused_run_id)
        except JobNotFound:
            return
        self._reused_pipeline_run_id = self._reused_pipeline_run_id or source.parent or None
        if self._reused_node_id is None and source.parent:
            keys = [step.step for step in self._backend.steps(source.parent)]
            self._reused_node_id = node_ids(source.parent, keys)[source.step]
        if source.experiment_name != self._experiment.name:
            self._experiment = self._workspace.experiment_of(source.experiment_name)

    @property
    def experiment(self) -> Group:
        """What the run belongs to: of a reused step, what the one that stands in for it belongs to."""
        self._look_at_source()
        return self._experiment

    @property
    def name(self) -> str:
        """The key of the step in its pipeline; `sub/step` in a sub-pipeline."""
        return self._key

    @property
    def job(self) -> str:
        """The name of the step's own job."""
        return self._job

    @property
    def pipeline_run_id(self) -> str:
        """The pipeline."""
        return self._pipeline_run_id

    @property
    def node_id(self) -> str:
        """The step in the graph of the pipeline."""
        return self._node_id

    @property
    def is_reused(self) -> bool:
        """Whether an earlier result stands in for it."""
        return self._reused_run_id is not None

    @property
    def properties(self) -> dict[str, str]:
        self._look_at_source()
        said = {
            **super().properties,
            "azureml.pipelinerunid": self._pipeline_run_id,
            "azureml.nodeid": self._node_id,
        }
        if self._reused_run_id is not None:
            said |= {"azureml.isreused": "true", "azureml.reusedrunid": self._reused_run_id}
        if self._reused_pipeline_run_id is not None:
            said["azureml.reusedpipeline"] = self._reused_pipeline_run_id
        if self._reused_node_id is not None:
            said["azureml.reusednodeid"] = self._reused_node_id
        return said

    def get_status(self) -> str:
        """NotStarted, Queued, Running, Finished, Failed or Canceled."""
        return STEP_WORDS[self._state().status]

    def get_details_with_logs(self) -> dict[str, Any]:
        """`get_details()` with the text of each log in `logFiles`, and STDOUT, STDERR and JOBLOG beside them."""
        details = super().get_details_with_logs()
        details["logFiles"] |= {
            "STDOUT": self.get_stdout_log(),
            "STDERR": self.get_stderr_log(),
            "JOBLOG": self.get_job_log(),
        }
        return details

    def get_job_log(self) -> str:
        """What the driver of the step said; empty when there is nothing."""
        return self._texts((JOB_LOG,))

    def get_stdout_log(self) -> str:
        """What the step printed, of several processes one after the other; empty when there is nothing."""
        return self._texts(_STDOUT)

    def get_stderr_log(self) -> str:
        """What the step printed as errors, of several processes one after the other; empty when there is nothing."""
        return self._texts(_STDERR)

    def get_outputs(self) -> dict[str, StepRunOutput]:
        """The outputs of the step, by name."""
        return {
            one.name: StepRunOutput(self._workspace, self._pipeline_run_id, self, one.name, one, job=self._job)
            for one in self._backend.outputs(self._job)
            if one.name not in _INTERNAL
        }

    def get_output(self, name: str) -> StepRunOutput:
        """One output of the step. KeyError, with the names there are, when there is none of that name."""
        outputs = self.get_outputs()
        if name not in outputs:
            raise KeyError(f"the step {self.name!r} has no output {name!r}; it has: {', '.join(outputs) or 'none'}")
        return outputs[name]

    def get_output_data(self, name: str) -> PortDataReference:
        """Where the data of an output is. KeyError, with the names there are, when there is none of that name."""
        return self.get_output(name).get_port_data_reference()

    def wait_for_completion(
        self, show_output: bool = True, timeout_seconds: float | None = sys.maxsize, raise_on_error: bool = True
    ) -> str:
        """Wait until the step has ended, or the time is over; its status then.

        Args:
            show_output: whether its status and what it prints are written to standard output meanwhile.
            timeout_seconds: after which the status there is comes back; the step goes on. None: never.
            raise_on_error: whether an error of the step is raised.

        Raises:
            ActivityFailedException: the step has failed.
            ExperimentExecutionException: the wait was interrupted; the step goes on.
        """
        return wait_for_step(self, show_output, timeout_seconds, raise_on_error)

    def child_run(self, name: str | None = None, run_id: str | None = None, outputs: Any = None) -> NoReturn:
        """Not supported."""
        raise NotImplementedError("Child run is unsupported for Step run.")

    def complete(self) -> NoReturn:
        """Not supported: a step is complete when its command is."""
        raise NotImplementedError("Complete is unsupported for Step run.")

    def fail(self) -> NoReturn:
        """Not supported: a step fails when its command does; `cancel()` ends it."""
        raise NotImplementedError("Fail is unsupported for Step run.")

    def can_start(self) -> bool:
        """Whether it has started, or may: a step that has not when its pipeline ends never will."""
        return self._state().status is not JobStatus.NOT_STARTED or not (
            self._backend.get(self._pipeline_run_id).status.is_terminal
        )

    def log_size(self) -> tuple[str, int] | None:
        """The log that a wait follows, and how long it is: what the first process of the step prints."""
        logs = [log for log in self._backend.logs(self._job) if log.path.startswith(_STDOUT)]
        first = [log for log in logs if is_of_the_first_rank(log.path) or re.search(r"\D0+\D", log.path)]
        chosen = next(iter(first or logs), None)
        return None if chosen is None else (chosen.path, chosen.size_bytes)

    def log_bytes(self, log: str) -> bytes:
        """What is in a log."""
        return b"".join(chunk.data for chunk in self._backend.read_log(self._job, log))

    def _document(self, state: JobState) -> dict[str, object]:
        """What the step was made from, with the places of what other steps have made."""
        if not any(_MADE.search(text) for text in _strings(state.document)):
            return state.document
        steps = self._backend.steps(self._pipeline_run_id)
        places: dict[tuple[str, str], str] = {(step.step, one.name): one.path for step in steps for one in step.outputs}

        def place(match: re.Match[str]) -> str:
            return places.get((match["step"], match["output"]), match[0])

        def filled(value: Any) -> Any:
            if isinstance(value, dict):
                return {key: filled(inner) for key, inner in value.items()}
            if isinstance(value, list):
                return [filled(inner) for inner in value]
            return _MADE.sub(place, value) if isinstance(value, str) else value

        return {key: filled(value) for key, value in state.document.items()}

    def _texts(self, heads: tuple[str, ...]) -> str:
        return "".join(self._text(log.path) for log in self._backend.logs(self._job) if log.path.startswith(heads))


def _strings(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _strings(inner)


def has_begun(step: JobState) -> bool:
    """Whether a step was started: a step that was cancelled before that never ran."""
    if step.status is JobStatus.CANCELED:
        return step.start_time is not None or step.heartbeat_time is not None
    return step.status is not JobStatus.NOT_STARTED
