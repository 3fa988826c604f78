"""A checked command to what its driver is given: absolute paths, decided groups, defaults in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runner.entity.command import CommandInput, CommandOutput, CommandSpec, Distribution
from runner.entity.job import OutputState
from runner.spec.bindings import GroupOpen, decide_groups, modernise, references, substitute
from runner.spec.command_job import CommandJob
from runner.spec.command_schema import shape_command
from runner.spec.data_shapes import is_literal, literal_of
from runner.spec.findings import Findings
from runner.spec.meaning import has_value, text_of_literal
from runner.spec.places import Places
from runner.spec.surroundings import say_fallbacks
from runner.spec.targets import NOT_LOOKED_UP, Target, Unplaceable, place_input, place_output
from runner.spec.validate import findings_of

_MODES = {"mount": "rw_mount"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolvedCommand:
    """A command ready to be run, and what the store should know of its outputs."""

    spec: CommandSpec
    outputs: tuple[OutputState, ...]


def resolve_command(
    job: CommandJob, *, name: str, places: Places, code: Path | None, root_name: str = ""
) -> ResolvedCommand:
    """Resolve a command that `validate` found no problem with.

    Args:
        name: the job's final name, part of default output paths.
        code: the pinned tree of its code; None when it has none.
        root_name: the pipeline it is a step of.

    Raises:
        SpecInvalid: something is wrong after all.
    """
    found = findings_of(job)
    document = shape_command(job.written(), found)
    found.raise_if_any()
    base = job.base_path
    targets = _targets(document, name, base, places, found)
    inputs = _inputs(document, base, places, found)
    known = {"name": name, "default_datastore": places.default_datastore}
    command = modernise(document.get("command") or "", ("command",), found)
    say_fallbacks(document, places, found)
    compute = places.compute_of(document.get("compute"))
    runner, resources = document.get("runner", {}), document.get("resources", {})
    distribution = _distribution(document)
    instance_count = int(resources.get("instance_count", 1))
    settings: dict[str, Any] = {
        "timeout_s": _float(document.get("limits", {}).get("timeout")),
        "max_retries": runner.get("retry_settings", {}).get("max_retries"),
        "cancel_grace_s": _float(runner.get("cancel_grace")),
        "overwrite": runner.get("overwrite"),
        "gpu_count": _gpu_count(runner, distribution),
    }
    spec = CommandSpec(
        name=name,
        root_name=root_name or name,
        experiment_name=job.experiment_name or "Default",
        command=_decided(document, command, ("command",), known, found).rstrip(),
        code=None if code is None else str(code),
        inputs=inputs,
        outputs=tuple(_output(target, document["outputs"][target.name]) for target in targets),
        environment_variables={
            key: _decided(document, value, ("environment_variables", key), known, found)
            for key, value in document["environment_variables"].items()
        },
        distribution=distribution,
        instance_count=instance_count,
        compute=compute.kind,
        ray_address=compute.address,
        notices=tuple(dict.fromkeys((*(job.origin.notices if job.origin else ()), *found.notices))),
        **{key: value for key, value in settings.items() if value is not None},
    )
    found.raise_if_any()
    return ResolvedCommand(
        spec=spec, outputs=tuple(OutputState(name=t.name, type=t.type, path=t.path) for t in targets)
    )


def _targets(document: Mapping[str, Any], job: str, base: Path, places: Places, found: Findings) -> list[Target]:
    targets = []
    for name, value in document["outputs"].items():
        try:
            targets.append(place_output(name, value, job, base, places))
        except Unplaceable as error:
            found.problem(("outputs", name, "path"), error.what, error.remedy)
    return targets


def _inputs(document: Mapping[str, Any], base: Path, places: Places, found: Findings) -> tuple[CommandInput, ...]:
    """The inputs that have a value."""
    inputs = []
    for name, value in document["inputs"].items():
        if not has_value(document, f"inputs.{name}"):
            continue
        if is_literal(value):
            literal = CommandInput(name=name, type=_literal_type(value), text=text_of_literal(value), mode="literal")
            inputs.append(literal)
            continue
        try:
            text = place_input(value, base, places, takes_uri=True)
        except Unplaceable as error:
            found.problem(("inputs", name, "path"), error.what, error.remedy)
            continue
        if text is None:
            found.problem(("inputs", name, "path"), *NOT_LOOKED_UP)
        else:
            mode = value.get("mode", "ro_mount")
            inputs.append(CommandInput(name=name, type=value["type"], text=text, mode=mode))
    return tuple(inputs)


def _literal_type(value: Any) -> str:
    if isinstance(value, Mapping):
        return str(value["type"])
    literal = literal_of(value)
    kinds: dict[type, str] = {bool: "boolean", int: "integer", float: "number"}
    return kinds.get(type(literal), "string")


def _output(target: Target, value: Mapping[str, Any]) -> CommandOutput:
    mode = value.get("mode", "rw_mount")
    return CommandOutput(
        name=target.name,
        type=target.type,
        target=target.path,
        is_folder=target.is_folder,
        has_path=value.get("path") is not None,
        mode=_MODES.get(mode, mode),
        asset_name=value.get("name", ""),
        asset_version=value.get("version", ""),
    )


def _decided(
    document: Mapping[str, Any], text: str, at: tuple[str, ...], known: Mapping[str, str], found: Findings
) -> str:
    """The text with its groups decided and all bindings in their plain form; what is known by now is put in."""
    try:
        decided = decide_groups(text, lambda reference: has_value(document, reference))
    except GroupOpen as error:
        found.problem(at, f"cannot be read: {error}", "close it")
        return text
    for reference in dict.fromkeys(references(decided)):
        if not has_value(document, reference):
            what = f"uses ${{{{{reference}}}}}, an optional input without a value"
            found.problem(at, what, f"put it in a group: $[[--flag ${{{{{reference}}}}}]]")
    return substitute(decided, lambda reference: known.get(reference, f"${{{{{reference}}}}}"))


def _distribution(document: Mapping[str, Any]) -> Distribution | None:
    said = document.get("distribution")
    if said is None:
        return None
    counts = ("process_count_per_instance", "worker_count", "parameter_server_count")
    options = {key: _spelt(value) for key, value in said.items() if key not in (*counts, "type")}
    return Distribution(kind=said["type"], options=options, **{key: said[key] for key in counts if key in said})


def _spelt(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _gpu_count(runner: Mapping[str, Any], distribution: Distribution | None) -> float | None:
    """The GPUs of one instance."""
    each = runner.get("gpus_per_worker")
    return None if each is None else float(each) * (distribution.process_count_per_instance if distribution else 1)


def _float(value: Any) -> float | None:
    return None if value is None else float(value)
