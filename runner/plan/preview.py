"""Looks at what a job would do first: its plan and its first mini-batch. What that needs on disk goes at the end."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

from runner.dataset.listing import shown
from runner.dataset.portray import Portrait, portray
from runner.dataset.read import UnitReader
from runner.dataset.saved_plan import load_plan, save_plan
from runner.entity.parallel import ParallelSpec
from runner.entity.plan import Plan
from runner.errors import InputUnreadable
from runner.plan.make import make_plan

SPANS = 10
"""Cuts that are shown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """One of the first mini-batches: where it begins and how many items it has."""

    mini_batch: int
    unit: int
    file: str | None
    """None for a group by key, whose rows may be of any file; `row` too."""
    row: int | None
    """None for files."""
    item_count: int
    key: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """What a job would do first."""

    input_count: int
    file_count: int
    unit_count: int
    mini_batch_count: int
    item_count: int
    cuts: tuple[Cut, ...]
    first: Portrait
    """The first mini-batch as `run` would get it."""


def preview(spec: ParallelSpec) -> Preview:
    """Plan a job and read its first mini-batch.

    Raises what planning and reading raise: InputError for data that is not there or cannot be read.
    """
    with tempfile.TemporaryDirectory(prefix="runner-preview-") as folder:
        path = Path(folder) / "plan"
        plan = make_plan(spec, path)
        if plan.keys:  # their values are known to a plan that has been stored
            save_plan(plan, path)
            plan = load_plan(path)
        reader = UnitReader(plan, spec)
        try:
            slab = next(reader.slabs(0, 0, 1, lambda first, end: True), None)
            if slab is None:
                raise InputUnreadable(shown(plan.files[0].path), "its first mini-batch could not be read")
            first = portray(slab.get(0), reader.schema)
        finally:
            reader.close()
        return Preview(
            input_count=len(plan.inputs),
            file_count=len(plan.files),
            unit_count=len(plan.units),
            mini_batch_count=plan.mini_batch_count,
            item_count=plan.item_count,
            cuts=tuple(_shown(plan, number) for number in range(min(SPANS, plan.mini_batch_count))),
            first=first,
        )


def _shown(plan: Plan, mini_batch: int) -> Cut:
    span = plan.span_of(mini_batch)
    is_group = bool(plan.keys)
    return Cut(
        mini_batch=mini_batch,
        unit=span.unit,
        file=None if is_group else shown(plan.files[span.file].path),
        row=None if is_group or plan.kind == "files" else span.first_row,
        item_count=span.item_count,
        key=plan.key_of(mini_batch),
    )
