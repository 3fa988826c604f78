"""The value of a step's input as its component takes it: the default, converted, or a problem."""

from __future__ import annotations

from dataclasses import replace

from runner.spec.declared import DeclaredInput, Unfit, fitting, is_compatible
from runner.spec.findings import Findings
from runner.spec.findings import Path as Place
from runner.spec.nodes import Node
from runner.spec.shapes import kind_of
from runner.spec.values import BROKEN, Value

_TYPES_REMEDY = "give it data of its own type: one file (uri_file) is no folder"


def fit_input(value: Value, declared: DeclaredInput, node: Node, at: Place) -> Value:
    """The value as the component takes it: its default, converted, or a problem."""
    found = node.found
    assert node.component is not None
    whose = f"of the component {node.component.title}" if node.component.reference else "of the component"
    if value.is_missing:
        if declared.default is not None:
            return Value(declared.default)
        if declared.is_optional:
            return Value(None, is_literal=declared.is_literal, is_optional=True)
        if value.is_optional:
            what = f"is a required input {whose}, and is bound to an optional input of the pipeline"
            found.problem(at, what, "give that one a default, or declare this one optional")
        else:
            remedy = f"write a value of type {declared.type} for it below `inputs:`"
            found.problem(at, f"is not given: it is a required input {whose}", remedy)
        return BROKEN
    if value.is_optional and not declared.is_optional and declared.default is None:
        what = f"is a required input {whose}, and is bound to an optional input of the pipeline"
        found.problem(at, what, "give that one a default, or declare this one optional")
        return BROKEN
    if declared.is_literal:
        return _fit_literal(value, declared, at, found, whose)
    if value.is_literal:
        what = f"is {kind_of(value.given)}, and the input {whose} takes data of type {declared.type}"
        found.problem(at, what, f"write {{type: {declared.type}, path: ...}}")
        return BROKEN
    made = value.given["type"]
    what = f"is of type {made}, and the input {whose} is of type {declared.type}"
    if is_compatible(made, declared.type):
        data = {**value.given, "type": declared.type}
    elif value.sources:
        found.problem(at, what, _TYPES_REMEDY)
        return BROKEN
    else:
        # Public examples give one file to a component that declares a folder: what is written counts.
        found.notice(at, f"{what}; it is given as {made}")
        data = dict(value.given)
    if declared.mode and "mode" not in data:
        data["mode"] = declared.mode
    return replace(value, given=data)


def _fit_literal(value: Value, declared: DeclaredInput, at: Place, found: Findings, whose: str) -> Value:
    if not value.is_literal:
        what = f"is data of type {value.given['type']}, and the input {whose} takes a value of type {declared.type}"
        found.problem(at, what, f"give it a value of type {declared.type}")
        return BROKEN
    if value.sources:
        if declared.type == "string":
            return value
        what = f"holds an output of a step, and the input {whose} takes a value of type {declared.type}"
        found.problem(at, what, f"give it a value of type {declared.type}")
        return BROKEN
    try:
        return replace(value, given=fitting(value.given, declared))
    except Unfit as error:
        found.problem(at, error.what, error.remedy)
        return BROKEN
