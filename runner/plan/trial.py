"""The plan of a trial: the first mini-batches of a job alone."""

from __future__ import annotations

import hashlib
from dataclasses import replace

from runner.entity.plan import Plan, Unit


def first_of(plan: Plan, limit: int) -> Plan:
    """The plan of the first mini-batches alone; another plan than the whole, so its fingerprint is another too."""
    if plan.mini_batch_count <= limit:
        return plan
    units = tuple(_cut(plan, unit, limit) for unit in plan.units if unit.first_mini_batch < limit)
    if plan.keys:
        item_count = int(plan.bounds[limit])
    else:
        item_count = sum(unit.file_count if plan.kind == "files" else unit.row_count for unit in units)
    return replace(
        plan,
        units=units,
        mini_batch_count=limit,
        item_count=item_count,
        bounds=plan.bounds[: limit + 1],
        fingerprint=hashlib.sha256(f"{plan.fingerprint} {limit}".encode()).hexdigest(),
    )


def _cut(plan: Plan, unit: Unit, limit: int) -> Unit:
    count = min(unit.mini_batch_count, limit - unit.first_mini_batch)
    if count == unit.mini_batch_count:
        return unit
    if plan.keys:
        items = int(plan.bounds[limit] - plan.bounds[unit.first_mini_batch])
    elif plan.kind == "files":
        items = count * plan.files_per_mini_batch
    else:
        items = count * plan.files[unit.file].rows_per_mini_batch
    if plan.kind == "files":
        return replace(unit, mini_batch_count=count, file_count=min(items, unit.file_count))
    return replace(unit, mini_batch_count=count, row_count=min(items, unit.row_count))
