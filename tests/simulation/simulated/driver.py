"""The shell of a simulated driver: feeds the real core, carries out its actions, and dies at any step."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from runner.entity.lease import Heartbeat, InstanceEvent, InstanceLost
from runner.errors import ClusterUnavailable, InitFailed, RunnerError, StorageFailed, ThresholdExceeded
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
from runner.schedule.book import read_book
from runner.schedule.core import Core
from runner.schedule.journal import Journal, Record, encode, replay
from runner.schedule.leases import LeaseTable
from runner.schedule.opening import open_journal, reopen
from runner.schedule.policy import exceeded_threshold
from simulated.chance import Violated
from simulated.instance import Instance

if TYPE_CHECKING:
    from simulated.job import Job

TICK_S = 0.5


class Died(Exception):
    """The driver is no more."""


class FaultyJournal:
    """The job's journal on a disk that fails before, in the middle of, or right after a write."""

    def __init__(self, job: Job, journal: Journal) -> None:
        self._job, self._journal = job, journal
        self.number_schema = journal.number_schema
        self.close = journal.close

    @property
    def length(self) -> int:
        return self._journal.length

    def append(self, records: Sequence[Record]) -> list[int]:
        world, path = self._job.world, self._job.folder.journal
        if not world.chance(0.02):
            return self._journal.append(records)
        how = world.dice.choice(["nothing", "half", "all"])
        world.tell("the disk fails, and has written", how)
        data = b"".join(map(encode, records))
        if how != "nothing":
            with open(path, "ab") as file:
                file.write(data if how == "all" else data[: world.dice.randrange(len(data))])
        raise StorageFailed("journal", "I/O error")


class Driver:
    """One incarnation. It lives from its making until `is_dead`, or until the job has ended."""

    def __init__(self, job: Job) -> None:
        self.job, self.is_dead = job, False
        self._inbox: list[InstanceEvent] = []
        self._is_woken = False
        self.instances: dict[int, Instance] = {}
        folder, plan, model = job.folder, job.plan, job.model
        said = read_book(folder.journal)
        model.replayed(replay(folder.journal).records, said.book.tally)
        self.epoch = said.epoch + 1
        self._committer = open_journal(folder, "job", plan, said, job.end_count)
        self._book = self._committer.book
        table = LeaseTable(total=plan.mini_batch_count, epoch=self.epoch, unit_starts=plan.unit_starts)
        table.restore(self._book.ranges())
        table.mend(mends := reopen(folder, plan, said, self._committer, job.end_count, None, {}))
        model.retried = {one.mini_batch for one in mends}
        self._committer.journal = FaultyJournal(job, self._committer.journal)  # type: ignore[assignment]
        self.core = Core(job.spec, plan, table, self._book)
        job.world.tell("driver", self.epoch, "begins;", table.pending, "pending,", mends, "to mend")
        error = exceeded_threshold(job.spec, self._book.judged, plan.mini_batch_count)
        model.check_thresholds(error)
        if error is not None or table.is_finished:
            self._end(error)
            return
        try:
            self._do(self.core.begin([job.worker_count] * job.instance_count, job.world.now))
        except Died:
            self.die()
        job.world.after(TICK_S, self._tick)

    # ---- its life -----------------------------------------------------------------------------------------------

    def deliver(self, event: InstanceEvent) -> None:
        """An event arrives in the queue."""
        if self.is_dead:
            return
        self._inbox.append(event)
        if not self._is_woken:
            self._is_woken = True
            self.job.world.after(0.0, self._turn)

    def _tick(self) -> None:
        if not self.is_dead:
            self._turn()
            self.job.world.after(TICK_S, self._tick)

    def _turn(self) -> None:
        self._is_woken = False
        if self.is_dead:
            return
        try:
            self._take()
            self._commit()
            actions = self.core.tick(self.job.world.now)
            self._do(actions)
            if actions:
                self._check()
        except Died:
            self.die()
            return
        if self.core.is_over:
            self._end(self.core.error)

    def _take(self) -> None:
        events, self._inbox = self._inbox, []
        for event in events:
            if isinstance(event, InstanceLost):
                self._note_loss(event.instance)
            self._do(self.core.on(event, self.job.world.now))
            if not isinstance(event, Heartbeat):
                self._check()

    def _note_loss(self, instance: int) -> None:
        """For the check that only suspects are ever charged."""
        member = self.core.roster.members.get(instance)
        if member is None or not member.is_ready:
            return
        model = self.job.model
        for held in self.core.table.open_leases:
            if held.copy_of(instance) is not None:
                for number in range(held.first, held.end):
                    model.losses[number] = model.losses.get(number, 0) + 1
                if held.is_lone:
                    model.lone_losses[held.first] = model.lone_losses.get(held.first, 0) + 1

    def _commit(self) -> None:
        reports = list(self.core.take_commit())
        if not reports:
            return
        model = self.job.model
        try:
            self._committer.commit(reports)
        except StorageFailed as error:
            model.in_doubt = reports
            if self.job.world.chance(0.5):
                self._end(error)
            raise Died from error
        for report in reports:
            self.job.world.tell("committed", report.first, report.end, "of instance", report.instance)
            model.commit(report)
        model.check_tally(self._book.tally)
        if len(model.reports) % 4 == 0:
            model.check_tally(read_book(self.job.folder.journal).book.tally)
        if self.job.world.chance(0.01):
            raise Died
        actions = self.core.on_committed()
        if self.core.error is None or isinstance(self.core.error, ThresholdExceeded):
            model.check_thresholds(self.core.error)
        self._do(actions)

    def _check(self) -> None:
        self.job.model.check(self.core)

    def _do(self, actions: Iterable[Action]) -> None:
        for action in actions:
            if self.job.world.chance(0.0005):
                raise Died
            self._carry_out(action)

    def _carry_out(self, action: Action) -> None:
        job = self.job
        if isinstance(action, (Tell, Run)):
            if isinstance(action, Tell):
                job.world.tell(action.text)
            return
        if isinstance(action, Start):
            self.instances[action.instance] = job.start_instance(self, action.instance)
            return
        instance = self.instances[action.instance]
        if not isinstance(action, Touch):
            job.world.tell("to instance", action.instance, action)
        if isinstance(action, Lend):
            job.send(instance, lambda: instance.lend(action.lease))
        elif isinstance(action, Settle):
            job.send(instance, lambda: instance.settle(action.first, action.end))
        elif isinstance(action, Forget):
            job.send(instance, lambda: instance.forget(action.first, action.end))
        elif isinstance(action, Retract):
            job.send(instance, lambda: instance.retract(action.first, action.end, action.limit))
        elif isinstance(action, CommitNow):
            job.send(instance, instance.commit_now)
        elif isinstance(action, Close):
            job.send(instance, instance.close)
        elif isinstance(action, Kill):
            instance.die()
        elif isinstance(action, Touch):
            job.send(instance, lambda: None)

    # ---- its end ------------------------------------------------------------------------------------------------

    def die(self) -> None:
        """As by SIGKILL: what it knew is gone."""
        if not self.is_dead:
            self.let_go()
            self.job.world.tell("driver", self.epoch, "dies")
            self.job.on_driver_died()

    def let_go(self) -> None:
        """Close what it has open."""
        self.is_dead = True
        self._committer.close()

    def _end(self, error: RunnerError | None) -> None:
        self.let_go()
        self.job.world.tell("driver", self.epoch, "ends:", error or ("cancelled" if self.core.is_cancelled else "done"))
        known = (ThresholdExceeded, ClusterUnavailable, InitFailed, StorageFailed)
        if error is not None and not isinstance(error, known):
            raise Violated(f"the job ended with {error!r}")
        self.job.on_ended(self, error)
