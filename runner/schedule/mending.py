"""From the report of a lease of item ranges to what the journal says of it. Pure.

Such a lease runs what an earlier run has set aside. Its results belong where the failures stood: a mend and a failure
that comes again take the place of the failure they come from. Counts are differences to what was committed before.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from runner.entity.lease import Failure, Mend, Report, Tally
from runner.entity.plan import Plan
from runner.entity.status import FailureClass
from runner.errors import Defect
from runner.schedule.failures import OpenItems
from runner.schedule.journal import MendedItems


@dataclass(frozen=True, slots=True)
class Mending:
    """What a mended lease changes."""

    mini_batches: tuple[int, ...]
    """Those that were tried again."""
    mends: tuple[MendedItems, ...]
    failures: tuple[Failure, ...]
    """What is open now, at the places of what was open before."""
    tally: Tally
    """Differences."""


def is_mend(report: Report, retried: Mapping[int, object]) -> bool:
    """Whether a report is of a lease of item ranges: an ordinary one never holds a committed mini-batch."""
    if report.mends or report.first in retried:
        return True
    if report.end - report.first < len(retried):
        return any(number in retried for number in range(report.first, report.end))
    return any(report.first <= number < report.end for number in retried)


def mending_of(report: Report, retried: Mapping[int, Sequence[OpenItems]], plan: Plan) -> Mending:
    """What the report of a mended lease changes. Defect when it does not tell of all its items."""
    mends: dict[int, list[Mend]] = {}
    failures: dict[int, list[Failure]] = {}
    for mend in report.mends:
        mends.setdefault(mend.items.mini_batch, []).append(mend)
    for failure in report.failures:
        failures.setdefault(failure.mini_batch, []).append(failure)
    told = sorted({*mends, *failures})
    by_class: dict[FailureClass, int] = {}
    done: list[MendedItems] = []
    again: list[Failure] = []
    tried = rescued = 0
    for number in told:
        before = retried.get(number, ())
        mine, left = mends.get(number, []), sorted(failures.get(number, []), key=lambda one: one.first_item)
        count = sum(one.item_count for one in before)
        if sum(one.items.item_count for one in mine) + sum(one.item_count for one in left) != count:
            raise Defect(f"the report of lease [{report.first}, {report.end}) does not tell of all its items")
        tried += count
        for failed, change in (*((one.cls, -1) for one in before), *((one.cls, 1) for one in left)):
            by_class[failed] = by_class.get(failed, 0) + change
        if mine and count == plan.span_of(number).item_count:
            rescued += 1
        done += [_placed(mend, _root(before, mend.items.first_item)) for mend in mine]
        for failure in left:
            root = _root(before, failure.first_item)
            again.append(replace(failure, at_row=root.at_row, at_byte=root.at_byte))
    if report.part is not None and sum(one.rows for one in done) != report.part.row_count:
        raise Defect(f"the mends of lease [{report.first}, {report.end}) are not its part")
    tally = Tally(
        failed_mini_batch_count=-rescued,
        failed_item_count=report.tally.failed_item_count - tried,
        row_count=report.tally.row_count,
        failed_by_class={cls: n for cls, n in by_class.items() if n},
    )
    return Mending(tuple(told), tuple(done), tuple(again), tally)


def _root(before: Sequence[OpenItems], item: int) -> OpenItems:
    for one in before:
        if one.first_item <= item < one.first_item + one.item_count:
            return one
    raise Defect(f"item {item} was run again, but had not been set aside")


def _placed(mend: Mend, root: OpenItems) -> MendedItems:
    items = mend.items
    return MendedItems(
        items.mini_batch,
        items.first_item,
        items.item_count,
        mend.row_count,
        mend.byte_count,
        root.at_row,
        root.at_byte,
    )
