"""How a document of a pipeline is shaped and checked: as a whole, and each of its steps as a job of its kind."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from runner.spec.components import Shelf
from runner.spec.findings import Findings, Routed
from runner.spec.findings import Path as Place
from runner.spec.graph import Graph, PlaceOf, check_meeting_outputs, graph_of
from runner.spec.inlining import Files
from runner.spec.leaf_kinds import LEAF_KINDS, Document, Kind
from runner.spec.leaves import Leaf
from runner.spec.nodes import Node
from runner.spec.pipeline_job import PipelineWritten, build_pipeline
from runner.spec.pipeline_schema import shape_pipeline
from runner.spec.places import Places
from runner.spec.targets import Unplaceable, place_output


class ShapedPipeline(dict[str, Any]):
    """The document of a pipeline, and its graph once that has been made."""

    files: Files
    graphs: dict[tuple[int, bool], tuple[Findings, Shelf, Graph]]


def shape(values: Mapping[str, Any], base: Path, found: Findings) -> ShapedPipeline:
    """The pipeline in its final types; component files that were read before are not read again."""
    shaped = ShapedPipeline(shape_pipeline(values, found))
    shaped.files = values.files if isinstance(values, PipelineWritten) and values.files is not None else {}
    shaped.graphs = {}
    found.about = shaped
    return shaped


def shaped_with(found: Findings) -> ShapedPipeline | None:
    """The document that these findings are of, with the graph that was made of it."""
    return found.about if isinstance(found.about, ShapedPipeline) else None


def graph_in(document: Document, base: Path, found: Findings, places: Places | None) -> Graph:
    """The graph of the document, made once; registered components are looked up when there is a catalog."""
    assert isinstance(document, ShapedPipeline)
    catalog = places.catalog if places is not None else None
    for looked_up in (True, False) if catalog is None else (True,):
        if (id(found), looked_up) in document.graphs:
            return document.graphs[id(found), looked_up][2]
    plain = document.graphs.get((id(found), False))
    if plain is not None and plain[2].is_known:
        return plain[2]
    shelf = Shelf(document.files, catalog)
    graph = graph_of(document, base, shelf, found)
    for one in shelf.findings:
        found.take(one)
    document.graphs[id(found), catalog is not None] = (found, shelf, graph)
    return graph


def _checked(document: Document, base: Path, found: Findings, places: Places | None) -> Iterator[Leaf]:
    """The steps as jobs; what is found in files of components meanwhile is told with the rest."""
    assert isinstance(document, ShapedPipeline)
    graph = graph_in(document, base, found, places)
    yield from graph.leaves.values()
    for _, shelf, _ in document.graphs.values():
        for one in shelf.findings:
            found.take(one)


def check(document: Document, base: Path, found: Findings) -> None:
    """Note what the pipeline, its components and their code can tell."""
    _check(document, base, found, None)


def _check(document: Document, base: Path, found: Findings, places: Places | None) -> None:
    for leaf in _checked(document, base, found, places):
        leaf.kind.check(leaf.stand_in(), base, leaf.found)


def check_data(document: Document, base: Path, found: Findings, places: Places | None) -> None:
    """Note inputs that are not there: of the pipeline, of steps and of sub-pipelines, each where it is written."""
    LEAF_KINDS["command"].check_data({"type": "command", "inputs": document["inputs"]}, base, found, places)
    was_known = graph_in(document, base, found, None).is_known
    graph = graph_in(document, base, found, places)
    if not was_known and places is not None and places.catalog is not None:
        _check(document, base, found, places)
    for node in graph.top.walk():
        own = dict(_own_data(node))
        if own:
            kind = "parallel" if node.kind == "parallel" else "command"
            below = Routed.below(node.found, node.at)
            LEAF_KINDS[kind].check_data({"type": kind, "inputs": own}, base, below, places)
    for _ in _checked(document, base, found, places):
        pass


def _own_data(node: Node) -> Iterator[tuple[str, Any]]:
    """The data that a step is given and that is written there, not taken from elsewhere."""
    for name, value in node.values.items():
        reads_tables = node.kind == "parallel" and isinstance(value.given, Mapping)
        is_table = reads_tables and value.given.get("type") == "mltable"
        is_data = not (value.is_literal or value.is_missing or value.is_broken or value.sources)
        if is_data and (is_table or not value.is_bound):
            yield name, value.given


def _place_with(places: Places) -> PlaceOf:
    """Where outputs will be: datastores and folders of the same disk are told as one place."""

    def place_of(leaf: Leaf, name: str, setting: Mapping[str, Any]) -> str | None:
        if "path" not in setting or not leaf.found.is_clean("outputs", name):
            return None
        try:
            return place_output(name, dict(setting), f"({leaf.node.key})", leaf.node.scope.base, places).path
        except Unplaceable:
            return None  # told with the step

    return place_of


class _Once(Routed):
    """Findings that take each notice of the same key and words once, of whichever step it is."""

    def __init__(self, found: Findings, told: set[tuple[Place, str]]) -> None:
        super().__init__(lambda at: (found, at))
        self._told = told

    def notice(self, at: Place, what: str) -> None:
        if (at, what) not in self._told:
            self._told.add((at, what))
            super().notice(at, what)


def check_places(document: Document, base: Path, found: Findings, places: Places) -> None:
    """Note targets that cannot be written, and what is said of names that are not configured.

    A target that is there already is no problem yet: the step may be reused, which is decided first.
    What many steps say alike is told of the first.
    """
    told: set[tuple[Place, str]] = set()
    for leaf in _checked(document, base, found, places):
        settled = leaf.settled()
        runner = {**settled.get("runner", {}), "overwrite": True}
        leaf.kind.check_places({**settled, "runner": runner}, base, _Once(leaf.found, told), places)
    check_meeting_outputs(graph_in(document, base, found, places), _place_with(places))


PIPELINE_KIND = Kind(
    shape=shape,
    check=check,
    check_data=check_data,
    check_places=check_places,
    build=build_pipeline,
)
