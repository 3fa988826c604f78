"""Slabs: runs of whole mini-batches that are decoded, and their making ahead of need in a thread."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from runner.dataset.frames import Columns, Cut


@dataclass(slots=True, kw_only=True, eq=False)
class Slab:
    """Mini-batches [first_mini_batch, end_mini_batch), ready to be sliced: natively by `columns`, else by `cut`.

    Rows are counted from the slab's first; mini-batch m has the rows from (m - first) * rows_per_mini_batch on, or
    those between two of the `bounds`.
    """

    first_mini_batch: int
    end_mini_batch: int
    rows_per_mini_batch: int
    row_count: int
    first_item: int
    """Row of the slab's first row in its file; for files the index in the plan."""
    columns: Columns | None = None
    cut: Cut | None = None
    kept: pa.Table | pa.RecordBatch | None = None
    """The columns to be written beside what `run` returns, rows aligned with the slab."""
    byte_count: int = 0
    bounds: npt.NDArray[np.int64] | None = None
    """Where each mini-batch begins, and the last one ends, when they are of different sizes: groups by key."""

    def get(self, mini_batch: int) -> Any:
        """One mini-batch as `run` would get it; the native loop does the same without this call."""
        index = mini_batch - self.first_mini_batch
        if self.bounds is not None:
            start, stop = int(self.bounds[index]), int(self.bounds[index + 1])
        else:
            start = index * self.rows_per_mini_batch
            stop = min(start + self.rows_per_mini_batch, self.row_count)
        if self.columns is not None:
            return {name: array[start:stop] for name, array in self.columns}
        assert self.cut is not None
        return self.cut(start, stop, mini_batch)


class Prefetch(Iterator[Slab]):
    """Makes slabs in a thread while earlier ones are worked on, and holds at most `budget_bytes` of them waiting.

    One slab is always let through, however large. What the thread raises is raised by `next`, after the slabs before
    it. `close` waits for the slab being made, so that the iterator behind may be used again afterwards.
    """

    def __init__(self, slabs: Iterator[Slab], budget_bytes: int) -> None:
        self._slabs = slabs
        self._budget_bytes = budget_bytes
        self._changed = threading.Condition()
        self._ready: deque[Slab] = deque()
        self._ready_bytes = 0
        self._error: BaseException | None = None
        self._is_ended = False
        self._is_closed = False
        self._thread = threading.Thread(target=self._make, name="prefetch", daemon=True)
        self._thread.start()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Slab:
        with self._changed:
            self._changed.wait_for(lambda: self._ready or self._is_ended or self._is_closed)
            if self._ready:
                slab = self._ready.popleft()
                self._ready_bytes -= slab.byte_count
                self._changed.notify_all()
                return slab
            error, self._error = self._error, None
        if error is not None:
            raise error
        raise StopIteration

    def close(self) -> None:
        """Stop making slabs and drop those that wait; harmless twice."""
        with self._changed:
            self._is_closed = True
            self._ready.clear()
            self._ready_bytes = 0
            self._changed.notify_all()
        self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _make(self) -> None:
        try:
            for slab in self._slabs:
                with self._changed:
                    if self._is_closed:
                        break
                    self._ready.append(slab)
                    self._ready_bytes += slab.byte_count
                    self._changed.notify_all()
                    next_bytes = slab.byte_count
                    del slab
                    self._changed.wait_for(partial(self._may_go_on, next_bytes))
                    if self._is_closed:
                        break
        except BaseException as error:  # noqa: BLE001 - handed to the consumer, who decides
            with self._changed:
                self._error = error
        finally:
            close = getattr(self._slabs, "close", None)
            if close is not None:
                close()
            with self._changed:
                self._is_ended = True
                self._changed.notify_all()

    def _may_go_on(self, next_bytes: int) -> bool:
        """Whether to make another slab, which will be about as large as the last."""
        return self._is_closed or self._has_room(next_bytes)

    def _has_room(self, next_bytes: int) -> bool:
        return not self._ready or self._ready_bytes + next_bytes <= self._budget_bytes
