"""A step of a pipeline to the document of a job of its own: component and step merged, bindings put in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from runner.spec.bindings import REFERENCE, references
from runner.spec.command_schema import COMMAND
from runner.spec.data_shapes import is_literal
from runner.spec.findings import Findings, Routed, did_you_mean
from runner.spec.findings import Path as Place
from runner.spec.leaf_data import leaf_inputs, leaf_outputs
from runner.spec.leaf_kinds import LEAF_KINDS, Kind
from runner.spec.nodes import Node, Scope
from runner.spec.paths import absolute_paths
from runner.spec.pipeline_schema import is_binding
from runner.spec.schema import JOB
from runner.spec.shapes import Table
from runner.spec.values import binding_of
from runner.spec.wiring import Wiring, parent_output

TABLES: Mapping[str, Table] = {"command": COMMAND, "parallel": JOB}
STEP_ONLY = frozenset({"type", "component", "inputs", "outputs", "name", "version"})
"""Keys of a step that are not those of its job, or that are made anew."""
_MERGED = frozenset({"environment_variables", "resources", "retry_settings", "runner", "limits", "tags", "properties"})
"""Groups of which a step may set single keys anew; others it replaces."""
_OWN_TEXT = frozenset({"command", "task", "input_data", "description", "display_name", "comment"})
"""Keys that know the step's own inputs only, or that are only shown."""
_SUB_PIPELINE_KEYS = frozenset(
    {"type", "component", "inputs", "outputs", "name", "version", "compute", "display_name", "description", "comment"}
    | {"tags", "properties", "runner", "settings", "identity", "services", "experiment_name"}
)


@dataclass(slots=True, kw_only=True, eq=False)
class Leaf:
    """One step as a job of its own, which may still lack what other steps make."""

    node: Node
    kind: Kind
    found: Findings
    document: dict[str, Any]
    """Shaped; an output of another step stands in it as `${{steps.KEY.outputs.NAME}}`."""
    sources: dict[str, tuple[tuple[str, str], ...]] = field(default_factory=dict)
    """By input, the outputs of other steps that it is or holds."""
    optional: frozenset[str] = frozenset()
    """Inputs that may be absent."""
    broken: frozenset[str] = frozenset()
    """Inputs about which a problem was told already."""

    def stand_in(self) -> dict[str, Any]:
        """The document with something in the place of what other steps make, for checks that look at one job."""
        unsettled = self.broken | self.sources.keys()
        if not unsettled:
            return self.document
        cut = references(str(self.document.get("input_data", "")))
        absent = {name for name in self.optional & self.sources.keys() - self.broken if f"inputs.{name}" not in cut}
        inputs = {
            name: _absent(value) if name in absent else _stand_in(value) if name in unsettled else value
            for name, value in self.document["inputs"].items()
        }
        return {**self.document, "inputs": inputs}

    def settled(self) -> dict[str, Any]:
        """The document with those inputs alone that are there already, for checks that look at the disk."""
        unsettled = self.broken | self.sources.keys()
        if not unsettled:
            return self.document
        inputs = {name: value for name, value in self.document["inputs"].items() if name not in unsettled}
        return {**self.document, "inputs": inputs}


def _absent(value: Any) -> dict[str, Any]:
    """An optional input as it is when the step that makes it has failed."""
    return {"type": "string" if is_literal(value) else value["type"], "optional": True}


def _stand_in(value: Any) -> Any:
    if is_literal(value):
        return "text" if isinstance(value, str) else value
    return {**value, "path": "/made/by/another/step"}


def leaf_of(node: Node, wiring: Wiring) -> Leaf | None:
    """The step as a job; None when its component is not known yet, or it cannot be made."""
    inputs, sources, optional, broken = leaf_inputs(node, wiring)
    outputs = leaf_outputs(node, wiring)
    if not node.is_known:
        return None
    kind = LEAF_KINDS[node.kind]
    found = Routed(_homes(node))
    said = _own(node, wiring)
    component = node.component
    merged = said if component is None else _merge(component.body, said)
    if component is not None and node.kind == "command" and not merged.get("command"):
        merged["command"] = "true"  # that there is none has been told at the component
    if merged.get("compute") is None:
        compute, home = _default_compute(node.scope, wiring)
        if compute is not None:
            merged["compute"] = compute
            found = Routed(_homes(node, home))
    if component is not None and component.is_deterministic is not None and "is_deterministic" not in merged:
        merged["is_deterministic"] = component.is_deterministic
    title = (
        merged.get("display_name")
        or (component.display_name if component is not None else None)
        or node.name
        or node.kind
    )
    document = {**merged, "type": node.kind, "display_name": title, "inputs": inputs, "outputs": outputs}
    shaped = kind.shape(document, node.scope.base, found)
    if shaped is None:
        return None
    return Leaf(
        node=node,
        kind=kind,
        found=found,
        document=shaped,
        sources=sources,
        optional=frozenset(optional),
        broken=frozenset(broken),
    )


def _homes(node: Node, compute: tuple[Findings, Place] | None = None) -> Any:
    """Where complaints about the step's document belong: to the step, its component, or the pipeline around it."""
    component, own, at = node.component, node.said, node.at

    def home_of(place: Place) -> tuple[Findings, Place]:
        key = place[0] if place else None
        if key in ("inputs", "outputs"):
            given = node.inputs if key == "inputs" else node.outputs
            if key == "outputs" and len(place) > 2 and isinstance(place[1], str):
                scope, output = node.scope, parent_output(given.get(place[1]))
                while output is not None and scope.node is not None:
                    given, holder = scope.node.outputs, scope.node
                    if (above := parent_output(given.get(output))) is None:
                        return holder.found, (*holder.at, "outputs", output, *place[2:])
                    scope, output = holder.scope, above
                if output is not None:
                    return scope.found, ("outputs", output, *place[2:])
            here = component is None or len(place) < 2 or place[1] in given
        elif key == "compute" and compute is not None:
            return compute
        elif component is None or not place:
            here = True
        elif key in _MERGED and len(place) > 1:
            group = own.get(str(key))
            here = isinstance(group, Mapping) and place[1] in group
        else:
            here = key in own or key not in component.body
        if here or component is None:
            return node.found, (*at, *place)
        return component.found, place

    return home_of


def _own(node: Node, wiring: Wiring) -> dict[str, Any]:
    """What the step says itself, paths absolute, values of the pipeline put in; unknown keys told and left out."""
    said = {key: value for key, value in node.said.items() if key not in STEP_ONLY and value is not None}
    if node.component is not None:
        said = _known(said, node, TABLES[node.kind])
    runner = said.get("runner")
    if isinstance(runner, Mapping) and "depends_on" in runner:
        said["runner"] = {key: value for key, value in runner.items() if key != "depends_on"}
        if not said["runner"]:
            del said["runner"]
    for key, value in said.items():
        if key not in _OWN_TEXT:
            said[key] = _put_in(value, node, (key,), wiring)
        else:
            said[key] = _without_parent(value, node, (key,))
    said = absolute_paths({"type": node.kind, **said}, node.scope.base)
    del said["type"]
    return said


def _known(said: dict[str, Any], node: Node, table: Table) -> dict[str, Any]:
    kept = {}
    for key, value in said.items():
        if key in table.keys:
            kept[key] = value
        elif key not in table.ignored:
            remedy = did_you_mean(key, table.keys, "leave it out")
            node.found.notice((*node.at, key), f"is no key of a step and has no effect; {remedy}")
    return kept


def check_sub_pipeline(node: Node) -> None:
    """Tell keys of a step over a pipeline component that have no effect."""
    for key, value in node.said.items():
        if key not in _SUB_PIPELINE_KEYS and value not in (None, {}, []):
            node.found.notice(
                (*node.at, str(key)), "is no key of a step over a pipeline and has no effect; leave it out"
            )


def _merge(body: Mapping[str, Any], said: Mapping[str, Any]) -> dict[str, Any]:
    merged = {**body, **said}
    for key in _MERGED & body.keys() & said.keys():
        if isinstance(body[key], Mapping) and isinstance(said[key], Mapping):
            merged[key] = {**body[key], **said[key]}
    return merged


def _put_in(value: Any, node: Node, at: Place, wiring: Wiring) -> Any:
    """A value of a step with the pipeline's inputs put in where they are bound."""
    if isinstance(value, str):
        if "${{" not in value or not any(_is_of_parent(reference) for reference in references(value)):
            return value
        here = (*node.at, *at)
        bound = wiring.evaluate(node.scope, value, here, node.found)
        if bound.is_broken or bound.is_missing:
            return None
        if bound.sources or not bound.is_literal:
            what = f"holds {value.strip()}, which is data"
            node.found.problem(here, what, "make it an input of the step; only values can stand here")
            return None
        return bound.given
    if isinstance(value, Mapping):
        put = {key: _put_in(inner, node, (*at, key), wiring) for key, inner in value.items()}
        return {key: inner for key, inner in put.items() if inner is not None or value[key] is None}
    if isinstance(value, list):
        return [_put_in(inner, node, (*at, index), wiring) for index, inner in enumerate(value)]
    return value


def _is_of_parent(reference: str) -> bool:
    return reference.startswith("parent") or (binding_of(f"parent.{reference.partition('.')[2]}") is not None)


def _without_parent(value: Any, node: Node, at: Place) -> Any:
    """Tell bindings to the pipeline where a step knows its own inputs only, and take them out for later checks."""
    if isinstance(value, Mapping):
        return {key: _without_parent(inner, node, (*at, key)) for key, inner in value.items()}
    if not isinstance(value, str) or "${{" not in value or at[0] not in ("command", "task", "input_data"):
        return value
    for reference in references(value):
        if reference.startswith("parent."):
            what = f"holds ${{{{{reference}}}}}, and only the step's own inputs and outputs are known here"
            remedy = "write it below the step's `inputs:`, and use ${{inputs.<name>}} here"
            node.found.problem((*node.at, *at), what, remedy)
    return REFERENCE.sub(lambda match: "" if match[1].strip().startswith("parent.") else match[0], value)


def _default_compute(scope: Scope, wiring: Wiring) -> tuple[Any, tuple[Findings, Place]]:
    """What steps of a scope run on that say nothing, and where that is said: at the nearest pipeline that does."""
    at: Place = ("settings", "default_compute")
    settings: Mapping[str, Any] = scope.settings
    node = scope.node
    if node is not None:
        own = node.said.get("compute")
        if own is not None:
            return _put_in(own, node, ("compute",), wiring), (node.found, (*node.at, "compute"))
        below = scope.component.body.get("settings") if scope.component is not None else None
        settings = below if isinstance(below, Mapping) else {}
    given = settings.get("default_compute")
    if given is None and node is None:
        at, given = ("compute",), scope.compute
    if given is None and node is not None:
        return _default_compute(node.scope, wiring)
    if is_binding(given):
        value = wiring.evaluate(scope, given, at, scope.found)
        given = value.given if value.is_literal else None
    return given, (scope.found, at)
