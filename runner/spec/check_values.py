"""What can be wrong with the values of a job of any kind: paths, bindings, assets, environments."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from runner.errors import AssetNotFound, RunnerError
from runner.spec.bindings import references
from runner.spec.data_shapes import is_literal
from runner.spec.findings import Findings
from runner.spec.findings import Path as Place
from runner.spec.places import Places
from runner.spec.targets import Unplaceable, check_writable, place, place_input

_FREE = {("description",), ("display_name",), ("comment",), ("tags",), ("properties",)}
"""Text that is only shown."""
_TEMPLATES = ("name", "output_name", "default_datastore")
_ASSET = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,254}")


def check_alone(document: Mapping[str, Any], found: Findings) -> None:
    """Note what only a step of a pipeline can say."""
    if "depends_on" in document.get("runner", {}):
        found.problem(("runner", "depends_on"), "is for a step of a pipeline", "leave it out")


def check_assets(document: Mapping[str, Any], found: Findings) -> None:
    """Note outputs that cannot be registered as what they say."""
    wanted: dict[tuple[str, str], str] = {}
    for name, value in document["outputs"].items():
        asset, version = value.get("name"), value.get("version")
        if asset is not None and version is not None and (first := wanted.setdefault((asset, version), name)) != name:
            what = f"is {version!r}, and {asset}:{version} is what the output {first} becomes"
            found.problem(("outputs", name, "version"), what, "write another version, or leave it out")
        if version is not None and asset is None and found.is_clean("outputs", name, "name"):
            found.problem(("outputs", name, "version"), "has no name", "write `name:` beside it, or leave it out")
        for key, text in (("name", asset), ("version", version)):
            if text is not None and (not _ASSET.fullmatch(text) or text == "latest"):
                remedy = "use letters, digits, `.`, `_` and `-`"
                found.problem(("outputs", name, key), f"is {text!r}, which cannot be registered", remedy)


def check_places(document: Mapping[str, Any], base: Path, found: Findings) -> None:
    """Note paths of inputs and outputs that lead to no place that can be read or written."""
    for name, value in document["inputs"].items():
        if is_literal(value):
            continue
        try:
            place_input(value, base, None, takes_uri=document["type"] == "command")
        except Unplaceable as error:
            found.problem(("inputs", name, "path"), error.what, error.remedy)
    for name, value in document["outputs"].items():
        at = ("outputs", name, "path")
        path = value.get("path", "")
        unknown = [reference for reference in references(path) if reference not in _TEMPLATES]
        if unknown:
            what = f"holds ${{{{{unknown[0]}}}}}, a template of no known form"
            found.problem(at, what, "write ${{name}}, ${{output_name}} or ${{default_datastore}}")
            continue
        try:
            if path:
                check_writable(path)
                place(path, base, None)
        except Unplaceable as error:
            found.problem(at, error.what, error.remedy)


def check_versions(document: Mapping[str, Any], found: Findings, places: Places) -> None:
    """Note outputs that would be registered as a version that is there already."""
    for name, value in document["outputs"].items():
        asset, version = value.get("name"), value.get("version")
        if places.catalog is None or asset is None or version is None:
            continue
        try:
            places.catalog.asset("data", asset, version)
        except AssetNotFound:
            continue
        except RunnerError as error:
            found.problem(("outputs", name, "version"), f"cannot be looked up: {error}")
            continue
        what = f"is {version!r}, and the data asset {asset}:{version} is registered already"
        found.problem(("outputs", name, "version"), what, "write another version, or leave it out for the next one")


def check_strays(document: Mapping[str, Any], bound: Collection[Place], found: Findings) -> None:
    """Note bindings where nothing would ever put a value in; those at `bound` are looked at elsewhere."""
    _check_stray(document, (), bound, found)


def _check_stray(value: Any, at: Place, bound: Collection[Place], found: Findings) -> None:
    if at[:1] in _FREE or at[:1] in bound or at[:2] in bound or (at[:1] == ("outputs",) and at[2:] == ("path",)):
        return
    if isinstance(value, Mapping):
        for name, inner in value.items():
            _check_stray(inner, (*at, name), bound, found)
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            _check_stray(inner, (*at, index), bound, found)
    elif isinstance(value, str) and (stray := references(value)) and found.is_clean(*at):
        why = "but a job of its own has no parent" if stray[0].startswith("parent") else "where no binding is put in"
        found.problem(at, f"holds ${{{{{stray[0]}}}}}, {why}", "write the value itself")


def check_environment(environment: Any, at: tuple[str, ...], base: Path, found: Findings) -> None:
    """Note files of an environment that are not there; references and names are not looked up."""
    if not isinstance(environment, Mapping):
        return
    conda, build = environment.get("conda_file"), environment.get("build")
    if isinstance(conda, str):
        _check_there(conda, (*at, "conda_file"), base, found)
    if isinstance(build, Mapping) and isinstance(build.get("path"), str):
        _check_there(build["path"], (*at, "build", "path"), base, found)


def _check_there(path: str, at: tuple[str, ...], base: Path, found: Findings) -> None:
    try:
        placed = place(path, base, None)
    except Unplaceable:
        return  # a registered or remote environment, which is not used anyway
    if placed is not None and not Path(placed).exists():
        found.problem(at, f"leads to {placed}, and there is nothing", "mend the path, or leave it out")
