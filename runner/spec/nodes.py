"""The steps of a pipeline as a tree: sub-pipelines hold steps of their own, each knows its component and its file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from runner.entity.pipeline import KEY_JOINT
from runner.spec.components import Component, Shelf, kind_like
from runner.spec.findings import Findings, did_you_mean
from runner.spec.findings import Path as Place
from runner.spec.pipeline_schema import CONTROL_KINDS, REFUSED_KINDS, STEP_KINDS, step_mappings
from runner.spec.shapes import kind_of, one_of
from runner.spec.values import Value


@dataclass(slots=True, kw_only=True, eq=False)
class Scope:
    """One pipeline, or a sub-pipeline, as its steps see it: what `parent` means to them."""

    key: str = ""
    found: Findings
    base: Path
    node: Node | None = None
    """The step that this is the inside of; None for the pipeline itself."""
    inputs: Mapping[str, Any] = field(default_factory=dict)
    """Of the pipeline itself: its inputs as they are shaped."""
    outputs: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Of the pipeline itself: the settings of its outputs."""
    component: Component | None = None
    """What the steps are from, when that is a component."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Of the pipeline itself, as its compute."""
    compute: str | None = None
    nodes: dict[str, Node] = field(default_factory=dict)
    refused: dict[str, Any] = field(default_factory=dict)
    """Steps that are there, but cannot be made, which was told; as they are written."""
    values: dict[str, Value] = field(default_factory=dict)
    is_known: bool = True
    """Whether it is known which steps there are."""

    def walk(self) -> Iterator[Node]:
        """All steps, sub-pipelines before their own."""
        for node in self.nodes.values():
            yield node
            if node.inner is not None:
                yield from node.inner.walk()

    def leaves(self) -> Iterator[Node]:
        """All steps that are jobs of their own, in the order of the files."""
        for node in self.nodes.values():
            if node.inner is not None:
                yield from node.inner.leaves()
            else:
                yield node


@dataclass(slots=True, kw_only=True, eq=False)
class Node:
    """One step as it is written."""

    name: str
    key: str
    at: Place
    scope: Scope
    kind: str
    said: Mapping[str, Any]
    inputs: Mapping[str, Any]
    outputs: Mapping[str, Any]
    depends_on: tuple[str, ...] = ()
    component: Component | None = None
    inner: Scope | None = None
    values: dict[str, Value] = field(default_factory=dict)

    @property
    def found(self) -> Findings:
        return self.scope.found

    @property
    def is_known(self) -> bool:
        """Whether everything the step is made from is known."""
        return self.component is None or self.component.is_known


class Planter:
    """Makes the tree of steps from what is written."""

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf

    def plant(self, scope: Scope, jobs: Mapping[str, Any], at: Place) -> None:
        """Put the steps into their scope, sub-pipelines with their own."""
        for name, said in jobs.items():
            node = self.node(scope, name, said, (*at, name)) if isinstance(said, Mapping) else None
            if node is None:
                scope.refused[name] = said
            else:
                scope.nodes[name] = node
        for node in scope.nodes.values():
            self._check_depends(node)

    def node(self, scope: Scope, name: str, said: Mapping[str, Any], at: Place) -> Node | None:
        """One step, with what is inside it; None, and a problem noted, when it cannot be one."""
        found = scope.found
        reference = said.get("component")
        kind = self._kind(said, at, found)
        if kind is None:
            return None
        component = None
        if reference is not None:
            component = self._shelf.take(reference, scope.base, (*at, "component"), found, kind)
            if component is None:
                return None
            if component.is_known:
                if kind and kind != component.kind:
                    what = f"is {kind!r}, and its component is of type {component.kind!r}"
                    found.problem((*at, "type"), what, f"write {component.kind!r}, or leave it out")
                kind = component.kind
        elif not kind and kind_like(said) in ("parallel", "pipeline"):
            found.problem(at, "has no type, so it would be a command", f"write `type: {kind_like(said)}`")
            return None
        elif kind == "pipeline":
            found.problem(at, "is a pipeline without a component", "write its `jobs` below `component:`")
            return None
        node = Node(
            name=name,
            key=f"{scope.key}{KEY_JOINT}{name}" if scope.key else name,
            at=at,
            scope=scope,
            kind=kind or "command",
            said=said,
            inputs=_mapping(said, "inputs", at, found),
            outputs=_mapping(said, "outputs", at, found),
            depends_on=_depends_on(said, at, found),
            component=component,
        )
        if component is not None and component.kind == "pipeline":
            if _is_inside(scope, component):
                found.problem(
                    (*at, "component"),
                    "is a pipeline that stands in itself (a cycle of components)",
                    "take it out of itself",
                )
                return None
            node.inner = self._inside(node, component)
        return node

    def _inside(self, node: Node, component: Component) -> Scope:
        inner = Scope(
            key=node.key,
            found=component.found,
            base=component.base,
            node=node,
            component=component,
        )
        jobs = step_mappings(component.body.get("jobs") or {}, ("jobs",), component.found)
        self.plant(inner, jobs or {}, ("jobs",))
        return inner

    def _kind(self, said: Mapping[str, Any], at: Place, found: Findings) -> str | None:
        """The kind that a step says; empty when it says none; None, and a problem noted, when it cannot run."""
        given = said.get("type")
        word = given.lower() if isinstance(given, str) else given
        if word is None:
            return ""
        if word in STEP_KINDS:
            return str(word)
        if word in CONTROL_KINDS:
            what = f"is {given!r}, control flow, which this version does not run"
        elif word in REFUSED_KINDS:
            what = f"is {given!r}, a kind of step that this version does not run"
        else:
            what = f"is {kind_of(given)}, which is no kind of step"
        found.problem((*at, "type"), what, f"write {one_of(STEP_KINDS)}")
        return None

    def _check_depends(self, node: Node) -> None:
        for index, name in enumerate(node.depends_on):
            if name not in node.scope.nodes and name not in node.scope.refused:
                others = [other for other in node.scope.nodes if other != node.name]
                node.found.problem(
                    (*node.at, "runner", "depends_on", index),
                    f"is {name!r}, and there is no such step",
                    did_you_mean(name, others, "write the name of a step beside this one"),
                )


def _is_inside(scope: Scope, component: Component) -> bool:
    around: Scope | None = scope
    while around is not None:
        if around.component is component:
            return True
        around = around.node.scope if around.node is not None else None
    return False


def _mapping(said: Mapping[str, Any], key: str, at: Place, found: Findings) -> Mapping[str, Any]:
    value = said.get(key)
    if value is None:
        return {}
    if isinstance(value, Mapping):
        return value
    found.problem((*at, key), f"is {kind_of(value)}, not a mapping", "write `<name>: <value>` below it")
    return {}


def _depends_on(said: Mapping[str, Any], at: Place, found: Findings) -> tuple[str, ...]:
    runner = said.get("runner")
    given = runner.get("depends_on") if isinstance(runner, Mapping) else None
    if given is None:
        return ()
    if isinstance(given, str):
        given = [given]
    if not isinstance(given, list | tuple) or not all(isinstance(one, str) for one in given):
        found.problem((*at, "runner", "depends_on"), f"is {kind_of(given)}", "write the names of steps: [prepare]")
        return ()
    return tuple(given)
