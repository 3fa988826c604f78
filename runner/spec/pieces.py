"""The values that a job is built from in Python: inputs, outputs, the task, its settings."""

from __future__ import annotations

from dataclasses import dataclass, fields, is_dataclass
from datetime import datetime
from typing import Any


class Piece:
    """A value that YAML holds as a mapping of its fields."""


def plain(value: Any) -> Any:
    """The value as YAML would hold it: pieces become mappings without their empty fields."""
    if isinstance(value, Piece) and is_dataclass(value):
        named = {field.name: plain(getattr(value, field.name)) for field in fields(value)}
        return {name: inner for name, inner in named.items() if inner is not None}
    if isinstance(value, dict):
        return {name: plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    if hasattr(value, "__fspath__"):
        return str(value)
    return str(value) if isinstance(value, str) else value


@dataclass(kw_only=True)
class Input(Piece):
    """Data (`type`, `path`, `mode`) or a typed value (`type`, `default`) that a job is given."""

    type: str = "uri_folder"
    path: str | None = None
    mode: str | None = None
    default: Any = None
    optional: bool | None = None
    min: float | None = None
    max: float | None = None
    enum: list[Any] | None = None
    description: str | None = None
    datastore: str | None = None
    path_on_compute: str | None = None


@dataclass(kw_only=True)
class Output(Piece):
    """Where a result goes; without a path, to the default datastore."""

    type: str = "uri_folder"
    path: str | None = None
    mode: str | None = None
    name: str | None = None
    version: str | None = None
    description: str | None = None


@dataclass(kw_only=True)
class RunFunction(Piece):
    """The task of a parallel job: which script, with which arguments, and where its results go."""

    code: str | None = None
    entry_script: str | None = None
    program_arguments: str | None = None
    model: str | None = None
    append_row_to: str | None = None
    environment: Any = None
    type: str = "run_function"


@dataclass(kw_only=True)
class RetrySettings(Piece):
    """How often a mini-batch is tried again, and how many seconds one call of run() may take."""

    max_retries: int | None = None
    timeout: float | None = None


@dataclass(kw_only=True)
class ResourceConfiguration(Piece):
    """How many nodes, and of which kind."""

    instance_count: int | None = None
    instance_type: str | list[str] | None = None
    properties: dict[str, Any] | None = None


@dataclass(kw_only=True)
class JobResourceConfiguration(ResourceConfiguration):
    """The resources of a job."""

    shm_size: str | None = None
    max_instance_count: int | None = None
    locations: list[str] | None = None
    docker_args: str | list[str] | None = None


@dataclass(kw_only=True)
class CommandJobLimits(Piece):
    """How many seconds a command may run."""

    timeout: float | str | None = None


@dataclass(kw_only=True)
class QueueSettings(Piece):
    """Kept for services that have queues."""

    job_tier: str | None = None
    priority: str | None = None


@dataclass(kw_only=True)
class BuildContext(Piece):
    """The folder that an image would be built from."""

    path: str | None = None
    dockerfile_path: str | None = None


@dataclass(kw_only=True)
class Environment(Piece):
    """What a job would run in; where it is not configured, the machine as it is stands in."""

    name: str | None = None
    version: str | None = None
    description: str | None = None
    image: str | None = None
    build: BuildContext | None = None
    conda_file: Any = None
    tags: dict[str, Any] | None = None
    properties: dict[str, Any] | None = None
    datastore: str | None = None


@dataclass(kw_only=True)
class SystemData(Piece):
    """Who made a job and when."""

    created_by: str | None = None
    created_by_type: str | None = None
    created_at: datetime | None = None
    last_modified_by: str | None = None
    last_modified_by_type: str | None = None
    last_modified_at: datetime | None = None
