"""Puts the segments of a mini-batch's ranges together: one segment in which the mini-batch is one entry."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from runner.dataset.gather import Gathered
from runner.dataset.output_schema import conform, plain, unify_returned
from runner.dataset.parts import check_same_columns
from runner.dataset.render import Renderer
from runner.dataset.spool import ENTRY, Entries, Segment, _begin, _finish, _write_rows, _write_text
from runner.dataset.storage import telling
from runner.entity.parallel import OutputSpec
from runner.errors import Defect


def merge_segments(
    target: Path | str,
    sources: Sequence[Path | str],
    mini_batch: int,
    item_count: int,
    attempt: int,
    output: OutputSpec | None,
) -> list[tuple[int, int]]:
    """Write the results of ranges, given in item order, as those of the whole; rows and bytes of text of each source.

    `item_count` counts also the items that did not survive. Raises OutputInvalid when what the ranges returned cannot
    stand in one output, StorageFailed when the disk says no.
    """
    opened = [Segment.open(source) for source in sources]
    if not opened or any(segment.entries["mini_batch"].tolist() != [mini_batch] for segment in opened):
        raise Defect(f"the segments of ranges of mini-batch {mini_batch} do not hold just that")
    parts = np.concatenate([segment.entries for segment in opened])
    merged = np.zeros(1, ENTRY)
    merged["mini_batch"], merged["item_count"], merged["attempt"] = mini_batch, item_count, attempt
    for name in ("length", "succeeded", "row_count", "elapsed_ns"):
        merged[name] = parts[name].sum()
    merged["start_ns"], merged["slot"], merged["section"] = parts["start_ns"].min(), parts["slot"][0], -1
    mode = opened[0].mode
    with telling(target, "the segment cannot be written"), pa.OSFile(str(target), "wb") as file:
        if mode == "text":
            lines = b"".join(_lines(segment) for segment in opened)
            _write_text(file, merged, [lines], _frames(opened, merged, mini_batch))
        elif mode == "rows":
            _write_rows(file, merged, _rows(opened, mini_batch), Renderer(output))
        else:
            _finish(file, _begin(file, "count"), merged, [], [])
    byte_counts = parts["extent"] if mode == "text" else np.zeros(len(parts), np.int64)
    return list(zip(parts["row_count"].tolist(), byte_counts.tolist(), strict=True))


def _lines(segment: Segment) -> memoryview:
    entry = segment.entries[0]
    return segment.text()[int(entry["offset"]) : int(entry["offset"] + entry["extent"])]


def _frames(opened: Sequence[Segment], merged: Entries, mini_batch: int) -> list[tuple[str, ...]]:
    """The columns of the first range that was a frame, if one was; the others must have the same."""
    framed = [segment.frames[segment.entries["section"][0]] for segment in opened if segment.entries["section"][0] >= 0]
    for columns in framed:
        check_same_columns(framed[0], mini_batch, columns, mini_batch)
    merged["section"] = 0 if framed else -1
    return framed[:1]


def _rows(opened: Sequence[Segment], mini_batch: int) -> Gathered:
    """All rows as one table; where ranges returned different types, of the types that hold both."""
    tables = []
    for segment in opened:
        entry = segment.entries[0]
        if entry["extent"] > 0:
            tables.append(segment.section(int(entry["section"])).slice(int(entry["offset"]), int(entry["extent"])))
    none = np.zeros(1, np.int64)
    if not tables:
        return Gathered([], none - 1, none, none)
    schema = tables[0].schema
    if any(table.schema != schema for table in tables):
        schema = plain(unify_returned((table.schema, mini_batch) for table in tables))
    rows = pa.concat_tables([conform(table, schema) for table in tables])
    return Gathered([rows], none, none, none + rows.num_rows)
