"""Reads units of a plan as slabs, each row group decoded once where one process takes adjacent units in order.

A table file stays open, and its stream of batches goes on, from one unit to the next. Slabs follow the decoded batches,
so that they are views: only a mini-batch that lies across two batches is copied together. Going back, or ahead past a
row group, opens a new stream at the nearest place the format can enter at.
Size and modification time are looked at before and after each unit; a difference is InputChanged.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import numpy as np
import pyarrow as pa

from runner.dataset.files import FileBatch
from runner.dataset.frames import Convert, check_format, converter
from runner.dataset.group_reader import GroupReader
from runner.dataset.listing import shown
from runner.dataset.path_columns import path_values
from runner.dataset.row_stream import RowStream
from runner.dataset.saved_plan import check_file
from runner.dataset.schemas import decode_schema
from runner.dataset.slabs import Slab
from runner.dataset.table_files import UNREADABLE, unreadable
from runner.entity.parallel import ParallelSpec
from runner.entity.plan import Plan, Unit
from runner.errors import InputError, InputUnreadable

WINDOW_ROWS = 65_536
"""More rows than this are never decoded at once, but for a single mini-batch that is larger."""

_BATCH_ROWS = 45_056
"""Rows decoded at once where the size of mini-batches leaves a choice: measured 5 % faster than 65,536 (caches)."""

Wanted = Callable[[int, int], bool]
"""Whether any of the mini-batches [first, end) is still to be run."""


class UnitReader:
    """Reads units of one plan; for one thread at a time."""

    def __init__(self, plan: Plan, spec: ParallelSpec) -> None:
        check_format(spec.mini_batch_format)
        self._plan = plan
        self._spec = spec
        self._keep = spec.output.keep_columns if spec.output else ()
        self._schema = decode_schema(plan.schema) if plan.schema else pa.schema([])
        asked = self._schema.names if spec.columns is None else (*spec.columns, *plan.keys)
        self._names = tuple(dict.fromkeys(asked))
        self._open: _OpenFile | None = None
        self._groups = GroupReader(plan, spec, self._schema, self._names, self._keep) if plan.keys else None

    @property
    def schema(self) -> pa.Schema:
        """The unified schema of what `run` gets, in the order of its columns; empty for files."""
        return pa.schema([self._schema.field(name) for name in self._names])

    def slabs(self, unit: int, lo: int, hi: int, wanted: Wanted) -> Iterator[Slab]:
        """The mini-batches [lo, hi) of the unit in order, without the windows that are not `wanted` any more."""
        found = self._plan.units[unit]
        lo = max(lo, found.first_mini_batch)
        hi = min(hi, found.first_mini_batch + found.mini_batch_count)
        if lo >= hi:
            return
        if self._plan.kind == "files":
            yield from self._file_slabs(found, lo, hi, wanted)
        elif self._groups is not None:
            yield from self._groups.slabs(found, lo, hi, wanted)
        else:
            yield from self._table_slabs(found, lo, hi, wanted)

    def close(self) -> None:
        """Give the open file back."""
        if self._open is not None:
            self._open.close()
            self._open = None
        if self._groups is not None:
            self._groups.close()

    def _file_slabs(self, unit: Unit, lo: int, hi: int, wanted: Wanted) -> Iterator[Slab]:
        if not wanted(lo, hi):
            return
        per = self._plan.files_per_mini_batch
        start = (lo - unit.first_mini_batch) * per
        stop = min((hi - unit.first_mini_batch) * per, unit.file_count)
        bounds = None
        if self._plan.keys:
            bounds = np.asarray(self._plan.bounds[lo : hi + 1], np.int64) - self._plan.bounds[lo]
            start, stop = self._plan.bounds[lo] - unit.file, self._plan.bounds[hi] - unit.file
        files = self._plan.files[unit.file + start : unit.file + stop]
        for file in files:
            check_file(file)
        paths = [file.path for file in files]
        kept = pa.table({"path": [shown(path) for path in paths]}).select(list(self._keep)) if self._keep else None
        yield Slab(
            first_mini_batch=lo,
            end_mini_batch=hi,
            rows_per_mini_batch=max(per, 1),
            row_count=len(paths),
            first_item=unit.file + start,
            cut=lambda first, last, mini_batch: FileBatch(paths[first:last], mini_batch),
            kept=kept,
            byte_count=sum(map(len, paths)),
            bounds=bounds,
        )

    def _table_slabs(self, unit: Unit, lo: int, hi: int, wanted: Wanted) -> Iterator[Slab]:
        file = self._plan.files[unit.file]
        check_file(file)
        try:
            yield from self._file_of(unit).slabs(unit, lo, hi, wanted)
        except InputError:
            self.close()
            raise
        except UNREADABLE as error:
            self.close()
            check_file(file)
            raise unreadable(file.path, error) from error
        check_file(file)

    def _file_of(self, unit: Unit) -> _OpenFile:
        if self._open is None or self._open.index != unit.file:
            self.close()
            self._open = _OpenFile(self._plan, unit.file, self._spec, self._schema, self._names, self._keep)
        return self._open


class _OpenFile:
    """One table file, its stream of batches, and the conversion of what comes out of it."""

    def __init__(
        self,
        plan: Plan,
        index: int,
        spec: ParallelSpec,
        schema: pa.Schema,
        names: tuple[str, ...],
        keep: tuple[str, ...],
    ) -> None:
        self.index = index
        file = plan.files[index]
        self._per, self._path = file.rows_per_mini_batch, file.path
        read = tuple(dict.fromkeys((*names, *keep)))
        root = os.path.abspath(spec.inputs[file.input].path)
        options = spec.inputs[file.input].table
        self._stream = RowStream(file, schema, read, path_values(root, file.path, options), options)
        run_schema = pa.schema([schema.field(name) for name in names])
        self._convert: Convert = converter(spec, run_schema, file.nullable, shared=bool(keep))
        self._names = list(names)
        self._keep = list(keep)
        self._is_all = read == names

    def close(self) -> None:
        self._stream.close()

    def slabs(self, unit: Unit, lo: int, hi: int, wanted: Wanted) -> Iterator[Slab]:
        per = self._per
        origin = unit.first_row - unit.first_mini_batch * per
        end_row = unit.first_row + unit.row_count
        window = max(1, min(_BATCH_ROWS + per // 2, WINDOW_ROWS, unit.row_count) // per)
        batch_rows = window * per if per <= WINDOW_ROWS else _BATCH_ROWS
        at = lo
        while at < hi:
            waiting = self._stream.waiting_rows(origin + at * per) // per
            end = min(at + (waiting or window), hi)
            if wanted(at, end):
                stop = min(origin + end * per, end_row)
                yield from self._window(at, origin + at * per, stop, batch_rows)
            at = end

    def _window(self, mini_batch: int, row: int, stop: int, batch_rows: int) -> Iterator[Slab]:
        """Slabs for the rows [row, stop): views of decoded batches, and copies of mini-batches that lie across two."""
        per = self._per
        while row < stop:
            within = self._stream.seek(row, batch_rows)
            count = min(within, stop - row)
            if count < stop - row:
                count = count // per * per or min(per, stop - row)
            yield from self._slabs(mini_batch, row, self._stream.take(count))
            row += count
            mini_batch += -(-count // per)

    def _slabs(self, mini_batch: int, row: int, batch: pa.RecordBatch) -> Iterator[Slab]:
        """One slab; or several, when rows cannot be read: only their mini-batches are lost."""
        bad = self._stream.bad_rows(row, row + batch.num_rows)
        if not bad:
            yield self._slab(mini_batch, row, batch)
            return
        at = 0
        for number, what in sorted({(place - row) // self._per: what for place, what in reversed(bad)}.items()):
            start = number * self._per
            if start > at:
                yield self._slab(mini_batch + at // self._per, row + at, batch.slice(at, start - at))
            at = min(start + self._per, batch.num_rows)
            yield self._unreadable(mini_batch + number, row + start, at - start, what)
        if at < batch.num_rows:
            yield self._slab(mini_batch + at // self._per, row + at, batch.slice(at))

    def _unreadable(self, mini_batch: int, row: int, count: int, what: str) -> Slab:
        def cut(start: int, stop: int, number: int) -> None:
            raise InputUnreadable(shown(self._path), what)

        return Slab(
            first_mini_batch=mini_batch,
            end_mini_batch=mini_batch + 1,
            rows_per_mini_batch=self._per,
            row_count=count,
            first_item=row,
            cut=cut,
        )

    def _slab(self, mini_batch: int, row: int, batch: pa.RecordBatch) -> Slab:
        byte_count = batch.nbytes
        columns, cut = self._convert(batch if self._is_all else batch.select(self._names))
        return Slab(
            first_mini_batch=mini_batch,
            end_mini_batch=mini_batch - (-batch.num_rows // self._per),
            rows_per_mini_batch=self._per,
            row_count=batch.num_rows,
            first_item=row,
            columns=columns,
            cut=cut,
            kept=batch.select(self._keep) if self._keep else None,
            byte_count=byte_count,
        )
