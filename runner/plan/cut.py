"""Cuts files into mini-batches and units: pure arithmetic over counts, the same on every machine.

A mini-batch never spans two files; a unit is a run of whole mini-batches of one file (or of so many files), bounded by
the constants here and by nothing else. A unit ends where a row group does if it can, so that as few row groups as
possible are decoded by two workers; what is longer than a unit is cut evenly.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

from runner.entity.parallel import MiniBatchSize
from runner.entity.plan import Unit

ALGORITHM_VERSION = 1
"""Part of the fingerprint: grows when the same input would be cut in another way."""

UNIT_ROWS = 262_144
UNIT_BYTES = 32 * 1024 * 1024
UNIT_FILES = 1_024


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """What cutting needs to know of a table file."""

    row_count: int
    size_bytes: int
    """Of the file as it is on disk."""
    group_rows: Sequence[int]
    """Rows of each row group, in order."""
    row_bytes: float
    """Estimated decoded bytes of one row of the columns that are read."""
    is_stream: bool = False
    """Whether it can only be read from its beginning: then it is one unit."""


def rows_per_mini_batch(rows: Rows, size: MiniBatchSize) -> int:
    """How many rows of this file one mini-batch gets, at least 1 and at most all; bytes go by the file's average."""
    wanted = size.value
    if size.kind == "bytes":
        wanted = size.value * rows.row_count // max(rows.size_bytes, 1)
    return max(1, min(wanted, rows.row_count))


def cut_rows(file: int, rows: Rows, per_mini_batch: int, first_mini_batch: int) -> Iterator[Unit]:
    """The units of one table file, numbered from `first_mini_batch` on; none for a file without rows."""
    count = -(-rows.row_count // per_mini_batch)
    budget = min(UNIT_ROWS, int(UNIT_BYTES / max(rows.row_bytes, 1e-9)))
    most = count if rows.is_stream else max(1, budget // per_mini_batch)
    if rows.is_stream:
        rows = replace(rows, group_rows=[rows.row_count])
    borders = sorted({min(-(-end // per_mini_batch), count) for end in accumulate(rows.group_rows)} | {0, count})
    at = 0
    while at < count:
        end = _unit_end(at, most, borders)
        first_row = at * per_mini_batch
        yield Unit(
            file=file,
            first_mini_batch=first_mini_batch + at,
            mini_batch_count=end - at,
            first_row=first_row,
            row_count=min(end * per_mini_batch, rows.row_count) - first_row,
        )
        at = end


def _unit_end(at: int, most: int, borders: Sequence[int]) -> int:
    """The last border within reach; between borders too far apart, an even share of the stretch."""
    index = bisect_right(borders, at + most) - 1
    if borders[index] > at:
        return borders[index]
    stretch = borders[index + 1] - at
    pieces = -(-stretch // most)
    return at + -(-stretch // pieces)


def cut_files(first_file: int, file_count: int, per_mini_batch: int, first_mini_batch: int) -> Iterator[Unit]:
    """The units of the files of one input; the last mini-batch may be short."""
    step = max(1, UNIT_FILES // per_mini_batch) * per_mini_batch
    for start in range(0, file_count, step):
        count = min(step, file_count - start)
        yield Unit(
            file=first_file + start,
            file_count=count,
            first_mini_batch=first_mini_batch + start // per_mini_batch,
            mini_batch_count=-(-count // per_mini_batch),
        )
