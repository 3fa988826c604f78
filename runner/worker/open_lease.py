"""A lease as a worker sees it."""

from __future__ import annotations

import os

import numpy as np

from runner.dataset.payload import Payload
from runner.dispatch._ledger import FREE, Ledger
from runner.worker.messages import Lend

_SERIAL_BITS = 14
_COUNT_BITS = 18
_OWN_SERIAL = (1 << _SERIAL_BITS) - 1


def own_segment(count: int) -> int:
    """The number of a segment that the instance itself makes, counted from 1 within a lease."""
    return (_OWN_SERIAL << _COUNT_BITS) + count


def segment_path(spool: str, segment: int) -> str:
    """Where a segment lies: its number, as a ledger's word has it, is all that is needed to find it."""
    return os.path.join(spool, f"{segment:08x}.segment")


class OpenLease:
    """The ledger, how far this worker has got in it, and the numbers of its segments."""

    def __init__(self, lend: Lend, serial: int, slot: int, slot_count: int) -> None:
        self.id = lend.lease
        self.ledger = Ledger.open(lend.ledger_path)
        self.spool = lend.spool
        self.payload = Payload(lend.payload) if lend.payload else None
        self.generation = lend.generation
        # Each worker begins at its own share of the units, so that what it does lies together and is flushed together.
        self.next_unit = self.ledger.unit_count * slot // slot_count
        self.is_urgent = False
        """Told to look again: what is free is to be taken, whatever reading costs."""
        self.is_told_dry = False
        self._seen_retries = 0
        self._segment_base = (serial % _OWN_SERIAL) << _COUNT_BITS
        self._segment_count = 0

    def next_segment(self) -> int:
        """The number of a new segment: no other process of the instance gives the same one within this lease."""
        self._segment_count += 1
        if self._segment_count >= 1 << _COUNT_BITS:
            raise OverflowError(f"more than {(1 << _COUNT_BITS) - 1} segments of one worker in one lease")
        return self._segment_base + self._segment_count

    def take_unit(self, slot: int) -> tuple[int, int] | None:
        """Take a fresh unit, the one after the last if possible; its mini-batches [first, end), None without one."""
        unit = self.ledger.take_unit(slot, self.next_unit)
        if unit < 0:
            return None
        self.next_unit = unit + 1
        return self.ledger.unit_range(unit)

    def has_new_retries(self) -> bool:
        """Whether a mini-batch was put back since this was last asked."""
        count = self.ledger.retry_count
        if count == self._seen_retries:
            return False
        self._seen_retries = count
        return True

    def retried(self) -> list[int]:
        """The free mini-batches that were tried before."""
        words = self.ledger.words(self.ledger.first, self.ledger.end)
        free_again = ((words & 7) == FREE) & ((words >> 3 & 0xFFFF) > 0)
        return [int(number) for number in np.flatnonzero(free_again) + self.ledger.first]
