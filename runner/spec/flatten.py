"""A checked pipeline to what its driver is given: every step a document of its own, sub-pipelines gone."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runner.entity.job import OutputState
from runner.entity.pipeline import KEY_JOINT, NAME_JOINT, PipelineSpec, StepSource, StepSpec
from runner.spec import pipeline_kind
from runner.spec.findings import Findings
from runner.spec.graph import Graph, literals_of
from runner.spec.leaves import Leaf
from runner.spec.paths import is_local
from runner.spec.pipeline_job import PipelineJob
from runner.spec.places import Places
from runner.spec.targets import Unplaceable, place_output
from runner.spec.validate import findings_of
from runner.spec.values import put_outputs, step_outputs_in

LONGEST_NAME = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class Flattened:
    """A pipeline ready to be stored and driven."""

    spec: PipelineSpec
    codes: dict[str, Path | None]
    """By step, the folder or file that its code is in; None when it has none."""
    outputs: tuple[OutputState, ...]
    """Of the pipeline itself."""
    step_outputs: dict[str, tuple[OutputState, ...]]
    components: tuple[str, ...]
    """The components with a name that steps were made from, as `name:version`."""


def step_job_name(pipeline: str, key: str) -> str:
    """The name of a step's job: `pipeline--sub--step`, its middle cut out for a hash where it would be too long."""
    name = NAME_JOINT.join((pipeline, *key.split(KEY_JOINT)))
    if len(name) <= LONGEST_NAME:
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:12]
    kept = LONGEST_NAME - len(digest) - len(NAME_JOINT) - 1
    return f"{name[:kept].rstrip('-.')}{NAME_JOINT}x{digest}"


def flatten(job: PipelineJob, *, name: str, places: Places, checked: Findings | None = None) -> Flattened:
    """Flatten a pipeline that `validate` found no problem with.

    Args:
        name: the final name of the pipeline, part of its steps' names and of default output paths.
        checked: what `validate` gave with the same places; then the graph that it made is not made again.

    Raises:
        SpecInvalid: something is wrong after all.
    """
    found = checked if checked is not None else findings_of(job)
    document = pipeline_kind.shaped_with(found)
    if document is None:
        document = pipeline_kind.shape(job.written(), job.base_path, found)
    graph = pipeline_kind.graph_in(document, job.base_path, found, places)
    if not graph.is_known:
        found.problem((), "names registered components, and nothing is looked up here", "submit the job")
    found.raise_if_any()
    runner, settings = document.get("runner", {}), document["settings"]
    overwrite = bool(runner.get("overwrite", False))
    steps, codes, step_outputs = [], {}, {}
    for key, leaf in graph.leaves.items():
        said = _document(leaf, document, overwrite)
        job_name = step_job_name(name, key)
        step_outputs[key] = tuple(_states(leaf, said, job_name, places, found))
        codes[key] = _code(said)
        steps.append(_step(key, job_name, said, leaf, graph))
    found.raise_if_any()
    states = {(key, state.name): state for key, of_step in step_outputs.items() for state in of_step}
    spec = PipelineSpec(
        name=name,
        experiment_name=document.get("experiment_name") or "Default",
        steps=tuple(steps),
        outputs=graph.promoted,
        continue_on_step_failure=settings.get("continue_on_step_failure", True),
        force_rerun=settings.get("force_rerun", False),
        max_concurrent_steps=runner.get("max_concurrent_steps"),
        overwrite=overwrite,
        notices=tuple(dict.fromkeys((*(job.origin.notices if job.origin else ()), *found.notices))),
        literals=literals_of(document, job.base_path),
    )
    return Flattened(
        spec=spec,
        codes=codes,
        outputs=tuple(
            OutputState(name=one.name, type=one.type, path=states[one.step, one.output].path) for one in graph.promoted
        ),
        step_outputs=step_outputs,
        components=tuple(dict.fromkeys(step.component for step in steps if step.component)),
    )


def _document(leaf: Leaf, pipeline: Mapping[str, Any], overwrite: bool) -> dict[str, Any]:
    said = dict(leaf.document)
    if "experiment_name" in pipeline:
        said["experiment_name"] = pipeline["experiment_name"]
    if overwrite:
        said["runner"] = {**said.get("runner", {}), "overwrite": True}
    return said


def _step(key: str, job_name: str, said: dict[str, Any], leaf: Leaf, graph: Graph) -> StepSpec:
    component = leaf.node.component
    return StepSpec(
        key=key,
        job=job_name,
        type="parallel" if leaf.node.kind == "parallel" else "command",
        document=said,
        component=component.reference if component is not None else "",
        sources=tuple(
            StepSource(input=name, step=step, output=output, is_optional=name in leaf.optional)
            for name, sources in leaf.sources.items()
            for step, output in dict.fromkeys(sources)
        ),
        depends_on=graph.depends_on.get(key, ()),
        is_deterministic=said.get("is_deterministic", True),
    )


def _states(
    leaf: Leaf, said: Mapping[str, Any], job_name: str, places: Places, found: Findings
) -> Iterator[OutputState]:
    for name, value in said["outputs"].items():
        try:
            target = place_output(name, value, job_name, leaf.node.scope.base, places)
        except Unplaceable as error:
            found.problem((*leaf.node.at, "outputs", name), error.what, error.remedy)
            continue
        yield OutputState(name=name, type=target.type, path=target.path)


def _code(said: Mapping[str, Any]) -> Path | None:
    """The folder or file of a step's code; for a parallel step without one its entry script."""
    if said["type"] == "command":
        return _local(said.get("code"))
    task = said.get("task", {})
    code, script = task.get("code"), task.get("entry_script")
    if code is not None:
        return _local(code)
    return _local(script) if isinstance(script, str) and script.endswith(".py") else None


def _local(path: Any) -> Path | None:
    return Path(path) if isinstance(path, str) and is_local(path) and os.path.isabs(path) else None


def fill_step(step: StepSpec, place_of: Callable[[str, str], str | None]) -> dict[str, object]:
    """The document of a step with the real places of what other steps made.

    Args:
        place_of: the path of an output, by the key of its step and its name; None when it was not made. Then an
            optional input has no value, and one that is not stays as it is.
    """
    inputs = dict(_mapping(step.document.get("inputs")))
    for name in dict.fromkeys(source.input for source in step.sources):
        given = inputs.get(name)
        text = given.get("path") if isinstance(given, Mapping) else given
        if not isinstance(text, str) or not step_outputs_in(text):
            continue
        put = put_outputs(text, place_of)
        if put is None:
            if all(source.is_optional for source in step.sources if source.input == name):
                inputs[name] = {"type": given["type"] if isinstance(given, Mapping) else "string", "optional": True}
            continue
        inputs[name] = {**given, "path": put} if isinstance(given, Mapping) else put
    return {**step.document, "inputs": inputs}


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
