"""The lease table: which mini-batches are pending, lent, committed. A pure state machine over ranges and a clock.

Every mini-batch is in exactly one of pending, one open lease, or committed; committed never goes back.
A lease that an instance loses becomes pending again under the next lending number. What was in flight then is a
suspect: it is lent alone, and when two further instances are lost with it, it is charged.

Mends are apart from that: item ranges that an earlier run had set aside. Their mini-batches are committed already;
they are lent as leases with ranges, and are done once such a lease is committed, whatever came of it.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from operator import attrgetter

from runner.entity.lease import ItemRange, Lease, LeaseProgress
from runner.schedule.sizing import lease_size, may_queue
from runner.schedule.stretches import Copy, Holder, OpenLease, Stretch, covers, group_ranges, ranges_within
from runner.schedule.suspects import STRIKES, divide_lost

HELD_LIMIT = 64
"""The most leases and pieces at one instance, when all but a few only wait for retries."""

_first = attrgetter("first")


@dataclass(slots=True)
class Loss:
    """What an instance held when it was lost."""

    leases: list[Lease] = field(default_factory=list)
    charged: list[OpenLease] = field(default_factory=list)
    """Suspects that have now been lost too often: they count as committed, and must be reported as failed."""


@dataclass(slots=True)
class LeaseTable:
    """Lends ranges of [0, total), lowest first. `unit_starts` are the borders that leases prefer to end at."""

    total: int
    epoch: int
    unit_starts: Sequence[int] = ()
    depth: int = 2
    """Leases an instance holds at a time: one at work, one that waits."""
    committed_count: int = 0
    mending_count: int = 0
    """Item ranges that are not mended yet."""
    _pending: list[Stretch] = field(default_factory=list)
    _pending_count: int = 0
    _mends: list[Stretch] = field(default_factory=list)
    _lone: list[Stretch] = field(default_factory=list)
    _strikes: dict[int, int] = field(default_factory=dict)
    _open: dict[tuple[int, int], OpenLease] = field(default_factory=dict)
    _holders: dict[int, Holder] = field(default_factory=dict)
    _draining: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        if self.total:
            self._add_pending(Stretch(0, self.total))

    # ---- what is done -----------------------------------------------------------------------------------
    def restore(self, committed: Iterable[tuple[int, int]]) -> None:
        """Take ranges that a journal says are committed out of a fresh table."""
        self._pending, self._pending_count = [], 0
        at = 0
        for first, end in sorted(committed):
            if first < at or end > self.total:
                raise ValueError(f"range [{first}, {end}) does not fit a plan of {self.total}")
            if first > at:
                self._pending.append(Stretch(at, first))
            self.committed_count += end - first
            at = end
        if at < self.total:
            self._pending.append(Stretch(at, self.total))
        self._pending_count = self.total - self.committed_count

    def mend(self, ranges: Iterable[ItemRange]) -> None:
        """Have item ranges of committed mini-batches run again. Called before anything is lent.

        The ranges of one mini-batch stay together, and no group spans what is pending, so that no two leases of an
        instance ever share a mini-batch.
        """
        self._mends = group_ranges(ranges, [(one.first, one.end) for one in self._pending])
        self.mending_count = sum(len(one.ranges) for one in self._mends)

    @property
    def is_finished(self) -> bool:
        """Every mini-batch is committed, and every mend."""
        return self.committed_count == self.total and not self.mending_count

    @property
    def open_leases(self) -> list[OpenLease]:
        """What is out, in no order."""
        return list(self._open.values())

    @property
    def pending(self) -> list[tuple[int, int]]:
        """What nobody holds, in order."""
        lone = [one for one in self._lone if not one.ranges]
        return sorted((one.first, one.end) for one in (*self._pending, *lone))

    @property
    def pending_mends(self) -> list[ItemRange]:
        """Mends that nobody holds."""
        return [one for stretch in (*self._mends, *self._lone) for one in stretch.ranges]

    @property
    def pending_count(self) -> int:
        """Mini-batches that nobody holds."""
        return self._pending_count + sum(not one.ranges for one in self._lone)

    @property
    def has_pending(self) -> bool:
        """Whether there is anything to lend."""
        return bool(self._pending or self._mends or self._lone)

    # ---- who works --------------------------------------------------------------------------------------
    def join(self, instance: int, worker_count: int, *, is_ready: bool = True) -> None:
        """An instance can be lent to from now on; suspects only when it is ready."""
        holder = self._holders.get(instance)
        if holder is None:
            self._holders[instance] = Holder(worker_count, is_ready)
        else:
            holder.is_ready = holder.is_ready or is_ready

    @property
    def holders(self) -> dict[int, Holder]:
        """Who can be lent to; to be looked at only."""
        return self._holders

    def is_idle(self, instance: int) -> bool:
        """Whether an instance could be lent to and has nothing to do."""
        holder = self._holders.get(instance)
        return holder is not None and not holder.is_alone and holder.held_count == len(holder.leases)

    def note(self, instance: int, leases: Sequence[LeaseProgress]) -> bool:
        """An instance tells how far it is. Whether it may want more now, since some leases only wait for retries."""
        holder = self._holders.get(instance)
        if holder is None:
            return False
        is_changed = False
        for progress in leases:
            held = holder.leases.get((progress.first, progress.end))
            # With two copies the first holder's word stands: it is the one whose progress is in doubt.
            if held is not None and held.instance == instance:
                held.progress = progress
                if held.is_held is not progress.is_held:
                    held.is_held = progress.is_held
                    self._count_held(held, 1 if held.is_held else -1)
                    is_changed = True
        return is_changed

    def _count_held(self, held: OpenLease, change: int) -> None:
        for copy in held.copies:
            if (holder := self._holders.get(copy.instance)) is not None:
                holder.held_count += change

    def lose(self, instance: int, in_flight: Collection[int] = (), *, counts: bool = True) -> Loss:
        """An instance is gone: what it held is pending again, what was `in_flight` as suspects.

        With `counts` False it is nobody's fault: it had not begun, or ended as it was told to.
        """
        loss = Loss()
        holder = self._holders.pop(instance, None)
        if holder is None:
            return loss
        self._draining.discard(instance)
        for key, held in holder.leases.items():
            copy = held.copy_of(instance)
            assert copy is not None
            loss.leases.append(copy.lease)
            held.losses += counts
            if len(held.copies) > 1:
                self._withdraw(held, copy)
            else:
                del self._open[key]
                self._give_back(held, in_flight if counts else (), loss, counts=counts)
        return loss

    def _give_back(self, held: OpenLease, in_flight: Collection[int], loss: Loss, *, counts: bool) -> None:
        if held.is_lone:
            is_done = held.progress is not None and held.progress.final_count > 0
            strikes = self._strikes.get(held.first, 0) + (counts and not is_done)
            if strikes >= STRIKES:
                self._account(held)
                loss.charged.append(held)
                return
            self._strikes[held.first] = strikes
        rest, lone = divide_lost(held, in_flight, counts=counts)
        for stretch in rest:
            self._add_pending(stretch)
        for stretch in lone:
            insort(self._lone, stretch, key=_first)

    def _add_pending(self, stretch: Stretch) -> None:
        if stretch.ranges:
            insort(self._mends, stretch, key=_first)
        else:
            insort(self._pending, stretch, key=_first)
            self._pending_count += stretch.end - stretch.first

    # ---- lending ----------------------------------------------------------------------------------------
    def lend(self, instance: int, now: float) -> Lease | None:
        """The next lease for an instance, None when it holds enough or nothing is pending for it."""
        holder = self._holders.get(instance)
        if holder is None or holder.is_alone:
            return None
        if self._lone:
            if not holder.leases and holder.is_ready:
                return self._lend_lone(instance, holder, now)
            if not holder.is_ready or self._drains(instance, holder):
                return None
        else:
            holder.is_draining = False
            self._draining.discard(instance)
        depth = self.depth
        if not may_queue(holder.pace, holder.worker_count, self._pending_count, len(self._holders)):
            depth = 1
        if len(holder.leases) - holder.held_count >= depth or len(holder.leases) >= HELD_LIMIT:
            return None
        if self._mends:
            return self._lend_mend(instance, holder, now)
        if self._pending:
            return self._lend_next(instance, holder, now)
        return None

    def _drains(self, instance: int, holder: Holder) -> bool:
        """Whether an instance is lent nothing, to be free for a suspect; half of them at most are."""
        if not holder.is_draining:
            if len(self._draining) >= min(len(self._lone), max(1, len(self._holders) // 2)):
                return False
            holder.is_draining = True
            self._draining.add(instance)
        return True

    def _lend_lone(self, instance: int, holder: Holder, now: float) -> Lease:
        stretch = self._lone.pop(0)
        holder.is_alone, holder.is_draining = True, False
        self._draining.discard(instance)
        return self._open_lease(stretch, stretch.end, stretch.ranges, instance, holder, now, is_lone=True)

    def _lend_mend(self, instance: int, holder: Holder, now: float) -> Lease:
        stretch = self._mends[0]
        size = lease_size(holder.pace, holder.worker_count, len(stretch.ranges), len(self._holders))
        take = min(size, stretch.cap, len(stretch.ranges))
        # Ranges of one mini-batch are never parted: only their place tells two leases apart.
        while take < len(stretch.ranges) and stretch.ranges[take].mini_batch == stretch.ranges[take - 1].mini_batch:
            take += 1
        ranges, rest = stretch.ranges[:take], stretch.ranges[take:]
        end = ranges[-1].mini_batch + 1
        lease = self._open_lease(stretch, end, ranges, instance, holder, now)
        if rest:
            stretch.first, stretch.ranges = rest[0].mini_batch, rest
        else:
            self._mends.pop(0)
        return lease

    def _lend_next(self, instance: int, holder: Holder, now: float) -> Lease:
        stretch = self._pending[0]
        first, end = stretch.first, stretch.end
        size = lease_size(holder.pace, holder.worker_count, self._pending_count, len(self._holders))
        cut = self._align(first, min(end, first + min(size, stretch.cap)))
        lease = self._open_lease(stretch, cut, (), instance, holder, now)
        self._pending_count -= cut - first
        if cut < end:
            stretch.first = cut
        else:
            self._pending.pop(0)
        return lease

    def _open_lease(
        self,
        stretch: Stretch,
        end: int,
        ranges: tuple[ItemRange, ...],
        instance: int,
        holder: Holder,
        now: float,
        *,
        is_lone: bool = False,
    ) -> Lease:
        first = stretch.first
        if ranges:
            first = ranges[0].mini_batch
        lease = Lease(first=first, end=end, epoch=self.epoch, lending=stretch.lending, ranges=ranges)
        held = OpenLease(first, end, [Copy(instance, lease, now)], stretch.losses, stretch.cap, ranges)
        held.is_mend, held.is_lone = bool(ranges), is_lone
        self._open[first, end] = holder.leases[first, end] = held
        return lease

    def _align(self, first: int, end: int) -> int:
        """Move a lease's end to the last unit border inside it, if it passes one."""
        index = bisect_right(self.unit_starts, end) - 1
        if index > 0 and self.unit_starts[index] > first:
            return self.unit_starts[index]
        return end

    def lend_twice(self, held: OpenLease, instance: int, now: float) -> Lease | None:
        """A second copy of a whole lease, for another instance; None when that cannot be."""
        holder = self._holders.get(instance)
        if holder is None or self._open.get((held.first, held.end)) is not held or len(held.copies) > 1:
            return None
        if held.is_mend or held.is_lone or holder.is_alone or held.copy_of(instance) is not None:
            return None
        lease = Lease(first=held.first, end=held.end, epoch=self.epoch, lending=held.next_lending)
        held.copies.append(Copy(instance, lease, now))
        holder.leases[held.first, held.end] = held
        holder.held_count += held.is_held
        return lease

    # ---- what becomes of an open lease ------------------------------------------------------------------
    def split(self, instance: int, lease: Lease, pieces: Sequence[tuple[int, int]]) -> list[int] | None:
        """Replace an open lease by its pieces; None (and nothing changes) when it is not open or they do not fit.

        Of a lease that was lent twice the copy that is divided first wins, since its first pieces are about to be
        reported. The instances that hold the other copy are returned: they should forget it.
        """
        held = self._open.get((lease.first, lease.end))
        copy = held.copy_of(instance) if held is not None else None
        if held is None or copy is None or not covers(pieces, lease.first, lease.end):
            return None
        if (copy.lease.epoch, copy.lease.lending) != (lease.epoch, lease.lending):
            return None
        losers = [other.instance for other in held.copies if other is not copy]
        self._close(held)
        for first, end in pieces:
            ranges = ranges_within(held.ranges, first, end)
            piece = Lease(first=first, end=end, epoch=lease.epoch, lending=lease.lending, ranges=ranges)
            part = OpenLease(first, end, [Copy(instance, piece, copy.lent_at)], held.losses, held.cap, ranges)
            part.is_mend = held.is_mend
            part.is_lone = held.is_lone
            self._open[first, end] = self._holders[instance].leases[first, end] = part
            self._holders[instance].is_alone = held.is_lone
        return losers

    def cut(self, instance: int, first: int, end: int, epoch: int, limit: int, now: float) -> bool | None:
        """An instance has agreed to give back [limit, end) of an open lease, which is pending again.

        False when it keeps all. None when the lease is not its alone: nothing becomes pending, and what it still
        holds of it will not be accepted any more.
        """
        held = self._open.get((first, end))
        copy = held.copy_of(instance) if held is not None else None
        if held is None or copy is None or epoch != self.epoch or held.is_mend or not first < limit <= end:
            return None
        held.asked_at = None
        if limit == end:
            held.kept_at = now
            return False
        if len(held.copies) > 1:
            self._withdraw(held, copy)
            self._holders[instance].leases.pop((first, end))
            return None
        lease = copy.lease
        self._close(held)
        copy.lease = Lease(first=first, end=limit, epoch=epoch, lending=lease.lending)
        held.end, held.progress = limit, None
        self._open[first, limit] = self._holders[instance].leases[first, limit] = held
        self._holders[instance].held_count += held.is_held
        self._add_pending(Stretch(limit, end, lease.lending + 1, held.losses, held.cap))
        return True

    def commit(self, first: int, end: int, epoch: int, now: float, instance: int | None = None) -> OpenLease | None:
        """A report for exactly an open range of this epoch is accepted once; any other changes nothing.

        Which copy of the lease it comes from does not matter: the first one wins.
        """
        held = self._open.get((first, end))
        if held is None or epoch != self.epoch:
            return None
        self._close(held)
        self._account(held)
        copy = held.copies[0] if instance is None else held.copy_of(instance)
        holder = self._holders.get(copy.instance) if copy is not None else None
        if holder is not None and copy is not None and not (held.is_mend or held.is_lone):
            # Suspects and mends are run with retries or alone: they say nothing about the pace of other work.
            holder.pace.ended(end - first, copy.lent_at, now)
        return held

    def _close(self, held: OpenLease) -> None:
        del self._open[held.first, held.end]
        for copy in held.copies:
            holder = self._holders.get(copy.instance)
            if holder is not None:
                holder.leases.pop((held.first, held.end), None)
                holder.held_count -= held.is_held
                holder.is_alone = False

    def _withdraw(self, held: OpenLease, copy: Copy) -> None:
        """Take one of two copies away. What was told of the progress was told of the first one."""
        if held.is_held:
            self._count_held(held, -1)
        held.copies.remove(copy)
        held.is_held, held.progress, held.asked_at = False, None, None

    def _account(self, held: OpenLease) -> None:
        self._strikes.pop(held.first, None)
        if held.is_mend:
            self.mending_count -= len(held.ranges)
        else:
            self.committed_count += held.end - held.first
