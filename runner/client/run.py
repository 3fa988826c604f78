"""The handle of any job as SDK v1 has it: `Run`, which the handles of pipelines and of their steps are made from."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from runner.client.download import inside, write_chunks
from runner.client.job import log_name, log_urls, properties_of
from runner.client.listing import states
from runner.client.stream import error_details, stream, told
from runner.client.submission import text_of
from runner.client.workspace import Group, Workspace, check_workspace
from runner.entity.job import JobState
from runner.entity.job_json import iso_time
from runner.entity.page import Chunk
from runner.entity.status import JobStatus
from runner.errors import (
    ActivityFailedException,
    ArgumentInvalid,
    ExperimentExecutionException,
    JobException,
    OutputMissing,
    RunnerError,
)

POLL_S = 0.2
DEFAULT = "default"


class Run:
    """A job, looked at from its experiment. What is read is read anew, unless it says otherwise."""

    def __init__(
        self,
        experiment: Group,
        run_id: str,
        outputs: Any = None,
        *,
        _service_endpoint: str | None = None,
        **kwargs: Any,
    ) -> None:
        """The handle of a job that exists.

        Args:
            experiment: what the job belongs to.
            run_id: the job's name.
            outputs, kwargs: accepted for compatibility.
            _service_endpoint: the address of a service that is asked instead of the experiment's client.

        Raises:
            JobNotFound: there is no such job.
            ArgumentInvalid: it belongs to another experiment.
        """
        if not isinstance(run_id, str):
            raise ArgumentInvalid("run_id", f"is a {type(run_id).__name__}; give the name of a job")
        if not hasattr(experiment, "workspace"):
            raise ArgumentInvalid("experiment", f"is a {type(experiment).__name__}; give a runner.Experiment")
        self._workspace = experiment.workspace.at(_service_endpoint) if _service_endpoint else experiment.workspace
        self._experiment = experiment
        self._job = run_id
        """The job that is asked about."""
        self._run_id = run_id
        """The job that users are told: of a reused step the one that stands in for it."""
        self._ended: str | None = None
        self._adopt(self._state())

    @staticmethod
    def get(workspace: Workspace, run_id: str) -> Any:
        """The handle of any job, of the class for its kind. JobNotFound when there is none."""
        check_workspace(workspace)
        if not isinstance(run_id, str):
            raise ArgumentInvalid("run_id", f"is a {type(run_id).__name__}; give the name of a job")
        state = workspace.backend.get(run_id)
        return workspace.experiment_of(state.experiment_name).run_of(state)

    def _adopt(self, state: JobState) -> None:
        """Check that the run is what its handle says."""
        self._check_experiment(state)

    def _check_experiment(self, state: JobState) -> None:
        if state.experiment_name != self._experiment.name:
            what = f"{state.name!r} belongs to the experiment {state.experiment_name!r}, not {self._experiment.name!r}"
            raise ArgumentInvalid("experiment", f"the run {what}; give that one")

    @property
    def id(self) -> str:
        """The name of the job."""
        return self._run_id

    @property
    def experiment(self) -> Group:
        """What the run belongs to."""
        return self._experiment

    @property
    def name(self) -> str:
        """As `display_name`."""
        return self.display_name

    @property
    def display_name(self) -> str:
        """What the job is shown as; can be set."""
        return self._state().display_name

    @display_name.setter
    def display_name(self, value: str) -> None:
        self._backend.update(self._job, display_name=value)

    @property
    def description(self) -> str:
        """What the job's user says of it; can be set."""
        return self._state().description

    @description.setter
    def description(self, value: str) -> None:
        self._backend.update(self._job, description=value)

    @property
    def number(self) -> int:
        """The place of the run among those of its experiment that are kept, oldest first, from 1."""
        state = self._state()
        if state.parent:
            return [step.name for step in self._backend.steps(state.parent)].index(state.name) + 1
        runs = [one.name for one in states(self._backend, archived=None, experiment=state.experiment_name)]
        return len(runs) - runs.index(state.name)

    @property
    def type(self) -> str:
        """command, parallel or pipeline."""
        return self._state().type

    @property
    def status(self) -> str:
        """Where the job stands, in the twelve words; not read again once it has ended."""
        return self._status()

    @property
    def tags(self) -> dict[str, str]:
        return dict(self._state().tags)

    @property
    def properties(self) -> dict[str, str]:
        return properties_of(self._state())

    @property
    def parent(self) -> str | None:
        """The pipeline that the run is a step of."""
        return self._state().parent or None

    def get_status(self) -> str:
        """As `status`."""
        return self._status()

    def get_tags(self) -> dict[str, str]:
        return self.tags

    def get_properties(self) -> dict[str, str]:
        return self.properties

    def tag(self, key: str, value: object = None) -> None:
        """Set one tag; without a value it is empty."""
        self.set_tags({key: value})

    def set_tags(self, tags: Mapping[str, object]) -> None:
        """Add tags, or change their values; others stay."""
        self._backend.update(self._job, tags={str(key): text_of(value) or "" for key, value in tags.items()})

    def remove_tags(self, tags: str | Sequence[str]) -> None:
        """Remove tags by their names; those that are not there do no harm."""
        names = [tags] if isinstance(tags, str) else tags
        self._backend.update(self._job, tags=dict.fromkeys(names))

    def add_properties(self, properties: Mapping[str, object]) -> None:
        """Add properties, which cannot be changed from then on. ArgumentInvalid, and nothing added, when one is."""
        known = self.properties
        texts = {str(key): text_of(value) or "" for key, value in properties.items()}
        changed = sorted(key for key, value in texts.items() if known.get(key, value) != value)
        if changed:
            what = f"{', '.join(changed)} of the run {self.id!r} are set already and cannot be changed"
            raise ArgumentInvalid("properties", f"{what}; choose other names, or use tags")
        self._backend.update(self._job, properties=texts)

    def get_portal_url(self) -> str:
        """Where the job can be looked at."""
        return self._state().studio_url

    def get_metrics(self, name: str | None = None, recursive: bool = False, run_type: Any = None) -> dict[str, Any]:
        """What the run logged as metrics: none are kept here; what MLflow keeps is asked of MLflow."""
        return {}

    def get_details(self) -> dict[str, Any]:
        """What is known of the run: ids, status, times, properties, its document, the places of its logs, its error."""
        state = self._state()
        document = self._document(state)
        inputs = document.get("inputs")
        details: dict[str, Any] = {
            "runId": self.id,
            "target": str(document.get("compute") or ""),
            "status": str(state.status),
            "startTimeUtc": iso_time(state.start_time),
            "endTimeUtc": iso_time(state.end_time),
            "properties": self.properties,
            "inputDatasets": [
                {"inputName": name, **value}
                for name, value in (inputs.items() if isinstance(inputs, dict) else ())
                if isinstance(value, dict) and "path" in value
            ],
            "outputDatasets": [{"outputName": one.name, "type": one.type, "path": one.path} for one in state.outputs],
            "runDefinition": document,
            "logFiles": log_urls(state, self._backend.logs(self._job)),
            "submittedBy": state.created_by,
        }
        for key in ("startTimeUtc", "endTimeUtc"):
            if details[key] is None:
                del details[key]
        if state.status is JobStatus.FAILED and state.error is not None:
            details["error"] = error_details(state.error)
        return details

    def get_details_with_logs(self) -> dict[str, Any]:
        """`get_details()` with the text of each log in place of where it is."""
        details = self.get_details()
        kind = self._state().type
        names = {log_name(kind, log.path): log.path for log in self._backend.logs(self._job)}
        details["logFiles"] = {name: self._text(path) for name, path in names.items()}
        return details

    def get_children(
        self,
        recursive: bool = False,
        tags: Any = None,
        properties: Any = None,
        type: str | None = None,  # noqa: A002 - the name that users of these handles know
        status: str | None = None,
    ) -> Iterator[Run]:
        """The runs of the steps; other jobs have none."""
        return iter(())

    def get_file_names(self) -> list[str]:
        """The files of the run: its logs, and what a command left in `outputs/` and `logs/` of its working folder."""
        return sorted({*self._log_paths(), *(chunk.path for chunk in self._artifacts())})

    def download_file(self, name: str, output_file_path: str | os.PathLike[str] | None = None) -> None:
        """Write one of the run's files to a path, by default to its own name in the current folder.

        ArgumentInvalid, with the names there are, when there is no such file.
        """
        target = Path(os.fspath(output_file_path) if output_file_path is not None else Path(name).name)
        if target.is_dir():
            target = target / Path(name).name
        if not self._write(name, target):
            known = ", ".join(self.get_file_names()) or "none"
            raise ArgumentInvalid("name", f"the run {self.id!r} has no file {name!r}; it has: {known}")

    def download_files(
        self,
        prefix: str | None = None,
        output_directory: str | os.PathLike[str] | None = None,
        output_paths: Sequence[str] | None = None,
        batch_size: int = 100,
        append_prefix: bool = True,
        timeout_seconds: float | None = None,
    ) -> None:
        """Write the run's files whose names begin with `prefix` to a folder.

        Args:
            output_directory: by default the current folder.
            output_paths: where each of them goes, in the order of their names.
            append_prefix: whether their paths below the folder keep the prefix.
            batch_size, timeout_seconds: accepted for compatibility.
        """
        start = prefix or ""
        names = [name for name in self.get_file_names() if name.startswith(start)]
        if output_paths is not None and len(output_paths) != len(names):
            raise ArgumentInvalid("output_paths", f"has {len(output_paths)} paths for {len(names)} files")
        folder = Path(output_directory or ".")
        for number, name in enumerate(names):
            short = name if append_prefix or not start else name[len(start) :].lstrip("/") or Path(name).name
            self._write(name, Path(output_paths[number]) if output_paths is not None else inside(folder, short))

    def cancel(self) -> None:
        """Ask for the end of the run and return at once."""
        self._backend.cancel(self._job)

    def wait_for_completion(
        self, show_output: bool = False, wait_post_processing: bool = False, raise_on_error: bool = True
    ) -> Any:
        """Return the run's details once it has ended.

        Args:
            show_output: whether what it prints is written to standard output meanwhile.
            wait_post_processing: accepted for compatibility; a run ends after it.

        Raises:
            ActivityFailedException: it has failed.
            ExperimentExecutionException: the wait was interrupted; the run goes on.
        """
        if show_output:
            try:
                stream(self._backend, self._job, sys.stdout)
            except JobException:
                pass  # told below, or not at all
            except KeyboardInterrupt:
                raise ExperimentExecutionException(self.id) from None
        else:
            while not self._state().status.is_terminal:
                time.sleep(POLL_S)
        state = self._state()
        if state.status is JobStatus.FAILED and raise_on_error:
            raise ActivityFailedException(told(state.error))
        return self.get_details()

    def __repr__(self) -> str:
        try:
            status = self.status
        except RunnerError:
            status = "unknown"  # it was deleted, or its service is gone
        return f"{type(self).__name__}(Experiment: {self._experiment.name}, Id: {self.id}, Status: {status})"

    @property
    def _backend(self) -> Any:
        return self._workspace.backend

    def _state(self) -> JobState:
        state: JobState = self._backend.get(self._job)
        return state

    def _document(self, state: JobState) -> dict[str, object]:
        """What the job was made from."""
        return state.document

    def _status(self) -> str:
        if self._ended is not None:
            return self._ended
        status = self._state().status
        if status.is_terminal:
            self._ended = str(status)
        return str(status)

    def _text(self, path: str) -> str:
        """The text of a log file, by its path below the logs."""
        pieces = [chunk.data for chunk in self._backend.read_log(self._job, path)]
        return b"".join(pieces).decode("utf-8", "replace")

    def _artifacts(self) -> Iterator[Chunk]:
        if not self._state().status.is_terminal:
            return
        try:
            yield from self._backend.read_output(self._job, DEFAULT)
        except OutputMissing:
            return

    def _log_paths(self) -> dict[str, str]:
        """Name of a log as a file of the run to its path below the logs."""
        paths = [log.path for log in self._backend.logs(self._job)]
        return {path if path.startswith("user_logs/") else f"logs/{path}": path for path in paths}

    def _write(self, name: str, target: Path) -> bool:
        """Write a file of the run; whether there is one of that name."""
        path = self._log_paths().get(name)
        chunks = self._artifacts() if path is None else self._backend.read_log(self._job, path)
        wanted: Iterator[Chunk] = (
            Chunk(path=target.name, data=one.data) for one in chunks if path is not None or one.path == name
        )
        if path is not None:
            wanted = _begun(target.name, wanted)
        return bool(write_chunks(wanted, target.parent))


def _begun(path: str, chunks: Iterator[Chunk]) -> Iterator[Chunk]:
    """A log that is empty has no chunk, and is a file all the same."""
    yield Chunk(path=path, data=b"")
    yield from chunks
