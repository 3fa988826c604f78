"""How large a lease is: a second or two of work by the pace an instance shows, small at first and towards the end."""

from __future__ import annotations

from dataclasses import dataclass

TARGET_S = 1.0
"""Work in one lease. An instance holds two, and a kill costs what is open: so a few seconds at most."""
TARGET_LIMIT_S = 2.5
"""With very many instances leases are longer, so that the driver keeps up; two of them are still within 5 s."""
INSTANCES_PER_TARGET_S = 400
TOGETHER_S = 0.05
GROWTH = 8
"""A lease is at most so many times the largest one an instance has finished: the first paces are mostly overhead."""
FIRST_PER_WORKER = 2
LEASE_LIMIT = 1_000_000
"""The most mini-batches that one ledger holds."""
SLOW_S = 2.0
"""Mini-batches that take longer than this are not queued behind others when the end is near."""


@dataclass(slots=True)
class Pace:
    """What an instance has shown so far: mini-batches a second, and the largest lease it finished."""

    rate: float = 0.0
    largest: int = 0
    last_end: float = 0.0
    _begin: float = 0.0
    _count: int = 0
    _before: float = 0.0

    def ended(self, count: int, lent_at: float, now: float) -> None:
        """`count` mini-batches, lent at `lent_at`, were committed at `now`."""
        if self._count and now - self.last_end < TOGETHER_S:
            # Of reports that waited together only the sum says anything: the second took no time at all.
            self._count += count
        else:
            self._begin, self._count, self._before = max(lent_at, self.last_end), count, self.rate
        rate = self._count / max(now - self._begin, 1e-4)
        # A larger lease says more than all smaller ones before it; among equals the newest counts half.
        self.rate = rate if self._count > self.largest else (self._before + rate) / 2
        self.largest = max(self.largest, count)
        self.last_end = now


def target_s(instance_count: int) -> float:
    """Seconds of work to put into one lease."""
    return min(max(TARGET_S, instance_count / INSTANCES_PER_TARGET_S), TARGET_LIMIT_S)


def lease_size(pace: Pace, worker_count: int, pending: int, instance_count: int) -> int:
    """How many mini-batches to lend next: at least one for each worker, never more than a ledger holds."""
    if pace.largest == 0:
        return min(FIRST_PER_WORKER * worker_count, LEASE_LIMIT)
    target = int(pace.rate * target_s(instance_count))
    wanted = min(target, pace.largest * GROWTH)
    share = pending // (2 * instance_count)
    least = max(worker_count, min(wanted, target // 10))
    return max(1, min(max(min(wanted, share), least), LEASE_LIMIT))


def may_queue(pace: Pace, worker_count: int, pending: int, instance_count: int) -> bool:
    """Whether an instance that is at work should be lent more already.

    Not when the end is near and mini-batches are slow: one that waits behind another cannot be had back by an
    instance that is idle meanwhile, because one mini-batch of a lease always stays.
    """
    is_near_end = pending < 2 * instance_count * worker_count
    return not (is_near_end and 0 < pace.rate * SLOW_S < worker_count)
