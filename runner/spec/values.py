"""What an input of a step stands for once its bindings are followed, and the forms that a binding can have."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Literal

from runner.entity.pipeline import KEY_JOINT
from runner.spec.findings import did_you_mean

_NAME = r"[a-zA-Z_]\w*(?:\.[a-zA-Z_]\w*)*"
_FORMS = re.compile(
    rf"parent\.inputs\.(?P<input>{_NAME})|parent\.outputs\.(?P<output>{_NAME})"
    rf"|parent\.jobs\.(?P<step>[^.\s]+)\.(?P<side>inputs|outputs)\.(?P<port>{_NAME})",
    re.ASCII,
)
_OLD = re.compile(rf"(?:inputs|outputs|jobs\.[^.\s]+\.(?:inputs|outputs))\.{_NAME}", re.ASCII)
_STEP_OUTPUT = re.compile(r"\$\{\{steps\.([a-z0-9_/]+)\.outputs\.([\w.]+)\}\}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Value:
    """A literal, data as {type, path, mode}, or nothing."""

    given: Any = None
    sources: tuple[tuple[str, str], ...] = ()
    """The outputs that stand in it, each as the key of its step and its name."""
    is_literal: bool = True
    is_optional: bool = False
    """Of an optional input of the pipeline, so that there need not be a value."""
    is_bound: bool = False
    """Taken whole from an input of the pipeline or of another step, where it is looked at."""
    is_broken: bool = False
    """About which a problem was told, so that nothing more is said."""

    @property
    def is_missing(self) -> bool:
        return self.given is None and not self.is_broken


MISSING = Value()
BROKEN = Value(is_broken=True)


@dataclass(frozen=True, slots=True)
class Binding:
    """`parent.inputs.x`, `parent.outputs.y`, `parent.jobs.a.outputs.b` or `parent.jobs.a.inputs.b`."""

    side: Literal["inputs", "outputs"]
    name: str
    step: str | None = None


def binding_of(reference: str) -> Binding | None:
    """What stands between the braces as a binding; None when it is of no known form."""
    match = _FORMS.fullmatch(reference)
    if match is None:
        return None
    if match["input"]:
        return Binding("inputs", match["input"])
    if match["output"]:
        return Binding("outputs", match["output"])
    return Binding("outputs" if match["side"] == "outputs" else "inputs", match["port"], match["step"])


def form_remedy(reference: str) -> str:
    """What to write in place of something in braces that is no binding."""
    if _OLD.fullmatch(reference):
        return f"write ${{{{parent.{reference}}}}}"
    first, dot, rest = reference.partition(".")
    if dot and first != "parent" and binding_of(f"parent.{rest}") is not None:
        return f"did you mean ${{{{parent.{rest}}}}}?"
    parts = reference.split(".")
    if first == "parent" and len(parts) > 2:
        meant = did_you_mean(parts[1], ("inputs", "outputs", "jobs"), "")
        if meant and parts[1] not in ("inputs", "outputs", "jobs"):
            return meant
    return "write ${{parent.inputs.<input>}} or ${{parent.jobs.<step>.outputs.<output>}}"


def step_output(key: str, output: str) -> str:
    """An output of another step as it stands in a step's document until that step has completed."""
    return f"${{{{steps.{key}.outputs.{output}}}}}"


def step_outputs_in(text: str) -> list[tuple[str, str]]:
    """The outputs of steps that stand in a text, each as the key of its step and its name."""
    return _STEP_OUTPUT.findall(text) if "${{steps." in text else []


def put_outputs(text: str, place_of: Any) -> str | None:
    """The text with the places of outputs put in; None when one of them has none."""
    places = [place_of(key, output) for key, output in step_outputs_in(text)]
    if any(place is None for place in places):
        return None
    rest = iter(places)
    return _STEP_OUTPUT.sub(lambda _: next(rest), text)


def step_of(key: str) -> str:
    """The name that a step has in its own pipeline."""
    return key.rpartition(KEY_JOINT)[2]
