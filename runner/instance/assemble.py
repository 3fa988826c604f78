"""Makes parts and reports of finished pieces, in a thread of its own, so that nobody who watches workers waits."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from runner.dataset.parts import assemble
from runner.dataset.spool import RECORD
from runner.dispatch._ledger import DONE
from runner.entity.lease import Failure, Lease, Report
from runner.entity.parallel import OutputSpec
from runner.instance.places import Layout, failed_records, first_failures, tally_of
from runner.instance.tenure import Piece, Tenure
from runner.worker.open_lease import segment_path


@dataclass(frozen=True, slots=True)
class Order:
    """A piece that is final, with its failures in order of their items."""

    tenure: Tenure
    piece: Piece
    failures: tuple[Failure, ...]


@dataclass(frozen=True, slots=True)
class Assembled:
    """What came of an order: a report, or the error that kept it from being made."""

    order: Order
    report: Report | None
    error: BaseException | None


class Assembler:
    """Takes orders, gives `Assembled` to `done` from its thread."""

    def __init__(
        self, instance: int, output: OutputSpec | None, staging: str | None, done: Callable[[Assembled], None]
    ) -> None:
        self._instance, self._output = instance, output.staged if output is not None else None
        self._staging = Path(staging) if staging else None
        self._done = done
        self._orders: queue.SimpleQueue[Order | None] = queue.SimpleQueue()
        self._is_closed = False
        self._thread = threading.Thread(target=self._work, name=f"assembler-{instance}", daemon=True)
        self._thread.start()

    def payload_of(self, lease: Lease) -> str:
        """Where workers append the encoded rows of a lease; empty when they encode nothing."""
        if self._staging is None or self._output is None or self._output.format != "parquet":
            return ""
        return str(self._staging / f"{self._name(lease, lease.first, lease.end)}.payload")

    def _name(self, lease: Lease, first: int, end: int) -> str:
        """Everything that tells copies of one range apart, so no two writers ever share a file."""
        return f"{first:012d}-{end:012d}.{lease.epoch}.{lease.lending}.{self._instance}"

    def put(self, order: Order) -> None:
        """Have a piece assembled."""
        self._orders.put(order)

    def close(self) -> None:
        """End after the order at hand."""
        self._is_closed = True
        self._orders.put(None)
        self._thread.join()

    def _work(self) -> None:
        while (order := self._orders.get()) is not None and not self._is_closed:
            try:
                self._done(Assembled(order, self._assemble(order), None))
            except BaseException as error:  # noqa: BLE001 - told to the driver by the supervisor
                self._done(Assembled(order, None, error))

    def _assemble(self, order: Order) -> Report:
        piece, lease = order.piece, order.tenure.lease
        words = order.tenure.ledger.words(piece.first, piece.end)
        numbers = np.where((words & 7) == DONE, words >> 32, 0).astype(np.int64)
        segments = {n: Path(segment_path(order.tenure.spool, n)) for n in np.unique(numbers).tolist() if n}
        target = None
        if self._staging is not None:
            target = self._staging / f"{self._name(lease, piece.first, piece.end)}.part"
        assembly = assemble(
            segments,
            piece.first,
            numbers,
            self._output,
            target,
            Path(order.tenure.payload) if order.tenure.payload else None,
            is_whole_lease=len(order.tenure.pieces) == 1,
        )
        layout = Layout.of(assembly.records, assembly.byte_counts)
        failed = first_failures(order.failures, assembly.records)
        records = assembly.records
        if failed:
            records = np.concatenate([records, failed_records(failed, RECORD)])
            records = records[np.argsort(records["mini_batch"])]
        return Report(
            instance=self._instance,
            first=piece.first,
            end=piece.end,
            epoch=lease.epoch,
            lending=lease.lending,
            part=assembly.part,
            tally=tally_of(assembly.records, failed, order.failures),
            failures=layout.place(order.failures),
            records=records.tobytes(),
            elapsed_s=time.monotonic() - order.tenure.lent_at,
            mends=layout.mends(lease.ranges, order.tenure.survivors),
        )
