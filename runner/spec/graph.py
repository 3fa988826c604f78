"""The checked graph of a pipeline: its steps as jobs, what each needs, which outputs are the pipeline's own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from runner.entity.pipeline import PromotedOutput
from runner.spec.bindings import substitute
from runner.spec.components import Component, Shelf
from runner.spec.declared import is_compatible
from runner.spec.findings import Findings, did_you_mean
from runner.spec.findings import Path as Place
from runner.spec.leaves import Leaf, check_sub_pipeline, leaf_of
from runner.spec.nodes import Node, Planter, Scope
from runner.spec.pipeline_schema import step_mappings
from runner.spec.values import step_of
from runner.spec.wiring import Wiring, output_names, parent_output, value_of_shaped


@dataclass(slots=True, kw_only=True, eq=False)
class Graph:
    """All steps of a pipeline as jobs of their own, in the order of the file."""

    top: Scope
    wiring: Wiring
    leaves: dict[str, Leaf] = field(default_factory=dict)
    needs: dict[str, dict[str, Place]] = field(default_factory=dict)
    """By step, the steps that it needs, and where it says so."""
    depends_on: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """By step, the steps it needs without taking data of them."""
    promoted: tuple[PromotedOutput, ...] = ()
    is_known: bool = True
    """Whether all registered components have been looked up."""


def graph_of(document: Mapping[str, Any], base: Path, shelf: Shelf, found: Findings) -> Graph:
    """The graph of a shaped pipeline; everything that is wrong with it is noted, in `found` or at the shelf."""
    top, inside, jobs = _top(document, base, shelf, found)
    Planter(shelf).plant(inside, jobs, ("jobs",))
    graph = Graph(top=top, wiring=Wiring(), is_known=top.is_known)
    for node in top.leaves():
        leaf = leaf_of(node, graph.wiring)
        if leaf is not None:
            graph.leaves[node.key] = leaf
        elif not node.is_known:
            graph.is_known = False
    _check_scope(top, graph, top.outputs)
    for node in top.leaves():
        _note_needs(node, graph)
    _check_cycles(graph)
    check_meeting_outputs(graph, written_place)
    graph.promoted = tuple(_promoted(graph))
    return graph


def _top(
    document: Mapping[str, Any], base: Path, shelf: Shelf, found: Findings
) -> tuple[Scope, Scope, Mapping[str, Any]]:
    """The pipeline itself, the scope that its steps are in, and what is written of them."""
    top = Scope(
        found=found,
        base=base,
        inputs=document["inputs"],
        outputs=document["outputs"],
        settings=document.get("settings", {}),
        compute=document.get("compute"),
    )
    if document.get("component") is None:
        return top, top, document.get("jobs") or {}
    component = shelf.take(document["component"], base, ("component",), found)
    if component is None or not component.is_known:
        top.is_known = False
        return top, top, {}
    return _from_component(top, component)


def _from_component(top: Scope, component: Component) -> tuple[Scope, Scope, Mapping[str, Any]]:
    """A pipeline whose steps are those of a component: the pipeline stands around it as around a sub-pipeline."""
    top.outputs = {**{name: {} for name in component.outputs}, **top.outputs}
    inputs = {name: f"${{{{parent.inputs.{name}}}}}" for name in top.inputs}
    outputs = {name: f"${{{{parent.outputs.{name}}}}}" for name in top.outputs}
    around = Node(
        name="component",
        key="",
        at=(),
        scope=top,
        kind="pipeline",
        said={},
        inputs=inputs,
        outputs=outputs,
        component=component,
    )
    if component.kind != "pipeline":
        top.found.problem(("component",), f"is a {component.kind} component", "write one of type pipeline")
        return top, top, {}
    inner = Scope(found=component.found, base=component.base, node=around, component=component)
    around.inner = inner
    top.nodes[""] = around
    return top, inner, step_mappings(component.body.get("jobs") or {}, ("jobs",), component.found) or {}


# ---- outputs of pipelines ---------------------------------------------------------------------------------
def _check_scope(scope: Scope, graph: Graph, outputs: Mapping[str, Any]) -> None:
    """Check that each output of a pipeline is made by one step, and that steps are bound to outputs there are."""
    found = scope.found
    made: dict[str, Node] = {}
    for node in scope.nodes.values():
        for name, given in node.outputs.items():
            bound = parent_output(given)
            if bound is None:
                continue
            at = (*node.at, "outputs", name)
            if bound not in outputs:
                if found.is_clean("outputs", bound):
                    listed = f"the outputs are {', '.join(outputs)}" if outputs else "declare it below `outputs:`"
                    what = f"names ${{{{parent.outputs.{bound}}}}}, and the pipeline has no such output"
                    found.problem(at, what, did_you_mean(bound, outputs, listed))
            elif bound in made:
                what = f"is bound to the output {bound}, which the step {made[bound].name} makes"
                found.problem(at, what, "bind one step to it; give each its own output")
            else:
                made[bound] = node
        if node.inner is not None:
            assert node.component is not None
            check_sub_pipeline(node)
            _check_scope(node.inner, graph, node.component.outputs)
            _check_inputs(node, graph)
    meant = {parent_output(given) for step in scope.refused.values() for given in _outputs_of(step)}
    for name in outputs:
        if name not in made and name not in meant and scope.is_known:
            remedy = f"write `<output>: ${{{{parent.outputs.{name}}}}}` below the `outputs:` of the step that makes it"
            found.problem(("outputs", name), "is an output that no step makes", remedy)


def _outputs_of(step: Any) -> list[Any]:
    outputs = step.get("outputs") if isinstance(step, Mapping) else None
    return list(outputs.values()) if isinstance(outputs, Mapping) else []


def _check_inputs(node: Node, graph: Graph) -> None:
    """Follow the inputs of a sub-pipeline, also those that no step in it takes."""
    assert node.component is not None
    for name in dict.fromkeys((*node.component.inputs, *node.inputs)):
        graph.wiring.input_of(node, name)
        if name not in node.component.inputs:
            remedy = did_you_mean(name, node.component.inputs, "leave it out")
            what = f"is no input of the component {node.component.title} and has no effect; {remedy}"
            node.found.notice((*node.at, "inputs", name), what)
    for name in node.outputs:
        if name not in output_names(node):
            remedy = did_you_mean(name, output_names(node), "leave it out")
            node.found.problem(
                (*node.at, "outputs", name), f"is no output of the component {node.component.title}", remedy
            )


def _promoted(graph: Graph) -> Iterator[PromotedOutput]:
    """The outputs of the pipeline by the steps that make them; what is wrong with those has been told."""
    scope = graph.top
    for name, setting in scope.outputs.items():
        maker = graph.wiring.maker_of(scope, name)
        made = None if maker is None else graph.wiring.output_of(*maker, name, (), Findings(""))
        if made is None:
            continue
        leaf, output, kind = made
        wanted = setting.get("type")
        if wanted is not None and not is_compatible(kind, wanted):
            what = f"is {wanted}, and the output {output} of the step {leaf.name} is of type {kind}"
            scope.found.problem(("outputs", name, "type"), what, f"write {kind}")
        yield PromotedOutput(name=name, type=kind, step=leaf.key, output=output)


# ---- order ------------------------------------------------------------------------------------------------
def _note_needs(node: Node, graph: Graph) -> None:
    """Which steps a step needs: by its data, and by `depends_on` of itself and of the sub-pipelines around it."""
    needs: dict[str, Place] = {}
    leaf = graph.leaves.get(node.key)
    for name, sources in (leaf.sources if leaf is not None else {}).items():
        for key, _ in sources:
            needs.setdefault(key, (*node.at, "inputs", name))
    ordered: list[str] = []
    holder: Node | None = node
    while holder is not None:
        for index, name in enumerate(holder.depends_on):
            other = holder.scope.nodes.get(name)
            for one in () if other is None else other.inner.leaves() if other.inner is not None else (other,):
                ordered.append(one.key)
                needs.setdefault(one.key, (*holder.at, "runner", "depends_on", index))
        holder = holder.scope.node
    graph.needs[node.key] = needs
    graph.depends_on[node.key] = tuple(dict.fromkeys(ordered))


def _check_cycles(graph: Graph) -> None:
    """Tell each cycle of steps once, by its path; nothing is walked twice."""
    nodes = {node.key: node for node in graph.top.leaves()}
    done: set[str] = set()
    for start in graph.needs:
        if start in done:
            continue
        path: list[str] = [start]
        on_path = {start}
        rest = [iter(graph.needs[start])]
        while rest:
            other = next(rest[-1], None)
            if other is None:
                rest.pop()
                on_path.discard(path[-1])
                done.add(path.pop())
            elif other in on_path:
                cycle = path[path.index(other) :]
                _tell_cycle(cycle, graph, nodes)
            elif other not in done and other in graph.needs:
                path.append(other)
                on_path.add(other)
                rest.append(iter(graph.needs[other]))


def _tell_cycle(cycle: list[str], graph: Graph, nodes: Mapping[str, Node]) -> None:
    """`cycle` is each step followed by one that it needs; it is told in the order of the data."""
    order = cycle[::-1]
    first = order.index(min(order, key=list(nodes).index))
    order = order[first:] + order[:first]
    node = nodes[order[0]]
    at = graph.needs[order[0]].get(order[-1], node.at)
    told = " -> ".join((*order, order[0]))
    remedy = "take one of these bindings out" if len(order) > 1 else "a step cannot take what it makes"
    where = at if at[: len(node.at)] == node.at else node.at
    node.found.problem(where, f"closes a cycle of steps that wait for each other: {told}", remedy)


# ---- places -----------------------------------------------------------------------------------------------
PlaceOf = Callable[[Leaf, str, Mapping[str, Any]], str | None]
"""Where the output of a step is; None when that is not known or its own."""


def check_meeting_outputs(graph: Graph, place_of: PlaceOf) -> None:
    """Tell outputs of different steps that are one place, one inside the other, or one version of an asset."""
    taken: dict[str, tuple[Leaf, str]] = {}
    assets: dict[tuple[str, str], tuple[Leaf, str]] = {}
    for leaf in graph.leaves.values():
        for name, setting in leaf.document["outputs"].items():
            place = place_of(leaf, name, setting)
            if place is not None:
                other = taken.setdefault(place, (leaf, name))
                if other[0] is not leaf:
                    what = f"leads to {place}, and so does the output {_of_step(other)}"
                    leaf.found.problem(
                        ("outputs", name, "path"), what, "write another path, such as one with ${{name}}"
                    )
            if setting.get("name") is not None and setting.get("version") is not None:
                version = str(setting["name"]), str(setting["version"])
                other = assets.setdefault(version, (leaf, name))
                if other != (leaf, name):
                    what = f"makes it {version[0]}:{version[1]}, and so is the output {_of_step(other)}"
                    leaf.found.problem(("outputs", name, "version"), what, "write another version, or leave it out")
    for place, (leaf, name) in taken.items():
        above = place.rpartition("/")[0]
        while above:
            other_above = taken.get(above)
            if other_above is not None and other_above[0] is not leaf:
                what = f"leads to {place}, inside the output {_of_step(other_above)}"
                leaf.found.problem(("outputs", name, "path"), what, "write a path outside it")
                break
            above = above.rpartition("/")[0]


def _of_step(output: tuple[Leaf, str]) -> str:
    leaf, name = output
    return f"{name} of the step {step_of(leaf.node.key)}"


def written_place(leaf: Leaf, name: str, setting: Mapping[str, Any]) -> str | None:
    """The place as it is written, with what stands in it for the step; None for one of the step's own."""
    path = setting.get("path")
    if not isinstance(path, str):
        return None
    known = {"name": f"({leaf.node.key})", "output_name": name}
    return substitute(path, lambda reference: known.get(reference, reference)).rstrip("/")


def literals_of(document: Mapping[str, Any], base: Path) -> dict[str, Any]:
    """The literal inputs of a pipeline in their declared types."""
    values = {name: value_of_shaped(given, base) for name, given in document["inputs"].items()}
    return {name: value.given for name, value in values.items() if value.is_literal and not value.is_missing}
