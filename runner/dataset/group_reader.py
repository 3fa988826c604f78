"""Reads units of a plan by partition keys: rows of one or more files, cut where a group ends."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import TypeAlias

import numpy as np
import pyarrow as pa

from runner.dataset.frames import converter
from runner.dataset.path_columns import path_values
from runner.dataset.row_stream import RowStream
from runner.dataset.saved_plan import check_file
from runner.dataset.slabs import Slab
from runner.dataset.table_files import UNREADABLE, unreadable
from runner.entity.parallel import ParallelSpec
from runner.entity.plan import Plan, Unit
from runner.entity.table import TableOptions
from runner.errors import InputError

Batch: TypeAlias = pa.RecordBatch
BATCH_ROWS = 45_056
"""Whole groups are put together up to so many rows; a larger one stands alone."""


class GroupReader:
    """Slabs of whole groups; for one thread at a time."""

    def __init__(
        self, plan: Plan, spec: ParallelSpec, schema: pa.Schema, names: tuple[str, ...], keep: tuple[str, ...]
    ) -> None:
        self._plan, self._spec, self._schema = plan, spec, schema
        self._read = tuple(dict.fromkeys((*names, *keep)))
        self._names, self._keep = list(names), list(keep)
        # Types must not differ between mini-batches, and rows of one may come from several files.
        nullable = {name for file in plan.files for name in file.nullable}
        run_schema = pa.schema([schema.field(name) for name in names])
        self._convert = converter(spec, run_schema, nullable, shared=bool(keep))
        self._file = -1
        self._stream: RowStream | None = None

    def slabs(self, unit: Unit, lo: int, hi: int, wanted: Callable[[int, int], bool]) -> Iterator[Slab]:
        """The groups [lo, hi) of the unit in order, without those that are not `wanted` any more."""
        bounds = self._plan.bounds
        at = lo
        while at < hi:
            end = at + 1
            while end < hi and bounds[end + 1] - bounds[at] <= BATCH_ROWS:
                end += 1
            if wanted(at, end):
                yield self._slab(at, end, self._rows(bounds[at], bounds[end]))
            at = end

    def close(self) -> None:
        """Give the open file back."""
        if self._stream is not None:
            self._stream.close()
        self._stream, self._file = None, -1

    def _slab(self, first: int, end: int, batch: pa.RecordBatch) -> Slab:
        columns, cut = self._convert(batch.select(self._names))
        offsets = np.asarray(self._plan.bounds[first : end + 1], np.int64)
        return Slab(
            first_mini_batch=first,
            end_mini_batch=end,
            rows_per_mini_batch=1,
            row_count=batch.num_rows,
            first_item=int(offsets[0]),
            columns=columns,
            cut=cut,
            kept=batch.select(self._keep) if self._keep else None,
            byte_count=batch.nbytes,
            bounds=offsets - offsets[0],
        )

    def _rows(self, start: int, end: int) -> pa.RecordBatch:
        """Rows [start, end), counted over all files."""
        parts: list[pa.RecordBatch] = []
        file = int(np.searchsorted(self._plan.file_starts, start, side="right")) - 1
        while start < end:
            base, behind = self._plan.file_starts[file], self._plan.file_starts[file + 1]
            stop = min(end, behind)
            if stop > start:
                parts.append(self._rows_of(file, start - base, stop - base))
            start, file = max(start, stop), file + 1
        return parts[0] if len(parts) == 1 else pa.concat_batches(parts)

    def _rows_of(self, index: int, row: int, stop: int) -> pa.RecordBatch:
        file = self._plan.files[index]
        check_file(file)
        try:
            stream = self._open(index)
            stream.seek(file.skipped_rows + row, BATCH_ROWS)
            batch = stream.take(stop - row)
            _refuse_bad(stream, file.skipped_rows + row, file.skipped_rows + stop)
        except InputError:
            self.close()
            raise
        except UNREADABLE as error:
            self.close()
            check_file(file)
            raise unreadable(file.path, error) from error
        check_file(file)
        return batch

    def _open(self, index: int) -> RowStream:
        if self._stream is None or self._file != index:
            self.close()
            file = self._plan.files[index]
            root = os.path.abspath(self._spec.inputs[file.input].path)
            is_own = not file.is_moved
            options = self._spec.inputs[file.input].table if is_own else TableOptions()
            constants = path_values(root, file.path, options) if is_own else {}
            self._stream = RowStream(file, self._schema, self._read, constants, options)
            self._file = index
        return self._stream


def read_rows(plan: Plan, spec: ParallelSpec, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """All rows of a plan's tables in order, as batches of its columns and types. What cannot be read is named."""
    for file in plan.files:
        check_file(file)
        root = os.path.abspath(spec.inputs[file.input].path)
        try:
            options = spec.inputs[file.input].table
            stream = RowStream(file, schema, tuple(schema.names), path_values(root, file.path, options), options)
            try:
                row, end = file.skipped_rows, file.skipped_rows + file.row_count
                while row < end:
                    count = min(stream.seek(row, BATCH_ROWS), end - row)
                    batch = stream.take(count)
                    _refuse_bad(stream, row, row + count)
                    yield batch
                    row += count
            finally:
                stream.close()
        except InputError:
            raise
        except UNREADABLE as error:
            check_file(file)
            raise unreadable(file.path, error) from error
        check_file(file)


def _refuse_bad(stream: RowStream, start: int, end: int) -> None:
    """A row that cannot be read might belong to any group."""
    bad = stream.bad_rows(start, end)
    if bad:
        raise ValueError(bad[0][1])
