"""The keys of a `type: pipeline` job, its steps and component files. The reference page is made from these tables.

What a step says of its own kind is not here: once its bindings are put in, it is checked as a job of that kind.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from runner.spec.data_shapes import DATA_TYPES, GROUPED, LITERAL_TYPES, input_shape, output_shape
from runner.spec.findings import Findings, Path, did_you_mean
from runner.spec.job_schema import BASE, OVERWRITE, READ_ONLY
from runner.spec.shapes import (
    Choice,
    Key,
    MapOf,
    Table,
    Whole,
    anything,
    flag,
    free_text,
    kind_of,
    spelt,
    text,
)

KIND = "pipeline"
STEP_KINDS = ("command", "parallel", "pipeline")
CONTROL_KINDS = ("if_else", "do_while", "parallel_for")
REFUSED_KINDS = ("sweep", "spark", "automl", "import", "finetuning", "distillation", "data_transfer", *CONTROL_KINDS)
STEP_NAME = re.compile(r"[a-z_][a-z0-9_]*")
COMPONENT_NAME = re.compile(r"[a-z][a-z0-9_]*")
_DASHED_NAME = re.compile(r"[a-z][a-z0-9_.-]*")


def is_binding(value: Any) -> bool:
    """Whether a value is text that begins as a binding does."""
    return isinstance(value, str) and value.lstrip().startswith("${{")


def given_input(value: Any, at: Path, found: Findings) -> Any:
    """An input of a pipeline job: a value or data; null means that it has no value."""
    if value is None:
        return {"type": "string", "optional": True}
    return input_shape(value, at, found)


def given_output(value: Any, at: Path, found: Findings) -> Any:
    """An output of a pipeline job; a type that is not said is that of the step's output."""
    if isinstance(value, str):
        remedy = "declare it as {type: ..., path: ...}, and write `${{parent.outputs.<name>}}` at the step's output"
        return found.problem(at, f"is {kind_of(value)}, not a mapping", remedy)
    shaped = output_shape(value, at, found)
    if shaped is not None and not (isinstance(value, Mapping) and value.get("type") is not None):
        del shaped["type"]
    return shaped


def datastore_name(value: Any, at: Path, found: Findings) -> Any:
    """`foo`, `azureml:foo` and `azureml://datastores/foo` are the same name."""
    name = text(value, at, found)
    return name.removeprefix("azureml:").removeprefix("//datastores/").rstrip("/") if name else None


def compute_name(value: Any, at: Path, found: Findings) -> Any:
    """`foo` and `azureml:foo` are the same name; a binding to an input of the pipeline is kept."""
    name = text(value, at, found)
    return name.removeprefix("azureml:") if name else None


def _hook(value: Any, at: Path, found: Findings) -> Any:
    return found.problem(at, "is not supported by this version", "leave it out; `depends_on` orders steps")


SETTINGS_KEYS: Mapping[str, Key] = {
    "default_datastore": Key(datastore_name, "where outputs without a path go", "that of the configuration"),
    "default_compute": Key(compute_name, "of steps that say none", "the pipeline's compute"),
    "continue_on_step_failure": Key(flag, "whether steps that do not depend on a failed one still run", "true"),
    "force_rerun": Key(flag, "whether every step runs, and none may be reused later", "false"),
    "on_init": Key(_hook, "not supported yet"),
    "on_finalize": Key(_hook, "not supported yet"),
}


def settings(value: Any, at: Path, found: Findings) -> Any:
    """The settings of a pipeline; what is not known is kept and told."""
    if not isinstance(value, Mapping):
        return found.problem(at, f"is {kind_of(value)}, not a mapping", "write keys below it, such as force_rerun")
    shaped = {}
    for name, item in value.items():
        if name in SETTINGS_KEYS:
            one = None if item is None else SETTINGS_KEYS[name].shape(item, (*at, name), found)
            if one is not None:
                shaped[name] = one
        else:
            close = did_you_mean(str(name), SETTINGS_KEYS, f"the settings are {', '.join(sorted(SETTINGS_KEYS))}")
            found.notice((*at, str(name)), f"is no setting of a pipeline and has no effect; {close}")
            shaped[str(name)] = item
    return shaped


def step_mappings(value: Any, at: Path, found: Findings) -> Any:
    """The steps by name, as they are written; what cannot be one is told, and stays for what refers to it."""
    if not isinstance(value, Mapping):
        return found.problem(at, f"is {kind_of(value)}, not a mapping", "write `<step>:` with its keys below it")
    kept = {}
    for name, step in value.items():
        here = (*at, str(name))
        if not isinstance(name, str) or not STEP_NAME.fullmatch(name):
            what = "is a step whose name is no identifier"
            found.problem(here, what, "use lower-case letters, digits and underscores, beginning with no digit")
        if not isinstance(step, Mapping):
            found.problem(here, f"is {kind_of(step)}, not a mapping", "write the keys of the step below it")
        kept[str(name)] = step
    return kept


PIPELINE_RUNNER = Table(
    keys={
        "max_concurrent_steps": Key(Whole(low=1), "steps that run at the same time", "2, or the cores if more"),
        "overwrite": OVERWRITE,
    },
)
_INPUTS = Key(MapOf(given_input, "`name: {type, path}`", GROUPED, nullable=True), "data and values by name")
_OUTPUTS = Key(MapOf(given_output, "`name: {type, path}`", GROUPED, nullable=True), "what steps make, by name")
PIPELINE = Table(
    keys={
        "type": Key(Choice((KIND,), fold=True), "`pipeline`"),
        **BASE,
        "inputs": _INPUTS,
        "outputs": _OUTPUTS,
        "settings": Key(settings, "of all steps together"),
        "jobs": Key(step_mappings, "the steps by name"),
        "component": Key(anything, "a pipeline component whose steps these are, in place of `jobs`"),
        "runner": Key(PIPELINE_RUNNER, "extensions of this runner"),
    },
    ignored=READ_ONLY,
    elsewhere={
        **dict.fromkeys(SETTINGS_KEYS, "settings"),
        "max_concurrent_steps": "runner",
        "depends_on": "the `runner:` of a step",
    },
)


def shape_pipeline(values: Mapping[str, Any], found: Findings) -> dict[str, Any]:
    """The document of a pipeline in its final types; the steps as they are written, empty groups left in."""
    shaped: dict[str, Any] = PIPELINE(values, (), found)
    shaped["type"] = KIND
    for name in ("inputs", "outputs", "properties", "settings", "tags"):
        shaped.setdefault(name, {})
    if shaped.get("component") is not None:
        if shaped.get("jobs"):
            found.problem(("component",), "and jobs are both there", "keep one of the two")
    else:
        shaped.setdefault("jobs", {})
    return shaped


# ---- components -------------------------------------------------------------------------------------------
DECLARED_TYPES = (*DATA_TYPES, *LITERAL_TYPES)
DECLARED_INPUT = Table(
    keys={
        "type": Key(Choice((*DECLARED_TYPES, "path"), fold=True), "what the input is", "uri_folder"),
        "optional": Key(flag, "whether it may be left out", "false"),
        "default": Key(anything, "the value when none is given"),
        "min": Key(anything, "the smallest number allowed"),
        "max": Key(anything, "the largest number allowed"),
        "enum": Key(anything, "the values allowed"),
        "mode": Key(text, "how data is read"),
        "description": Key(free_text, "for readers"),
    },
    ignored=frozenset({"is_control", "early_available", "intellectual_property", "datastore", "sweep"}),
)
DECLARED_OUTPUT = Table(
    keys={
        "type": Key(Choice((*DATA_TYPES, "path"), fold=True), "what the output is", "uri_folder"),
        "mode": Key(text, "how it is written"),
        "description": Key(free_text, "for readers"),
    },
    ignored=frozenset({"is_control", "early_available", "intellectual_property", "name", "version"}),
    tolerated={"path": "has no effect in a component; write it at the step, or at the pipeline's output"},
)


def component_name(value: Any, at: Path, found: Findings) -> Any:
    if isinstance(value, str) and COMPONENT_NAME.fullmatch(value):
        return value
    remedy = "use lower-case letters, digits and underscores, beginning with a letter"
    if isinstance(value, str) and _DASHED_NAME.fullmatch(value):
        found.notice(at, f"is {value!r}, which other tools refuse as the name of a component; {remedy}")
        return value
    return found.problem(at, f"is {kind_of(value)}, which cannot name a component", remedy)


IDENTITY_KEYS: Mapping[str, Key] = {
    "type": Key(Choice(STEP_KINDS, fold=True), "`command`, `parallel` or `pipeline`", "command"),
    "name": Key(component_name, "of the component"),
    "version": Key(spelt, "of the component"),
    "display_name": Key(text, "for readers"),
    "description": Key(free_text, "for readers"),
    "tags": Key(anything, "for readers"),
    "properties": Key(anything, "for programs"),
    "is_deterministic": Key(flag, "whether results may be reused", "true"),
    "inputs": Key(anything, "declared inputs: type, optional, default, min, max, enum"),
    "outputs": Key(anything, "declared outputs: type"),
}
"""What a component says of itself; its other keys are those of a job of its kind."""
IGNORED_IN_COMPONENTS = READ_ONLY | {"_source", "latest_version", "is_anonymous", "auto_delete_setting", "source"}
