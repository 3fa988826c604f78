"""`processed_mini-batches.csv`: one line per mini-batch, made from the native loop's records in whole columns.

Up to 10^6 mini-batches all are listed; beyond that the failed, the retried and the slowest, which the first line says.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

LINE_LIMIT = 1_000_000
SLOWEST_COUNT = 1_000

Records = npt.NDArray[np.void]


class Blame(NamedTuple):
    """Why a mini-batch was set aside, and where it begins."""

    cls: str
    message: str
    place: str


def write_report(path: Path, records: Records, blames: Mapping[int, Blame]) -> None:
    """Write the report of a job from RECORD structs. `blames` tells of what was set aside."""
    order = np.argsort(records["mini_batch"], kind="stable")
    found = records if (order[:-1] < order[1:]).all() else records[order]
    total = len(found)
    if total > LINE_LIMIT:
        found = found[_worth_listing(found)]
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "wb") as file:
        if total > LINE_LIMIT:
            file.write(f"# {len(found)} of {total} mini-batches: failed, retried and slowest\n".encode())
        # Numbers are cast to text first: Arrow's CSV writer formats them several times slower than its casts do.
        table = _table(found, blames)
        text = table.cast(pa.schema([(name, pa.string()) for name in table.column_names]))
        csv.write_csv(text, file, csv.WriteOptions(quoting_style="needed"))


def _worth_listing(records: Records) -> npt.NDArray[np.bool_]:
    chosen = (records["flags"] != 0) | (records["attempt"] > 0)
    for slot in np.unique(records["slot"]):
        mine = np.flatnonzero(records["slot"] == slot)
        slow = mine[np.argsort(records["elapsed_ns"][mine])[-SLOWEST_COUNT:]]
        chosen[slow] = True
    return np.asarray(chosen, dtype=np.bool_)


def _table(records: Records, blames: Mapping[int, Blame]) -> pa.Table:
    def column(name: str) -> npt.NDArray[Any]:
        return np.ascontiguousarray(records[name])

    failed = column("flags") != 0
    nothing = Blame("", "", "")
    told = [blames.get(int(n), nothing) for n in records["mini_batch"][failed]]
    slots, slot_of = np.unique(column("slot"), return_inverse=True)
    names = pa.array([f"process{slot:03d}" for slot in slots.tolist()], pa.string())
    seconds = pc.cast(pa.array(np.round(column("elapsed_ns") / 1e9, 6)), pa.string())
    return pa.table(
        {
            "Mini-batch Id": column("mini_batch"),
            "Picked Count": column("attempt") + 1,
            "Process": names.take(pa.array(slot_of)),
            "Start Time": pc.cast(pa.array(column("start_ns") // 1000, pa.timestamp("us")), pa.string()),
            "Total": column("item_count"),
            "Succeeded": column("succeeded"),
            "Failed": column("item_count") - column("succeeded"),
            "Elapsed Seconds": seconds,
            "Process Seconds": seconds,
            "Run Method Seconds": seconds,
            "Status": pa.array(["RUN_DONE", "FAILED"]).take(pa.array(failed.astype(np.int8))),
            "Error Category": _sparse(failed, [blame.cls for blame in told]),
            "Error Message": _sparse(failed, [blame.message for blame in told]),
            "Mini-batch Detail": _sparse(failed, [blame.place for blame in told]),
        }
    )


def _sparse(where: npt.NDArray[np.bool_], values: list[str]) -> pa.Array:
    """Text that is empty but where a mini-batch failed."""
    index = np.zeros(len(where), dtype=np.int64)
    index[where] = np.arange(1, len(values) + 1)
    return pa.array(["", *values], pa.string()).take(pa.array(index))
