"""Puts the content of component files into a pipeline's document, so that it means the same wherever it travels."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from runner.errors import SpecInvalid
from runner.spec.components import read_component_file
from runner.spec.document import Document
from runner.spec.findings import Findings
from runner.spec.paths import absolute, absolute_paths, plain_path

Files = dict[str, Document | SpecInvalid]


def inlined(document: Mapping[str, Any], base: Path, files: Files, inside: tuple[str, ...] = ()) -> dict[str, Any]:
    """The document of a pipeline, or a pipeline component, with every component in it and every path absolute.

    What cannot be read stays as it is written, its path absolute: the checks tell it.
    """
    jobs = document.get("jobs")
    rest = {key: value for key, value in document.items() if key not in ("jobs", "component")}
    result = absolute_paths({**rest, "type": "pipeline"}, base)
    if isinstance(jobs, Mapping):
        result["jobs"] = {name: _step(step, base, files, inside) for name, step in jobs.items()}
    if document.get("component") is not None:
        result["component"] = _component(document["component"], base, files, inside)
    return result


def _step(step: Any, base: Path, files: Files, inside: tuple[str, ...]) -> Any:
    if not isinstance(step, Mapping):
        return step
    reference = step.get("component")
    # A step without a type says what its component is; its own paths are the same for every kind.
    result = absolute_paths({key: value for key, value in step.items() if key != "component"}, base)
    if reference is not None:
        result["component"] = _component(reference, base, files, inside)
    return result


def _component(reference: Any, base: Path, files: Files, inside: tuple[str, ...]) -> Any:
    if isinstance(reference, Mapping):
        return _content(reference, base, files, inside)
    if not isinstance(reference, str):
        return reference
    path = plain_path(reference.strip().removeprefix("file:"))
    if path.startswith("azureml:") or "://" in path:
        return path
    file = absolute(path, base)
    if file in inside or not read_component_file(file, files, (), Findings(file)):
        return file
    document = files[file]
    if isinstance(document, SpecInvalid) or document.problems:
        return file
    return _content(document.values, Path(file).parent, files, (*inside, file))


def _content(said: Mapping[str, Any], base: Path, files: Files, inside: tuple[str, ...]) -> dict[str, Any]:
    if str(said.get("type", "")).lower() == "pipeline":
        return inlined(said, base, files, inside)
    return absolute_paths(dict(said), base)
