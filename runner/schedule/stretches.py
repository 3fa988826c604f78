"""What a lease table is made of: stretches that nobody holds, leases that are out, and the instances that hold them."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from runner.entity.lease import ItemRange, Lease, LeaseProgress
from runner.schedule.sizing import LEASE_LIMIT, Pace

MEND_LIMIT = 1000
"""Item ranges in one lease, about."""


@dataclass(slots=True)
class Stretch:
    """Mini-batches [first, end) that nobody holds; with `ranges`, only these items of them."""

    first: int
    end: int
    lending: int = 0
    """The number of the next copy that is lent of it."""
    losses: int = 0
    """Instances that were lost while they held it."""
    cap: int = LEASE_LIMIT
    """At most so many mini-batches in one lease: fewer after many losses, to come nearer to what causes them."""
    ranges: tuple[ItemRange, ...] = ()


@dataclass(slots=True)
class Copy:
    """One lending of a lease: to whom, since when."""

    instance: int
    lease: Lease
    lent_at: float


@dataclass(slots=True, eq=False)
class OpenLease:
    """A lease that is out, in one copy or, after it was lent twice, in two."""

    first: int
    end: int
    copies: list[Copy]
    losses: int = 0
    cap: int = LEASE_LIMIT
    ranges: tuple[ItemRange, ...] = ()
    is_mend: bool = False
    is_lone: bool = False
    """One suspect, lent to an instance that holds nothing else."""
    asked_at: float | None = None
    """When its tail was asked for, while there is no answer."""
    kept_at: float | None = None
    """When its instance last answered that it keeps everything."""
    progress: LeaseProgress | None = None
    is_held: bool = False

    @property
    def lease(self) -> Lease:
        """The lease, as it was lent first of the copies that are left."""
        return self.copies[0].lease

    @property
    def instance(self) -> int:
        """Who holds it, the first of the copies that are left."""
        return self.copies[0].instance

    @property
    def lent_at(self) -> float:
        """Since when, for the first of the copies that are left."""
        return self.copies[0].lent_at

    @property
    def next_lending(self) -> int:
        """The number of a further copy."""
        return max(copy.lease.lending for copy in self.copies) + 1

    @property
    def unstarted(self) -> int:
        """Mini-batches that nobody has claimed, as far as it was told."""
        return self.progress.unstarted_count if self.progress is not None else 0

    def copy_of(self, instance: int) -> Copy | None:
        """The copy that an instance holds."""
        for copy in self.copies:
            if copy.instance == instance:
                return copy
        return None


@dataclass(slots=True, eq=False)
class Holder:
    """An instance that can be lent to."""

    worker_count: int
    is_ready: bool
    pace: Pace = field(default_factory=Pace)
    leases: dict[tuple[int, int], OpenLease] = field(default_factory=dict)
    held_count: int = 0
    """Of these leases, so many wait for a retry or one long call only: they keep nobody else busy."""
    is_alone: bool = False
    """It holds a suspect, and is lent nothing else."""
    is_draining: bool = False
    """It is lent nothing until it holds nothing, and then a suspect."""

    @property
    def is_idle(self) -> bool:
        """Whether its workers have, but for retries and long calls, nothing to do."""
        return self.is_ready and not self.is_alone and self.held_count == len(self.leases)


def ranges_within(ranges: Sequence[ItemRange], first: int, end: int) -> tuple[ItemRange, ...]:
    """Those of mini-batches [first, end)."""
    return tuple(one for one in ranges if first <= one.mini_batch < end)


def group_ranges(ranges: Iterable[ItemRange], pending: Sequence[tuple[int, int]]) -> list[Stretch]:
    """Item ranges in order, as stretches that can be lent.

    The ranges of one mini-batch stay together, and no stretch spans what is pending, so that no two leases ever share
    a mini-batch.
    """
    starts = [first for first, _ in pending]
    groups: list[list[ItemRange]] = []
    for one in sorted(ranges, key=lambda one: (one.mini_batch, one.first_item)):
        last = groups[-1] if groups else None
        if last is None or (one.mini_batch != last[-1].mini_batch and not _may_join(last, one, starts)):
            groups.append([one])
        else:
            last.append(one)
    return [Stretch(group[0].mini_batch, group[-1].mini_batch + 1, ranges=tuple(group)) for group in groups]


def _may_join(group: list[ItemRange], one: ItemRange, starts: Sequence[int]) -> bool:
    # A mini-batch with a failure is committed, so a stretch that is pending lies wholly between two of them or not.
    is_clear = bisect_left(starts, group[-1].mini_batch) == bisect_left(starts, one.mini_batch)
    return is_clear and len(group) < MEND_LIMIT and one.mini_batch + 1 - group[0].mini_batch <= LEASE_LIMIT


def covers(pieces: Sequence[tuple[int, int]], first: int, end: int) -> bool:
    """Whether adjacent pieces are together [first, end)."""
    at = first
    for start, stop in pieces:
        if start != at or stop <= start:
            return False
        at = stop
    return at == end
