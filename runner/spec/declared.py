"""What components declare of their inputs and outputs, and how a given value becomes one of the declared type."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from runner.spec.data_shapes import GROUPED, LITERAL_TYPES
from runner.spec.findings import Findings, Path
from runner.spec.pipeline_schema import DECLARED_INPUT, DECLARED_OUTPUT
from runner.spec.shapes import kind_of, one_of

FILE_TYPES = ("uri_file",)
EITHER_TYPES = ("custom_model",)
"""Models that are one file or a folder, as it happens."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeclaredInput:
    """One input of a component."""

    name: str
    type: str
    is_optional: bool = False
    default: Any = None
    low: Any = None
    high: Any = None
    words: tuple[Any, ...] | None = None
    mode: str | None = None

    @property
    def is_literal(self) -> bool:
        """Whether this takes a value rather than data."""
        return self.type in LITERAL_TYPES


@dataclass(frozen=True, slots=True, kw_only=True)
class DeclaredOutput:
    """One output of a component."""

    name: str
    type: str
    mode: str | None = None


class Unfit(ValueError):
    """A value that is not of the declared type, or not in its range; says what is wrong and what to write."""

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(what, remedy)
        self.what = what
        self.remedy = remedy


def fitting(value: Any, declared: DeclaredInput) -> Any:
    """The literal value in the declared type.

    Raises:
        Unfit: it has no such value, or one out of range.
    """
    converted = _converted(value, declared.type)
    if declared.words is not None and converted not in declared.words:
        raise Unfit(f"is {kind_of(converted)}", f"write one of {', '.join(map(str, declared.words))}")
    if declared.type in ("integer", "number"):
        if declared.low is not None and converted < declared.low:
            raise Unfit(f"is {converted}, below the minimum {declared.low}", f"write {declared.low} or more")
        if declared.high is not None and converted > declared.high:
            raise Unfit(f"is {converted}, above the maximum {declared.high}", f"write {declared.high} or less")
    return converted


def _converted(value: Any, kind: str) -> Any:
    unfit = Unfit(f"is {kind_of(value)}, and the input takes a value of type {kind}", f"write a value of type {kind}")
    if isinstance(value, Mapping | list | tuple) or value is None:
        raise unfit
    if kind == "string":
        return str(value)
    if kind == "boolean":
        if value in (0, 1):  # as the public SDK dumps them
            return bool(value)
        word = str(value).lower()
        if word not in ("true", "false"):
            raise Unfit(unfit.what, "write true or false")
        return word == "true"
    if isinstance(value, bool):
        raise unfit
    try:
        number = int(value) if kind == "integer" and isinstance(value, str) else float(value)
    except ValueError:
        raise unfit from None
    except OverflowError:
        number = value
    if kind == "number":
        if not math.isfinite(number):
            raise unfit
        return number
    if isinstance(value, int):
        return value
    if isinstance(number, float):
        if not number.is_integer():
            raise unfit
        return int(number)
    return number


def declared_inputs(given: Any, at: Path, found: Findings) -> dict[str, DeclaredInput]:
    """The inputs that a component declares; notes what is wrong with them."""
    result: dict[str, DeclaredInput] = {}
    folded: dict[str, str] = {}
    for name, value in _named(given, at, found).items():
        here = (*at, name)
        if name.lower() in folded:
            found.problem(here, f"and {folded[name.lower()]} differ in case only", "give one of them another name")
        folded.setdefault(name.lower(), name)
        if not isinstance(value, Mapping):
            remedy = "declare it: {type: ..., default: ...}"
            found.problem(here, f"is {kind_of(value)}, not a mapping", remedy)
            continue
        shaped = DECLARED_INPUT(value, here, found)
        result[name] = _declared_input(name, shaped, here, found)
    return result


def _declared_input(name: str, shaped: Mapping[str, Any], at: Path, found: Findings) -> DeclaredInput:
    kind = "uri_folder" if shaped.get("type") == "path" else shaped.get("type", "uri_folder")
    words = shaped.get("enum")
    declared = DeclaredInput(
        name=name,
        type=kind,
        is_optional=bool(shaped.get("optional", False)),
        low=_bound(shaped, "min", at, found),
        high=_bound(shaped, "max", at, found),
        mode=shaped.get("mode"),
    )
    if not declared.is_literal:
        if "default" in shaped and found.is_clean(*at, "type"):
            remedy = f"leave it out, or declare one of the types {one_of(LITERAL_TYPES)}"
            found.problem((*at, "default"), f"has no meaning for data (type {kind})", remedy)
        return declared
    if declared.low is not None and declared.high is not None and declared.low > declared.high:
        found.problem((*at, "min"), f"is {declared.low}, above the max {declared.high}", "write the smaller one as min")
    if words is not None and not isinstance(words, list | tuple):
        found.problem((*at, "enum"), f"is {kind_of(words)}, not a list", "write the values allowed: [a, b]")
    elif words is not None:
        declared = replace(
            declared, words=tuple(_fitted(w, declared, (*at, "enum", i), found) for i, w in enumerate(words))
        )
    default = shaped.get("default")
    if default is not None:
        # A default that is no whole number is cut, as the public SDK cuts it; a value that is given is not.
        if kind == "integer" and isinstance(default, float) and math.isfinite(default) and not default.is_integer():
            found.notice((*at, "default"), f"is {default} for an integer; it is read as {int(default)}")
            default = int(default)
        declared = replace(declared, default=_fitted(default, declared, (*at, "default"), found))
    return declared


def _bound(shaped: Mapping[str, Any], key: str, at: Path, found: Findings) -> Any:
    value = shaped.get(key)
    if value is None:
        return None
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    try:
        return _converted(value, "number")
    except Unfit:
        return found.problem((*at, key), f"is {kind_of(value)}, not a number", "write a number")


def _fitted(value: Any, declared: DeclaredInput, at: Path, found: Findings) -> Any:
    try:
        return fitting(value, declared)
    except Unfit as error:
        return found.problem(at, error.what, error.remedy)


def declared_outputs(given: Any, at: Path, found: Findings) -> dict[str, DeclaredOutput]:
    """The outputs that a component declares; notes what is wrong with them."""
    result = {}
    for name, value in _named(given, at, found).items():
        here = (*at, name)
        if value is not None and not isinstance(value, Mapping):
            found.problem(here, f"is {kind_of(value)}, not a mapping", "declare it: {type: uri_folder}")
            continue
        shaped = DECLARED_OUTPUT(value or {}, here, found)
        kind = shaped.get("type", "uri_folder")
        result[name] = DeclaredOutput(name=name, type="uri_folder" if kind == "path" else kind, mode=shaped.get("mode"))
    return result


def _named(given: Any, at: Path, found: Findings) -> Mapping[str, Any]:
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        found.problem(at, f"is {kind_of(given)}, not a mapping", "write `<name>: {type: ...}` below it")
        return {}
    kept = {}
    for name, value in given.items():
        if isinstance(name, str) and GROUPED.fullmatch(name):
            kept[name] = value
        else:
            found.problem(
                (*at, str(name)), "is not a name that can be used here", "use letters, digits and underscores"
            )
    return kept


def is_compatible(made: str, wanted: str) -> bool:
    """Whether data of one type can be given where another is wanted: one file is no folder."""
    if made in EITHER_TYPES or wanted in EITHER_TYPES:
        return True
    return (made in FILE_TYPES) == (wanted in FILE_TYPES)
