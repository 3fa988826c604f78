"""Jobs of the public SDK v2 package (`azure-ai-ml`) as jobs of our own, by their attributes.

Their own dump loses something: true becomes 1, relative paths lose their folder, a bound output its type. Nothing is
imported from there: an object is known by the module of its class, so the package need not be installed.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from runner.errors import ArgumentInvalid
from runner.spec.jobs import Job
from runner.spec.load import job_of_document
from runner.spec.paths import absolute, is_local, plain_path

PACKAGE = "azure.ai.ml"
_JOB = ("name", "display_name", "description", "tags", "properties", "experiment_name", "services", "identity")
_COMMAND = ("command", "environment", "distribution", "resources", "limits", "queue_settings")
_PARALLEL = (
    "mini_batch_size",
    "partition_keys",
    "input_data",
    "retry_settings",
    "logging_level",
    "max_concurrency_per_instance",
    "error_threshold",
    "mini_batch_error_threshold",
    "resources",
)
_COMPONENT = ("name", "version", "display_name", "description", "tags", "is_deterministic")
_SETTINGS = (
    "default_datastore",
    "default_compute",
    "continue_on_step_failure",
    "force_rerun",
    "on_init",
    "on_finalize",
)
_DECLARED = ("type", "optional", "default", "min", "max", "enum", "description", "mode")


def is_foreign(job: object) -> bool:
    """Whether the object's class, or one that it inherits from, is of the public package."""
    return any(cls.__module__.startswith(PACKAGE) for cls in type(job).__mro__)


def own_job(job: Any) -> Job:
    """The same job as one of ours. SpecInvalid, as for a document; ArgumentInvalid for a kind that cannot run here."""
    base = _base_of(job)
    kind = type(job).__name__
    makers: dict[str, Callable[[Any], dict[str, Any]]] = {
        "CommandJob": _command_job,
        "Command": _single_node,
        "ParallelJob": _parallel_job,
        "Parallel": _single_node,
        "PipelineJob": _pipeline_job,
        "Pipeline": _single_node,
    }
    if kind not in makers:
        raise ArgumentInvalid(
            "job", f"is a {kind}, a kind that does not run here; give a command, a pipeline or a parallel job"
        )
    return job_of_document(makers[kind](job), base)


def _base_of(entity: Any) -> Path:
    return Path(getattr(entity, "_base_path", None) or os.getcwd())


# ---- jobs of their own ------------------------------------------------------------------------------------
def _command_job(job: Any) -> dict[str, Any]:
    base = _base_of(job)
    return _without_none(
        {
            "type": "command",
            **_fields(job, _JOB),
            "compute": _plain(job.compute),
            **_fields(job, _COMMAND),
            "code": _path(job.code, base),
            "environment": _environment(job.environment, base),
            "environment_variables": _plain(job.environment_variables),
            "inputs": _inputs(job.inputs, base),
            "outputs": _outputs(job.outputs, base),
        }
    )


def _parallel_job(job: Any) -> dict[str, Any]:
    base = _base_of(job)
    return _without_none(
        {
            "type": "parallel",
            **_fields(job, _JOB),
            "compute": _plain(job.compute),
            **_fields(job, _PARALLEL),
            "task": _task(job.task, base),
            "environment_variables": _plain(job.environment_variables),
            "inputs": _inputs(job.inputs, base),
            "outputs": _outputs(job.outputs, base),
        }
    )


def _single_node(node: Any) -> dict[str, Any]:
    """A node that is submitted alone, as `command(...)` and `parallel_run_function(...)` make it."""
    step = _step(node)
    own = {key: value for key, value in step["component"].items() if key not in (*_COMPONENT, "inputs", "outputs")}
    own["is_deterministic"] = step["component"].get("is_deterministic")
    if own.get("type") == "pipeline":
        own = {"type": "pipeline", "jobs": own.get("jobs", {})}
    declared = step["component"]
    inputs = {name: _with_default(value) for name, value in declared.get("inputs", {}).items()} | step["inputs"]
    outputs = {name: {"type": value.get("type")} for name, value in declared.get("outputs", {}).items()}
    outputs |= step["outputs"]
    named = _fields(node, _JOB)
    named["name"] = getattr(node, "_name", None)
    said = {**own, **named, "compute": step.get("compute"), "inputs": inputs, "outputs": outputs}
    if own.get("type") == "command":
        said.pop("is_deterministic", None)
    return _without_none(said | {"environment_variables": step["component"].get("environment_variables")})


def _with_default(declared: Mapping[str, Any]) -> Any:
    return {key: value for key, value in declared.items() if value is not None}


# ---- pipelines --------------------------------------------------------------------------------------------
def _pipeline_job(job: Any) -> dict[str, Any]:
    base = _base_of(job)
    settings = job.settings
    return _without_none(
        {
            "type": "pipeline",
            **_fields(job, _JOB),
            "compute": _plain(job.compute),
            "settings": _fields(settings, _SETTINGS) if settings is not None else None,
            "inputs": _inputs({name: getattr(slot, "_data", slot) for name, slot in job.inputs.items()}, base),
            "outputs": _outputs(job.outputs, base),
            "jobs": {name: _step(node) for name, node in job.jobs.items()},
        }
    )


def _step(node: Any) -> dict[str, Any]:
    """A node over its component, with whatever the node sets anew already in the component."""
    kind = str(getattr(node, "type", "") or type(node).__name__.lower())
    if kind not in ("command", "parallel", "pipeline"):
        raise ArgumentInvalid("job", f"has the step {getattr(node, 'name', None)!r}, a {kind}, which does not run here")
    base = _base_of(node)
    entity = node._component
    component = entity if isinstance(entity, str) else _component(entity, node, kind)
    return _without_none(
        {
            "type": kind,
            "component": component,
            "compute": _plain(getattr(node, "compute", None)),
            "inputs": _inputs(node.inputs, base),
            "outputs": _outputs(node.outputs, base),
            "environment_variables": _plain(getattr(node, "environment_variables", None)),
        }
    )


def _component(entity: Any, node: Any, kind: str) -> dict[str, Any]:
    base = _base_of(entity)
    said: dict[str, Any] = {"type": kind, **_fields(entity, _COMPONENT)}
    said["inputs"] = {name: _declared(value) for name, value in (entity.inputs or {}).items()}
    said["outputs"] = {name: _declared(value) for name, value in (entity.outputs or {}).items()}
    if kind == "pipeline":
        said["jobs"] = {name: _step(inner) for name, inner in entity.jobs.items()}
        said.pop("is_deterministic", None)
    elif kind == "command":
        said |= _fields(entity, _COMMAND) | _fields(node, _COMMAND)
        said["command"] = _plain(entity.command)
        said["code"] = _path(entity.code, base)
        said["environment"] = _environment(_first(node, entity, "environment"), base)
        said["additional_includes"] = [
            _path(one, base) for one in getattr(entity, "additional_includes", None) or []
        ] or None
    else:
        said |= _fields(entity, _PARALLEL) | _fields(node, _PARALLEL)
        said["task"] = _task(_first(node, entity, "task"), base)
    variables = {
        **(_plain(getattr(entity, "environment_variables", None)) or {}),
        **(_plain(getattr(node, "environment_variables", None)) or {}),
    }
    said["environment_variables"] = variables or None
    return _without_none(said)


def _first(node: Any, entity: Any, name: str) -> Any:
    value = getattr(node, name, None)
    return getattr(entity, name, None) if value is None else value


# ---- inputs, outputs, values ------------------------------------------------------------------------------
def _inputs(given: Mapping[str, Any], base: Path) -> dict[str, Any]:
    said = {name: _input(value, base) for name, value in (given or {}).items()}
    return {name: value for name, value in said.items() if value is not None}


def _input(value: Any, base: Path) -> Any:
    binding = _binding(value)
    if binding is not None:
        mode = getattr(value, "_mode", None)
        return {"path": binding, "mode": str(mode)} if mode else binding
    if hasattr(value, "_data"):  # the slot of a node: what is in it counts, and what is said about it beside that
        inner = _input(value._data, base)
        mode = getattr(value, "_mode", None)
        if isinstance(inner, str) and inner.startswith("${{") and mode:
            return {"path": inner, "mode": str(mode)}
        if isinstance(inner, dict) and mode:
            inner["mode"] = str(mode)
        return inner
    if isinstance(value, bool | int | float | str) or value is None:
        return _plain(value)
    said = _data(value, base)
    default = said.pop("default", None)
    # A typed literal carries its value as its default.
    return default if "path" not in said and default is not None else said


def _outputs(given: Mapping[str, Any], base: Path) -> dict[str, Any]:
    said: dict[str, Any] = {}
    for name, value in (given or {}).items():
        inner = getattr(value, "_data", value)
        binding = _binding(inner)
        if binding is not None:
            said[name] = binding
            continue
        told = (
            {"path": _path(inner, base)} if isinstance(inner, str) else _data(inner, base) if inner is not None else {}
        )
        meta = getattr(value, "_meta", None)
        slot = {key: getattr(value, f"_{key}", None) for key in ("type", "mode", "name", "version", "description")}
        told = {**{key: _plain(one) for key, one in slot.items() if one and key in ("type", "mode")}, **told}
        if meta is not None and "type" not in told:
            told["type"] = _plain(getattr(meta, "type", None))
        said[name] = _without_none(told) or None
    return said


def _binding(value: Any) -> str | None:
    """`${{parent...}}` where the value is an input or output of a pipeline or of another node."""
    if type(value).__name__ in ("PipelineInput", "NodeOutput", "PipelineOutput"):
        return str(value._data_binding())
    return value if isinstance(value, str) and value.startswith("${{") else None


def _data(value: Any, base: Path) -> dict[str, Any]:
    said = _public(value)
    if isinstance(said.get("path"), str):
        said["path"] = _path(said["path"], base)
    for flag in ("intellectual_property", "early_available", "is_control"):
        said.pop(flag, None)
    return said


def _declared(value: Any) -> dict[str, Any]:
    said = _public(value)
    return {key: said[key] for key in _DECLARED if said.get(key) is not None}


def _task(task: Any, base: Path) -> dict[str, Any] | None:
    if task is None:
        return None
    said = _public(task) if not isinstance(task, Mapping) else dict(task)
    said["code"] = _path(said.get("code"), base)
    said["environment"] = _environment(said.get("environment"), base)
    return _without_none(said)


def _environment(value: Any, base: Path) -> Any:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, Mapping):
        said = {key: _plain(one) for key, one in value.items()}
    else:
        said = {**_public(value), "conda_file": _plain(getattr(value, "conda_file", None))}
    kept = ("name", "version", "image", "conda_file", "build", "description", "tags")
    said = {key: said[key] for key in kept if said.get(key)}
    if isinstance(said.get("conda_file"), str):
        said["conda_file"] = _path(said["conda_file"], base)
    elif not isinstance(said.get("conda_file"), Mapping):
        said.pop("conda_file", None)
    return said or None


def _path(value: Any, base: Path) -> Any:
    if value is None:
        return None
    text = plain_path(os.fspath(value))
    return absolute(text, base) if is_local(text) else text


def _fields(entity: Any, names: tuple[str, ...]) -> dict[str, Any]:
    said = {name: _plain(getattr(entity, name, None)) for name in names}
    if isinstance(limits := said.get("limits"), dict):
        limits.pop("type", None)
    return {name: value for name, value in said.items() if value not in (None, {}, [])}


def _plain(value: Any) -> Any:
    """Text, numbers, lists and mappings, whatever class they came in."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, str):
        return str(getattr(value, "value", value))
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items() if inner is not None}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if hasattr(value, "__fspath__"):
        return os.fspath(value)
    return _public(value)


def _public(value: Any) -> dict[str, Any]:
    """The public attributes of an object that have a value."""
    attributes = dict(value) if isinstance(value, dict) else vars(value)
    said = {name: _plain(inner) for name, inner in attributes.items() if not name.startswith("_") and inner is not None}
    kind = getattr(value, "type", None)
    return {**said, "type": str(kind)} if kind is not None and "type" not in said else said


def _without_none(said: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in said.items() if value is not None}
