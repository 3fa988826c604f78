"""Mini-batches that this worker alone may run, before anything else: suspects, and ranges of what is being bisected."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping

from runner.dataset.slabs import Slab
from runner.dispatch._board import IDLE, Board
from runner.dispatch._ledger import CLAIMED
from runner.dispatch._loop import Loop
from runner.worker.control import Control
from runner.worker.messages import RangeDone, Single
from runner.worker.open_lease import OpenLease
from runner.worker.spooling import Spooler

Read = Callable[[OpenLease, int], Iterable[Slab]]
"""Reads one mini-batch of a lease; tells by itself of what cannot be read, and then gives nothing."""


class Singles:
    """Takes `Single` messages and runs them one by one."""

    def __init__(
        self,
        control: Control,
        board: Board,
        slot: int,
        loop: Loop,
        spooler: Spooler,
        read: Read,
        *,
        may_keep: bool,
    ) -> None:
        self._control, self._board, self._slot = control, board, slot
        self._loop, self._spooler, self._read = loop, spooler, read
        self._may_keep = may_keep
        """False where the script may write to what it gets: the next call must not see that."""
        self._waiting: deque[Single] = deque()
        self._kept: tuple[OpenLease, int, Slab] | None = None
        """The data of the mini-batch whose ranges are run: it is read once for all of them."""
        self.at_hand: Single | None = None
        """The range that is being run."""
        self._has_answered = False

    @property
    def awaits_word(self) -> bool:
        """Whether the instance is about to say how to go on with a mini-batch that is run range by range."""
        return self._has_answered and not self._waiting

    def add(self, message: Single) -> None:
        """One more; also the answer to the range before."""
        self._waiting.append(message)
        self._has_answered = False

    def forget(self) -> None:
        """No range follows: let go of the data."""
        self._kept = None
        self._has_answered = False

    def run_next(self, leases: Mapping[int, OpenLease]) -> bool:
        """Run the one that has waited longest; False when none waits."""
        if not self._waiting:
            return False
        message = self._waiting.popleft()
        lease = leases.get(message.lease)
        if lease is not None and self._is_mine(lease, message.mini_batch):
            self._spooler.use(lease)
            for slab in self._slabs(lease, message):
                if message.is_range:
                    self._run_range(lease, slab, message)
                else:
                    self._loop.call(lease.ledger, slab, message.mini_batch)
                    self._spooler.flush(single=message.mini_batch)
        return True

    def note_failed(self) -> None:
        """The range at hand has raised, and the instance has been told."""
        self._has_answered = True

    def _is_mine(self, lease: OpenLease, mini_batch: int) -> bool:
        word = lease.ledger.word(mini_batch)
        return word.state == CLAIMED and word.slot == self._slot

    def _slabs(self, lease: OpenLease, message: Single) -> Iterable[Slab]:
        if self._kept is not None and self._kept[0] is lease and self._kept[1] == message.mini_batch:
            return [self._kept[2]]
        self._kept = None
        return self._read(lease, message.mini_batch)

    def _run_range(self, lease: OpenLease, slab: Slab, message: Single) -> None:
        self._kept = (lease, message.mini_batch, slab) if self._may_keep else None
        self._spooler.begin_range()
        self.at_hand = message
        self._loop.call(lease.ledger, slab, message.mini_batch, message.first_item, message.item_count)
        self.at_hand = None
        segment = self._spooler.end_range(message.mini_batch)
        self._board.set_phase(self._slot, IDLE)
        if segment:
            self._has_answered = True
            self._control.send(
                RangeDone(
                    lease=lease.id,
                    mini_batch=message.mini_batch,
                    first_item=message.first_item,
                    item_count=message.item_count,
                    segment=segment,
                )
            )
