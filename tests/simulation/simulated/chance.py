"""Dice and virtual time: one seed decides everything that happens."""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable

Happening = Callable[[], None]


class Violated(AssertionError):
    """Something that must always be true is not."""


class World:
    """Things that happen at their times, in order; ties in the order in which they were planned."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)
        self.now = 0.0
        self.is_faulty = True
        """Faults happen; when they stop, the job must end."""
        self._number = 0
        self._queue: list[tuple[float, int, Happening]] = []
        self.story: list[str] = []
        self.is_told = False

    def at(self, time: float, what: Happening) -> None:
        self._number += 1
        heapq.heappush(self._queue, (max(time, self.now), self._number, what))

    def after(self, delay: float, what: Happening) -> None:
        self.at(self.now + delay, what)

    def step(self) -> bool:
        """Let the next thing happen; False when there is none."""
        if not self._queue:
            return False
        self.now, _, what = heapq.heappop(self._queue)
        what()
        return True

    def chance(self, probability: float) -> bool:
        """Whether a fault of this probability happens; never once faults have stopped."""
        return self.is_faulty and self.dice.random() < probability

    def tell(self, *what: object) -> None:
        """A line of the story, for a seed that is looked into."""
        if self.is_told:
            print(f"{self.now:9.3f}", *what)  # noqa: T201
