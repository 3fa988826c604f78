"""Runs mini-batches range by range: those that are bisected, and those of which only some items were asked for.

While that lasts the mini-batch stays claimed by one seat, whose worker runs one range after the other, also the next
process in that seat after a death. Each range's results are a segment that no word names. In the end the instance puts
the segments of what succeeded together to one, and completes the mini-batch with it.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

from runner.dataset.merge import merge_segments
from runner.dispatch._board import Slot
from runner.entity.parallel import ParallelSpec
from runner.entity.plan import Plan
from runner.instance.bisect import Bisection, Blame, Found
from runner.instance.crew import Crew, Seat
from runner.instance.failings import Failings
from runner.instance.tenure import OWN_SLOT, Tenure
from runner.worker.messages import Flushed, GoOn, RangeDone, Single
from runner.worker.open_lease import own_segment, segment_path


class Searches:
    """Drives the searches of all tenures. `is_quiet` says whether a seat must not be told to go on just now."""

    def __init__(
        self,
        spec: ParallelSpec,
        crew: Crew,
        failings: Failings,
        *,
        is_quiet: Callable[[Seat], bool],
        look: Callable[[Tenure], None],
    ) -> None:
        self._spec, self._crew, self._failings = spec, crew, failings
        self._is_quiet, self._look = is_quiet, look
        self._waiting: deque[tuple[Tenure, int]] = deque()
        """What no seat has begun."""

    # ---- beginnings ---------------------------------------------------------------------------------------------

    def begin(self, seat: Seat, plan: Plan, tenure: Tenure, number: int, tries: int, blame: Blame) -> bool:
        """Bisect a mini-batch that has used up its tries; False where there is nothing to divide."""
        count = plan.span_of(number).item_count
        if count < 2:
            return False
        tenure.searches[number] = Bisection.of_failed(count, tries, self._failings.shortened(tenure, blame))
        if (tenure, number) not in seat.suspects:
            seat.suspects.append((tenure, number))
        return True

    def ask(self, plan: Plan, tenure: Tenure) -> None:
        """Take the mini-batches of a new lease of which it names only some items; `deal` gives them to workers."""
        for number, ranges in tenure.partial_ranges(plan).items():
            tries = self._spec.max_retries + 1
            tenure.searches[number] = Bisection(ranges, tries=tries, may_divide=self._spec.bisect)
            tenure.ledger.assign(OWN_SLOT, number)
            self._waiting.append((tenure, number))

    def deal(self) -> None:
        """Give what waits to seats that have nothing of the kind."""
        for seat in self._crew.working:
            if not self._waiting:
                return
            if any(number in tenure.searches for tenure, number in seat.suspects):
                continue
            tenure, number = self._waiting.popleft()
            if tenure.ledger.pass_on(number, OWN_SLOT, seat.slot):
                seat.suspects.append((tenure, number))
                self.tell(seat, tenure, number)

    def drop(self, tenure: Tenure) -> None:
        """A lease is given up."""
        self._waiting = deque(each for each in self._waiting if each[0] is not tenure)

    @staticmethod
    def tell(seat: Seat, tenure: Tenure, number: int) -> None:
        """Have a worker run what is next of a mini-batch that its seat has: all of it, or a range."""
        search = tenure.searches.get(number)
        if search is None:
            seat.tell(Single(lease=tenure.number, mini_batch=number))
        elif search.at_hand is not None:
            first, count = search.at_hand
            seat.tell(Single(lease=tenure.number, mini_batch=number, first_item=first, item_count=count))

    # ---- what came of a range -----------------------------------------------------------------------------------

    def on_done(self, seat: Seat, plan: Plan, tenure: Tenure | None, message: RangeDone) -> None:
        """A range is in a segment."""
        search = self._search_of(tenure, message.mini_batch, message.first_item, message.item_count)
        if tenure is None or search is None:
            self._let_go(seat)
            return
        search.succeed(message.segment)
        self.step(seat, plan, tenure, message.mini_batch)

    def on_failed(
        self, seat: Seat, plan: Plan, tenure: Tenure | None, number: int, items: tuple[int, int], blame: Blame
    ) -> None:
        """A range has raised."""
        search = self._search_of(tenure, number, *items)
        if tenure is None or search is None:
            self._let_go(seat)
            return
        search.fail(self._failings.shortened(tenure, blame), is_death=False)
        self.step(seat, plan, tenure, number)

    def on_death(self, seat: Seat, plan: Plan, tenure: Tenure, at: Slot, blame: Blame) -> None:
        """A worker has ended in a range, if that is what the slot says and the range was not known to have ended."""
        search = tenure.searches[at.mini_batch]
        span = plan.span_of(at.mini_batch)
        begin = span.first_row if plan.kind == "table" else span.file
        if at.first_item < 0 or search.at_hand == (at.first_item - begin, at.item_count):
            search.fail(blame, is_death=True)
            self.step(seat, plan, tenure, at.mini_batch)

    def give_up(self, seat: Seat, plan: Plan, tenure: Tenure, number: int, blame: Blame) -> None:
        """The rest of a mini-batch cannot be read."""
        tenure.searches[number].give_up(blame)
        self.step(seat, plan, tenure, number)

    @staticmethod
    def _search_of(tenure: Tenure | None, number: int, first: int, count: int) -> Bisection | None:
        search = tenure.searches.get(number) if tenure is not None else None
        return search if search is not None and search.at_hand == (first, count) else None

    def step(self, seat: Seat, plan: Plan, tenure: Tenure, number: int) -> None:
        """Have the next range run, or come to the end."""
        search = tenure.searches[number]
        if search.at_hand is not None:
            self.tell(seat, tenure, number)
            return
        del tenure.searches[number]
        seat.suspects = [suspect for suspect in seat.suspects if suspect != (tenure, number)]
        if search.survivors:
            self._complete(seat, plan, tenure, number, search)
        elif tenure.ledger.set_aside(number, seat.slot):
            for found in search.found:
                self._note(plan, tenure, number, found, 0, 0)
            tenure.note_set_aside(number, time.monotonic())
        self._let_go(seat)
        self.deal()
        self._look(tenure)

    def _complete(self, seat: Seat, plan: Plan, tenure: Tenure, number: int, search: Bisection) -> None:
        segment = own_segment(tenure.next_own_segment())
        sources = [segment_path(tenure.spool, survivor.segment) for survivor in search.survivors]
        attempt = tenure.ledger.word(number).attempt
        target = segment_path(tenure.spool, segment)
        shares = merge_segments(target, sources, number, search.item_count, attempt, self._spec.output)
        if not tenure.ledger.complete(seat.slot, [number], segment):
            return
        for source in sources:
            Path(source).unlink(missing_ok=True)
        placed = [(s.first, s.count, *share) for s, share in zip(search.survivors, shares, strict=True)]
        for found in search.found:
            before = [(rows, size) for first, _, rows, size in placed if first < found.first]
            self._note(plan, tenure, number, found, sum(rows for rows, _ in before), sum(size for _, size in before))
        if tenure.lease.ranges:
            tenure.survivors[number] = placed
        failed = sum(found.count for found in search.found)
        message = Flushed(
            lease=tenure.number,
            segment=segment,
            mini_batch_count=1,
            item_count=search.item_count,
            failed_item_count=failed,
            row_count=sum(rows for rows, _ in shares),
        )
        tenure.note_flushed(message, time.monotonic())

    def _note(self, plan: Plan, tenure: Tenure, number: int, found: Found, at_row: int, at_byte: int) -> None:
        blame = found.blame
        if not found.is_isolated:
            left = f" (not isolated: {found.count} items, bisecting stopped at its limit)"
            blame = Blame(blame.cls, blame.exception_type, blame.message + left, blame.traceback, blame.worker)
        items = (found.first, found.count)
        self._failings.note(plan, tenure, number, blame, found.tries, items=items, at_row=at_row, at_byte=at_byte)

    def _let_go(self, seat: Seat) -> None:
        """The worker waits for a word after each range."""
        if not self._is_quiet(seat):
            seat.tell(GoOn())
