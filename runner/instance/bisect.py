"""The search for the items that make a mini-batch fail: which range to run next, and what is known in the end. Pure.

Ranges wait on a stack, the leftmost on top, so what is found comes in item order. A range that fails and holds more
than one item is divided; a right half is run even when the left one did not fail, since both may be needed to fail, or
chance. At its bounds the search stops: what still waits is set aside as it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from runner.entity.status import FailureClass

MAX_EXTRA_CALLS = 200
MAX_EXTRA_DEATHS = 30


@dataclass(frozen=True, slots=True, eq=False)
class Blame:
    """Why a try ended badly."""

    cls: FailureClass
    exception_type: str
    message: str
    traceback: str
    worker: str


@dataclass(frozen=True, slots=True)
class Survivor:
    """Items that succeeded, and the segment that holds their results."""

    first: int
    count: int
    segment: int


@dataclass(frozen=True, slots=True)
class Found:
    """Items that are set aside."""

    first: int
    count: int
    blame: Blame
    tries: int
    is_isolated: bool
    """False where the search stopped before it knew which of them fail."""


@dataclass(slots=True)
class _Range:
    first: int
    count: int
    tries_left: int
    tries: int = 0
    """How often it has failed; for a half, its mini-batch too."""
    blame: Blame | None = None
    """Why the range that it is a half of failed; None for one that was asked for."""


class Bisection:
    """Ranges of one mini-batch. `at_hand` is to be run; then one of `succeed`, `fail` and `give_up` is to be called."""

    def __init__(self, ranges: Sequence[tuple[int, int]], *, tries: int, may_divide: bool) -> None:
        """Begin with ranges (first, count) in order, each of which may fail so often before it is divided."""
        self._stack = [_Range(first, count, tries) for first, count in reversed(ranges)]
        self._may_divide = may_divide
        self.asked = tuple(ranges)
        self.calls = 0
        self.deaths = 0
        self.survivors: list[Survivor] = []
        self.found: list[Found] = []

    @staticmethod
    def of_failed(item_count: int, tries: int, blame: Blame) -> Bisection:
        """Begin with a whole mini-batch that has failed so often, which has used up its tries."""
        search = Bisection([(0, item_count)], tries=1, may_divide=True)
        search._stack[0].tries = tries - 1
        search.fail(blame, is_death=False)
        return search

    @property
    def at_hand(self) -> tuple[int, int] | None:
        """The items to run next, (first, count); None when all is known."""
        return (self._stack[-1].first, self._stack[-1].count) if self._stack else None

    @property
    def item_count(self) -> int:
        """Items of all ranges that were asked for."""
        return sum(count for _, count in self.asked)

    def succeed(self, segment: int) -> None:
        """The range at hand is in that segment."""
        at = self._take(is_death=False)
        self.survivors.append(Survivor(at.first, at.count, segment))
        self._stop_at_bounds()

    def fail(self, blame: Blame, *, is_death: bool) -> None:
        """The range at hand has failed; `is_death` where that has cost a process."""
        at = self._take(is_death=is_death)
        at.tries += 1
        at.tries_left -= 1
        if at.tries_left > 0:
            self._stack.append(at)
        elif at.count == 1 or not self._may_divide:
            self.found.append(Found(at.first, at.count, blame, at.tries, True))
        else:
            # A half's failure is one more try of the mini-batch, however often it was divided before.
            tries = at.tries if at.blame is None else at.tries - 1
            left = at.count - at.count // 2
            self._stack.append(_Range(at.first + left, at.count - left, 1, tries, blame))
            self._stack.append(_Range(at.first, left, 1, tries, blame))
        self._stop_at_bounds()

    def give_up(self, blame: Blame) -> None:
        """Nothing more can be run: all that waits is set aside for this reason."""
        while self._stack:
            at = self._stack.pop()
            self.found.append(Found(at.first, at.count, blame, at.tries + 1, True))

    def _take(self, *, is_death: bool) -> _Range:
        at = self._stack.pop()
        if at.blame is not None:
            self.calls += 1
            self.deaths += is_death
        return at

    def _stop_at_bounds(self) -> None:
        """Set the halves that wait aside, neighbours of one origin together. What was asked for is still run."""
        if self.calls < MAX_EXTRA_CALLS and self.deaths < MAX_EXTRA_DEATHS:
            return
        while self._stack and (blame := self._stack[-1].blame) is not None:
            at = self._stack.pop()
            first, count = at.first, at.count
            before = self.found[-1] if self.found else None
            if before is not None and before.blame is blame and before.first + before.count == first:
                self.found.pop()
                first, count = before.first, before.count + count
            self.found.append(Found(first, count, blame, at.tries + 1, False))
