"""Lets one worker try alone what memory did not suffice for, while the other workers of the instance rest.

All workers are told to rest, also those that become ready meanwhile, and when all have said that they do, the one that
has the mini-batch goes on. Once that try has ended, however it did, the next one has its turn, or all go on.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from runner.dispatch._ledger import CLAIMED
from runner.instance.crew import Crew, Seat
from runner.instance.tenure import Tenure
from runner.worker.messages import GoOn, Rest


@dataclass(frozen=True, slots=True)
class _Trial:
    seat: Seat
    tenure: Tenure
    mini_batch: int
    attempt: int

    @property
    def is_over(self) -> bool:
        """Whether the try has ended: the word says so."""
        if not self.tenure.is_open:
            return True
        word = self.tenure.ledger.word(self.mini_batch)
        return (
            word.state != CLAIMED
            or word.slot != self.seat.slot
            or word.attempt != self.attempt
            or self.mini_batch in self.tenure.searches
        )


class Quiet:
    """Who rests, and for whom."""

    def __init__(self, crew: Crew) -> None:
        self._crew = crew
        self._trials: deque[_Trial] = deque()
        self._resting: set[int] = set()
        self._has_begun = False
        """The first trial's worker was told to go on."""

    @property
    def is_on(self) -> bool:
        """Whether workers rest."""
        return bool(self._trials)

    def is_resting(self, seat: Seat) -> bool:
        """Whether a worker must not be told to go on for another reason."""
        return self.is_on and not (self._has_begun and seat is self._trials[0].seat)

    def begin(self, seat: Seat, tenure: Tenure, mini_batch: int) -> None:
        """Have the next process of a seat try a mini-batch alone; the seat is empty now."""
        self._trials.append(_Trial(seat, tenure, mini_batch, tenure.ledger.word(mini_batch).attempt))
        if len(self._trials) == 1:
            self._has_begun = False
            for other in self._crew.working:
                if other is not seat:
                    other.tell(Rest())

    def on_ready(self, seat: Seat) -> None:
        """A worker has become ready: it rests too, before it is told of any work."""
        if self.is_on:
            seat.tell(Rest())

    def on_resting(self, seat: Seat) -> None:
        """A worker rests."""
        self._resting.add(seat.slot)
        self._look()

    def on_gone(self, seat: Seat) -> None:
        """A worker has ended."""
        self._resting.discard(seat.slot)
        if self.is_on and self._trials[0].seat is seat:
            self._has_begun = False
        self._look()

    def look(self) -> bool:
        """End the trial at hand if it is over; whether all may work again, who have not worked meanwhile."""
        if not self.is_on or not self._trials[0].is_over:
            return False
        before = self._trials.popleft()
        while self._trials and self._trials[0].is_over:
            self._trials.popleft()
        if self._trials:
            if self._has_begun and before.seat.is_working:
                before.seat.tell(Rest())
            self._has_begun = False
            self._look()
            return False
        for seat in self._crew.working:
            seat.tell(GoOn())
        self._resting.clear()
        return True

    def _look(self) -> None:
        """Let the one go on once all rest."""
        if not self.is_on or self._has_begun:
            return
        seat = self._trials[0].seat
        if seat.is_working and all(each.slot in self._resting for each in self._crew.working):
            self._has_begun = True
            self._resting.discard(seat.slot)
            seat.tell(GoOn())
