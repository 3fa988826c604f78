"""Lines of the report are those of the slow, obvious way, whatever the records hold."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.dispatch._loop import RECORD
from runner.dispatch._report import format_lines

COUNTS = st.integers(0, 2**63 - 1)


def _line(record: np.void) -> str:
    began = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=int(record["start_ns"]) // 1000)
    us = (int(record["elapsed_ns"]) + 500) // 1000
    seconds = f"{us // 1_000_000}.{us % 1_000_000:06d}"
    total, succeeded = int(record["item_count"]), int(record["succeeded"])
    fields: list[Any] = [record["mini_batch"], int(record["attempt"]) + 1, f"process{record['slot']:03d}"]
    fields += [f"{began:%Y-%m-%d %H:%M:%S.%f}", total, succeeded, total - succeeded, seconds, seconds, seconds]
    return ",".join(map(str, [*fields, "RUN_DONE", "", "", ""])) + "\n"


@given(
    st.lists(
        st.tuples(
            COUNTS,
            st.integers(0, 65_535),
            st.integers(0, 8_191),
            st.integers(0, 7_000_000_000 * 10**9),
            COUNTS,
            st.integers(0, 2**62),
        ),
        max_size=20,
    ),
    st.data(),
)
def test_lines_are_those_of_the_slow_way(rows: list[tuple[int, ...]], data: st.DataObject) -> None:
    records = np.zeros(len(rows), RECORD)
    for record, row in zip(records, rows, strict=True):
        record["mini_batch"], record["attempt"], record["slot"], record["start_ns"], items, record["elapsed_ns"] = row
        record["item_count"], record["succeeded"] = items, items // 2
    start = data.draw(st.integers(0, len(rows)))
    stop = data.draw(st.integers(start, len(rows)))
    assert format_lines(records, start, stop).decode() == "".join(map(_line, records[start:stop]))


def test_more_lines_than_a_block_come_whole_and_in_order() -> None:
    records = np.zeros(10_000, RECORD)
    records["mini_batch"] = np.arange(10_000)
    records["start_ns"] = np.arange(10_000) * 333_333_333
    assert format_lines(records, 1, 9_999).decode() == "".join(map(_line, records[1:9_999]))


def test_a_range_that_is_not_there_is_refused() -> None:
    with pytest.raises(ValueError, match=r"0\.\.2"):
        format_lines(np.zeros(2, RECORD), 1, 3)
