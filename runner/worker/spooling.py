"""From the loop's buffer to the spool: a segment on disk first, then the words that name it."""

from __future__ import annotations

import time

from runner.dataset.render import Renderer
from runner.dataset.spool import write_segment
from runner.dispatch._ledger import FLUSH, Board
from runner.dispatch._loop import Loop
from runner.worker.control import Control
from runner.worker.messages import Flushed
from runner.worker.open_lease import OpenLease, segment_path

_OLD_NS = 50_000_000


class Spooler:
    """Flushes what a loop has buffered for one lease at a time."""

    def __init__(self, control: Control, board: Board, slot: int, renderer: Renderer) -> None:
        self._control, self._board, self._slot, self._renderer = control, board, slot, renderer
        self.mini_batch_ns = 0
        """What one mini-batch took lately, 0 while nothing is known."""

    def flush(self, loop: Loop, lease: OpenLease | None, *, single: int = -1) -> None:
        """Write a segment, complete its words, tell the instance. The slot names `single` if only that is flushed."""
        if lease is None or not loop.pending_count:
            return
        self._board.set_phase(self._slot, FLUSH, single)
        taken = loop.take()
        segment = lease.next_segment()
        write_segment(segment_path(lease.spool, segment), taken, self._renderer)
        records = taken.records
        lease.ledger.complete(self._slot, records["mini_batch"], segment)
        items, succeeded = int(records["item_count"].sum()), int(records["succeeded"].sum())
        self.mini_batch_ns = int(records["elapsed_ns"].sum()) // len(records) or 1
        self._control.send(
            Flushed(
                lease=lease.id,
                segment=segment,
                mini_batch_count=len(records),
                item_count=items,
                failed_item_count=items - succeeded,
                row_count=int(records["row_count"].sum()),
            )
        )

    @staticmethod
    def is_stale(loop: Loop, max_ns: int) -> bool:
        """Whether something has been buffered for long enough not to let it wait for data."""
        return bool(loop.pending_count) and time.monotonic_ns() > loop.due_ns - max_ns + _OLD_NS
