"""Gathers what a worker's loop has buffered into one table per schema, kept columns first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from runner.dataset.columns import VALUE, Arrays, Batches, Ordered, arrays_table, batches_table
from runner.dataset.render import Renderer, check_kept
from runner.errors import Defect

SMALL_BATCH_ROWS = 8_192
"""Chunks that are smaller on average are joined before they are written."""

Longs = npt.NDArray[np.int64]
Piece = Arrays | Batches


@dataclass(frozen=True, slots=True)
class Gathered:
    """Tables of distinct schemas, and for each record where its rows are: section -1 for none."""

    sections: list[pa.Table]
    section: Longs
    offset: Longs
    extent: Longs


@dataclass(slots=True)
class _Group:
    """Consecutive pieces that make one table, as rows [start, stop) of all rows taken."""

    table: pa.Table
    start: int
    stop: int


def gather(
    records: npt.NDArray[np.void],
    outputs: Sequence[tuple[Any, ...]],
    kept: Sequence[tuple[Any, int, int]],
    renderer: Renderer,
) -> Gathered:
    """One table per distinct schema. Python works per buffered object, never per natively copied mini-batch."""
    groups = list(_groups(outputs))
    row_counts = records["row_count"].astype(np.int64)
    total = int(row_counts.sum())
    if total != (groups[-1].stop if groups else 0):
        raise Defect(f"{total} rows were recorded, but {groups[-1].stop if groups else 0} buffered")
    if kept and total:
        _join_kept(groups, _kept_rows(kept, total, outputs), records, renderer)
    return _divide(groups, row_counts)


def _groups(outputs: Sequence[tuple[Any, ...]]) -> Iterator[_Group]:
    at = 0
    pending: list[Piece] = []
    key: object = None
    rows = 0
    for output in outputs:
        piece, count = _piece(output)
        if not count or piece is None:
            continue
        its_key = _key(piece)
        if pending and its_key != key:
            yield _Group(_table(pending), at, at + rows)
            at, rows, pending = at + rows, 0, []
        key = its_key
        pending.append(piece)
        rows += count
    if pending:
        yield _Group(_table(pending), at, at + rows)


def _piece(output: tuple[Any, ...]) -> tuple[Piece | None, int]:
    if output[0] == "array":
        return Arrays((VALUE,), (output[1],), False), len(output[1])
    rows = output[1].rows if isinstance(output[1], Ordered) else output[1]
    return rows, output[2]


def _key(piece: Piece) -> object:
    if isinstance(piece, Batches):
        return piece.schema
    return (piece.names, [array.dtype for array in piece.arrays], piece.nan_is_null)


def _table(pieces: list[Any]) -> pa.Table:
    return arrays_table(pieces) if isinstance(pieces[0], Arrays) else batches_table(pieces)


def _kept_rows(kept: Sequence[tuple[Any, int, int]], total: int, outputs: Sequence[tuple[Any, ...]]) -> pa.Table:
    """The kept columns of all rows taken, in the order in which the rows were returned."""
    tables = [pa.Table.from_batches([table]) if isinstance(table, pa.RecordBatch) else table for table, _, _ in kept]
    slices = [table.slice(start, stop - start) for table, (_, start, stop) in zip(tables, kept, strict=True)]
    rows = pa.concat_tables(slices)
    if rows.num_rows != total:
        raise Defect(f"{total} rows were returned, but {rows.num_rows} kept")
    order = _order(outputs, total)
    return rows if order is None else rows.take(pa.array(order))


def _order(outputs: Sequence[tuple[Any, ...]], total: int) -> Longs | None:
    """Which row each returned row belongs to, None if they are all in place."""
    order: Longs | None = None
    at = 0
    for output in outputs:
        count = _piece(output)[1]
        if output[0] != "array" and isinstance(output[1], Ordered):
            order = np.arange(total) if order is None else order
            order[at : at + count] = output[1].items + at
        at += count
    return order


def _join_kept(groups: list[_Group], rows: pa.Table, records: npt.NDArray[np.void], renderer: Renderer) -> None:
    names = renderer.output.keep_columns if renderer.output is not None else tuple(rows.column_names)
    ends = np.cumsum(records["row_count"])
    for group in groups:
        mini_batch = int(records["mini_batch"][np.searchsorted(ends, group.start, side="right")])
        check_kept(frozenset(names), group.table.column_names, mini_batch)
        beside = rows.slice(group.start, group.stop - group.start).select(list(names))
        arrays = [*beside.columns, *group.table.columns]
        group.table = pa.Table.from_arrays(arrays, [*beside.column_names, *group.table.column_names])


def _divide(groups: Sequence[_Group], row_counts: Longs) -> Gathered:
    """Join the groups of one schema to a section, and find each record's rows there."""
    numbers: dict[pa.Schema, int] = {}
    members: list[list[pa.Table]] = []
    filled: list[int] = []
    where = np.zeros((len(groups), 3), np.int64)
    for i, group in enumerate(groups):
        number = numbers.setdefault(group.table.schema, len(members))
        if number == len(members):
            members.append([])
            filled.append(0)
        where[i] = number, filled[number], group.start
        members[number].append(group.table)
        filled[number] += group.stop - group.start
    starts = np.cumsum(row_counts) - row_counts
    section, offset = np.full(len(row_counts), -1, np.int64), np.zeros(len(row_counts), np.int64)
    full = row_counts > 0
    if len(groups):
        group_of = np.searchsorted(where[:, 2], starts[full], side="right") - 1
        section[full] = where[group_of, 0]
        offset[full] = where[group_of, 1] + starts[full] - where[group_of, 2]
    return Gathered([_joined(tables) for tables in members], section, offset, row_counts)


def _joined(tables: Sequence[pa.Table]) -> pa.Table:
    table = pa.concat_tables(tables) if len(tables) > 1 else tables[0]
    chunks = max((column.num_chunks for column in table.columns), default=1)
    return table.combine_chunks() if chunks > 1 and table.num_rows < chunks * SMALL_BATCH_ROWS else table
