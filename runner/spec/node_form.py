"""A job in the form of a step: a component, and beside it what the job sets, as the public SDK dumps a loaded command.

It is read as the same job written flat.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from runner.spec.components import Shelf
from runner.spec.findings import Findings
from runner.spec.jobs import Job
from runner.spec.leaf_kinds import LEAF_KINDS, Document, Kind
from runner.spec.leaves import TABLES, Leaf, leaf_of
from runner.spec.nodes import Planter, Scope
from runner.spec.places import Places
from runner.spec.wiring import Wiring

_SHOWN = ("display_name", "description", "tags", "properties")
"""What is said for readers, by the job or else by its component."""


class ShapedNode(dict[str, Any]):
    """The document of the job, flat, and how it was put together."""

    leaf: Leaf
    shelf: Shelf

    def tell(self, found: Findings) -> None:
        """Take what was found in the component's own file."""
        for one in self.shelf.findings:
            found.take(one)


def is_node(values: Mapping[str, Any]) -> bool:
    """Whether a document is a job in the form of a step."""
    return values.get("component") is not None and str(values.get("type", "")).lower() in ("", *LEAF_KINDS)


def shape(values: Mapping[str, Any], base: Path, found: Findings) -> ShapedNode | None:
    """The job written flat, every path absolute; None, and a problem noted, when there is no such job."""
    shelf = Shelf({})
    node = Planter(shelf).node(Scope(found=found, base=base), "job", values, ())
    leaf = None
    if node is not None and node.kind == "pipeline":
        found.problem(("component",), "is of type 'pipeline'", "write `type: pipeline` at the top")
    elif node is not None and not node.is_known:
        what = f"is {values['component']!r}, and only steps of pipelines are made from registered components"
        found.problem(("component",), what, "make it a step below `jobs:`, with `type: pipeline` at the top")
    elif node is not None:
        leaf = leaf_of(node, Wiring())
    shaped = ShapedNode()
    shaped.shelf = shelf
    shaped.tell(found)
    if node is None or leaf is None:
        return None
    shaped.update(leaf.document)
    shaped.leaf = leaf
    own = {key: values[key] for key in ("name", "version", *_SHOWN) if values.get(key) is not None}
    if values.get("display_name") is None:
        del shaped["display_name"]
    if node.component is not None and isinstance(values["component"], Mapping):
        own |= {key: node.component.said[key] for key in _SHOWN if key not in own and node.component.said.get(key)}
    for key, value in own.items():
        shaped[key] = TABLES[node.kind].keys[key].shape(value, (key,), found)
    return shaped


def _check(document: Document, base: Path, found: Findings) -> None:
    assert isinstance(document, ShapedNode)
    document.leaf.kind.check(document.leaf.stand_in(), base, document.leaf.found)
    document.tell(found)


def _check_data(document: Document, base: Path, found: Findings, places: Places | None) -> None:
    assert isinstance(document, ShapedNode)
    document.leaf.kind.check_data(document.leaf.settled(), base, document.leaf.found, places)


def _check_places(document: Document, base: Path, found: Findings, places: Places) -> None:
    assert isinstance(document, ShapedNode)
    document.leaf.kind.check_places(document.leaf.settled(), base, document.leaf.found, places)


def _build(document: Document) -> Job:
    assert isinstance(document, ShapedNode)
    return document.leaf.kind.build(dict(document))


NODE_FORM = Kind(shape=shape, check=_check, check_data=_check_data, check_places=_check_places, build=_build)
