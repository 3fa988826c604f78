"""Inputs and outputs of a document to places on this machine."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runner.spec.bindings import references, substitute
from runner.spec.paths import DATASTORE, absolute, is_local, plain_path
from runner.spec.places import Places


class Unplaceable(ValueError):
    """A path that leads nowhere on this machine; says what is wrong and what to write."""

    def __init__(self, what: str, remedy: str) -> None:
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
    """The absolute path that `path` leads to; None when that needs `places` and there are none.

    Raises:
        Unplaceable: it leads to no place that this version can read or write.
    """
    path = plain_path(path)
    if is_local(path):
        return absolute(path, base)
    match = DATASTORE.fullmatch(path)
    if match is None:
        if path.startswith("azureml:") and "://" not in path:
            raise Unplaceable(
                f"is {path!r}, a registered asset, which this version cannot look up",
                "write a path, or azureml://datastores/<datastore>/paths/<path>",
            )
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


def place_input(value: dict[str, Any], base: Path, places: Places | None) -> str | None:
    """Where the data of an input is; None when it has no path, or one that needs `places`."""
    path = value.get("path")
    if path is None:
        return None
    if references(path):
        raise Unplaceable(f"is {path!r}, and a job of its own has no parent to take it from", "write the path itself")
    return place(path, base, places)


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
    path = value.get("path") or "azureml://datastores/${{default_datastore}}/paths/azureml/${{name}}/${{output_name}}"
    placed = place(substitute(path, value_of), base, places)
    if placed is None:
        raise Unplaceable(f"is {path!r}, which leads nowhere", "write a path")
    return Target(name=name, type=kind, path=placed)
