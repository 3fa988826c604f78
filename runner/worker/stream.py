"""Decoded slabs of one unit after another, read in a thread while the script works, at most one unit ahead.

The consumer's thread picks units, so that what it waits for is known before it waits: if the worker then dies or
hangs, its slot names the range. Only when others have meanwhile done all of a unit does the reading thread pick the
next one itself.
"""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from runner.dataset.read import UnitReader
from runner.dataset.slabs import Prefetch, Slab
from runner.worker.open_lease import OpenLease


@dataclass(frozen=True, slots=True, eq=False)
class Stretch:
    """Mini-batches [first, end) of one unit of the plan, in one lease."""

    lease: OpenLease
    unit: int
    first: int
    end: int

    def is_wanted(self, first: int, end: int) -> bool:
        """Whether any of them can still be claimed."""
        return self.lease.ledger.has_free(first, end)


class UnreadableUnit(Exception):
    """Reading failed at mini-batch `first` of a stretch; the cause is chained."""

    def __init__(self, stretch: Stretch, first: int) -> None:
        super().__init__(stretch, first)
        self.stretch = stretch
        self.first = first


class UnitStream:
    """Slabs of the stretches that `pick` gives, until it gives None. For one consumer; close it."""

    def __init__(self, reader: UnitReader, pick: Callable[[], Stretch | None], budget_bytes: int) -> None:
        self._reader = reader
        self._pick_next = pick
        self._lock = threading.Lock()
        self._to_read: queue.SimpleQueue[Stretch | None] = queue.SimpleQueue()
        self._ahead: deque[Stretch] = deque()
        self._tags: deque[Stretch] = deque()
        self._at: Stretch | None = None
        self._next_mini_batch = 0
        self._failed: UnreadableUnit | None = None
        self.read_ns = 0
        self.read_count = 0
        """Time spent, and mini-batches made: what reading costs."""
        self._offer()
        self._prefetch = Prefetch(self._read(), budget_bytes)

    @property
    def has_waiting(self) -> bool:
        """Whether the next slab is there."""
        return bool(self._tags)

    @property
    def is_between_units(self) -> bool:
        """Whether the unit at hand has been given out to its end."""
        return self._at is None or self._next_mini_batch >= self._at.end

    def awaited(self) -> tuple[int, int]:
        """The mini-batches [first, end) whose data is awaited; (-1, -1) at the end."""
        if self._at is not None and not self.is_between_units:
            return self._next_mini_batch, self._at.end
        with self._lock:
            return (self._ahead[0].first, self._ahead[0].end) if self._ahead else (-1, -1)

    def next(self) -> tuple[Stretch, Slab] | None:
        """The next slab with its stretch, None at the end; blocks. Raises UnreadableUnit, and InputChanged."""
        slab = next(self._prefetch, None)
        if slab is None:
            if self._failed is not None:
                raise self._failed from self._failed.__cause__
            return None
        stretch = self._tags.popleft()
        if stretch is not self._at:
            self._at = stretch
            with self._lock:
                while self._ahead and self._ahead.popleft() is not stretch:
                    pass
            self._offer()
        self._next_mini_batch = slab.end_mini_batch
        return stretch, slab

    def close(self) -> None:
        """Stop reading and wait for the thread."""
        self._to_read.put(None)
        self._prefetch.close()

    def _offer(self) -> None:
        self._to_read.put(self._pick())

    def _pick(self) -> Stretch | None:
        with self._lock:
            stretch = self._pick_next()
            if stretch is not None:
                self._ahead.append(stretch)
            return stretch

    def _read(self) -> Iterator[Slab]:
        """In the reading thread."""
        stretch = self._to_read.get()
        while stretch is not None:
            is_empty = True
            for slab in self._slabs_of(stretch):
                is_empty = False
                self._tags.append(stretch)
                yield slab
            if self._failed is not None:
                return
            stretch = self._pick() if is_empty else self._to_read.get()

    def _slabs_of(self, stretch: Stretch) -> Iterator[Slab]:
        at = stretch.first
        slabs = self._reader.slabs(stretch.unit, stretch.first, stretch.end, stretch.is_wanted)
        while True:
            began = time.monotonic_ns()
            try:
                slab = next(slabs, None)
            except BaseException as error:  # noqa: BLE001 - kept for the consumer, with the place where reading stopped
                self._failed = UnreadableUnit(stretch, at)
                self._failed.__cause__ = error
                return
            if slab is None:
                return
            at = slab.end_mini_batch
            self.read_ns += time.monotonic_ns() - began
            self.read_count += slab.end_mini_batch - slab.first_mini_batch
            yield slab
