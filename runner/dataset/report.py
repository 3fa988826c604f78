"""`processed_mini-batches.csv`: one line per mini-batch, made from the native loop's records in whole columns.

Up to 10^6 mini-batches all are listed; beyond that the failed, the retried and the slowest, which the first line says.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

LINE_LIMIT = 1_000_000
SLOWEST_COUNT = 1_000
BLOCK_LINES = 1 << 16
COLUMNS = (
    "Mini-batch Id",
    "Picked Count",
    "Process",
    "Start Time",
    "Total",
    "Succeeded",
    "Failed",
    "Elapsed Seconds",
    "Process Seconds",
    "Run Method Seconds",
    "Status",
    "Error Category",
    "Error Message",
    "Mini-batch Detail",
)

Records = npt.NDArray[np.void]
FormatLines = Callable[[Records, int, int], bytes]
"""The native core's lines for records [start, stop) of mini-batches that succeeded."""


class Blame(NamedTuple):
    """Why a mini-batch was set aside, where it begins, and in which process."""

    cls: str
    message: str
    place: str
    worker: str


NOTHING = Blame("", "", "", "")


class Blames(Protocol):
    """What was set aside, by mini-batch; asked in ascending order, each at most once."""

    def get(self, mini_batch: int, default: Blame, /) -> Blame: ...


def write_report(path: Path, records: Records, blames: Blames, format_lines: FormatLines) -> None:
    """Write the report of a job from RECORD structs. `blames` tells of what was set aside."""
    order = np.argsort(records["mini_batch"], kind="stable")
    found = _outcomes(records if (order[:-1] < order[1:]).all() else records[order])
    total = len(found)
    if total > LINE_LIMIT:
        found = found[_worth_listing(found)]
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "wb") as file:
        if total > LINE_LIMIT:
            file.write(f"# {len(found)} of {total} mini-batches: failed, retried and slowest\n".encode())
        file.write((",".join(COLUMNS) + "\n").encode())
        at = 0
        for failed in [*np.flatnonzero(found["flags"]).tolist(), len(found)]:
            for start in range(at, failed, BLOCK_LINES):
                file.write(format_lines(found, start, min(start + BLOCK_LINES, failed)))
            if failed < len(found):
                file.write(_failed_line(found[failed], blames))
            at = failed + 1


def _outcomes(records: Records) -> Records:
    """One record of each mini-batch: the last one, with the tries and successes of earlier runs added."""
    numbers = records["mini_batch"]
    firsts = np.flatnonzero(np.concatenate([[True], numbers[1:] != numbers[:-1]]))
    if len(firsts) == len(records):
        return records
    found: Records = records[np.append(firsts[1:], len(records)) - 1].copy()
    found["item_count"] = np.maximum.reduceat(records["item_count"], firsts)
    succeeded = np.add.reduceat(records["succeeded"], firsts)
    found["succeeded"] = np.minimum(succeeded, found["item_count"])
    found["attempt"] = np.add.reduceat(records["attempt"] + 1, firsts) - 1
    # It has failed only if nothing of it ever succeeded.
    found["flags"] = np.minimum.reduceat(records["flags"], firsts)
    return found


def _worth_listing(records: Records) -> npt.NDArray[np.bool_]:
    chosen = (records["flags"] != 0) | (records["attempt"] > 0)
    for slot in np.unique(records["slot"]):
        mine = np.flatnonzero(records["slot"] == slot)
        slow = mine[np.argsort(records["elapsed_ns"][mine])[-SLOWEST_COUNT:]]
        chosen[slow] = True
    return np.asarray(chosen, dtype=np.bool_)


def _failed_line(record: np.void, blames: Blames) -> bytes:
    blame = blames.get(int(record["mini_batch"]), NOTHING)
    began = np.datetime64(int(record["start_ns"]) // 1000, "us").item()
    seconds = f"{record['elapsed_ns'] / 1e9:.6f}"
    total, succeeded = int(record["item_count"]), int(record["succeeded"])
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow(
        [
            int(record["mini_batch"]),
            int(record["attempt"]) + 1,
            blame.worker,
            f"{began:%Y-%m-%d %H:%M:%S.%f}",
            total,
            succeeded,
            total - succeeded,
            seconds,
            seconds,
            seconds,
            "FAILED",
            blame.cls,
            blame.message,
            blame.place,
        ]
    )
    return line.getvalue().encode("utf-8", "backslashreplace")
