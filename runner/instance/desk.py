"""The leases of an instance: lent, offered to workers, divided into pieces, reported, settled, given back.

What becomes of tries that end badly is judged by `trials`; everything happens in the supervising thread, but for
assembling.
"""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Callable
from pathlib import Path

from runner.dataset.saved_plan import load_plan
from runner.dispatch._board import Slot
from runner.entity.lease import (
    InstanceConfig,
    InstanceEvent,
    Lease,
    LeaseCut,
    LeaseProgress,
    LeaseSplit,
    Tally,
)
from runner.entity.parallel import ParallelSpec
from runner.entity.plan import Plan
from runner.instance.assemble import Assembled, Assembler, Order
from runner.instance.crew import Crew, Death, Seat
from runner.instance.failings import Failings
from runner.instance.log_files import LogFiles
from runner.instance.policy import Limits
from runner.instance.quiet import Quiet
from runner.instance.searches import Searches
from runner.instance.tenure import PieceState, Tenure
from runner.instance.trials import Trials
from runner.worker.messages import (
    Again,
    Drop,
    Dry,
    Failed,
    Flushed,
    HandedBack,
    RangeDone,
    Resting,
    UnitFailed,
)

log = logging.getLogger(__name__)

ToDesk = Flushed | Failed | RangeDone | UnitFailed | Resting | Dry | HandedBack


class Desk:
    """Owns the tenures."""

    def __init__(
        self,
        config: InstanceConfig,
        spec: ParallelSpec,
        limits: Limits,
        crew: Crew,
        logs: LogFiles,
        *,
        ledgers: Path,
        spool: Path,
        emit: Callable[[InstanceEvent], None],
        done: Callable[[Assembled], None],
    ) -> None:
        self._config, self._limits, self._crew = config, limits, crew
        self._ledgers, self._spool, self._emit = ledgers, spool, emit
        self._loaded: Plan | None = None
        self._assembler = Assembler(config.instance, spec.output, config.staging, done)
        self.tenures: dict[int, Tenure] = {}
        self._number = 0
        self._flushed_count = 0
        failings = Failings(f"node-{config.instance:03d}", limits, logs)
        self._quiet = Quiet(crew)
        self._searches = Searches(spec, crew, failings, is_quiet=self._quiet.is_resting, look=self._look)
        self._trials = Trials(
            spec,
            crew,
            logs,
            failings,
            searches=self._searches,
            quiet=self._quiet,
            tenures=self.tenures,
            wake=self._wake,
            look=self._look,
        )

    @property
    def _plan(self) -> Plan:
        if self._loaded is None:
            self._loaded = load_plan(self._config.plan_path)
        return self._loaded

    @property
    def attempt_count(self) -> int:
        """Tries that have ended, well or badly."""
        return self._flushed_count + self._trials.count

    # ---- leases come and go -------------------------------------------------------------------------------------

    def lend(self, lease: Lease) -> None:
        """Open a lease and tell the workers; RunnerError or OSError when that cannot be."""
        number, self._number = self._number, self._number + 1
        payload, now = self._assembler.payload_of(lease), time.monotonic()
        folders = {"ledgers": self._ledgers, "spool": self._spool}
        tenure = Tenure.begin(number, lease, self._plan, **folders, payload=payload, now=now)
        self.tenures[number] = tenure
        if lease.ranges:
            self._searches.ask(self._plan, tenure)  # first of all: nobody may claim these as a whole
        for seat in self._crew.working:
            seat.tell(tenure.offer())
        self._searches.deal()

    def greet(self, seat: Seat) -> None:
        """Tell a worker that has just become ready what there is to do; first of all what it must run alone."""
        self._quiet.on_ready(seat)
        for tenure in self.tenures.values():
            if tenure.is_open:
                seat.tell(tenure.offer(is_followed=bool(seat.suspects)))
        for tenure, number in seat.suspects:
            self._searches.tell(seat, tenure, number)
        self._searches.deal()

    def settle(self, first: int, end: int) -> None:
        """The driver has committed a piece."""
        for tenure in list(self.tenures.values()):
            if tenure.holds(first) and tenure.settle(first, end) and tenure.is_settled:
                self._forget(tenure)

    def forget(self, first: int, end: int) -> None:
        """Nobody wants a piece from here any more: another copy of it was faster. Its part, if any, is never named."""
        for tenure in list(self.tenures.values()):
            tenure.drop(first, end)
            if tenure.is_settled:
                tenure.ledger.abort()
                for seat in self._crew.working:
                    seat.tell(Drop(lease=tenure.number))
                self._forget(tenure)
        self._end_quiet()

    def _forget(self, tenure: Tenure) -> None:
        self._searches.drop(tenure)
        for seat in self._crew.seats:
            seat.suspects = [suspect for suspect in seat.suspects if suspect[0] is not tenure]
        self.tenures.pop(tenure.number, None)
        if tenure.is_assembling:
            return  # the assembler is reading; what it ends with comes back here
        tenure.ledger.close()
        Path(tenure.ledger_path).unlink(missing_ok=True)
        shutil.rmtree(tenure.spool, ignore_errors=True)
        if tenure.payload:
            Path(tenure.payload).unlink(missing_ok=True)

    @property
    def has_open(self) -> bool:
        """Whether there is anything left to run."""
        return any(tenure.is_open for tenure in self.tenures.values())

    @property
    def live(self) -> Tally:
        """Counts of what is final and not reported."""
        return sum((tenure.live for tenure in self.tenures.values()), Tally())

    def progress(self) -> tuple[LeaseProgress, ...]:
        """How far each piece is that has not been reported."""
        if not self.tenures:
            return ()
        long_calls = self._crew.long_calls()
        return tuple(each for tenure in self.tenures.values() for each in tenure.progress(long_calls))

    def abort(self) -> None:
        """Let workers stop after the call at hand."""
        for tenure in self.tenures.values():
            tenure.ledger.abort()

    def close(self) -> None:
        """End assembling; nothing is reported any more."""
        self._assembler.close()
        self.tenures.clear()

    # ---- what workers say ---------------------------------------------------------------------------------------

    def hear(self, seat: Seat, message: ToDesk) -> None:
        """React to what a worker says of its work."""
        tenure = self.tenures.get(message.lease) if not isinstance(message, Resting) else None
        if isinstance(message, Flushed):
            self._on_flushed(tenure, message)
        elif isinstance(message, Failed):
            self._trials.on_failed(seat, self._plan, message)
        elif isinstance(message, RangeDone):
            self._flushed_count += 1
            self._searches.on_done(seat, self._plan, tenure, message)
        elif isinstance(message, UnitFailed):
            self._trials.on_unit_failed(seat, self._plan, message)
        elif isinstance(message, Resting):
            self._quiet.on_resting(seat)
        elif isinstance(message, Dry):
            self._on_dry(seat, tenure, message)
        elif tenure is not None:  # something was handed back
            self._wake(tenure)
        self._end_quiet()

    def _on_flushed(self, tenure: Tenure | None, message: Flushed) -> None:
        self._flushed_count += message.mini_batch_count
        if tenure is not None:
            tenure.note_flushed(message, time.monotonic())
            self._look(tenure)

    def _on_dry(self, seat: Seat, tenure: Tenure | None, message: Dry) -> None:
        """A worker has nothing to do in a lease; if something became free that it was not told of, tell it."""
        if tenure is None or not tenure.is_open:
            seat.tell(Drop(lease=message.lease))
        elif message.generation != tenure.generation:
            seat.tell(Again(lease=tenure.number, generation=tenure.generation))
        else:
            tenure.dry.add(seat.slot)

    def on_death(self, seat: Seat, at: Slot, death: Death) -> bool:
        """A worker has ended while it was at `at`. Whether something was charged that explains it."""
        explained = bool(self.tenures) and self._trials.on_death(seat, self._plan, at, death)
        self._end_quiet()
        return explained

    def _end_quiet(self) -> None:
        if self._quiet.look():
            for tenure in self.tenures.values():
                if tenure.is_open:
                    self._wake(tenure)

    # ---- waking and reporting -----------------------------------------------------------------------------------

    def _wake(self, tenure: Tenure) -> None:
        """Something in a lease became free: idle workers must look again, busy ones will."""
        tenure.generation += 1
        for seat in self._crew.working:
            if seat.slot in tenure.dry:
                seat.tell(Again(lease=tenure.number, generation=tenure.generation))
        tenure.dry.clear()

    def tick(self, now: float) -> None:
        """What time brings: pieces that waited long enough, and free work that every worker thinks another will do."""
        self._end_quiet()
        self._searches.deal()
        working = {seat.slot for seat in self._crew.working}
        for tenure in self.tenures.values():
            if not tenure.is_open:
                continue
            if tenure.is_due(now, self._limits):
                self._divide(tenure)
            if working and working <= tenure.dry and tenure.ledger.has_free(tenure.lease.first, tenure.lease.end):
                self._wake(tenure)

    def retract(self, first: int, end: int, limit: int) -> None:
        """Give back what nobody has begun of [limit, end) of a piece, and say from where on; all is kept if none."""
        for tenure in self.tenures.values():
            cut = tenure.retract(first, end, limit)
            if cut is not None:
                epoch = tenure.lease.epoch
                self._emit(LeaseCut(instance=self._config.instance, first=first, end=end, epoch=epoch, limit=cut))
                self._look(tenure)
                return
        log.debug("nothing is left to retract of [%d, %d)", first, end)

    def commit_now(self) -> None:
        """Report everything that is final."""
        for tenure in self.tenures.values():
            if tenure.is_open:
                self._divide(tenure)

    def _divide(self, tenure: Tenure) -> None:
        for lease, pieces in tenure.split():
            self._emit(LeaseSplit(instance=self._config.instance, lease=lease, pieces=pieces))
        self._look(tenure)

    def _look(self, tenure: Tenure) -> None:
        """Have pieces assembled that are final; let workers forget a lease that is."""
        for piece in tenure.take_finished():
            self._assembler.put(Order(tenure, piece, tenure.failures_of(piece)))
            if not tenure.is_open:
                for seat in self._crew.working:
                    seat.tell(Drop(lease=tenure.number))

    def on_assembled(self, result: Assembled) -> BaseException | None:
        """A part is on disk: report it, if anybody still wants it. What kept it from being made, if that is so."""
        tenure, piece = result.order.tenure, result.order.piece
        tenure.assembling_count -= 1
        if piece.state is not PieceState.ASSEMBLING:
            if tenure.number not in self.tenures:
                self._forget(tenure)
            return None
        if result.report is not None:
            tenure.note_reported(piece, result.report.tally)
            self._emit(result.report)
        return result.error
