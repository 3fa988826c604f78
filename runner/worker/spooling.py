"""From the loop's buffer to the spool: a segment on disk first, then the words that name it.

The worker's own thread flushes when the loop says so. While a call takes long, a second thread flushes what was
finished before it and hands back what was claimed behind it, so that nothing waits for the call but the call.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from runner.dataset.payload import Payload
from runner.dataset.render import Renderer
from runner.dataset.spool import write_segment
from runner.dispatch._board import FLUSH, RETURN, RUN, Board
from runner.dispatch._loop import Loop, Taken
from runner.errors import StorageFailed
from runner.worker.control import Control
from runner.worker.messages import Flushed, HandedBack
from runner.worker.open_lease import OpenLease, segment_path

LONG_NS = 500_000_000
"""A call that takes longer than this is not waited for by what is buffered, and by what is claimed behind it."""
STALE_NS = 50_000_000
"""What is older than this does not wait for data that is being read."""


class Spooler:
    """Flushes what a loop has buffered, for one lease at a time."""

    def __init__(
        self, control: Control, board: Board, slot: int, renderer: Renderer, broken: Callable[[BaseException], None]
    ) -> None:
        self._control, self._board, self._slot, self._renderer = control, board, slot, renderer
        self._broken = broken
        self._lease: OpenLease | None = None
        self._lock = threading.Lock()
        self._is_range = False
        """What is run now is a range of a mini-batch's items: it completes nothing."""
        self.mini_batch_ns = 0
        """What one mini-batch took lately, 0 while nothing is known."""

    def begin(self, loop: Loop) -> None:
        """Start to flush overdue results beside long calls."""
        self._loop = loop
        threading.Thread(target=self._watch, name="flush", daemon=True).start()

    def use(self, lease: OpenLease) -> None:
        """Results from now on belong to `lease`: a segment belongs to one."""
        if lease is not self._lease:
            self.flush()
            self._lease = lease

    @property
    def lease(self) -> OpenLease:
        """Whose results are buffered."""
        assert self._lease is not None
        return self._lease

    def flush(self, *, single: int = -1) -> None:
        """Write what is buffered. The slot then names `single`, if only that can be."""
        if not self._loop.pending_count:
            return
        self._board.set_phase(self._slot, FLUSH, single)
        with self._lock:
            if self._loop.pending_count:
                self._write(self._loop.take())

    def begin_range(self) -> None:
        """Until `end_range`, results are those of a range of one mini-batch's items."""
        self.flush()
        with self._lock:
            self._is_range = True

    def end_range(self, mini_batch: int) -> int:
        """Write the results of the range; the number of their segment, 0 when there are none."""
        segment = 0
        if self._loop.pending_count:
            self._board.set_phase(self._slot, FLUSH, mini_batch)
            segment = self._write_segment(self._loop.take())
        with self._lock:
            self._is_range = False
        return segment

    def flush_stale(self, max_ns: int) -> None:
        """Before a wait for data: write what is not quite new."""
        if self._loop.pending_count and time.monotonic_ns() > self._loop.due_ns - max_ns + STALE_NS:
            self.flush()

    def _write_segment(self, taken: Taken, payload: Payload | None = None) -> int:
        segment = self.lease.next_segment()
        try:
            write_segment(segment_path(self.lease.spool, segment), taken, self._renderer, payload)
        except StorageFailed:
            if not self.lease.ledger.aborted:
                raise
            return 0  # nobody wants the lease any more, and its folder is gone
        return segment

    def _write(self, taken: Taken) -> None:
        lease, records = self.lease, taken.records
        segment = self._write_segment(taken, lease.payload)
        if not segment:
            return
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

    def _watch(self) -> None:
        """In a thread of its own. It never touches the slot, which goes on naming the call at hand."""
        pause = threading.Event()
        try:
            while not pause.wait(LONG_NS / 2e9):
                if self._is_in_long_call():
                    with self._lock:
                        self._relieve()
        except BaseException as error:  # noqa: BLE001 - the edge of a thread
            self._broken(error)

    def _is_in_long_call(self) -> bool:
        slot = self._board.read(self._slot)
        return slot.phase in (RUN, RETURN) and time.monotonic_ns() - slot.started_ns > LONG_NS

    def _relieve(self) -> None:
        if self._is_range or not self._is_in_long_call():
            return
        if self._loop.hand_back_rest():
            self._control.send(HandedBack(lease=self.lease.id))
        if self._loop.pending_count:
            self._write(self._loop.take())
