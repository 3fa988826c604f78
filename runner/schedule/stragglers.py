"""What to do about slow instances when nothing is pending: take back what they have not begun, or lend it twice.

Pure functions of a lease table and a clock. Both are hints: a retraction counts when the instance has answered, and a
second copy costs only the work of whoever commits later.
"""

from __future__ import annotations

import heapq
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from runner.schedule.leases import LeaseTable
from runner.schedule.stretches import Holder, OpenLease

WORTH_S = 1.0
"""A tail that its instance would begin sooner than this is left where it is."""
ASK_AGAIN_S = 1.0
ANSWER_S = 5.0
"""An instance that does not answer for so long keeps its range, but the whole lease may be lent again."""
TWICE_FACTOR = 3.0
TWICE_AFTER_S = 10.0
"""A lease is far beyond its peers when it takes so many times what they need, and so much more."""


@dataclass(frozen=True, slots=True)
class Retraction:
    """Ask `instance` for [limit, end) of a lease."""

    held: OpenLease
    instance: int
    limit: int


@dataclass(frozen=True, slots=True)
class Twice:
    """Lend a lease also to an idle instance."""

    held: OpenLease
    to: int


def idle_instances(table: LeaseTable) -> list[int]:
    """Those whose workers have nothing to do."""
    return [number for number, holder in table.holders.items() if holder.is_idle]


def plan_relief(
    table: LeaseTable, now: float, *, may_lend_twice: bool, silent: Collection[int] = ()
) -> list[Retraction | Twice]:
    """For each idle instance something of a busy one, the most loaded first. `silent` instances have not beaten."""
    idle = idle_instances(table)
    if not idle:
        return []
    loads = list(_loads(table, now))
    heapq.heapify(loads)
    late = _late_leases(table, now, silent) if may_lend_twice else []
    found: list[Retraction | Twice] = []
    for helper in idle:
        retraction = None
        while loads and retraction is None:
            load = heapq.heappop(loads)
            retraction = _fair_share(load, table.holders[helper])
        if retraction is not None:
            found.append(retraction)
        elif (held := _worth_twice(table, helper, late, now)) is not None:
            late.remove(held)
            found.append(Twice(held, helper))
    return found


@dataclass(frozen=True, slots=True)
class _Load:
    wait_s: float
    instance: int
    holder: Holder
    last: OpenLease
    unstarted: int
    rate: float

    def __lt__(self, other: _Load) -> bool:
        return (-self.wait_s, self.instance) < (-other.wait_s, other.instance)


def _loads(table: LeaseTable, now: float) -> Iterator[_Load]:
    """The instances with more to begin than is worth waiting for."""
    for number, holder in table.holders.items():
        leases = [held for held in holder.leases.values() if held.instance == number]
        waiting = [held for held in leases if held.unstarted and not (held.is_mend or held.is_lone)]
        if not waiting or any(held.asked_at is not None for held in waiting):
            continue
        last = max(waiting, key=lambda held: held.lent_at)
        if len(last.copies) > 1 or (last.kept_at is not None and now - last.kept_at < ASK_AGAIN_S):
            continue
        rate = _rate(holder, leases, now)
        unstarted = sum(held.unstarted for held in waiting)
        if rate > 0 and unstarted / rate > WORTH_S:
            yield _Load(unstarted / rate, number, holder, last, unstarted, rate)


def _rate(holder: Holder, leases: list[OpenLease], now: float) -> float:
    """Mini-batches a second: what the instance has shown before, or what it shows now if that is less."""
    begun = sum(held.end - held.first - held.unstarted for held in leases if held.progress is not None)
    since = max(min(held.lent_at for held in leases), holder.pace.last_end)
    seen = max(begun, 0.5) / max(now - since, 1e-3)
    if not holder.pace.rate:
        return seen
    return min(holder.pace.rate, seen) if now - since > WORTH_S else holder.pace.rate


def _fair_share(load: _Load, helper: Holder) -> Retraction | None:
    """So much of the tail that both end at about the same time."""
    own = helper.pace.rate or load.rate * helper.worker_count / load.holder.worker_count
    take = min(round(load.unstarted * own / (own + load.rate)), load.last.unstarted)
    limit = max(load.last.end - take, load.last.first + 1)
    if take < 1 or limit >= load.last.end:
        return None
    return Retraction(load.last, load.instance, limit)


def _late_leases(table: LeaseTable, now: float, silent: Collection[int]) -> list[OpenLease]:
    """Leases that may be lent twice and have been at work for long, the longest first."""
    found: list[tuple[float, OpenLease]] = []
    for held in table.open_leases:
        if len(held.copies) > 1 or held.is_mend or held.is_lone:
            continue
        if held.asked_at is not None and now - held.asked_at < ANSWER_S:
            continue
        if held.is_held or (held.progress is None and held.instance not in silent):
            continue  # a retry, a bisect or one long call; or nothing is known of it, and it may be just that
        since = _since(table, held)
        if now - since > TWICE_AFTER_S:
            found.append((since, held))
    return [held for _, held in sorted(found, key=lambda one: one[0])]


def _since(table: LeaseTable, held: OpenLease) -> float:
    """Since when its instance has been at it, at the latest."""
    return max(held.lent_at, table.holders[held.instance].pace.last_end)


def _worth_twice(table: LeaseTable, helper: int, late: list[OpenLease], now: float) -> OpenLease | None:
    """The first of these that takes far longer than this helper would."""
    holder = table.holders[helper]
    if not holder.pace.rate:
        return None
    for held in late:
        needs_s = max(held.end - held.first, holder.worker_count) / holder.pace.rate
        if held.instance != helper and now - _since(table, held) > TWICE_FACTOR * needs_s + TWICE_AFTER_S:
            return held
    return None
