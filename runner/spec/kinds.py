"""The kinds of jobs: how a document of each is shaped, checked and made into an object."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from runner.spec.findings import Findings, did_you_mean
from runner.spec.leaf_kinds import LEAF_KINDS, Kind
from runner.spec.node_form import NODE_FORM, is_node
from runner.spec.pipeline_kind import PIPELINE_KIND
from runner.spec.shapes import kind_of

KINDS: Mapping[str, Kind] = {**LEAF_KINDS, "pipeline": PIPELINE_KIND}
REFUSED = ("sweep", "spark", "automl", "import", "finetuning", "distillation", "data_transfer")
"""Kinds that are known elsewhere, and that this runner does not run."""
_TELLTALE = {"task": "parallel", "input_data": "parallel", "mini_batch_size": "parallel", "jobs": "pipeline"}


def kind_named(word: str) -> Kind:
    """The kind of a job object."""
    return KINDS[word]


def kind_of_document(values: Mapping[str, Any], found: Findings) -> Kind | None:
    """The kind of a document, by its `type`; without one it is a command. None, and a problem, for no known kind."""
    kind = values.get("type")
    if is_node(values):
        return NODE_FORM
    if kind is None:
        told = next((_TELLTALE[key] for key in values if key in _TELLTALE), None)
        if told is not None and "command" not in values:
            found.problem((), "type is missing, so this would be a command", f"write `type: {told}`")
            return None
        return KINDS["command"]
    word = kind.lower() if isinstance(kind, str) else ""
    if word in KINDS:
        return KINDS[word]
    known = ", ".join(f"`{name}`" for name in KINDS)
    if word in REFUSED:
        found.problem(("type",), f"is {kind!r}, a kind of job that this runner does not run", f"write one of {known}")
    else:
        found.problem(
            ("type",),
            f"is {kind_of(kind)}, which is no kind of job",
            did_you_mean(word, KINDS, f"write one of {known}"),
        )
    return None
