"""Inputs and outputs of a document to places on this machine."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runner.entity.asset import Asset
from runner.errors import AssetNotFound, JobNotFound, RunnerError
from runner.spec.bindings import references, substitute
from runner.spec.catalog import Catalog
from runner.spec.findings import did_you_mean
from runner.spec.paths import DATASTORE, absolute, is_local, plain_path
from runner.spec.places import Places

ASSET = re.compile(r"azureml:([A-Za-z0-9_][A-Za-z0-9_.-]*)(?::([A-Za-z0-9_.-]+)|(@latest))?")
JOB_OUTPUT = re.compile(
    r"azureml:(?://)?jobs/([A-Za-z0-9._-]+)/outputs/([A-Za-z_][A-Za-z0-9_]*)(?:/paths(?=/|$))?(?:/(.*))?", re.DOTALL
)
URI = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]*://")
_ASSET_FORMS = "write azureml:<name>:<version>, azureml:<name>@latest or azureml:jobs/<job>/outputs/<output>"
NOT_LOOKED_UP = ("names something registered, and nothing is looked up here", "submit the job, or write a path")
_WRITABLE = "write a path, or azureml://datastores/<datastore>/paths/<path>"


class Unplaceable(ValueError):
    """A path that leads nowhere on this machine; says what is wrong and what to write."""

    def __init__(self, what: str, remedy: str = "") -> None:
        super().__init__(what, remedy)
        self.what = what
        self.remedy = remedy


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """An output of a job: where it will be, and whether that is one file or a folder."""

    name: str
    type: str
    path: str

    @property
    def is_folder(self) -> bool:
        return self.type != "uri_file"

    @property
    def folder(self) -> str:
        """The folder that has to be there before the script runs."""
        return self.path if self.is_folder else os.path.dirname(self.path)


def place(path: str, base: Path, places: Places | None) -> str | None:
    """The absolute path that `path` leads to; None when that needs `places`, or their catalog, and there is none.

    Raises:
        Unplaceable: it leads to no place that can be read or written.
    """
    path = plain_path(path)
    if is_local(path):
        return absolute(path, base)
    catalog = places.catalog if places is not None else None
    if (output := JOB_OUTPUT.fullmatch(path)) is not None:
        return None if catalog is None else _place_output_of(path, output, catalog)
    if path.startswith("azureml:") and "://" not in path:
        if ASSET.fullmatch(path) is None:
            raise Unplaceable(f"is {path!r}, which is no name of an asset", _ASSET_FORMS)
        return None if catalog is None else place_asset(path, catalog).path
    match = DATASTORE.fullmatch(path)
    if match is None:
        raise Unplaceable(
            f"is {path!r}, which is no place on this machine",
            "write a path, or azureml://datastores/<datastore>/paths/<path>",
        )
    name, rest = match[1], match[2] or ""
    if places is None:
        return None
    folder = places.datastore(name)
    if folder is None or ".." in rest.split("/"):
        raise Unplaceable(f"is {path!r}, which leads out of its datastore", "write a plain path after /paths/")
    return os.path.normpath(os.path.join(os.path.abspath(folder), rest.lstrip("/")))


def place_asset(path: str, catalog: Catalog) -> Asset:
    """The data asset that `azureml:name:version`, `azureml:name@latest` or `azureml:name` names.

    Raises:
        Unplaceable: there is none of that name, or of that version.
    """
    match = ASSET.fullmatch(path)
    assert match is not None
    name, version = match[1], match[2] or "latest"
    try:
        return catalog.asset("data", name, version)
    except AssetNotFound:
        pass
    except RunnerError as error:
        raise Unplaceable(f"is {path!r}, and cannot be looked up: {error}") from None
    if version != "latest" and (newest := _newest(catalog, name)) is not None:
        what = f"is {path!r}, and no version {version} of that data asset is registered"
        raise Unplaceable(what, f"the newest is azureml:{name}:{newest}")
    what = f"is {path!r}, and no data asset of that name is registered"
    raise Unplaceable(what, f"register it, or write a path (./{name} for one beside the file)")


def names_no_version(path: str) -> bool:
    """Whether a path is a registered name alone, which means the newest version of it."""
    match = ASSET.fullmatch(plain_path(path))
    return match is not None and JOB_OUTPUT.fullmatch(path) is None and match[2] is None and match[3] is None


def _newest(catalog: Catalog, name: str) -> str | None:
    try:
        return catalog.asset("data", name, "latest").version
    except RunnerError:
        return None


def _place_output_of(path: str, match: re.Match[str], catalog: Catalog) -> str:
    job, name, rest = match[1], match[2], match[3] or ""
    if ".." in rest.split("/"):
        raise Unplaceable(f"is {path!r}, which leads out of that output", "write a plain path after the output's name")
    try:
        outputs = {output.name: output for output in catalog.outputs(job)}
    except JobNotFound:
        what = f"is {path!r}, and there is no job {job!r}"
        raise Unplaceable(what, "`runner list` shows the jobs there are") from None
    except RunnerError as error:
        raise Unplaceable(f"is {path!r}, and cannot be looked up: {error}") from None
    if name not in outputs:
        listed = f"it has {', '.join(sorted(outputs))}" if outputs else "it has none"
        what = f"is {path!r}, and the job {job!r} has no output {name!r}"
        raise Unplaceable(what, did_you_mean(name, outputs, listed))
    return os.path.normpath(os.path.join(outputs[name].path, rest.strip("/")))


def place_input(value: dict[str, Any], base: Path, places: Places | None, *, takes_uri: bool = False) -> str | None:
    """Where the data of an input is; None when it has no path, or one that needs `places` or their catalog.

    With `takes_uri` an input of the mode `direct` may be a URI of elsewhere, which is given as it is.
    """
    path = value.get("path")
    if path is None:
        return None
    if references(path):
        raise Unplaceable(f"is {path!r}, and a job of its own has no parent to take it from", "write the path itself")
    if takes_uri and value.get("mode") == "direct" and URI.match(path) and not path.startswith(("file:", "azureml:")):
        return str(path)
    return place(path, base, places)


def is_pattern(path: str) -> bool:
    """Whether a path may be one of many: it holds `*`, `?` or `[`."""
    return any(sign in path for sign in "*?[")


def root_of_pattern(pattern: str) -> str:
    """The folder that everything a pattern matches is in."""
    parts = pattern.split("/")
    plain = next(number for number, part in enumerate(parts) if is_pattern(part))
    return "/".join(parts[:plain]) or "/"


def check_writable(path: str) -> None:
    """Whether a path can be an output's at all; raises Unplaceable when it names what exists already by itself."""
    path = plain_path(path)
    if ASSET.fullmatch(path) or JOB_OUTPUT.fullmatch(path):
        raise Unplaceable(f"is {path!r}, which is there already and never changes", _WRITABLE)


def place_output(name: str, value: dict[str, Any], job: str, base: Path, places: Places) -> Target:
    """Where an output of the job named `job` will be.

    Raises:
        Unplaceable: it leads to no place that this version can write.
    """
    known = {"name": job, "output_name": name, "default_datastore": places.default_datastore}

    def value_of(reference: str) -> str:
        if reference not in known:
            what = f"holds ${{{{{reference}}}}}, a template of no known form"
            raise Unplaceable(what, "write ${{name}}, ${{output_name}} or ${{default_datastore}}")
        return known[reference]

    kind = value.get("type", "uri_folder")
    if "path" in value:
        check_writable(value["path"])
    path = value.get("path") or "azureml://datastores/${{default_datastore}}/paths/azureml/${{name}}/${{output_name}}"
    placed = place(substitute(path, value_of), base, places)
    if placed is None:
        raise Unplaceable(f"is {path!r}, which leads nowhere", _WRITABLE)
    return Target(name=name, type=kind, path=placed)
