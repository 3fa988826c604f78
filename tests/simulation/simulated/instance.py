"""An instance that only pretends to run: workers take mini-batches, need their time, crash, and it reports.

It keeps the rules of a real one: events in order, a part before its report, nothing behind a limit that it agreed to.
What a real one never does, a zombie does here: it goes on after it was said to be lost.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from runner.entity.lease import (
    Failure,
    Heartbeat,
    InFlight,
    InitFailure,
    InstanceClosed,
    InstanceEvent,
    InstanceReady,
    ItemRange,
    Lease,
    LeaseCut,
    LeaseSplit,
    Mend,
    Part,
    Report,
    Tally,
)
from runner.entity.status import FailureClass
from simulated.tenure import Outcome, Piece, Tenure

if TYPE_CHECKING:
    from simulated.job import Job

BEAT_S = 0.5
HOLD_S = 4.0
SILENCE_S = 30.0
TIMEOUT_S = 60.0


class Instance:
    """One of them. Commands come as calls, events go to `emit`."""

    def __init__(self, job: Job, number: int, epoch: int, workers: int, emit: Callable[[InstanceEvent], None]) -> None:
        self.job, self.number, self.epoch, self.workers = job, number, epoch, workers
        self._emit = emit
        world = job.world
        self._slowness = world.dice.choice([1.0, 1.0, 1.0, 30.0])
        self.is_dead = self.is_closing = self.is_ready = False
        self.stopped_until = 0.0
        self.heard = world.now
        self.tenures: list[Tenure] = []
        self._busy: dict[int, tuple[Tenure, int, float]] = {}
        self._attempts = 0
        world.after(world.dice.uniform(0.1, 3.0), self._get_ready)
        world.after(BEAT_S, self._beat)

    # ---- its life -----------------------------------------------------------------------------------------------

    def _get_ready(self) -> None:
        if self.is_dead or self.is_closing:
            return
        if self.job.world.chance(0.02):
            what = {"worker": "process000", "is_import": False, "what": "boom", "traceback": ""}
            self.emit(InitFailure(instance=self.number, ever_ready=False, failure_count=1, **what))
            self.job.world.after(1.0, self._get_ready)
            return
        self.is_ready = True
        self.emit(InstanceReady(instance=self.number, host="h", pid=1))
        self._work()

    def emit(self, event: InstanceEvent) -> None:
        if not self.is_dead:
            self._emit(event)

    def die(self) -> None:
        """No word any more."""
        self.is_dead = True

    def stop(self, seconds: float) -> None:
        """As by SIGSTOP: nothing moves, then everything goes on."""
        self.stopped_until = self.job.world.now + seconds

    def _is_stopped(self, then: Callable[[], None]) -> bool:
        if self.job.world.now < self.stopped_until:
            self.job.world.at(self.stopped_until, then)
            return True
        return False

    def _beat(self) -> None:
        if self.is_dead or self._is_stopped(self._beat):
            return
        now = self.job.world.now
        if now - self.heard > SILENCE_S:
            self.die()  # its driver is gone
            return
        flying = tuple(
            InFlight(worker=f"process{w:03d}", phase="run", mini_batch=n, running_s=now - since)
            for w, (_, n, since) in self._busy.items()
        )
        live = Tally()
        for tenure in self.tenures:
            for piece in tenure.pieces if tenure.final else ():
                if not piece.is_reported and not piece.is_settled:
                    live = live + self._tally(tenure, piece)
        progress = tuple(one for tenure in self.tenures for one in tenure.progress())
        self.emit(
            Heartbeat(
                instance=self.number,
                live=live,
                attempt_count=self._attempts,
                worker_count=self.workers,
                in_flight=flying,
                leases=progress,
            )
        )
        for tenure in self.tenures:
            if tenure.waiting_since is not None and now - tenure.waiting_since > HOLD_S:
                self._divide(tenure)
        self.job.world.after(BEAT_S, self._beat)

    # ---- what the driver says -----------------------------------------------------------------------------------

    def lend(self, lease: Lease) -> None:
        held = [n for t in self.tenures if t.is_open for n in t.items if n not in t.final]
        tenure = Tenure.begin(lease, self.job.plan)
        self.job.check_lent(self, lease, held)
        self.tenures.append(tenure)
        self._work()

    def settle(self, first: int, end: int) -> None:
        for tenure in list(self.tenures):
            for piece in tenure.pieces:
                if (piece.first, piece.end) == (first, end) and piece.is_reported:
                    piece.is_settled = True
            if tenure.is_settled:
                self.tenures.remove(tenure)

    def forget(self, first: int, end: int) -> None:
        for tenure in list(self.tenures):
            tenure.forget(first, end)
            if tenure.is_settled:
                self.tenures.remove(tenure)

    def retract(self, first: int, end: int, limit: int) -> None:
        for tenure in self.tenures:
            kept = tenure.cut(first, end, limit)
            if kept is not None:
                epoch = tenure.lease.epoch
                self.emit(LeaseCut(instance=self.number, first=first, end=end, epoch=epoch, limit=kept))
                self._look(tenure)
                return

    def commit_now(self) -> None:
        for tenure in list(self.tenures):
            self._divide(tenure)

    def close(self) -> None:
        if self.is_closing:
            return
        self.is_closing = True
        self.job.check_closed(self)
        self.job.world.after(self.job.world.dice.uniform(0.0, 2.0), self._closed)

    def _closed(self) -> None:
        self.emit(InstanceClosed(instance=self.number))
        self.die()

    # ---- work ---------------------------------------------------------------------------------------------------

    def _work(self) -> None:
        if self.is_dead or self.is_closing or not self.is_ready:
            return
        for worker in range(self.workers):
            if worker in self._busy:
                continue
            for tenure in self.tenures:
                number = tenure.take() if tenure.is_open else None
                if number is not None:
                    self._begin(worker, tenure, number)
                    break
            else:
                return

    def _begin(self, worker: int, tenure: Tenure, number: int) -> None:
        world = self.job.world
        self._busy[worker] = (tenure, number, world.now)
        nature = self.job.natures[number]
        if nature.is_deadly:
            world.after(world.dice.choice([0.01, 0.3, 1.0]), lambda: self._take_down(worker, tenure, number))
        else:
            world.after(
                min(nature.seconds * (self._slowness if world.is_faulty else 1.0), TIMEOUT_S),
                lambda: self._end(worker, tenure, number),
            )

    def _take_down(self, worker: int, tenure: Tenure, number: int) -> None:
        if self.is_dead or self._is_stopped(lambda: self._take_down(worker, tenure, number)):
            return
        if number in tenure.final:  # it was told to forget it, which ends the worker
            del self._busy[worker]
            self._work()
            return
        self.job.lose(self, f"mini-batch {number} took it down")

    def _end(self, worker: int, tenure: Tenure, number: int) -> None:
        if self.is_dead or self._is_stopped(lambda: self._end(worker, tenure, number)):
            return
        del self._busy[worker]
        self._attempts += 1
        tenure.claimed.discard(number)
        if number not in tenure.final:
            if self.job.world.chance(0.02):
                pass  # the worker crashed for a reason of its own: another try
            else:
                tenure.final[number] = self._outcome(tenure, number)
                if tenure.waiting_since is None:
                    tenure.waiting_since = self.job.world.now
        self._look(tenure)
        self._work()

    def _outcome(self, tenure: Tenure, number: int) -> Outcome:
        nature = self.job.natures[number]
        good: list[ItemRange] = []
        bad: list[ItemRange] = []
        for one in tenure.items[number]:
            items = range(one.first_item, one.first_item + one.item_count)
            if nature.is_isolated:
                for item in items:
                    part = ItemRange(mini_batch=number, first_item=item, item_count=1)
                    (bad if item in nature.bad else good).append(part)
            else:
                (bad if nature.bad & set(items) else good).append(one)
        return Outcome(good, bad)

    def _divide(self, tenure: Tenure) -> None:
        for lease, pieces in tenure.divide():
            self.emit(LeaseSplit(instance=self.number, lease=lease, pieces=pieces))
        self._look(tenure)

    def _look(self, tenure: Tenure) -> None:
        for piece in tenure.pieces:
            if not piece.is_reported and not piece.is_settled and tenure.is_final(piece):
                piece.is_reported = True
                self._report(tenure, piece)

    # ---- reports ------------------------------------------------------------------------------------------------

    def _outcomes(self, tenure: Tenure, piece: Piece) -> list[tuple[int, Outcome]]:
        return [
            (n, tenure.final[n]) for n in sorted(tenure.final) if piece.first <= n < piece.end and n in tenure.items
        ]

    def _tally(self, tenure: Tenure, piece: Piece) -> Tally:
        outcomes = self._outcomes(tenure, piece)
        bad = sum(one.item_count for _, outcome in outcomes for one in outcome.bad)
        good = sum(one.item_count for _, outcome in outcomes for one in outcome.good)
        failed = [number for number, outcome in outcomes if not outcome.good]
        by_class: dict[FailureClass, int] = {}
        for number, outcome in outcomes:
            if outcome.bad:
                cls = self.job.natures[number].cls
                by_class[cls] = by_class.get(cls, 0) + len(outcome.bad)
        return Tally(
            mini_batch_count=len(outcomes),
            failed_mini_batch_count=len(failed),
            item_count=good + bad,
            failed_item_count=bad,
            row_count=good,
            failed_by_class=by_class,
        )

    def _report(self, tenure: Tenure, piece: Piece) -> None:
        lease = tenure.lease
        outcomes = self._outcomes(tenure, piece)
        good = [one for _, outcome in outcomes for one in outcome.good]
        name = f"{piece.first}-{piece.end}.{lease.epoch}.{lease.lending}.{self.number}"
        self.job.stage(name, good)
        rows = sum(one.item_count for one in good)
        self.emit(
            Report(
                instance=self.number,
                first=piece.first,
                end=piece.end,
                epoch=lease.epoch,
                lending=lease.lending,
                part=Part(file=name, size_bytes=rows, sha256="", row_count=rows),
                tally=self._tally(tenure, piece),
                failures=tuple(self._failures(outcomes)),
                mends=tuple(Mend(items=one, row_count=one.item_count, byte_count=0) for one in good)
                if lease.ranges
                else (),
            )
        )

    def _failures(self, outcomes: Sequence[tuple[int, Outcome]]) -> list[Failure]:
        return [self._failure(one) for _, outcome in outcomes for one in outcome.bad]

    def _failure(self, one: ItemRange) -> Failure:
        span = self.job.plan.span_of(one.mini_batch)
        return Failure(
            mini_batch=one.mini_batch,
            first_item=one.first_item,
            unit=span.unit,
            file="/in/a",
            row=span.first_row + one.first_item,
            item_count=one.item_count,
            cls=self.job.natures[one.mini_batch].cls,
            exception_type="E",
            message="m",
            traceback="",
            attempts=1,
            instance=f"node-{self.number:03d}",
            worker="w",
            time=1.0,
        )
