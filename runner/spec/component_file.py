"""A component in a file of its own, read and checked by itself, as it is registered."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from runner.errors import Problem, SpecInvalid
from runner.spec import pipeline_kind
from runner.spec.components import Component, Shelf
from runner.spec.data_shapes import LITERAL_TYPES
from runner.spec.declared import DeclaredInput
from runner.spec.findings import Findings
from runner.spec.inlining import Files, inlined
from runner.spec.paths import absolute_paths

_SAMPLES: Mapping[str, Any] = {"integer": 1, "number": 1.0, "boolean": True, "string": "text"}
_STEP = "step"


def load_component(file: str | os.PathLike[str]) -> dict[str, Any]:
    """What the file says, every path absolute, and the files of components within it put in.

    Raises:
        SpecInvalid: everything that is wrong with it, with file and line.
    """
    shown, path = os.fspath(file), os.path.abspath(file)
    if not os.path.exists(path):
        remedy = f"looked for {path}"
        raise SpecInvalid((Problem(file=shown, line=0, path="", what="there is no such file", remedy=remedy),))
    files: Files = {}
    found = Findings(shown)
    shelf = Shelf(files)
    component = shelf.take(path, Path("/"), (), found)
    if component is not None and not component.said.get("name"):
        component.found.problem((), "the component has no name", "write `name:`, which it is registered under")
    if component is not None:
        _check(component, path, files, found)
    for one in shelf.findings:
        found.take(one)
    found.raise_if_any()
    assert component is not None, "a component that cannot be made was told"
    if component.kind == "pipeline":
        return inlined(component.said, component.base, files, (path,))
    return absolute_paths(dict(component.said), component.base)


def _check(component: Component, path: str, files: Files, found: Findings) -> None:
    """Check it as the only step of a pipeline that gives it a value for everything it needs."""
    needed = {name: one for name, one in component.inputs.items() if not one.is_optional}
    document = {
        "type": "pipeline",
        "inputs": {name: _sample(one) for name, one in needed.items()},
        "jobs": {
            _STEP: {
                "type": component.kind,
                "component": path,
                "inputs": {name: f"${{{{parent.inputs.{name}}}}}" for name in needed},
            }
        },
    }
    shaped = pipeline_kind.shape(document, component.base, found)
    shaped.files = files
    pipeline_kind.check(shaped, component.base, found)


def _sample(declared: DeclaredInput) -> Any:
    """A value that fits."""
    if declared.type not in LITERAL_TYPES:
        return {"type": declared.type, "path": f"/inputs/{declared.name}"}
    for value in (declared.default, *(declared.words or ()), declared.low, declared.high):
        if value is not None:
            return value
    return _SAMPLES[declared.type]
