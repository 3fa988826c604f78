"""The lease table: which mini-batches are pending, lent, committed. A pure state machine over ranges and a clock.

Every mini-batch is in exactly one of pending, one open lease, or committed; committed never goes back.
A lease that an instance loses becomes pending again under the next lending number.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from runner.entity.lease import Lease
from runner.schedule.sizing import Pace, lease_size


@dataclass(slots=True)
class OpenLease:
    """A lease that is out, with whom, since when."""

    lease: Lease
    instance: int
    lent_at: float


@dataclass(slots=True)
class _Holder:
    worker_count: int
    pace: Pace
    open: int = 0


@dataclass(slots=True)
class LeaseTable:
    """Lends ranges of [0, total), lowest first. `unit_starts` are the borders that leases prefer to end at."""

    total: int
    epoch: int
    unit_starts: Sequence[int] = ()
    depth: int = 2
    """Leases an instance holds at a time: one at work, one that waits."""
    committed_count: int = 0
    _pending: list[tuple[int, int]] = field(default_factory=list)
    _losses: dict[int, int] = field(default_factory=dict)
    _open: dict[tuple[int, int], OpenLease] = field(default_factory=dict)
    _holders: dict[int, _Holder] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.total:
            self._pending = [(0, self.total)]

    # ---- what is done -----------------------------------------------------------------------------------
    def restore(self, committed: Iterable[tuple[int, int]]) -> None:
        """Take ranges that a journal says are committed out of a fresh table."""
        pending: list[tuple[int, int]] = []
        at = 0
        for first, end in sorted(committed):
            if first < at or end > self.total:
                raise ValueError(f"range [{first}, {end}) does not fit a plan of {self.total}")
            if first > at:
                pending.append((at, first))
            self.committed_count += end - first
            at = end
        if at < self.total:
            pending.append((at, self.total))
        self._pending = pending

    @property
    def is_finished(self) -> bool:
        """Every mini-batch is committed."""
        return self.committed_count == self.total

    @property
    def open_leases(self) -> list[OpenLease]:
        """What is out, in no order."""
        return list(self._open.values())

    @property
    def pending_count(self) -> int:
        """Mini-batches that nobody holds."""
        return sum(end - first for first, end in self._pending)

    # ---- who works --------------------------------------------------------------------------------------
    def join(self, instance: int, worker_count: int) -> None:
        """An instance can be lent to from now on."""
        self._holders[instance] = _Holder(worker_count, Pace())

    def lose(self, instance: int) -> list[Lease]:
        """An instance is gone: what it held is pending again. Returns the leases it held."""
        self._holders.pop(instance, None)
        lost = [held for held in self._open.values() if held.instance == instance]
        for held in lost:
            first, end = held.lease.first, held.lease.end
            del self._open[first, end]
            insort(self._pending, (first, end))
            self._losses[first] = held.lease.lending + 1
        return [held.lease for held in lost]

    # ---- lending ----------------------------------------------------------------------------------------
    def lend(self, instance: int, now: float) -> Lease | None:
        """The next lease for an instance, None when it holds enough or nothing is pending."""
        holder = self._holders.get(instance)
        if holder is None or not self._pending or holder.open >= self.depth:
            return None
        first, end = self._pending[0]
        size = lease_size(holder.pace, holder.worker_count, self.pending_count, len(self._holders))
        cut = self._align(first, min(end, first + size))
        lending = self._losses.pop(first, 0)
        if cut < end:
            self._pending[0] = (cut, end)
            if lending:
                self._losses[cut] = lending
        else:
            self._pending.pop(0)
        lease = Lease(first=first, end=cut, epoch=self.epoch, lending=lending)
        self._open[first, cut] = OpenLease(lease, instance, now)
        holder.open += 1
        return lease

    def _align(self, first: int, end: int) -> int:
        """Move a lease's end to the last unit border inside it, if it passes one."""
        index = bisect_right(self.unit_starts, end) - 1
        if index > 0 and self.unit_starts[index] > first:
            return self.unit_starts[index]
        return end

    def split(self, instance: int, lease: Lease, pieces: Sequence[tuple[int, int]]) -> bool:
        """Replace an open lease by its pieces; False (and nothing changes) when it is not open or they do not fit."""
        held = self._open.get((lease.first, lease.end))
        if held is None or held.instance != instance or held.lease != lease or not _covers(pieces, lease):
            return False
        del self._open[lease.first, lease.end]
        self._holders[instance].open += len(pieces) - 1
        for first, end in pieces:
            piece = Lease(first=first, end=end, epoch=lease.epoch, lending=lease.lending)
            self._open[first, end] = OpenLease(piece, instance, held.lent_at)
        return True

    def commit(self, first: int, end: int, epoch: int, now: float) -> bool:
        """A report for exactly an open range of this epoch is accepted once; any other changes nothing."""
        held = self._open.get((first, end))
        if held is None or epoch != self.epoch:
            return False
        del self._open[first, end]
        self.committed_count += end - first
        holder = self._holders.get(held.instance)
        if holder is not None:
            holder.open -= 1
            holder.pace.ended(end - first, held.lent_at, now)
        return True


def _covers(pieces: Sequence[tuple[int, int]], lease: Lease) -> bool:
    at = lease.first
    for first, end in pieces:
        if first != at or end <= first:
            return False
        at = end
    return at == lease.end
