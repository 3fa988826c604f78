"""The leases of an instance: what is run again, what is set aside, what is reported, what may be forgotten.

Order of events at a worker's death: its last messages are taken, it is waited for, its slot is read; what the slot
names is charged while the word still says claimed; then every word that names the slot is freed, and suspects are
claimed for the seat's next process.
"""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Callable
from pathlib import Path

from runner.dataset.saved_plan import load_plan
from runner.dispatch._ledger import CLAIMED, FLUSH, FREE, LOAD, RETURN, RUN, Slot
from runner.entity.lease import Failure, InstanceConfig, InstanceEvent, Lease, LeaseCut, LeaseSplit, Tally
from runner.entity.parallel import ParallelSpec
from runner.entity.plan import Plan
from runner.entity.status import FailureClass
from runner.instance.assemble import Assembled, Assembler, Order
from runner.instance.crew import Crew, Death, Seat
from runner.instance.log_files import LogFiles
from runner.instance.policy import Limits, Verdict, judge
from runner.instance.tenure import PieceState, Tenure
from runner.worker.messages import Again, Drop, Dry, Failed, Flushed, HandedBack, Single, UnitFailed

log = logging.getLogger(__name__)

OWN_SLOT = 8191
"""The instance's own slot in ledgers, for words that it sets aside without any worker; boards have fewer slots."""
SUSPECTS_AFTER_FLUSH = 1000


class Desk:
    """Owns the tenures. Everything happens in the supervising thread, but for assembling."""

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
        self._config, self._spec, self._limits, self._crew, self._logs = config, spec, limits, crew, logs
        self._ledgers, self._spool, self._emit = ledgers, spool, emit
        self._node = f"node-{config.instance:03d}"
        self._plan: Plan | None = None
        self._assembler = Assembler(config.instance, spec.output, config.staging, done)
        self.tenures: dict[int, Tenure] = {}
        self._number = 0
        self.attempt_count = 0

    # ---- leases come and go -------------------------------------------------------------------------------------

    def lend(self, lease: Lease) -> None:
        """Open a lease and tell the workers; RunnerError or OSError when that cannot be."""
        if self._plan is None:
            self._plan = load_plan(self._config.plan_path)
        number, self._number = self._number, self._number + 1
        payload, now = self._assembler.payload_of(lease), time.monotonic()
        folders = {"ledgers": self._ledgers, "spool": self._spool}
        tenure = Tenure.begin(number, lease, self._plan, **folders, payload=payload, now=now)
        self.tenures[number] = tenure
        for seat in self._crew.working:
            seat.tell(tenure.offer)

    def greet(self, seat: Seat) -> None:
        """Tell a worker that has just become ready what there is to do; first of all what it must run alone."""
        for tenure in self.tenures.values():
            if tenure.is_open:
                seat.tell(tenure.offer)
        for tenure, number in seat.suspects:
            seat.tell(Single(lease=tenure.number, mini_batch=number))

    def settle(self, first: int, end: int) -> None:
        """The driver has committed a piece."""
        for tenure in list(self.tenures.values()):
            if tenure.holds(first) and tenure.settle(first, end) and tenure.is_settled:
                self._forget(tenure)

    def forget(self, first: int, end: int) -> None:
        """Nobody wants a piece from here any more: another copy of it was faster. Its part, if any, is never named."""
        for tenure in list(self.tenures.values()):
            for piece in tenure.pieces:
                if (piece.first, piece.end) == (first, end):
                    tenure.ledger.exclude(first, min(end, tenure.ledger.end))
                    piece.state = PieceState.SETTLED
            if tenure.is_settled:
                tenure.ledger.abort()
                for seat in self._crew.working:
                    seat.tell(Drop(lease=tenure.number))
                self._forget(tenure)

    def _forget(self, tenure: Tenure) -> None:
        del self.tenures[tenure.number]
        for seat in self._crew.seats:
            seat.suspects = [suspect for suspect in seat.suspects if suspect[0] is not tenure]
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

    def abort(self) -> None:
        """Let workers stop after the call at hand."""
        for tenure in self.tenures.values():
            tenure.ledger.abort()

    def close(self) -> None:
        """End assembling; nothing is reported any more."""
        self._assembler.close()
        self.tenures.clear()

    # ---- what workers say ---------------------------------------------------------------------------------------

    def on_flushed(self, message: Flushed) -> None:
        """Results are in the spool."""
        self.attempt_count += message.mini_batch_count
        tenure = self.tenures.get(message.lease)
        if tenure is not None:
            tenure.note_flushed(message, time.monotonic())
            self._look(tenure)

    def on_dry(self, seat: Seat, message: Dry) -> None:
        """A worker has nothing to do in a lease; if something became free that it was not told of, tell it."""
        tenure = self.tenures.get(message.lease)
        if tenure is None or not tenure.is_open:
            seat.tell(Drop(lease=message.lease))
        elif message.generation != tenure.generation:
            seat.tell(Again(lease=tenure.number, generation=tenure.generation))
        else:
            tenure.dry.add(seat.slot)

    def on_handed_back(self, message: HandedBack) -> None:
        """Something is free again."""
        tenure = self.tenures.get(message.lease)
        if tenure is not None:
            self._wake(tenure)

    def on_failed(self, seat: Seat, message: Failed) -> None:
        """A try raised."""
        self.attempt_count += 1
        tenure = self.tenures.get(message.lease)
        if tenure is None:
            return
        what = f"{message.exception_type}: {message.message}"
        where = f"mini-batch {message.mini_batch}, try {message.attempt + 1}: {what}"
        self._logs.write_error(seat.name, where, message.traceback)
        cls = FailureClass.READ if message.is_read else FailureClass.USER_ERROR
        if judge(cls, message.attempt, self._spec.max_retries) is not Verdict.SET_ASIDE:
            if tenure.ledger.retry(message.mini_batch, seat.slot):
                self._wake(tenure)
        elif tenure.ledger.set_aside(message.mini_batch, seat.slot):
            blame = (cls, message.exception_type, message.message, message.traceback)
            self._set_aside(tenure, seat.name, message.mini_batch, message.attempt + 1, *blame)
            self._look(tenure)

    def on_unit_failed(self, seat: Seat, message: UnitFailed) -> None:
        """A unit could not be read by a worker that lives on."""
        tenure = self.tenures.get(message.lease)
        if tenure is None:
            return
        death = Death(FailureClass.READ, message.exception_type, message.message)
        self._blame_unit(seat, tenure, message.first, death, message.traceback)
        for suspected, number in seat.suspects:
            if suspected is tenure and message.first <= number < message.end:
                seat.tell(Single(lease=tenure.number, mini_batch=number))
        self._wake(tenure)

    # ---- deaths -------------------------------------------------------------------------------------------------

    def on_death(self, seat: Seat, at: Slot, death: Death) -> bool:
        """A worker has ended while it was at `at`. Whether something was charged that explains it."""
        tenure = next((t for t in self.tenures.values() if t.holds(at.mini_batch)), None)
        alone: tuple[Tenure, int] | None = None
        explained = False
        is_charged = self._crew.is_charged(seat, at)
        if tenure is not None and is_charged and (at.phase in (RUN, RETURN) or self._is_flushing_suspect(seat, at)):
            explained = True
            alone = self._charge(seat, tenure, at.mini_batch, death)
        freed = self._free(seat)
        if tenure is not None and is_charged and at.phase == LOAD:
            explained = True
            self._blame_unit(seat, tenure, at.mini_batch, death, "")
        if at.phase == FLUSH and not explained:
            self._suspect_flushed(seat, freed)
        if alone is not None:
            seat.suspects.insert(0, alone)
        seat.suspects = [suspect for suspect in seat.suspects if self._reclaim(seat, *suspect)]
        for tenure in self.tenures.values():
            tenure.dry.discard(seat.slot)
            if tenure.is_open:
                self._wake(tenure)
                self._look(tenure)
        return explained

    def _charge(self, seat: Seat, tenure: Tenure, number: int, death: Death) -> tuple[Tenure, int] | None:
        """Charge one mini-batch with the death; itself, if it is to be tried again alone."""
        word = tenure.ledger.word(number)
        if word.state != CLAIMED or word.slot != seat.slot:
            return None
        self.attempt_count += 1
        last_words = self._logs.last_words(seat.name)
        self._logs.write_error(seat.name, f"mini-batch {number}, try {word.attempt + 1}: {death.message}", last_words)
        if judge(death.cls, word.attempt, self._spec.max_retries) is Verdict.SET_ASIDE:
            if tenure.ledger.set_aside(number, seat.slot):
                blame = (death.cls, death.exception_type, death.message, last_words)
                self._set_aside(tenure, seat.name, number, word.attempt + 1, *blame)
            return None
        return (tenure, number) if tenure.ledger.retry(number, seat.slot) else None

    def _free(self, seat: Seat) -> list[tuple[Tenure, int]]:
        freed = []
        for tenure in self.tenures.values():
            if tenure.is_open:
                freed += [(tenure, number) for number in tenure.ledger.free_slot(seat.slot)]
                tenure.ledger.release_units(seat.slot)
        return freed

    @staticmethod
    def _reclaim(seat: Seat, tenure: Tenure, number: int) -> bool:
        """Claim a suspect for the seat's next process; False when it is final, or somebody else was faster."""
        return tenure.ledger.word(number).state == FREE and tenure.ledger.assign(seat.slot, number)

    @staticmethod
    def _is_flushing_suspect(seat: Seat, at: Slot) -> bool:
        return at.phase == FLUSH and any(number == at.mini_batch for _, number in seat.suspects)

    def _suspect_flushed(self, seat: Seat, freed: list[tuple[Tenure, int]]) -> None:
        """The first death in a flush costs nothing; from the second on what was flushed is run one by one."""
        for tenure in {id(tenure): tenure for tenure, _ in freed}.values():
            tenure.flush_deaths += 1
            if tenure.flush_deaths > 1:
                seat.suspects += [suspect for suspect in freed if suspect[0] is tenure][:SUSPECTS_AFTER_FLUSH]

    def _blame_unit(self, seat: Seat, tenure: Tenure, first: int, death: Death, traceback: str) -> None:
        """Reading failed at `first`. When the unit has no tries left, what is free from there on fails at once."""
        assert self._plan is not None
        index = self._plan.unit_of(first)
        unit = self._plan.units[index]
        file = self._plan.files[unit.file].path
        tries, lowest = tenure.unit_tries.get(index, (0, first))
        tries, first = tries + 1, min(first, lowest)
        tenure.unit_tries[index] = (tries, first)
        self.attempt_count += 1
        self._logs.write_error(seat.name, f"reading of {file}, try {tries}: {death.message}", traceback)
        if tries <= self._spec.max_retries:
            return
        message = death.message if file in death.message else f"{file}: {death.message}"
        end = min(unit.first_mini_batch + unit.mini_batch_count, tenure.lease.end)
        for number in range(first, end):
            word = tenure.ledger.word(number)
            if word.state == FREE:
                tenure.ledger.assign(OWN_SLOT, number)
                slot = OWN_SLOT
            else:
                slot = seat.slot  # a suspect, claimed for this seat
            if tenure.ledger.set_aside(number, slot):
                blame = (FailureClass.READ, death.exception_type, message, traceback)
                self._set_aside(tenure, seat.name, number, self._spec.max_retries + 1, *blame)
        self._look(tenure)

    def _set_aside(
        self,
        tenure: Tenure,
        worker: str,
        number: int,
        attempts: int,
        cls: FailureClass,
        exception_type: str,
        message: str,
        traceback: str,
    ) -> None:
        assert self._plan is not None
        span = self._plan.span_of(number)
        known = tenure.tracebacks.get(traceback)
        if known is None and tenure.failures_bytes > self._limits.failures_bytes:
            known = ""
        failure = Failure(
            mini_batch=number,
            unit=span.unit,
            file=self._plan.files[span.file].path,
            row=span.first_row if self._plan.kind == "table" else None,
            item_count=span.item_count,
            cls=cls,
            exception_type=exception_type,
            message=message,
            traceback=traceback if known is None else known,
            attempts=attempts,
            instance=self._node,
            worker=worker,
            time=time.time(),
        )
        tenure.note_failure(failure, time.monotonic())
        self._logs.write_main("WARNING", f"{worker}: mini-batch {number} is set aside ({cls}) after {attempts} tries")

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
            failures = (tenure.failures.get(number) for number in sorted(tenure.failures))
            inside = tuple(f for f in failures if f is not None and piece.first <= f.mini_batch < piece.end)
            self._assembler.put(Order(tenure, piece, inside))
            if not tenure.is_open:
                for seat in self._crew.working:
                    seat.tell(Drop(lease=tenure.number))

    def on_assembled(self, result: Assembled) -> None:
        """A part is on disk: report it."""
        order = result.order
        assert result.report is not None
        if order.tenure.number in self.tenures:
            order.tenure.note_reported(order.piece, result.report.tally)
            self._emit(result.report)
