"""What jobs of every kind have in common: shapes of their keys, and the keys themselves."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from runner.spec.data_shapes import GROUPED, NAME, input_shape, output_shape
from runner.spec.findings import Findings, Path, nearest
from runner.spec.shapes import (
    Choice,
    Key,
    ListOf,
    MapOf,
    Number,
    Table,
    Whole,
    anything,
    flag,
    free_text,
    kind_of,
    spelt,
    text,
)

LONGEST_S = 259_200
READ_ONLY = frozenset({"$schema", "id", "status", "creation_context", "log_files", "studio_url", "base_path"})
JOB_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
SECONDS = Number(low=0, high=LONGEST_S)
RESOURCES_ELSEWHERE = dict.fromkeys(("instance_count", "instance_type", "shm_size"), "resources")


def job_name(value: Any, at: Path, found: Findings) -> Any:
    """A name that is also a folder's; `--` is kept for the steps of pipelines."""
    if isinstance(value, str) and JOB_NAME.fullmatch(value) and "--" not in value:
        return value
    remedy = "use letters, digits, `.`, `_` and single `-`, beginning with a letter or digit, at most 128 of them"
    return found.problem(at, f"is {kind_of(value)}, which cannot name a job", remedy)


def compute_name(value: Any, at: Path, found: Findings) -> Any:
    """`foo` and `azureml:foo` are the same name."""
    name = text(value, at, found)
    return name.removeprefix("azureml:") if name else None


def environment(value: Any, at: Path, found: Findings) -> Any:
    """A reference, or a mapping that describes one; kept as it is."""
    if isinstance(value, str | Mapping):
        return text(value, at, found) if isinstance(value, str) else _ENVIRONMENT(value, at, found)
    remedy = "write `azureml:<name>:<version>`, or a mapping with image or conda_file"
    return found.problem(at, f"is {kind_of(value)}", remedy)


def identity(value: Any, at: Path, found: Findings) -> Any:
    shaped = _IDENTITY(value, at, found)
    if shaped is not None and "type" not in shaped and found.is_clean(*at):
        return found.problem(at, "has no type", "write `type: managed`, `aml_token` or `user_identity` below it")
    if shaped is not None and "type" in shaped:
        shaped = {_IDENTITY_SAYS.get(name, name): said for name, said in shaped.items()}
        shaped["type"] = _IDENTITY_SAYS.get(shaped["type"], shaped["type"])
        found.notice(at, "is kept but has no effect: the job runs as the user who runs the runner")
    return shaped


def shm_size(value: Any, at: Path, found: Findings) -> Any:
    if isinstance(value, str) and re.fullmatch(r"\s*\d+(\.\d+)?\s*[bkmg]\s*", value, re.IGNORECASE):
        return value
    return found.problem(at, f"is {kind_of(value)}", "write a number with b, k, m or g, such as `2g`")


def _words(value: Any, at: Path, found: Findings) -> Any:
    return value if isinstance(value, str) else ListOf(text, "[--name, value]")(value, at, found)


def services(value: Any, at: Path, found: Findings) -> Any:
    shaped = MapOf(_service, "`name: {type: ...}`")(value, at, found)
    if shaped:
        found.notice(at, "are kept but not started")
    return shaped


def _service(value: Any, at: Path, found: Findings) -> Any:
    shaped = _SERVICE(value, at, found)
    kind = shaped.get("type") if shaped else None
    if kind is not None and (slip := nearest(kind, SERVICE_TYPES)) and slip != kind:
        found.notice((*at, "type"), f"is {kind!r}; did you mean `{slip}`?")
    return shaped


def _of_pipelines(value: Any, at: Path, found: Findings) -> Any:
    return found.problem(at, "is for a pipeline as a whole", "write it below the `runner:` of the pipeline")


def tag(value: Any, at: Path, found: Findings) -> Any:
    return "" if value is None else spelt(value, at, found)


_ENVIRONMENT_KEYS = (
    "name",
    "version",
    "label",
    "image",
    "conda_file",
    "build",
    "description",
    "tags",
    "properties",
    "os_type",
    "inference_config",
    "latest_version",
)
_ENVIRONMENT = Table(
    keys={name: Key(anything, "kept as it is") for name in _ENVIRONMENT_KEYS},
    ignored=frozenset({"$schema", "id", "creation_context"}),
)
_IDENTITY_SAYS = {"managed": "managed_identity", "amltoken": "aml_token", "msi_resource_id": "resource_id"}
"""Other spellings of the same, of keys and of types."""
_IDENTITY = Table(
    keys={
        "type": Key(
            Choice(("managed", "managed_identity", "aml_token", "amltoken", "user_identity"), fold=True),
            "whose identity",
        ),
        **{
            name: Key(anything, "kept as it is")
            for name in ("client_id", "object_id", "principal_id", "resource_id", "msi_resource_id")
        },
    },
)
SERVICE_TYPES = ("ssh", "jupyter_lab", "tensor_board", "vs_code")
_SERVICE = Table(
    keys={
        "type": Key(text, "what is served"),
        "nodes": Key(Choice(("all",)), "`all`, or left out for the first node"),
        "port": Key(Whole(low=1, high=65535), "where it would listen"),
        "ssh_public_keys": Key(text, "of `ssh`"),
        "log_dir": Key(text, "of `tensor_board`"),
        **{name: Key(anything, "kept as it is") for name in ("endpoint", "status", "error_message", "properties")},
    },
)
RESOURCES = Table(
    keys={
        "instance_count": Key(Whole(low=1), "nodes", "1"),
        "instance_type": Key(anything, "passed through"),
        "shm_size": Key(shm_size, "passed through"),
        "properties": Key(MapOf(anything, "`name: value`"), "passed through"),
        "max_instance_count": Key(Whole(low=1), "passed through"),
        "locations": Key(ListOf(text, "[westeurope]"), "passed through"),
        "docker_args": Key(_words, "passed through"),
    },
)
OVERWRITE = Key(flag, "whether an existing output is replaced", "false")
DEPENDS_ON = Key(ListOf(text, "[prepare, train]"), "of a step: the steps that have to complete before it")
PIPELINE_ONLY = {"max_concurrent_steps": Key(_of_pipelines, "of a pipeline")}
"""Keys of `runner:` that say something of a pipeline as a whole."""
BASE: Mapping[str, Key] = {
    "name": Key(job_name, "of the job; generated when left out"),
    "version": Key(spelt, "passed through"),
    "display_name": Key(text, "for readers", "the name"),
    "description": Key(free_text, "for readers"),
    "tags": Key(MapOf(tag, "`name: text`", nullable=True), "for readers"),
    "properties": Key(MapOf(tag, "`name: text`", nullable=True), "for programs"),
    "experiment_name": Key(text, "what jobs are grouped by", "the current folder's name"),
    "comment": Key(free_text, "passed through"),
    "services": Key(services, "kept, not started"),
    "identity": Key(identity, "kept, no effect"),
    "is_deterministic": Key(flag, "whether results may be reused", "true"),
    "compute": Key(compute_name, "`local`, or a name from the configuration", "Ray"),
    "inputs": Key(MapOf(input_shape, "`name: {type, path}`", GROUPED), "data and values by name"),
    "outputs": Key(MapOf(output_shape, "`name: {type, path}`", NAME, nullable=True), "where results go, by name"),
}
"""The keys that every kind of job has, in the order in which they are told."""
