"""The report that the driver makes itself, of a mini-batch that took its instance down with it too often."""

from __future__ import annotations

import numpy as np

from runner.dispatch._loop import RECORD
from runner.entity.lease import Failure, ItemRange, Report, Tally
from runner.entity.plan import Plan
from runner.entity.status import FailureClass
from runner.instance.places import FAILED
from runner.schedule.stretches import OpenLease
from runner.schedule.suspects import STRIKES


def charge_report(plan: Plan, held: OpenLease, instance: int, what: str, worker: str, time_s: float) -> Report:
    """A report without a part: the one mini-batch of `held` failed, class crash. `time_s` is since 1970."""
    number = held.first
    span = plan.span_of(number)
    ranges = held.ranges or (ItemRange(mini_batch=number, first_item=0, item_count=span.item_count),)
    item_count = sum(one.item_count for one in ranges)
    is_whole = item_count == span.item_count
    losses = STRIKES + 1
    failures = tuple(
        Failure(
            mini_batch=number,
            first_item=one.first_item,
            unit=span.unit,
            file="" if plan.keys else plan.files[span.file].path,
            row=span.first_row + one.first_item if plan.kind == "table" and not plan.keys else None,
            key=plan.key_of(number),
            item_count=one.item_count,
            cls=FailureClass.CRASH,
            exception_type="InstanceLost",
            message=f"its instance was lost {losses} times while it ran, in the end alone; the last time: {what}",
            traceback="",
            attempts=losses,
            instance=f"node-{instance:03d}",
            worker=worker,
            time=time_s,
        )
        for one in ranges
    )
    record = np.zeros(1, RECORD)
    record["mini_batch"], record["item_count"] = number, item_count
    record["start_ns"], record["attempt"] = int(time_s * 1e9), losses - 1
    record["slot"], record["flags"] = -1, FAILED
    return Report(
        instance=instance,
        first=held.first,
        end=held.end,
        epoch=held.lease.epoch,
        lending=held.lease.lending,
        part=None,
        tally=Tally(
            mini_batch_count=1,
            failed_mini_batch_count=int(is_whole),
            item_count=item_count,
            failed_item_count=item_count,
            failed_by_class={FailureClass.CRASH: len(failures)},
        ),
        failures=failures,
        records=record.tobytes(),
    )
