"""The instances of a driver, and sums over what they last told: kept, not made, since there may be thousands."""

from __future__ import annotations

from dataclasses import dataclass, field

from runner.entity.lease import Heartbeat, InFlight, Tally
from runner.entity.status import FailureClass

_NOBODY = Tally()


@dataclass(slots=True)
class Member:
    """An instance that was started and has not ended."""

    worker_count: int
    like: int
    """The instance whose place it has."""
    is_ready: bool = False
    live: Tally = _NOBODY
    attempt_count: int = 0
    in_flight: tuple[InFlight, ...] = ()
    is_at_work: bool = False
    alive_worker_count: int = 0
    beat_at: float = 0.0

    @property
    def suspects(self) -> set[int]:
        """The mini-batches whose calls were running when it was last heard of."""
        return {at.mini_batch for at in self.in_flight if at.phase in ("run", "return")}


@dataclass(slots=True)
class _Sum:
    """Live counts of all instances together, kept in place."""

    mini_batches: int = 0
    failed_mini_batches: int = 0
    items: int = 0
    failed_items: int = 0
    rows: int = 0
    by_class: dict[FailureClass, int] = field(default_factory=dict)

    def replace(self, old: Tally, new: Tally) -> None:
        self.mini_batches += new.mini_batch_count - old.mini_batch_count
        self.failed_mini_batches += new.failed_mini_batch_count - old.failed_mini_batch_count
        self.items += new.item_count - old.item_count
        self.failed_items += new.failed_item_count - old.failed_item_count
        self.rows += new.row_count - old.row_count
        if old.failed_by_class or new.failed_by_class:
            for tally, sign in ((old, -1), (new, 1)):
                for cls, count in tally.failed_by_class.items():
                    self.by_class[cls] = self.by_class.get(cls, 0) + sign * count


class Roster:
    """Members by number."""

    def __init__(self) -> None:
        self.members: dict[int, Member] = {}
        self.ready_count = 0
        self.at_work_count = 0
        self.attempt_count = 0
        self.alive_worker_count = 0
        self._live = _Sum()

    def add(self, instance: int, worker_count: int, like: int, now: float) -> None:
        """An instance was started."""
        self.members[instance] = Member(worker_count, like, beat_at=now)

    def ready(self, member: Member) -> None:
        """Its first worker has ended init()."""
        self.ready_count += not member.is_ready
        member.is_ready = True

    def beat(self, member: Member, event: Heartbeat, now: float) -> None:
        """Take in a sign of life."""
        member.beat_at, member.in_flight = now, event.in_flight
        self.attempt_count += event.attempt_count - member.attempt_count
        member.attempt_count = event.attempt_count
        # What is being read is no mini-batch yet.
        is_at_work = False
        for at in event.in_flight:
            if at.phase != "load":
                is_at_work = True
                break
        self.at_work_count += is_at_work - member.is_at_work
        member.is_at_work = is_at_work
        self.alive_worker_count += event.worker_count - member.alive_worker_count
        member.alive_worker_count = event.worker_count
        self._replace_live(member, event.live)

    def settle(self, instance: int, committed: Tally) -> None:
        """What was just committed is live no more; the next heartbeat tells it anew."""
        member = self.members.get(instance)
        if member is not None and member.live.mini_batch_count:
            is_all = committed.mini_batch_count >= member.live.mini_batch_count
            self._replace_live(member, _NOBODY if is_all else member.live.less(committed))

    def _replace_live(self, member: Member, live: Tally) -> None:
        self._live.replace(member.live, live)
        member.live = live

    def drop(self, instance: int) -> Member | None:
        """An instance has ended or is gone."""
        member = self.members.pop(instance, None)
        if member is not None:
            self.ready_count -= member.is_ready
            self.at_work_count -= member.is_at_work
            self.attempt_count -= member.attempt_count
            self.alive_worker_count -= member.alive_worker_count
            self._live.replace(member.live, _NOBODY)
        return member

    @property
    def live(self) -> Tally:
        """Counts of what is final at instances and not committed; for display, and to hurry reports."""
        live = self._live
        return Tally(
            mini_batch_count=live.mini_batches,
            failed_mini_batch_count=live.failed_mini_batches,
            item_count=live.items,
            failed_item_count=live.failed_items,
            row_count=live.rows,
            failed_by_class={cls: count for cls, count in live.by_class.items() if count},
        )

    @property
    def live_failures(self) -> tuple[int, int]:
        """Failed mini-batches and failed items among them."""
        return self._live.failed_mini_batches, self._live.failed_items
