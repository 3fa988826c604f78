"""What becomes of a try that ended badly: tried again, tried again alone, bisected, or set aside.

Order of events at a worker's death: its last messages are taken, it is waited for, its slot is read; what the slot
names is charged while the word still says claimed; then every word that names the slot is freed, but for what the
seat's next process has to run alone, which nobody else can have meanwhile.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping

from runner.dispatch._board import FLUSH, LOAD, RETURN, RUN, Slot
from runner.dispatch._ledger import CLAIMED, FREE, WITHDRAWN
from runner.entity.parallel import ParallelSpec
from runner.entity.plan import Plan
from runner.entity.status import FailureClass
from runner.instance.bisect import Blame
from runner.instance.crew import Crew, Death, Seat
from runner.instance.failings import Failings
from runner.instance.log_files import LogFiles
from runner.instance.policy import Verdict, judge
from runner.instance.quiet import Quiet
from runner.instance.searches import Searches
from runner.instance.tenure import OWN_SLOT, Tenure
from runner.worker.messages import Failed, UnitFailed

SUSPECTS_AFTER_FLUSH = 1000


class Trials:
    """Judges tries. `wake` is called when something became free, `look` when something became final."""

    def __init__(
        self,
        spec: ParallelSpec,
        crew: Crew,
        logs: LogFiles,
        failings: Failings,
        *,
        searches: Searches,
        quiet: Quiet,
        tenures: Mapping[int, Tenure],
        wake: Callable[[Tenure], None],
        look: Callable[[Tenure], None],
    ) -> None:
        self._spec, self._crew, self._logs, self._failings = spec, crew, logs, failings
        self._searches, self._quiet, self._tenures = searches, quiet, tenures
        self._wake, self._look = wake, look
        self.count = 0
        """Tries that ended badly."""

    # ---- what workers say ---------------------------------------------------------------------------------------

    def on_failed(self, seat: Seat, plan: Plan, message: Failed) -> None:
        """A try raised."""
        self.count += 1
        tenure, number = self._tenures.get(message.lease), message.mini_batch
        cls = FailureClass.READ if message.is_read else FailureClass.USER_ERROR
        blame = Blame(cls, message.exception_type, message.message, message.traceback, seat.name)
        what = f"try {message.attempt + 1}"
        if message.is_range:
            what = f"{message.item_count} items from {message.first_item} on"
        where = f"mini-batch {number}, {what}: {message.exception_type}: {message.message}"
        self._logs.write_error(seat.name, where, message.traceback)
        if message.is_range:
            items = (message.first_item, message.item_count)
            self._searches.on_failed(seat, plan, tenure, number, items, blame)
        elif tenure is not None and self._retries(seat, tenure, number, message.attempt):
            if tenure.ledger.retry(number, seat.slot):
                self._wake(tenure)
        elif tenure is not None and self._is_claimed(seat, tenure, number):
            if self._close(seat, plan, tenure, number, message.attempt + 1, blame):
                self._searches.step(seat, plan, tenure, number)
            self._look(tenure)

    def _retries(self, seat: Seat, tenure: Tenure, number: int, attempt: int) -> bool:
        verdict = judge(FailureClass.USER_ERROR, attempt, self._spec.max_retries)
        return verdict is not Verdict.SET_ASIDE and tenure.is_wanted(number)

    def on_unit_failed(self, seat: Seat, plan: Plan, message: UnitFailed) -> None:
        """A unit could not be read by a worker that lives on."""
        tenure = self._tenures.get(message.lease)
        if tenure is None:
            return
        blame = Blame(FailureClass.READ, message.exception_type, message.message, message.traceback, seat.name)
        self._blame_unit(seat, plan, tenure, message.first, blame)
        for suspected, number in list(seat.suspects):
            if suspected is tenure and message.first <= number < message.end:
                self._searches.tell(seat, tenure, number)
        self._wake(tenure)

    # ---- deaths -------------------------------------------------------------------------------------------------

    def on_death(self, seat: Seat, plan: Plan, at: Slot, death: Death) -> bool:
        """A worker has ended while it was at `at`. Whether something was charged that explains it."""
        tenure = self._tenure_of(seat, at.mini_batch)
        is_charged = tenure is not None and self._crew.is_charged(seat, at)
        explained = False
        if tenure is not None and is_charged and (at.phase in (RUN, RETURN) or self._is_flushing_suspect(seat, at)):
            explained = True
            self._charge(seat, plan, tenure, at, death)
        freed = self._free(seat)
        if tenure is not None and is_charged and at.phase == LOAD:
            explained = True
            blame = Blame(FailureClass.READ, death.exception_type, death.message, "", seat.name)
            self._blame_unit(seat, plan, tenure, at.mini_batch, blame)
        if at.phase == FLUSH and not explained:
            self._suspect_flushed(seat, freed)
        seat.suspects = [suspect for suspect in seat.suspects if self._is_claimed(seat, *suspect)]
        self._quiet.on_gone(seat)
        for tenure in list(self._tenures.values()):
            tenure.dry.discard(seat.slot)
            if tenure.is_open:
                self._wake(tenure)
                self._look(tenure)
        return explained

    def _tenure_of(self, seat: Seat, number: int) -> Tenure | None:
        """The lease in which a worker was at a mini-batch: two may reach over it, but only one can have it."""
        holding = [tenure for tenure in self._tenures.values() if tenure.holds(number)]
        for tenure in holding:
            if self._is_claimed(seat, tenure, number):
                return tenure
        for tenure in holding:
            if tenure.ledger.word(number).state != WITHDRAWN:
                return tenure
        return holding[0] if holding else None

    @staticmethod
    def _is_claimed(seat: Seat, tenure: Tenure, number: int) -> bool:
        if not tenure.is_open:
            return False
        word = tenure.ledger.word(number)
        return word.state == CLAIMED and word.slot == seat.slot

    @staticmethod
    def _is_flushing_suspect(seat: Seat, at: Slot) -> bool:
        return at.phase == FLUSH and any(number == at.mini_batch for _, number in seat.suspects)

    def _charge(self, seat: Seat, plan: Plan, tenure: Tenure, at: Slot, death: Death) -> None:
        """Charge one mini-batch with the death; if it is to be tried again, the seat's next process does so first."""
        number = at.mini_batch
        if not self._is_claimed(seat, tenure, number):
            return
        self.count += 1
        last_words = self._logs.last_words(seat.name)
        attempt = tenure.ledger.word(number).attempt
        blame = Blame(death.cls, death.exception_type, death.message, last_words, seat.name)
        self._logs.write_error(seat.name, f"mini-batch {number}, try {attempt + 1}: {death.message}", last_words)
        if number in tenure.searches:
            self._searches.on_death(seat, plan, tenure, at, blame)
        elif death.is_out_of_memory and number not in tenure.memory_tries:
            tenure.memory_tries.add(number)
            self._hold(seat, tenure, number)
            self._quiet.begin(seat, tenure, number)
            self._logs.write_main("INFO", f"{seat.name}: mini-batch {number} is tried again while other workers rest")
        elif judge(death.cls, attempt, self._spec.max_retries) is Verdict.SET_ASIDE or not tenure.is_wanted(number):
            self._close(seat, plan, tenure, number, attempt + 1, blame)
        elif tenure.ledger.retry(number, seat.slot, hold=True):
            self._hold(seat, tenure, number)

    @staticmethod
    def _hold(seat: Seat, tenure: Tenure, number: int) -> None:
        seat.suspects = [(tenure, number), *(each for each in seat.suspects if each != (tenure, number))]

    def _free(self, seat: Seat) -> list[tuple[Tenure, int]]:
        """Free what the seat's process had claimed, but for what the next one has to run alone."""
        freed = []
        for tenure in self._tenures.values():
            if tenure.is_open:
                held = {number for suspected, number in seat.suspects if suspected is tenure}
                freed += [(tenure, number) for number in tenure.ledger.free_slot(seat.slot, held)]
                tenure.ledger.release_units(seat.slot)
        return freed

    @staticmethod
    def _suspect_flushed(seat: Seat, freed: Iterable[tuple[Tenure, int]]) -> None:
        """The first death in a flush costs nothing; from the second on what was flushed is run one by one."""
        freed = list(freed)
        for tenure in {id(tenure): tenure for tenure, _ in freed}.values():
            tenure.flush_deaths += 1
            if tenure.flush_deaths > 1:
                mine = [number for each, number in freed if each is tenure][:SUSPECTS_AFTER_FLUSH]
                seat.suspects += [(tenure, number) for number in mine if tenure.ledger.assign(seat.slot, number)]

    # ---- ends ---------------------------------------------------------------------------------------------------

    def _close(self, seat: Seat, plan: Plan, tenure: Tenure, number: int, attempts: int, blame: Blame) -> bool:
        """No tries are left: begin to bisect, or set it aside. Whether bisecting has begun."""
        is_wanted = tenure.is_wanted(number)
        may_bisect = is_wanted and self._spec.bisect and blame.cls is not FailureClass.READ
        if may_bisect and self._searches.begin(seat, plan, tenure, number, attempts, blame):
            return True
        if tenure.ledger.set_aside(number, seat.slot) and is_wanted:
            self._failings.note(plan, tenure, number, blame, attempts)
            tenure.note_set_aside(number, time.monotonic())
        return False

    def _blame_unit(self, seat: Seat, plan: Plan, tenure: Tenure, first: int, blame: Blame) -> None:
        """Reading failed at `first`. When the unit has no tries left, what is free from there on fails at once."""
        index = plan.unit_of(first)
        unit = plan.units[index]
        file = plan.files[unit.file].path
        tries, lowest = tenure.unit_tries.get(index, (0, first))
        tries, first = tries + 1, min(first, lowest)
        tenure.unit_tries[index] = (tries, first)
        self.count += 1
        self._logs.write_error(seat.name, f"reading of {file}, try {tries}: {blame.message}", blame.traceback)
        if tries <= self._spec.max_retries:
            return
        if file not in blame.message:
            text = f"{file}: {blame.message}"
            blame = Blame(blame.cls, blame.exception_type, text, blame.traceback, blame.worker)
        for number in range(first, min(unit.first_mini_batch + unit.mini_batch_count, tenure.lease.end)):
            slot = seat.slot  # a suspect, claimed for this seat
            if tenure.ledger.word(number).state == FREE:
                tenure.ledger.assign(OWN_SLOT, number)
                slot = OWN_SLOT
            elif number in tenure.searches and self._is_claimed(seat, tenure, number):
                self._searches.give_up(seat, plan, tenure, number, blame)
                continue
            if number not in tenure.searches and tenure.ledger.set_aside(number, slot):
                self._failings.note(plan, tenure, number, blame, self._spec.max_retries + 1)
                tenure.note_set_aside(number, time.monotonic())
        self._look(tenure)
