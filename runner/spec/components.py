"""Components: what steps are made from, in files of their own, inline, or registered.

Each is read once, and its complaints name its own file and line.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from runner.errors import AssetNotFound, SpecInvalid
from runner.spec.catalog import Catalog
from runner.spec.declared import DeclaredInput, DeclaredOutput, declared_inputs, declared_outputs
from runner.spec.document import Document, read_document
from runner.spec.findings import Findings, Routed
from runner.spec.findings import Path as Place
from runner.spec.paths import absolute, absolute_paths, plain_path
from runner.spec.pipeline_schema import (
    IDENTITY_KEYS,
    IGNORED_IN_COMPONENTS,
    REFUSED_KINDS,
    STEP_KINDS,
)
from runner.spec.shapes import kind_of, one_of

_REGISTERED = re.compile(r"azureml:(?P<name>[^:@/]+)(?:[:@](?P<version>[^:@/]+))?")
_ANONYMOUS = "azureml_anonymous"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Component:
    """A component as it is written, with what it declares; its own keys are those of a job of its kind."""

    kind: str
    said: Mapping[str, Any]
    """All it says, as it is written."""
    body: Mapping[str, Any]
    """The keys of a job of its kind, paths absolute; of a pipeline, what it says."""
    base: Path
    found: Findings
    file: str = ""
    """Absolute; empty when it is inline or registered."""
    name: str = ""
    version: str = ""
    display_name: str = ""
    is_deterministic: bool | None = None
    inputs: Mapping[str, DeclaredInput] = field(default_factory=dict)
    outputs: Mapping[str, DeclaredOutput] = field(default_factory=dict)
    is_known: bool = True
    """Whether what it says is known: a registered one is looked up when the job is submitted."""

    @property
    def reference(self) -> str:
        """`name:version`; empty for one without a name of its own."""
        if not self.name or self.name == _ANONYMOUS:
            return ""
        return f"{self.name}:{self.version}" if self.version else self.name

    @property
    def title(self) -> str:
        """What it is called in a message."""
        return repr(self.name) if self.reference else "of the step"


class Shelf:
    """The components of one pipeline, each read once. What is found in their files is kept until it is asked for."""

    def __init__(self, files: dict[str, Document | SpecInvalid], catalog: Catalog | None = None) -> None:
        self.findings: list[Findings] = []
        """Of the files and registered components that were read."""
        self._catalog = catalog
        self._files = files
        """What the files say by their absolute paths, also beyond this shelf: what was read once stays as it was."""
        self._read: dict[str, Component | None] = {}
        self._inline: dict[tuple[int, str], tuple[Any, Component | None]] = {}

    def take(self, reference: Any, base: Path, at: Place, found: Findings, kind: str = "") -> Component | None:
        """The component that a step of a kind names at `at`; None, and a problem noted, when there is none."""
        if isinstance(reference, Mapping):
            known = self._inline.get((id(reference), str(base)))
            if known is None:
                component = component_of(reference, base, Routed.below(found, at), kind_said=kind)
                # The mapping is kept, so that its identity stays its own.
                known = self._inline[id(reference), str(base)] = (reference, component)
            return known[1]
        if not isinstance(reference, str) or not reference.strip():
            remedy = "write the path of a component file, `azureml:<name>:<version>`, or its keys below it"
            found.problem(at, f"is {kind_of(reference)}, which is no component", remedy)
            return None
        reference = plain_path(reference.strip().removeprefix("file:"))
        if "://" in reference:
            what = f"is {reference!r}, which this machine cannot look up"
            found.problem(at, what, "write the path of a component file, or `azureml:<name>:<version>`")
            return None
        if reference.startswith("azureml:"):
            return self._registered(reference, at, found)
        file = absolute(reference, base)
        if not read_component_file(file, self._files, at, found):
            return None
        if file not in self._read:
            self._read[file] = self._from_file(file, kind)
        return self._read[file]

    def _from_file(self, file: str, kind: str) -> Component | None:
        """The component in a file that was read."""
        document = self._files[file]
        if isinstance(document, SpecInvalid):
            found = Findings(document.problems[0].file)
            for problem in document.problems:
                found.add(problem)
            self.findings.append(found)
            return None
        found = Findings(document.file, document.lines)
        for problem in document.problems:
            found.add(problem)
        self.findings.append(found)
        return component_of(document.values, Path(file).parent, found, file=file, kind_said=kind)

    def _registered(self, reference: str, at: Place, found: Findings) -> Component | None:
        match = _REGISTERED.fullmatch(reference)
        if match is None:
            remedy = "write `azureml:<name>:<version>` or `azureml:<name>@latest`"
            found.problem(at, f"is {reference!r}, which names no component", remedy)
            return None
        if self._catalog is None:
            if reference not in self._read:
                said: dict[str, Any] = {}
                self._read[reference] = Component(
                    kind="", said=said, body=said, base=Path("/"), found=Findings(reference), is_known=False
                )
            return self._read[reference]
        if reference not in self._read:
            try:
                asset = self._catalog.asset("component", match["name"], match["version"] or "latest")
            except AssetNotFound as error:
                found.problem(at, f"is {reference!r}: {error}")
                return None
            own = Findings(f"component {asset.name}:{asset.version}")
            self.findings.append(own)
            said = {"type": asset.type, **asset.document, "name": asset.name, "version": asset.version}
            self._read[reference] = component_of(said, Path("/"), own)
        return self._read[reference]


def kind_like(values: Mapping[str, Any]) -> str:
    """The kind of something that does not say its type, by a key that only that kind has; empty when it has none."""
    if "command" in values:
        return "command"
    if "jobs" in values:
        return "pipeline"
    return "parallel" if not values.keys().isdisjoint(("task", "input_data", "mini_batch_size")) else ""


def read_component_file(file: str, files: dict[str, Document | SpecInvalid], at: Place, found: Findings) -> bool:
    """Put what a file says into `files`, if it is not there; False, and a problem at `at`, when it cannot be read."""
    if file in files:
        return True
    remedy = "mend the path; it starts from the folder of the file that says it"
    try:
        text = Path(file).read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        return bool(found.problem(at, f"leads to {file}, and there is nothing", remedy))
    except IsADirectoryError:
        return bool(found.problem(at, f"leads to the folder {file}", "write the path of the YAML file in it"))
    except UnicodeDecodeError:
        return bool(found.problem(at, f"leads to {file}, which is no UTF-8 text", "save it as UTF-8"))
    except OSError as error:
        return bool(found.problem(at, f"leads to {file}, which cannot be read: {error.strerror}", remedy))
    try:
        files[file] = read_document(text, _shown(file))
    except SpecInvalid as error:
        files[file] = error
    return True


def component_of(
    values: Mapping[str, Any], base: Path, found: Findings, *, file: str = "", kind_said: str = ""
) -> Component | None:
    """A component from what is written of it; None when it is of no kind that can be a step.

    One that does not say its type is of `kind_said`, which its step says, or else of the kind that it looks like.
    """
    kind = values.get("type") or kind_said or kind_like(values) or "command"
    word = kind.lower() if isinstance(kind, str) else kind
    word = word.removesuffix("_component").removesuffix("component") if isinstance(word, str) else word
    if word not in STEP_KINDS:
        if word in REFUSED_KINDS:
            what = f"is {kind!r}, a kind of component that this version does not run"
        else:
            what = f"is {kind_of(kind)}, which is no kind of component"
        found.problem(("type",), what, f"write {one_of(STEP_KINDS)}")
        return None
    own: dict[str, Any] = {}
    for name, key in IDENTITY_KEYS.items():
        value = values.get(name)
        if value is not None and name != "type":
            own[name] = key.shape(value, (name,), found)
    body = {
        name: value
        for name, value in values.items()
        if name not in IDENTITY_KEYS and name not in IGNORED_IN_COMPONENTS and value is not None
    }
    if word != "pipeline":
        body = absolute_paths({"type": word, **body}, base)
        del body["type"]
        if word == "command" and not body.get("command"):
            found.problem((), "the component has no command", "write `command:`")
    return Component(
        kind=word,
        said=values,
        body=body,
        base=base,
        found=found,
        file=file,
        name=own.get("name") or "",
        version=own.get("version") or "",
        display_name=own.get("display_name") or "",
        is_deterministic=own.get("is_deterministic"),
        inputs=declared_inputs(own.get("inputs"), ("inputs",), found),
        outputs=declared_outputs(own.get("outputs"), ("outputs",), found),
    )


def _shown(file: str) -> str:
    """The path as the user would write it: relative to the current folder when it lies below it."""
    inside = os.path.relpath(file)
    return file if inside.startswith("..") else inside
