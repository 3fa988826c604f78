"""Jobs as Python objects: built by hand, by `load_job`, or by the client from what the store knows."""

from __future__ import annotations

import os
import warnings
from abc import ABC, abstractmethod
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import IO, Any, ClassVar

from runner.entity.job import Event, JobError, JobState
from runner.entity.status import JobStatus
from runner.spec.document import write_yaml
from runner.spec.dump import dump_document
from runner.spec.findings import Findings
from runner.spec.findings import Path as Place
from runner.spec.paths import absolute_paths
from runner.spec.pieces import JobResourceConfiguration, RetrySettings, RunFunction, SystemData, plain
from runner.spec.schema import shape_job


@dataclass(frozen=True, slots=True, kw_only=True)
class Submitted:
    """What only a submitted job has; the client fills it in."""

    status: JobStatus | None = None
    id: str | None = None
    creation_context: SystemData | None = None
    log_files: dict[str, str] | None = None
    studio_url: str | None = None
    state: JobState | None = None
    """All that was known of the job when it was asked for; it does not change by itself."""
    events: tuple[Event, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """The file that a job was read from, and the lines of its keys, so that later complaints can name them."""

    file: str
    lines: dict[Place, int]
    notices: tuple[str, ...] = ()


class Job(ABC):
    """What every kind of job has. Jobs are equal when they say the same, relative paths resolved."""

    type: ClassVar[str] = ""
    _fields: ClassVar[tuple[str, ...]] = ()

    def __init__(
        self,
        *,
        name: str | None = None,
        display_name: str | None = None,
        description: str | None = None,
        tags: dict[str, Any] | None = None,
        properties: dict[str, Any] | None = None,
        experiment_name: str | None = None,
        compute: str | None = None,
        services: dict[str, Any] | None = None,
        comment: str | None = None,
        id: str | None = None,  # noqa: A002 - the name that users of these jobs know
    ) -> None:
        self.name = name
        self.display_name = display_name
        self.description = description
        self.tags = dict(tags or {})
        self.properties = dict(properties or {})
        self.experiment_name = experiment_name
        self.compute = compute.removeprefix("azureml:") if isinstance(compute, str) else compute
        self.services = services
        self.comment = comment
        self._base_path = Path(os.getcwd())
        self._origin: Origin | None = None
        self._submitted = Submitted(id=id)

    @property
    def status(self) -> JobStatus | None:
        return self._submitted.status

    @property
    def id(self) -> str | None:
        return self._submitted.id

    @property
    def creation_context(self) -> SystemData | None:
        return self._submitted.creation_context

    @property
    def log_files(self) -> dict[str, str] | None:
        return self._submitted.log_files

    @property
    def studio_url(self) -> str | None:
        return self._submitted.studio_url

    @property
    def events(self) -> tuple[Event, ...]:
        """Every change of status, oldest first."""
        return self._submitted.events

    @property
    def error(self) -> JobError | None:
        """Why the job failed."""
        return self._submitted.state.error if self._submitted.state else None

    @property
    def parent_job_name(self) -> str | None:
        """The pipeline that the job is a step of."""
        return (self._submitted.state.parent or None) if self._submitted.state else None

    @property
    def origin(self) -> Origin | None:
        """The file that the job was read from."""
        return self._origin

    @property
    def base_path(self) -> Path:
        """The folder that relative paths start from: the YAML's, or where the job was built."""
        return self._base_path

    def dump(self, dest: str | os.PathLike[str] | IO[str] | None = None, **kwargs: Any) -> None:
        """Write the job as YAML that `load_job` reads back to an equal job.

        Args:
            dest: a path that does not exist yet, or a text stream, which is left open.
            kwargs: go to `yaml.dump`.

        Raises:
            FileExistsError: the path exists.
            ValidationException: there is no destination, no folder for it, or (an OSError too) no writing to it.
        """
        if dest is None and "path" in kwargs:
            warnings.warn("dump(path=...) is the old form; write dump(dest)", DeprecationWarning, stacklevel=2)
            dest = kwargs.pop("path")
        dump_document(self.to_document(), self._base_path, dest, **kwargs)

    def to_document(self) -> dict[str, Any]:
        """The job as plain values in their final types, flat, paths as they were written."""
        written = self.written()
        found = Findings("")
        shaped = self._shape(written, found)
        # A job with something wrong is written as it was given, so that dumping loses nothing.
        return written if found.problems else shaped

    @abstractmethod
    def _shape(self, written: dict[str, Any], found: Findings) -> dict[str, Any]:
        """The written values in their final types."""

    def written(self) -> dict[str, Any]:
        """The fields as they were given, as plain values, without what was left out."""
        said = {name: plain(getattr(self, name)) for name in self._fields}
        said = {name: value for name, value in said.items() if value is not None}
        if not said.get("runner"):
            said.pop("runner", None)
        return {"type": self.type, **said}

    def absolute_document(self) -> dict[str, Any]:
        """The document with every local path absolute: what travels and is stored."""
        return absolute_paths(self.to_document(), self._base_path)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Job) or self.type != other.type:
            return NotImplemented
        return self.absolute_document() == other.absolute_document()

    __hash__ = None  # type: ignore[assignment]  # a job can be changed, so it is no key

    def __str__(self) -> str:
        return write_yaml(self.to_document())

    def _repr_html_(self) -> str:
        """One row for notebooks."""
        page = f'<a href="{escape(self.studio_url)}">{escape(self.name or "")}</a>' if self.studio_url else ""
        cells = [self.experiment_name, self.name, self.type, self.status]
        row = "".join(f"<td>{escape(str(cell or ''))}</td>" for cell in cells)
        heads = "".join(f"<th>{head}</th>" for head in ("Experiment", "Name", "Type", "Status", "Details Page"))
        return f"<table><tr>{heads}</tr><tr>{row}<td>{page}</td></tr></table>"

    def __repr__(self) -> str:
        said = {name: getattr(self, name) for name in self._fields}
        told = ", ".join(f"{name}={value!r}" for name, value in said.items() if value not in (None, {}, []))
        return f"{type(self).__name__}({told})"


class ParallelJob(Job):
    """A script that is run on every mini-batch of an input. Everything is optional until it is submitted."""

    type: ClassVar[str] = "parallel"
    _fields: ClassVar[tuple[str, ...]] = (
        "name",
        "version",
        "display_name",
        "description",
        "tags",
        "properties",
        "experiment_name",
        "comment",
        "compute",
        "services",
        "identity",
        "is_deterministic",
        "inputs",
        "outputs",
        "input_data",
        "mini_batch_size",
        "partition_keys",
        "max_concurrency_per_instance",
        "error_threshold",
        "mini_batch_error_threshold",
        "retry_settings",
        "logging_level",
        "resources",
        "environment_variables",
        "task",
        "runner",
    )

    def __init__(
        self,
        *,
        inputs: dict[str, Any] | None = None,
        outputs: dict[str, Any] | None = None,
        input_data: str | list[str] | None = None,
        task: RunFunction | dict[str, Any] | None = None,
        mini_batch_size: str | int | None = None,
        partition_keys: list[str] | None = None,
        retry_settings: RetrySettings | dict[str, Any] | None = None,
        logging_level: str | None = None,
        max_concurrency_per_instance: int | None = None,
        error_threshold: int | None = None,
        mini_batch_error_threshold: int | None = None,
        resources: JobResourceConfiguration | dict[str, Any] | None = None,
        environment_variables: dict[str, Any] | None = None,
        identity: Any = None,
        is_deterministic: bool | None = None,
        version: str | None = None,
        runner: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Build a job; nothing is checked before it is submitted or validated.

        Args:
            runner: the extensions of this runner, as the mapping of that name in YAML.
            kwargs: what every job has: name, display_name, description, tags, properties, experiment_name, compute,
                services, comment, id. Anything else is a TypeError.
        """
        super().__init__(**kwargs)
        self.inputs = dict(inputs or {})
        self.outputs = dict(outputs or {})
        self.input_data = input_data
        self.task = task
        self.mini_batch_size = mini_batch_size
        self.partition_keys = partition_keys
        self.retry_settings = retry_settings
        self.logging_level = logging_level
        self.max_concurrency_per_instance = max_concurrency_per_instance
        self.error_threshold = error_threshold
        self.mini_batch_error_threshold = mini_batch_error_threshold
        self.resources = resources
        self.environment_variables = dict(environment_variables or {})
        self.identity = identity
        self.is_deterministic = is_deterministic
        self.version = version
        self.runner = dict(runner or {})

    @property
    def item_count(self) -> int | None:
        """How many items there are, once they are planned."""
        return self._submitted.state.progress.item_count if self._submitted.state else None

    @property
    def failed_item_count(self) -> int | None:
        return self._submitted.state.progress.failed_item_count if self._submitted.state else None

    @property
    def mini_batch_count(self) -> int | None:
        """How many mini-batches there are, once they are planned."""
        return self._submitted.state.progress.mini_batch_count if self._submitted.state else None

    @property
    def done_mini_batch_count(self) -> int | None:
        return self._submitted.state.progress.done_mini_batch_count if self._submitted.state else None

    @property
    def failed_mini_batch_count(self) -> int | None:
        return self._submitted.state.progress.failed_mini_batch_count if self._submitted.state else None

    def _shape(self, written: dict[str, Any], found: Findings) -> dict[str, Any]:
        return shape_job(written, found)
