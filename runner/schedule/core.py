"""The decisions of a driver, as a state machine: an event and a time go in, actions come out.

No I/O, no thread, no clock. Order of events: `begin` starts instances; `on` takes what they say and collects the
reports that the lease table accepts; the shell writes these (`take_commit`) and says so (`on_committed`); `tick` lends,
looks at slow instances, clocks and thresholds, and closes when everything is committed or the job must end.

Accepted reports are open no more at once, so a loss that follows does not lend them again; they count when the shell
has said that they are durable. When it cannot, the driver ends, and the journal alone says what is done.

An instance is lent to once it is ready, since until then it may wait for room for hours while others have none left
to do. Only an instance that is the only one is lent to before that: nobody else could do the work, and reading the
plan and making the ledger then overlap with its workers' start.
"""

from __future__ import annotations

from collections.abc import Sequence

from runner.entity.lease import (
    Heartbeat,
    InitFailure,
    InstanceClosed,
    InstanceEvent,
    InstanceFailed,
    InstanceLost,
    InstanceReady,
    LeaseCut,
    LeaseSplit,
    Report,
    Tally,
)
from runner.entity.parallel import ParallelSpec
from runner.entity.plan import Plan
from runner.errors import RunnerError, ShutdownFailed, Told
from runner.schedule.actions import (
    Action,
    Close,
    CommitNow,
    Forget,
    Kill,
    Lend,
    Retract,
    Run,
    Settle,
    Start,
    Tell,
    Touch,
)
from runner.schedule.book import Ledgerbook
from runner.schedule.charge import charge_report
from runner.schedule.leases import LeaseTable, Loss
from runner.schedule.policy import Clocks, InitWatch, Setbacks, exceeded_threshold
from runner.schedule.roster import Member, Roster
from runner.schedule.stragglers import Retraction, plan_relief

RELIEF_S = 0.25
TOUCH_S = 1.0
HURRY_S = 0.2
SILENT_S = 3.0
"""An instance that has not beaten for so long may be stopped; what it holds may be lent twice without its word."""
CLOSE_SLACK_S = 5.0


class Core:
    """Decides for one job, from the first instance's start to the last one's end."""

    def __init__(
        self, spec: ParallelSpec, plan: Plan, table: LeaseTable, book: Ledgerbook, *, since_1970: float = 0.0
    ) -> None:
        self._spec, self._plan, self.table, self._book = spec, plan, table, book
        self._since_1970 = since_1970
        """What to add to a time that is given here to get seconds since 1970."""
        self.roster = Roster()
        self.error: RunnerError | None = None
        self.is_cancelled = False
        self.is_over = False
        self._closes_by: float | None = None
        self._clocks, self._inits = Clocks(spec), InitWatch(0)
        self._setbacks = Setbacks(spec.ray_address or "this machine")
        self._next_instance = 0
        self._accepted: list[Report] = []
        self._hungry: dict[int, None] = {}
        """Instances that may want more, in the order in which they came to."""
        self._may_lend_twice = spec.output is not None if spec.speculate is None else spec.speculate
        self._relief_at = self._touch_at = self._hurry_at = 0.0
        self._is_running = False

    @property
    def is_working(self) -> bool:
        """Whether there is anything left to do but to close."""
        is_finished = self.table.is_finished and not self._accepted
        return not is_finished and self.error is None and not self.is_cancelled

    # ---- events -----------------------------------------------------------------------------------------
    def begin(self, worker_counts: Sequence[int], now: float) -> list[Action]:
        """Start instances 0, 1, ... with so many workers each."""
        self._inits = InitWatch(sum(worker_counts))
        self._next_instance = len(worker_counts)
        return [self._start(number, count, number, now) for number, count in enumerate(worker_counts)]

    def _start(self, instance: int, worker_count: int, like: int, now: float) -> Start:
        self.roster.add(instance, worker_count, like, now)
        if len(self.roster.members) == 1 and self._next_instance - instance == 1:
            self._join(instance, worker_count, is_ready=False)
        return Start(instance, like)

    def _join(self, instance: int, worker_count: int, *, is_ready: bool) -> None:
        self.table.join(instance, worker_count, is_ready=is_ready)
        self._hungry[instance] = None

    def on(self, event: InstanceEvent, now: float) -> list[Action]:
        """Take what an instance says."""
        if isinstance(event, Report):
            return self._on_report(event, now)
        member = self.roster.members.get(event.instance)
        if member is None:
            return []
        if isinstance(event, Heartbeat):
            self.roster.beat(member, event, now)
            if self.table.note(event.instance, event.leases):
                self._hungry[event.instance] = None
        elif isinstance(event, InstanceReady):
            return self._on_ready(member, event.instance)
        elif isinstance(event, LeaseSplit):
            return self._on_split(event)
        elif isinstance(event, LeaseCut):
            return self._on_cut(event, now)
        elif isinstance(event, InitFailure):
            self._fail(self._inits.failed(event, self._spec.entry_script))
            return [Tell(f"init of {event.worker} failed: {event.what}")]
        elif isinstance(event, InstanceFailed):
            self._fail(_told(event))
        elif isinstance(event, InstanceLost):
            return self._on_gone(member, event.instance, event.what, now)
        elif isinstance(event, InstanceClosed):
            return self._on_closed(member, event.instance, now)
        return []

    def _on_ready(self, member: Member, instance: int) -> list[Action]:
        self.roster.ready(member)
        self._setbacks.ready(member.like)
        self._inits.ready()
        self._join(instance, member.worker_count, is_ready=True)
        if self._is_running:
            return []
        self._is_running = True
        return [Run()]

    def _on_report(self, report: Report, now: float) -> list[Action]:
        held = self.table.commit(report.first, report.end, report.epoch, now, report.instance)
        if held is None:
            # Another copy was faster. What comes from a time before says nothing about who has this number now.
            return self._forget([report.instance] * (report.epoch == self.table.epoch), report.first, report.end)
        self._accepted.append(report)
        losers = []
        for copy in held.copies:
            self._hungry[copy.instance] = None
            if copy.instance != report.instance:
                losers.append(copy.instance)
        return self._forget(losers, report.first, report.end)

    def _on_split(self, event: LeaseSplit) -> list[Action]:
        lease = event.lease
        losers = self.table.split(event.instance, lease, event.pieces)
        if losers is None:
            return [Tell(f"instance {event.instance} splits [{lease.first}, {lease.end}), which it does not hold")]
        for loser in losers:
            self._hungry[loser] = None
        return self._forget(losers, lease.first, lease.end)

    def _on_cut(self, event: LeaseCut, now: float) -> list[Action]:
        is_cut = self.table.cut(event.instance, event.first, event.end, event.epoch, event.limit, now)
        if is_cut is None and event.epoch == self.table.epoch and event.limit < event.end:
            self._hungry[event.instance] = None
            return self._forget([event.instance], event.first, event.limit)
        return []

    def _forget(self, instances: Sequence[int], first: int, end: int) -> list[Action]:
        return [Forget(number, first, end) for number in instances if number in self.roster.members]

    def _on_closed(self, member: Member, instance: int, now: float) -> list[Action]:
        if self._closes_by is None and self.error is None:
            return self._on_gone(member, instance, "it ended by itself", now)
        self.roster.drop(instance)
        self.table.lose(instance, counts=False)
        return []

    def _on_gone(self, member: Member, instance: int, what: str, now: float) -> list[Action]:
        """An instance is lost: what it held is lent again, and another one is started in its place."""
        is_closing = self._closes_by is not None
        loss = self.table.lose(instance, member.suspects, counts=member.is_ready and not is_closing)
        self.roster.drop(instance)
        self._hungry.pop(instance, None)
        said: list[Action] = [Tell(f"instance {instance} is lost: {what}; {len(loss.leases)} leases are pending again")]
        self._charge(loss, member, instance, what, now)
        if is_closing:
            return said
        others = len(self.roster.members)
        self._fail(self._setbacks.lost(member.like, what, member.is_ready, len(loss.charged), others))
        if self.is_working and self._setbacks.is_hopeless(member.like):
            said.append(Tell(f"instance {instance} is not replaced, because none gets ready in its place"))
        elif self.is_working:
            number, self._next_instance = self._next_instance, self._next_instance + 1
            said.append(self._start(number, member.worker_count, member.like, now))
        return said

    def _charge(self, loss: Loss, member: Member, instance: int, what: str, now: float) -> None:
        for held in loss.charged:
            worker = next((at.worker for at in member.in_flight if at.mini_batch == held.first), "")
            time_s = self._since_1970 + now
            self._accepted.append(charge_report(self._plan, held, instance, what, worker, time_s))

    def cancel(self) -> None:
        """Somebody asked for the job to stop."""
        self.is_cancelled = True

    # ---- commits ----------------------------------------------------------------------------------------
    def take_commit(self) -> list[Report]:
        """The reports that were accepted and are to be made durable now; then `on_committed` is called with them."""
        return self._accepted

    def on_committed(self) -> list[Action]:
        """What `take_commit` gave is durable and in the book."""
        reports, self._accepted = self._accepted, []
        members = self.roster.members
        settled: list[Action] = []
        for report in reports:
            if report.instance in members:
                self.roster.settle(report.instance, report.tally)
                settled.append(Settle(report.instance, report.first, report.end))
                self._setbacks.committed()
        book, total = self._book, self._plan.mini_batch_count
        self._fail(exceeded_threshold(self._spec, book.judged, total, book.causes.first))
        return settled

    # ---- time -------------------------------------------------------------------------------------------
    def tick(self, now: float) -> list[Action]:
        """What time brings. Called after each batch of events, and at least every tenth of a second."""
        if self._closes_by is not None:
            return self._keep_closing(now)
        if not self.is_working:
            return self._close(now)
        actions = self._lend(now)
        if now >= self._touch_at:
            actions += self._touch(now)
        if now >= self._relief_at:
            self._relief_at = now + RELIEF_S
            actions += self._relieve(now)
        self._look_at_clocks(now)
        if now >= self._hurry_at and self._will_exceed():
            self._hurry_at = now + HURRY_S
            actions += [CommitNow(number) for number in self.roster.members]
        return actions

    def _will_exceed(self) -> bool:
        """Whether a threshold is exceeded when what is final at instances is counted too."""
        mini_batches, items = self.roster.live_failures
        if not (mini_batches or items):
            return False
        live = Tally(failed_mini_batch_count=mini_batches, failed_item_count=items)
        return exceeded_threshold(self._spec, self._book.judged + live, self._plan.mini_batch_count) is not None

    def _lend(self, now: float) -> list[Action]:
        """One lease for each that wants one, then again, so that the first instance does not take everything."""
        actions: list[Action] = []
        is_fed = True
        while is_fed and self.table.has_pending:
            is_fed = False
            for instance in list(self._hungry):
                lease = self.table.lend(instance, now)
                if lease is not None:
                    is_fed = True
                    actions.append(Lend(instance, lease))
                elif not self.table.is_idle(instance):
                    del self._hungry[instance]  # its next event brings it back
                if not self.table.has_pending:
                    break
        return actions

    def _touch(self, now: float) -> list[Action]:
        self._touch_at = now + TOUCH_S
        return [Touch(number) for number in self.roster.members]

    def _relieve(self, now: float) -> list[Action]:
        """When nothing is pending, share what slow instances hold with idle ones."""
        if self.table.has_pending:
            return []
        members = self.roster.members
        silent = {number for number, member in members.items() if now - member.beat_at > SILENT_S}
        actions: list[Action] = []
        for relief in plan_relief(self.table, now, may_lend_twice=self._may_lend_twice, silent=silent):
            held = relief.held
            if isinstance(relief, Retraction):
                held.asked_at = now
                actions.append(Retract(relief.instance, held.first, held.end, relief.limit))
            elif (lease := self.table.lend_twice(held, relief.to, now)) is not None:
                actions.append(Tell(f"[{held.first}, {held.end}) is lent twice, now also to instance {relief.to}"))
                actions.append(Lend(relief.to, lease))
        return actions

    def _look_at_clocks(self, now: float) -> None:
        roster = self.roster
        if roster.ready_count:
            attempts = roster.attempt_count + self._book.tally.mini_batch_count
            self._clocks.moved(now, attempts, roster.at_work_count > 0)
            self._fail(self._clocks.late(now))
        else:
            self._clocks.stand()

    def _fail(self, error: RunnerError | None) -> None:
        """The first error stands."""
        if error is not None and self.error is None:
            self.error = error

    # ---- the end ----------------------------------------------------------------------------------------
    def _close(self, now: float) -> list[Action]:
        """Let every instance end, after shutdown() in its workers, and commit what they still report."""
        grace_s = self._spec.cancel_grace_s
        patience_s = self._spec.timeout_s if self.error is None and not self.is_cancelled else grace_s
        self._closes_by = now + patience_s + CLOSE_SLACK_S
        self._touch_at = now + TOUCH_S
        self.is_over = not self.roster.members
        return [Close(number, grace_s) for number in self.roster.members]

    def _keep_closing(self, now: float) -> list[Action]:
        assert self._closes_by is not None
        if not self.roster.members:
            self.is_over = not self._accepted
            return []
        if now >= self._closes_by:
            late = sorted(self.roster.members)
            for number in late:
                self.roster.drop(number)
                self.table.lose(number, counts=False)
            self.is_over = not self._accepted
            return [Tell(f"instances {late} did not close in time and are killed"), *map(Kill, late)]
        return self._touch(now) if now >= self._touch_at else []


def _told(event: InstanceFailed) -> RunnerError:
    if event.reason == ShutdownFailed.reason:
        return ShutdownFailed(event.message, event.traceback)
    return Told(event.reason, event.message, event.traceback)
