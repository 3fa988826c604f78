"""Published pipelines: kept with the code that they ran with, submitted again with other literals."""

from __future__ import annotations

import copy
import uuid
from collections.abc import Mapping
from typing import Any

from runner.entity.asset import PublishedState, PublishedStatus
from runner.entity.job import JobState
from runner.entity.pipeline import KEY_JOINT, PipelineSpec, StepSpec
from runner.errors import ArgumentInvalid
from runner.server.codes import put_code
from runner.store.store import Store

SOURCE = "azureml.pipelineid"
"""The property of a job that names the published pipeline it was submitted from."""
_TYPES: dict[str, tuple[type, ...]] = {
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "string": (str,),
}
_TRUTH = {"true": True, "false": False}


def publish(
    store: Store,
    job: JobState,
    spec: PipelineSpec,
    *,
    published_name: str,
    description: str,
    version: str,
    continue_on_step_failure: bool | None,
) -> PublishedState:
    """Keep the pipeline of a job under a new id."""
    if not published_name:
        raise ArgumentInvalid("name", "is empty; give the published pipeline a name")
    document: dict[str, Any] = copy.deepcopy(job.document)
    document.pop("name", None)
    for step in spec.steps:
        _pin(document, step)
    return store.published.create(
        PublishedState(
            id=str(uuid.uuid4()),
            name=published_name,
            description=description,
            version=version,
            document=document,
            job=job.name,
            continue_on_step_failure=continue_on_step_failure,
            create_time=store.now(),
        )
    )


def document_of(
    published: PublishedState,
    *,
    experiment_name: str,
    parameters: Mapping[str, object],
    continue_on_step_failure: bool | None,
) -> dict[str, Any]:
    """What to submit for a published pipeline."""
    if published.status is not PublishedStatus.ACTIVE:
        what = f"the published pipeline {published.name!r} is {published.status}; enable it to submit it"
        raise ArgumentInvalid("id", what)
    document: dict[str, Any] = copy.deepcopy(published.document)
    inputs = document.setdefault("inputs", {})
    for name, value in parameters.items():
        inputs[name] = _assigned(name, value, inputs, published)
    document["properties"] = {**(document.get("properties") or {}), SOURCE: published.id}
    if experiment_name:
        document["experiment_name"] = experiment_name
    goes_on = published.continue_on_step_failure if continue_on_step_failure is None else continue_on_step_failure
    if goes_on is not None:
        document["settings"] = {**(document.get("settings") or {}), "continue_on_step_failure": goes_on}
    return document


def _assigned(name: str, value: object, inputs: Mapping[str, Any], published: PublishedState) -> Any:
    """The value for a literal input, in the type of that input."""
    literals = [known for known, said in inputs.items() if _kind(said) is not None]
    if name not in literals:
        known = ", ".join(sorted(literals)) or "none"
        what = f"{name!r} is no literal input of the published pipeline {published.name!r}; it has: {known}"
        raise ArgumentInvalid("pipeline_parameters", what)
    kind = _kind(inputs[name])
    assert kind is not None
    typed = _typed(value, kind)
    if typed is None:
        what = f"{name} is {value!r}, and the input is of the type {kind}; give such a value"
        raise ArgumentInvalid("pipeline_parameters", what)
    said = inputs[name]
    if not isinstance(said, dict):
        return typed
    return {**said, "default": typed}


def _kind(said: Any) -> str | None:
    """The literal type of an input; None for data."""
    if isinstance(said, dict):
        if said.get("type") in _TYPES:
            return str(said["type"])
        return None
    for kind in ("boolean", "integer", "number", "string"):
        if isinstance(said, _TYPES[kind]):
            return kind
    return None


def _typed(value: object, kind: str) -> Any:
    """The value in a type, text read as such a value; None when it is none."""
    if isinstance(value, bool):
        return value if kind == "boolean" else None
    if isinstance(value, _TYPES[kind]):
        return float(value) if kind == "number" else value  # type: ignore[arg-type]  # int and float alone get here
    if not isinstance(value, str):
        return None
    if kind == "boolean":
        return _TRUTH.get(value.lower())
    try:
        return int(value) if kind == "integer" else float(value)
    except ValueError:
        return None


def _pin(document: dict[str, Any], step: StepSpec) -> None:
    """Let a step's code be the tree that was kept of it, wherever in the document it is said."""
    if not step.code:
        return
    inner: Any = document
    for key in step.key.split(KEY_JOINT):
        if isinstance(inner.get("component"), dict):
            inner = inner["component"]
        inner = inner["jobs"][key]
    for place in (inner, inner.get("component")):
        if isinstance(place, dict):
            put_code(place, step.code)
