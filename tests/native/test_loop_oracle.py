"""The loop against its oracle: the same calls, failures, buffers and words, whatever `run` returns."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import hypothesis.strategies as st
import numpy as np
from hypothesis import given, settings
from oracle import OracleLedger, OracleLoop, plain_taken, same_outputs

from runner.dispatch._board import IDLE, Board
from runner.dispatch._ledger import Ledger
from runner.dispatch._loop import COUNT, DRY, FULL, ROWS, TEXT, Loop

FOREVER_NS = 10**15


@dataclass
class Slab:
    first_mini_batch: int
    end_mini_batch: int
    rows_per_mini_batch: int
    row_count: int
    first_item: int
    kept: Any
    columns: Any = None
    cut: Any = None
    bounds: Any = None


def unnamed(make: Callable[[str], Any]) -> Any:
    """A ledger or board in a file that is gone at once."""
    path = f"/dev/shm/runner-test-{os.getpid()}-{time.monotonic_ns()}"
    made = make(path)
    os.unlink(path)
    return made


RESULTS: list[Callable[[int, int], Any]] = [
    lambda m, n: [m] * n,
    lambda m, n: (m,) * (n + 1),
    lambda m, n: [],
    lambda m, n: np.full(n, m, np.float32),
    lambda m, n: np.full(n, m, np.float64),
    lambda m, n: np.full(n, m, np.int64),
    lambda m, n: np.full(n, m, np.longlong),
    lambda m, n: np.full(n, m % 2 == 0),
    lambda m, n: np.full(n, m % 7, np.uint8),
    lambda m, n: np.full(n, m, np.float16),
    lambda m, n: np.full(2 * n, m, np.int32)[::2],
    lambda m, n: np.full((n, 2), m, np.int32),
    lambda m, n: np.full(n, m, ">i4"),
    lambda m, n: np.full(n, m, np.longdouble),
    lambda m, n: np.full(n, m).astype("M8[s]"),
    lambda m, n: np.array(["x"] * n, dtype=object),
    lambda m, n: np.ma.masked_array(np.arange(n), mask=[True] * n),
    lambda m, n: np.array(m),
    lambda m, n: np.empty(0, np.float32),
    lambda m, n: None,
    lambda m, n: ValueError("no"),
    lambda m, n: MemoryError(),
    lambda m, n: BaseException("odd"),
]


def finish_any(result: object, mini_batch: int, item_count: int) -> tuple[Any, int, int]:
    """Renders what has a length."""
    if result is None or np.ndim(result) == 0:
        raise TypeError(f"run returned {type(result).__name__}")
    return f"{mini_batch} {result!r}\n".encode(), len(result), len(result)  # type: ignore[arg-type]


@settings(max_examples=300, deadline=None)
def slab_of(first: int, lo: int, hi: int, rows_per: int, short: int, sizes: list[int] | None, as_columns: bool) -> Slab:
    """Mini-batches `lo` to `hi` after `first`: of `rows_per` rows, the last one `short`, or with bounds of `sizes`."""
    rows = np.arange(lo * rows_per, hi * rows_per)
    row_count, bounds = len(rows) - min(short, rows_per - 1), None
    if sizes is not None:
        mine = [min(size, rows_per) for size in sizes[lo:hi]]
        rows = np.concatenate([np.arange(n) + (lo + i) * rows_per for i, n in enumerate(mine)])
        row_count, bounds = len(rows), np.concatenate([[0], np.cumsum(mine)])
    slab = Slab(first + lo, first + hi, rows_per, row_count, first_item=lo * rows_per, kept=f"kept {lo}", bounds=bounds)
    if as_columns:
        slab.columns = (("row", rows),)
    else:
        slab.cut = lambda start, stop, mini_batch: rows[start:stop].tolist()
    return slab


@given(
    mode=st.sampled_from([COUNT, TEXT, ROWS]),
    first=st.integers(0, 10**12),
    rows_per=st.integers(1, 5),
    choices=st.lists(st.sampled_from(range(len(RESULTS))), min_size=1, max_size=40),
    short=st.integers(0, 4),
    cuts=st.sets(st.integers(1, 39)),
    tried=st.sets(st.integers(0, 39)),
    gone=st.sets(st.integers(0, 39)),
    keep=st.booleans(),
    with_context=st.booleans(),
    as_columns=st.booleans(),
    sizes=st.none() | st.lists(st.integers(1, 5), min_size=40, max_size=40),
    max_bytes=st.sampled_from([1, 200, 500, 1 << 40]),
)
def test_loop_and_oracle_agree(
    mode: int,
    first: int,
    rows_per: int,
    choices: list[int],
    short: int,
    cuts: set[int],
    tried: set[int],
    gone: set[int],
    keep: bool,
    with_context: bool,
    as_columns: bool,
    sizes: list[int] | None,
    max_bytes: int,
) -> None:
    count = len(choices)
    borders = [0, *sorted(cut for cut in cuts if cut < count), count]
    ledger = unnamed(lambda path: Ledger.create(path, first, first + count, [first]))
    twin = OracleLedger(first, first + count, [first])
    for each in (ledger, twin):
        for number in sorted(tried):
            if number < count:
                each.assign(0, first + number)
                each.retry(first + number, 0)
        for number in sorted(gone):
            if number < count:
                each.assign(0, first + number)

    calls: list[Any] = []

    def run(batch: Any, *context: Any) -> Any:
        rows = batch["row"].tolist() if isinstance(batch, dict) else list(batch)
        calls.append((rows, context))
        number = rows[0] // rows_per
        result = RESULTS[choices[number]](number, len(rows))
        if isinstance(result, BaseException):
            raise result
        return result

    def outcome(make: Callable[..., Any], take: Callable[[Any], Any], words: Any) -> tuple[Any, ...]:
        calls.clear()
        failures, ends, taken = [], [], []
        loop = make(
            run=run,
            mode=mode,
            finish=finish_any,
            fail=lambda *failure: failures.append((*failure[:4], type(failure[4]))),
            context=(lambda m, attempt: (m, attempt)) if with_context else None,
            keep=keep,
            max_bytes=max_bytes,
        )
        for lo, hi in itertools.pairwise(borders):
            slab = slab_of(first, lo, hi, rows_per, short if hi == count else 0, sizes, as_columns)
            while not ends or ends[-1] != (lo, DRY):
                ends.append((lo, loop.drain(words, slab)))
                if ends[-1][1] == FULL:
                    taken.append(take(loop))
        taken.append(take(loop))
        return list(calls), failures, ends, taken

    board = unnamed(lambda path: Board.create(path, 2))
    ours = outcome(lambda **o: Loop(board, 1, max_ns=FOREVER_NS, **o), lambda loop: plain_taken(loop.take()), ledger)
    theirs = outcome(lambda **o: OracleLoop(1, **o), lambda loop: loop.take(), twin)
    assert ours[:3] == theirs[:3]
    for (records, outputs, kept), (records_too, outputs_too, kept_too) in zip(ours[3], theirs[3], strict=True):
        assert records == records_too
        assert same_outputs(outputs, outputs_too)
        assert kept == kept_too
    assert [tuple(ledger.word(m)) for m in twin.state] == list(twin.state.values())
    slot = board.read(1)
    records = [record for taken in ours[3] for record in taken[0]]
    assert (slot.phase, slot.mini_batch) == (IDLE, -1)
    assert (slot.done_count, slot.failed_count) == (len(records), len(ours[1]))
    assert slot.call_number == len(ours[0])
    assert slot.item_count_done == sum(record[3] for record in records)
    assert slot.item_count_failed == sum(record[1] - record[3] for record in records)
