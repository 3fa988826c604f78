"""Turns what `run` returned into what is spooled, by the output the job asks for: lines, columns, or just a count."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

import numpy as np

from runner.dataset.columns import Arrays, Batches, Ordered, check_parquet, take_over
from runner.dataset.returns import IllegalReturn, Kind, settle
from runner.dataset.text import csv_lines, csv_names, element_lines, frame_lines, header_cells, json_lines, to_frame
from runner.entity.parallel import OutputSpec
from runner.errors import OutputInvalid

__all__ = ["IllegalReturn", "Renderer"]

Mode = Literal["count", "text", "rows"]


class Renderer:
    """Renders results for one worker and one output; None as output only counts.

    `finish` raises IllegalReturn, or what the script's own generator raises, to fail the mini-batch, and OutputInvalid
    to fail the job. It is not safe for several threads.
    """

    def __init__(self, output: OutputSpec | None) -> None:
        self._is_parquet = output is not None and output.format == "parquet"
        self._folders = output.partition_by if output is not None else ()
        output = output.staged if output is not None else None
        self.output = output
        """How segments are written; with `partition_by`, files of the format asked for are only made at the end."""
        self.mode: Mode = mode_of(output)
        self.frames: dict[int, tuple[str, ...]] = {}
        """Columns of the frames rendered since the last segment, by mini-batch; kept where a header line needs them."""
        self._settings = text_settings(output) if output is not None else {}
        self._wants_columns = output is not None and (output.frame_header or output.format == "csv")
        self._last_header: tuple[Any, Any, tuple[str, ...]] = (None, None, ())
        self._kept = frozenset(output.keep_columns) if output is not None else frozenset()

    def finish(self, result: object, mini_batch: int, item_count: int) -> tuple[Any, int, int]:
        """What to spool for a result, its length, and how many lines or rows that makes."""
        kind, value = settle(result)
        length = len(value)
        if self.mode == "count":
            return None, length, 0
        if self.mode == "text":
            return self._to_text(kind, value, mini_batch), length, length
        return self._to_rows(kind, value, mini_batch, item_count), length, length

    def _to_text(self, kind: Kind, value: Any, mini_batch: int) -> bytes:
        assert self.output is not None
        self.frames.pop(mini_batch, None)
        if self.output.format == "jsonl":
            return json_lines(kind, value)
        frame = to_frame(kind, value)
        if self.output.format == "csv":
            names = csv_names(kind, value, frame)
            if frame is not None or len(value):
                self._note_columns(mini_batch, names)
            return csv_lines(kind, value, frame, names)
        if frame is None:
            return element_lines(kind, value)
        if self._wants_columns:
            self._note_columns(mini_batch, self._header_cells(frame))
        return frame_lines(frame, self._settings)

    def _header_cells(self, frame: Any) -> tuple[str, ...]:
        """Asking pandas costs as much as rendering a hundred rows, so the last answer is kept."""
        labels, names, cells = self._last_header
        if labels is None or names != frame.index.names or not frame.columns.identical(labels):
            cells = header_cells(frame, self._settings)
            self._last_header = (frame.columns, frame.index.names, cells)
        return cells

    def _note_columns(self, mini_batch: int, names: tuple[str, ...]) -> None:
        if names:
            self.frames[mini_batch] = names

    def _to_rows(self, kind: Kind, value: Any, mini_batch: int, item_count: int) -> Arrays | Batches | Ordered | None:
        if not len(value):
            return None
        rows = take_over(kind, value)
        if self._is_parquet and isinstance(rows, Batches):
            check_parquet(rows.schema)
        if self._folders:
            self._check_folders(rows.names if isinstance(rows, Arrays) else rows.schema.names)
        if not self._kept:
            return rows
        check_kept(self._kept, rows.names if isinstance(rows, Arrays) else rows.schema.names, mini_batch)
        items = _items_by_index(value.index, item_count) if kind in ("frame", "series") else None
        return rows if items is None else Ordered(rows, items)

    def _check_folders(self, names: Iterable[str]) -> None:
        missing = next((name for name in self._folders if name not in self._kept and name not in names), None)
        if missing is not None:
            raise IllegalReturn(
                f"run() returned the columns {', '.join(names)}, and partition_by needs {missing!r}; "
                "return it too, or name it in keep_columns"
            )


def mode_of(output: OutputSpec | None) -> Mode:
    """How the loop collects results: text at once, or columns where types or kept columns are joined later."""
    if output is None:
        return "count"
    if output.format in ("parquet", "ipc") or output.keep_columns:
        return "rows"
    return "text"


def text_settings(output: OutputSpec) -> dict[str, Any]:
    """The arguments of `to_csv` for the rows of frames."""
    if output.format == "csv":
        return {"index": False}
    return {"sep": " ", "index": False, **output.to_csv}


def check_kept(kept: frozenset[str], names: Any, mini_batch: int) -> None:
    """Raise OutputInvalid if a returned column has the name of a kept one."""
    for name in names:
        if name in kept:
            raise OutputInvalid(
                f"run() returned a column {name!r} in mini-batch {mini_batch}, and keep_columns keeps one of that "
                "name; rename it in the script, or take it out of keep_columns"
            )


def _items_by_index(index: Any, item_count: int) -> np.ndarray[Any, np.dtype[np.int64]] | None:
    """Which item each row belongs to, if the index is a permutation of 0..n-1 other than the identity."""
    if getattr(index, "step", 0) == 1 and index.start == 0:
        return None  # a RangeIndex from 0 on, as nearly always: nothing need be sorted to see that
    if len(index) != item_count or not isinstance(index.dtype, np.dtype) or index.dtype.kind not in "iu":
        return None
    items = np.asarray(index, dtype=np.int64)
    identity = np.arange(item_count)
    if np.array_equal(items, identity) or not np.array_equal(np.sort(items), identity):
        return None
    return items.copy()
