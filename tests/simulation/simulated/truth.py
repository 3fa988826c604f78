"""What is really in the data: which items raise, crash, hang, or take the whole instance down. Nobody else knows."""

from __future__ import annotations

from dataclasses import dataclass, replace
from random import Random

from runner.entity.plan import Plan, PlanFile, Unit
from runner.entity.status import FailureClass


@dataclass(frozen=True, slots=True)
class Nature:
    """Of one mini-batch: how long a call takes, and what becomes of it."""

    seconds: float
    bad: frozenset[int] = frozenset()
    """Items that fail; with all of them the mini-batch does."""
    cls: FailureClass = FailureClass.USER_ERROR
    is_isolated: bool = False
    """Bisecting is on and finds the bad items; otherwise the whole mini-batch is set aside for one of them."""
    is_deadly: bool = False
    """It takes its instance down."""


def make_plan(dice: Random) -> Plan:
    """A table of one file, in units of some mini-batches."""
    rows = dice.choice([1, 2, 5])
    total = dice.choice([1, 2, 7, 20, 40, 90])
    per_unit = dice.choice([1, 4, 16, 100])
    item_count = total * rows - (dice.randrange(rows))
    units = tuple(
        Unit(
            file=0,
            first_mini_batch=first,
            mini_batch_count=min(per_unit, total - first),
            first_row=first * rows,
            row_count=min((first + per_unit) * rows, item_count) - first * rows,
        )
        for first in range(0, total, per_unit)
    )
    file = PlanFile(path="/in/a", size_bytes=1, mtime_ns=1, row_count=item_count, rows_per_mini_batch=rows)
    return Plan(
        kind="table",
        inputs=("in",),
        files=(file,),
        units=units,
        mini_batch_count=total,
        item_count=item_count,
        fingerprint="f",
    )


def make_natures(dice: Random, plan: Plan) -> list[Nature]:
    """Mostly good ones."""
    pace = dice.choice([0.005, 0.05, 0.5, 3.0])
    bad_share = dice.choice([0.0, 0.0, 0.1, 0.4])
    deadly_share = dice.choice([0.0, 0.0, 0.0, 0.05])
    is_bisecting = dice.random() < 0.5
    natures = []
    for number in range(plan.mini_batch_count):
        nature = Nature(seconds=pace * dice.choice([0.5, 1.0, 1.0, 1.5, 8.0]))
        if dice.random() < bad_share:
            items = plan.span_of(number).item_count
            bad = frozenset(dice.sample(range(items), dice.randint(1, items)))
            cls = dice.choice([FailureClass.USER_ERROR, FailureClass.CRASH, FailureClass.TIMEOUT])
            nature = replace(nature, bad=bad, cls=cls, is_isolated=is_bisecting)
        elif dice.random() < deadly_share:
            nature = replace(nature, is_deadly=True)
        natures.append(nature)
    return natures


def heal(dice: Random, natures: list[Nature]) -> list[Nature]:
    """What corrected code makes of it: some of what was bad is good."""
    healed = []
    for nature in natures:
        if nature.is_deadly and dice.random() < 0.7:
            nature = replace(nature, is_deadly=False)
        if nature.bad and dice.random() < 0.7:
            bad = frozenset(item for item in nature.bad if dice.random() < 0.3)
            nature = replace(nature, bad=bad)
        healed.append(nature)
    return healed
