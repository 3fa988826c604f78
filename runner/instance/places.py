"""Where in a part things stand: what failed, had it succeeded, and what was mended."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from runner.entity.lease import Failure, ItemRange, Mend, Tally

FAILED = 1
"""In a record's flags: the mini-batch was set aside."""

Survivors = Sequence[tuple[int, int, int, int]]
"""Of a mini-batch that was run range by range: first item, item count, rows and bytes of each that succeeded."""


@dataclass(frozen=True, slots=True)
class Layout:
    """The mini-batches of a part in order, and how many rows and bytes of text come before each."""

    mini_batches: npt.NDArray[np.int64]
    rows: npt.NDArray[np.int64]
    bytes: npt.NDArray[np.int64]

    @staticmethod
    def of(records: npt.NDArray[np.void], byte_counts: npt.NDArray[np.int64]) -> Layout:
        """From the records of a part; both ways of counting begin with 0 and end with the whole."""
        rows = np.concatenate(([0], np.cumsum(records["row_count"])))
        return Layout(records["mini_batch"].astype(np.int64), rows, np.concatenate(([0], np.cumsum(byte_counts))))

    def place(self, failures: Sequence[Failure]) -> tuple[Failure, ...]:
        """The failures with their places in the part, which so far count from where their mini-batch begins."""
        if not failures:
            return ()
        at = np.searchsorted(self.mini_batches, [failure.mini_batch for failure in failures])
        return tuple(
            replace(failure, at_row=failure.at_row + row, at_byte=failure.at_byte + byte)
            for failure, row, byte in zip(failures, self.rows[at].tolist(), self.bytes[at].tolist(), strict=True)
        )

    def mends(self, ranges: Sequence[ItemRange], survivors: Mapping[int, Survivors]) -> tuple[Mend, ...]:
        """What of these ranges succeeded, in order, each with its share of the part."""
        if not ranges:
            return ()
        found: list[Mend] = []
        known = {int(number): at for at, number in enumerate(self.mini_batches)}
        for items in ranges:
            at = known.get(items.mini_batch)
            if at is None:
                continue
            shares = survivors.get(items.mini_batch)
            if shares is None:
                rows, size = int(self.rows[at + 1] - self.rows[at]), int(self.bytes[at + 1] - self.bytes[at])
                found.append(Mend(items=items, row_count=rows, byte_count=size))
                continue
            end = items.first_item + items.item_count
            for first, count, rows, size in shares:
                if items.first_item <= first < end:
                    part = ItemRange(mini_batch=items.mini_batch, first_item=first, item_count=count)
                    found.append(Mend(items=part, row_count=rows, byte_count=size))
        return tuple(found)


def first_failures(failures: Sequence[Failure], records: npt.NDArray[np.void]) -> list[tuple[Failure, int]]:
    """For each mini-batch without a record, so set aside as a whole: its first failure, and the items of all."""
    done = set(records["mini_batch"].tolist()) if failures else set()
    found: dict[int, tuple[Failure, int]] = {}
    for failure in failures:
        if failure.mini_batch not in done:
            first, count = found.get(failure.mini_batch, (failure, 0))
            found[failure.mini_batch] = first, count + failure.item_count
    return list(found.values())


def failed_records(failed: Sequence[tuple[Failure, int]], dtype: np.dtype[np.void]) -> npt.NDArray[np.void]:
    """One record for each mini-batch that was set aside, so that reports have all of them."""
    records = np.zeros(len(failed), dtype)
    for record, (failure, item_count) in zip(records, failed, strict=True):
        record["mini_batch"] = failure.mini_batch
        record["item_count"] = item_count
        record["start_ns"] = int(failure.time * 1e9)
        record["attempt"] = min(failure.attempts - 1, np.iinfo(np.int32).max)
        record["slot"] = -1
        record["flags"] = FAILED
    return records


def tally_of(
    records: npt.NDArray[np.void], failed: Sequence[tuple[Failure, int]], failures: Sequence[Failure]
) -> Tally:
    """Exact counts of a piece. By class every failure counts, also of items whose mini-batch succeeded without them."""
    items, failed_items = int(records["item_count"].sum()), sum(count for _, count in failed)
    return Tally(
        mini_batch_count=len(records) + len(failed),
        failed_mini_batch_count=len(failed),
        item_count=items + failed_items,
        failed_item_count=items - int(records["succeeded"].sum()) + failed_items,
        row_count=int(records["row_count"].sum()),
        failed_by_class=dict(Counter(failure.cls for failure in failures)),
    )
