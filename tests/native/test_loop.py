"""What the loop promises about calls, slots, buffers, failures and when it returns."""

from __future__ import annotations

import os
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from runner.dispatch._board import IDLE, RETURN, RUN, Board
from runner.dispatch._ledger import CLAIMED, DONE, FREE, SET_ASIDE, Ledger
from runner.dispatch._loop import COUNT, DRY, DUE, FULL, RECORD, ROWS, STOPPED, TEXT, Loop

FOREVER_NS = 10**15


@dataclass
class Slab:
    first_mini_batch: int
    end_mini_batch: int
    rows_per_mini_batch: int
    row_count: int
    first_item: int = 0
    columns: Any = None
    cut: Any = None
    kept: Any = None
    bounds: Any = None


def cut_range(start: int, stop: int, mini_batch: int) -> range:
    return range(start, stop)


def rows_slab(first: int, end: int, rows_per: int = 1, **others: Any) -> Slab:
    return Slab(first, end, rows_per, (end - first) * rows_per, **{"cut": cut_range, **others})


def no_finish(result: object, mini_batch: int, item_count: int) -> tuple[Any, int, int]:
    raise TypeError(f"run returned {type(result).__name__}")


def raise_it(mini_batch: int, attempt: int, first_item: int, item_count: int, error: BaseException) -> None:
    raise error


@dataclass
class Bench:
    """A ledger, a board of two slots, and loops on slot 1."""

    ledger: Ledger
    board: Board
    failures: list[tuple[int, int, int, int, BaseException]] = field(default_factory=list)

    def loop(self, run: Callable[..., Any], mode: int = COUNT, **others: Any) -> Loop:
        options = {"finish": no_finish, "fail": raise_it, "max_ns": FOREVER_NS} | others
        return Loop(self.board, 1, run, mode, **options)

    def collect(self, *failure: Any) -> None:
        self.failures.append(failure)

    def states(self) -> list[int]:
        return [self.ledger.word(m).state for m in range(self.ledger.first, self.ledger.end)]


def make_ledger(first: int, end: int, starts: list[int] | None = None) -> Ledger:
    path = f"/dev/shm/runner-test-{os.getpid()}-{time.monotonic_ns()}"
    ledger = Ledger.create(path, first, end, starts or [first])
    os.unlink(path)
    return ledger


def make_bench(first: int = 0, end: int = 10) -> Bench:
    path = f"/dev/shm/runner-test-{os.getpid()}-{time.monotonic_ns()}"
    board = Board.create(path, 2)
    os.unlink(path)
    return Bench(make_ledger(first, end), board)


# -- what a script sees


def test_columns_are_views_as_read_only_as_their_source_in_a_new_dict_each_time() -> None:
    bench = make_bench()
    fixed, free = np.arange(30, dtype=np.float32), np.arange(60, dtype=np.int64).reshape(30, 2)
    fixed.flags.writeable = False
    masked = np.ma.masked_array(np.arange(30), mask=np.arange(30) % 2 == 0)
    strided = np.arange(60)[::2]
    texts = np.array([f"t{i}" for i in range(30)], dtype=object)
    columns = (("fixed", fixed), ("free", free), ("masked", masked), ("strided", strided), ("text", texts))
    batches: list[dict[str, Any]] = []

    def run(batch: dict[str, Any]) -> list[int]:
        batches.append(batch)
        return []

    bench.loop(run).drain(bench.ledger, Slab(0, 10, 3, 29, columns=columns))
    assert len({id(batch) for batch in batches}) == 10
    for number, batch in enumerate(batches):
        lo, hi = number * 3, min(number * 3 + 3, 29)
        assert list(batch) == ["fixed", "free", "masked", "strided", "text"]
        for name, source in columns:
            assert batch[name].dtype == source.dtype
            assert batch[name].shape == source[lo:hi].shape
            assert batch[name].tolist() == source[lo:hi].tolist()
            assert np.shares_memory(batch[name], source)
            assert batch[name].flags.writeable == source[lo:hi].flags.writeable, name
        assert batch["fixed"].flags.writeable is False
        assert isinstance(batch["masked"], np.ma.MaskedArray)
    with pytest.raises(ValueError):
        batches[0]["fixed"].flags.writeable = True
    kept = batches[3]["free"]
    batches.clear()
    del columns, free
    assert kept.tolist() == [[18, 19], [20, 21], [22, 23]], "a view keeps its data alive"


def test_views_and_results_do_not_leak() -> None:
    columns = (("x", np.arange(1000.0)),)
    bench = make_bench(0, 1000)
    before = sys.getrefcount(columns[0][1]), sys.getrefcount(columns[0][1].dtype)
    loop = bench.loop(lambda batch: batch["x"] + 1, ROWS)
    loop.drain(bench.ledger, Slab(0, 1000, 1, 1000, columns=columns))
    loop.take()
    del loop  # it holds a buffer of this type for the next results
    assert (sys.getrefcount(columns[0][1]), sys.getrefcount(columns[0][1].dtype)) == before


def test_changing_a_returned_array_later_changes_nothing() -> None:
    bench = make_bench()
    same = np.zeros(1)

    def run(batch: range) -> Any:
        same[0] = batch[0]
        return same

    loop = bench.loop(run, ROWS)
    loop.drain(bench.ledger, rows_slab(0, 10))
    same[0] = -1
    ((kind, values),) = loop.take().outputs
    assert kind == "array"
    assert values.tolist() == list(range(10))


def test_values_that_were_taken_stay_as_they_are() -> None:
    """The buffer is used again only once nobody looks at it."""
    bench = make_bench(0, 3000)
    loop = bench.loop(lambda batch: np.full(100, batch[0], np.int32), ROWS)
    taken = []
    for lo in range(0, 3000, 500):
        loop.drain(bench.ledger, rows_slab(lo, lo + 500))
        values = loop.take().outputs[0][1]
        if lo == 500:
            del values
        else:
            taken.append((lo, values[:]))
    for lo, values in taken:
        expected = (np.arange(len(values)) // 100 + 0).astype(np.int32)
        assert np.array_equal(values, expected), lo


def test_context_is_the_second_argument_and_knows_the_attempt() -> None:
    bench = make_bench()
    for _ in range(2):
        bench.ledger.assign(0, 4)
        bench.ledger.retry(4, 0)
    seen = []
    loop = bench.loop(lambda batch, context: seen.append(context) or [], context=lambda m, attempt: (m, attempt))
    loop.drain(bench.ledger, rows_slab(0, 10))
    assert seen == [(m, 2 if m == 4 else 0) for m in range(10)]
    assert loop.take().records["attempt"].tolist() == [0, 0, 0, 0, 2, 0, 0, 0, 0, 0]


# -- what the instance sees


def test_the_slot_names_the_entry_before_the_mini_batch_is_made_and_while_it_is_finished() -> None:
    bench = make_bench(50, 53)
    seen = []

    def look(name: str) -> None:
        slot = bench.board.read(1)
        seen.append((name, slot.phase, slot.mini_batch, slot.first_item, slot.item_count, slot.call_number))
        assert bench.ledger.word(slot.mini_batch).state == CLAIMED
        assert slot.started_ns <= time.monotonic_ns()

    def cut(start: int, stop: int, mini_batch: int) -> int:
        look("cut")
        return mini_batch

    def run(batch: int) -> set[int]:
        look("run")
        if batch == 51:
            raise ValueError
        return {1}

    def finish(result: Any, mini_batch: int, item_count: int) -> tuple[Any, int, int]:
        look("finish")
        return None, 1, 1

    loop = bench.loop(run, finish=finish, fail=lambda *failure: look("fail"))
    assert loop.drain(bench.ledger, Slab(50, 53, 4, 11, first_item=900, cut=cut)) == DRY
    assert seen == [
        ("cut", RUN, 50, 900, 4, 1),
        ("run", RUN, 50, 900, 4, 1),
        ("finish", RETURN, 50, 900, 4, 1),
        ("cut", RUN, 51, 904, 4, 2),
        ("run", RUN, 51, 904, 4, 2),
        ("fail", RETURN, 51, 904, 4, 2),
        ("cut", RUN, 52, 908, 3, 3),
        ("run", RUN, 52, 908, 3, 3),
        ("finish", RETURN, 52, 908, 3, 3),
    ]
    assert bench.board.read(1).phase == IDLE


def test_records_tell_when_and_how_long() -> None:
    bench = make_bench(0, 2)
    before = time.time_ns()
    loop = bench.loop(lambda batch: [m for m in range(100_000) if m < batch[0]])
    loop.drain(bench.ledger, rows_slab(0, 2))
    records = loop.take().records
    after = time.time_ns()
    assert records.dtype == RECORD
    assert RECORD.itemsize == 72
    for record in records:
        assert before - 10**8 <= record["start_ns"] <= after + 10**8
        assert 0 < record["elapsed_ns"] < after - before
    assert records["slot"].tolist() == [1, 1]
    assert records["flags"].tolist() == [0, 0]


def test_nothing_is_done_before_the_worker_completes_it() -> None:
    bench = make_bench()
    loop = bench.loop(lambda batch: [0])
    assert (loop.pending_count, loop.due_ns) == (0, 0)
    before = time.monotonic_ns()
    assert loop.drain(bench.ledger, rows_slab(0, 10)) == DRY
    assert loop.pending_count == 10
    assert before <= loop.due_ns - FOREVER_NS <= time.monotonic_ns()
    assert bench.states() == [CLAIMED] * 10
    assert bench.ledger.complete(1, loop.take().records["mini_batch"], 1) == 10
    assert bench.states() == [DONE] * 10
    assert (loop.pending_count, loop.due_ns) == (0, 0)


# -- failures


def test_a_failure_is_told_with_its_range_and_a_traceback_of_the_script_and_the_loop_goes_on() -> None:
    bench = make_bench(20, 24)

    def run(batch: range) -> list[int]:
        if batch[0] == 3:
            raise MemoryError("too much")
        return [1 // (batch[0] - 6), 2, 3]

    loop = bench.loop(run, fail=bench.collect)
    assert loop.drain(bench.ledger, rows_slab(20, 24, 3, first_item=300)) == DRY
    assert [failure[:4] for failure in bench.failures] == [(21, 0, 303, 3), (22, 0, 306, 3)]
    assert [type(failure[4]) for failure in bench.failures] == [MemoryError, ZeroDivisionError]
    frames = traceback.extract_tb(bench.failures[1][4].__traceback__)
    assert [frame.name for frame in frames] == ["run"]
    assert bench.states() == [CLAIMED] * 4
    assert loop.take().records["mini_batch"].tolist() == [20, 23]
    assert bench.ledger.set_aside(21, 1)
    assert bench.ledger.retry(22, 1)
    assert bench.states() == [CLAIMED, SET_ASIDE, FREE, CLAIMED]


@pytest.mark.parametrize("place", ["cut", "context", "finish"])
def test_what_fails_around_run_fails_the_mini_batch(place: str) -> None:
    bench = make_bench(0, 3)

    def at(name: str, value: Any) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            if name == place and 1 in arguments:
                raise OSError(place)
            return value

        return call

    loop = bench.loop(
        lambda batch, context: None,
        cut := COUNT,
        finish=at("finish", (None, 1, 1)),
        context=at("context", None),
        fail=bench.collect,
    )
    assert cut == COUNT
    cut_at = at("cut", None)
    loop.drain(bench.ledger, rows_slab(0, 3, cut=lambda start, stop, m: cut_at(m)))
    # `finish` is told the item count, which is 1 for each; the others are told the number.
    expected = [0, 1, 2] if place == "finish" else [1]
    assert [(failure[0], str(failure[4])) for failure in bench.failures] == [(m, place) for m in expected]


def test_what_fail_raises_leaves_drain_and_the_rest_is_carried_on() -> None:
    bench = make_bench(0, 200)
    loop = bench.loop(lambda batch: [0] if batch[0] != 150 else None)
    slab = rows_slab(0, 200)
    with pytest.raises(TypeError, match="NoneType"):
        loop.drain(bench.ledger, slab)
    assert loop.drain(bench.ledger, slab) == DRY
    assert loop.take().records["mini_batch"].tolist() == [m for m in range(200) if m != 150]


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), GeneratorExit()])
def test_an_end_of_the_process_is_no_failure_and_leaves_the_blame_in_the_slot(error: BaseException) -> None:
    bench = make_bench()

    def run(batch: range) -> list[int]:
        if batch[0] == 4:
            raise error
        return [0]

    loop = bench.loop(run, fail=bench.collect)
    with pytest.raises(type(error)):
        loop.drain(bench.ledger, rows_slab(0, 10))
    slot = bench.board.read(1)
    assert (slot.phase, slot.mini_batch) == (RUN, 4)
    assert bench.failures == []
    assert bench.ledger.word(4).state == CLAIMED


@pytest.mark.parametrize("mode", [COUNT, TEXT, ROWS])
def test_keep_wants_one_row_per_item(mode: int) -> None:
    bench = make_bench(0, 4)
    results = [[1, 2], [1], np.array([1.0, 2.0]), np.array([1.0, 2.0, 3.0])]

    def finish(result: Any, mini_batch: int, item_count: int) -> tuple[Any, int, int]:
        return b"", len(result), len(result)

    loop = bench.loop(lambda batch: results[batch[0] // 2], mode, finish=finish, fail=bench.collect, keep=True)
    loop.drain(bench.ledger, rows_slab(0, 4, 2, kept="rows"))
    assert [failure[0] for failure in bench.failures] == [1, 3]
    assert "1 rows for 2 items" in str(bench.failures[0][4])
    assert "3 rows for 2 items" in str(bench.failures[1][4])
    taken = loop.take()
    assert taken.kept == [("rows", 0, 2), ("rows", 4, 6)]
    assert taken.records["mini_batch"].tolist() == [0, 2]


def test_text_that_is_no_bytes_is_a_failure() -> None:
    bench = make_bench(0, 1)
    loop = bench.loop(lambda batch: "x", TEXT, finish=lambda *a: ("x", 1, 1), fail=bench.collect)
    loop.drain(bench.ledger, rows_slab(0, 1))
    assert isinstance(bench.failures[0][4], TypeError)
    assert loop.pending_count == 0


# -- when it returns


def test_full_after_max_bytes_and_the_rest_of_the_claim_is_carried_on() -> None:
    bench = make_bench(0, 1000)
    loop = bench.loop(lambda batch: np.zeros(100), ROWS, max_bytes=50 * 872)
    slab = rows_slab(0, 1000)
    taken = []
    while loop.drain(bench.ledger, slab) == FULL:
        assert loop.pending_count == 50
        taken += loop.take().records["mini_batch"].tolist()
    assert taken == list(range(1000))


def test_another_slab_hands_back_what_was_claimed_of_the_one_before() -> None:
    bench = make_bench(0, 2000)
    loop = bench.loop(lambda batch: [0], max_bytes=72 * 1000)
    assert loop.drain(bench.ledger, rows_slab(0, 2000)) == FULL
    claimed = bench.states().count(CLAIMED)
    assert claimed > 1000, "more was claimed than run"
    other = make_ledger(0, 5)
    loop.take()
    assert loop.drain(other, rows_slab(0, 5)) == DRY
    assert bench.states() == [CLAIMED] * 1000 + [FREE] * 1000
    assert loop.drain(bench.ledger, rows_slab(1990, 2000)) == DRY
    assert bench.states().count(CLAIMED) == 1010


def test_claims_can_be_handed_back_at_once_also_after_the_ledger_is_closed() -> None:
    bench = make_bench(0, 2000)
    loop = bench.loop(lambda batch: [0], max_bytes=72 * 1000)
    slab = rows_slab(0, 2000)
    loop.drain(bench.ledger, slab)
    loop.hand_back_claims()
    loop.hand_back_claims()
    assert bench.states().count(FREE) == 1000
    loop.take()
    assert loop.drain(bench.ledger, slab) == FULL
    bench.ledger.close()
    loop.hand_back_claims()
    with pytest.raises(ValueError, match="closed"):
        loop.drain(bench.ledger, slab)


def test_due_after_each_mini_batch_that_takes_longer_than_max_ns() -> None:
    bench = make_bench(0, 3)

    def run(batch: range) -> list[int]:
        until = time.monotonic_ns() + 3_000_000
        while time.monotonic_ns() < until:
            pass
        if batch[0] == 1:
            raise ValueError("slow and wrong")
        return [0]

    loop = bench.loop(run, max_ns=2_000_000, fail=bench.collect)
    slab = rows_slab(0, 3)
    assert loop.drain(bench.ledger, slab) == DUE
    assert loop.take().records["mini_batch"].tolist() == [0]
    assert loop.drain(bench.ledger, slab) == DUE
    assert loop.pending_count == 0
    assert len(bench.failures) == 1
    assert loop.drain(bench.ledger, slab) == DUE
    assert loop.drain(bench.ledger, slab) == DRY


def test_due_when_the_first_result_is_old_enough() -> None:
    bench = make_bench(0, 100_000)
    loop = bench.loop(lambda batch: [0], max_ns=2_000_000)
    slab = rows_slab(0, 100_000)
    assert loop.drain(bench.ledger, slab) == DUE
    assert loop.due_ns <= time.monotonic_ns()
    assert loop.pending_count >= 1
    assert bench.states().count(CLAIMED) >= loop.pending_count


def test_stopped_at_once_when_the_lease_is_aborted() -> None:
    bench = make_bench(0, 10_000)

    def run(batch: range) -> list[int]:
        if batch[0] == 5000:
            bench.ledger.abort()
        return [0]

    loop = bench.loop(run)
    slab = rows_slab(0, 10_000)
    assert loop.drain(bench.ledger, slab) == STOPPED
    assert loop.pending_count == 5001
    assert bench.states() == [CLAIMED] * 5001 + [FREE] * 4999
    assert loop.drain(bench.ledger, slab) == STOPPED


def test_dry_at_the_limit_and_at_the_ends_of_the_lease() -> None:
    bench = make_bench(5, 15)
    bench.ledger.lower_limit(12)
    loop = bench.loop(lambda batch: [0])
    assert loop.drain(bench.ledger, rows_slab(0, 20)) == DRY
    assert loop.take().records["mini_batch"].tolist() == list(range(5, 12))


def test_a_retry_behind_the_place_reached_is_found_before_dry() -> None:
    bench = make_bench(0, 100)

    def fail(mini_batch: int, attempt: int, first_item: int, item_count: int, error: BaseException) -> None:
        assert bench.ledger.retry(mini_batch, 1)

    def run(batch: range, attempt: int) -> list[int]:
        return [batch[0] // (attempt - 0 if batch[0] == 50 else 1)]

    loop = bench.loop(run, fail=fail, context=lambda m, attempt: attempt)
    assert loop.drain(bench.ledger, rows_slab(0, 100)) == DRY
    assert sorted(loop.take().records["mini_batch"].tolist()) == list(range(100))


def test_quick_work_is_claimed_in_growing_runs_and_slow_work_one_by_one() -> None:
    bench = make_bench(0, 5000)
    ahead = []

    def run(batch: range) -> list[int]:
        ahead.append(bench.ledger.counts(0, 5000)[1] - batch[0])
        if batch[0] >= 4000:
            until = time.monotonic_ns() + 21_000_000
            while time.monotonic_ns() < until:
                pass
        return [0]

    bench.loop(run).drain(bench.ledger, rows_slab(0, 4000))
    assert ahead[0] == 1
    assert max(ahead[:4000]) > 64
    assert all(after <= 2 * max(ahead[: at + 1]) for at, after in enumerate(ahead[1:]))
    ahead.clear()
    bench.loop(run).drain(bench.ledger, rows_slab(4000, 4005, cut=lambda a, b, m: range(m, m + 1)))
    assert ahead == [1] * 5


# -- one assigned number


def test_call_runs_only_what_is_claimed_for_its_slot() -> None:
    bench = make_bench()
    loop = bench.loop(lambda batch: [0])
    slab = rows_slab(0, 10)
    with pytest.raises(ValueError, match="mini-batch 3 is not claimed by slot 1"):
        loop.call(bench.ledger, slab, 3)
    bench.ledger.assign(0, 3)
    with pytest.raises(ValueError, match="not claimed by slot 1"):
        loop.call(bench.ledger, slab, 3)
    bench.ledger.assign(1, 4)
    with pytest.raises(ValueError, match="not in the slab"):
        loop.call(bench.ledger, rows_slab(5, 10), 4)
    assert loop.call(bench.ledger, slab, 4) == DRY
    assert loop.take().records["mini_batch"].tolist() == [4]
    bench.ledger.abort()
    assert loop.call(bench.ledger, slab, 4) == STOPPED
    assert loop.pending_count == 0


def test_call_runs_only_the_items_asked_for() -> None:
    bench = make_bench()
    rows = np.arange(29)
    slab = Slab(0, 10, 3, 29, first_item=100, columns=(("x", rows),), kept="kept")
    got, failed = [], []

    def run(batch: dict[str, Any]) -> Any:
        got.append(batch["x"].tolist())
        slot = bench.board.read(1)
        assert (slot.mini_batch, slot.first_item, slot.item_count) == (4, 100 + got[-1][0], len(got[-1]))
        if 14 in got[-1]:
            raise ValueError("14")
        return batch["x"]

    loop = bench.loop(run, ROWS, keep=True, fail=lambda *failure: failed.append(failure[:4]))
    bench.ledger.assign(1, 4)
    for first, count in [(0, 2), (1, 2), (2, 1), (0, 1), (0, -1)]:
        loop.call(bench.ledger, slab, 4, first, count)
    assert got == [[12, 13], [13, 14], [14], [12], [12, 13, 14]]
    assert failed == [(4, 0, 113, 2), (4, 0, 114, 1), (4, 0, 112, 3)]
    taken = loop.take()
    assert taken.records["item_count"].tolist() == [2, 1]
    assert taken.kept == [("kept", 12, 14), ("kept", 12, 13)]
    bench.ledger.assign(1, 9)
    for first, count in [(-1, 1), (2, 1), (0, 3), (0, 0), (1, -1)]:
        with pytest.raises(ValueError, match="mini-batch 9 has 2 items, not"):
            loop.call(bench.ledger, slab, 9, first, count)
    assert loop.call(bench.ledger, slab, 9) == DRY, "without a range all of it, as before"
    assert got[-1] == [27, 28]


def test_what_does_not_fit_is_refused() -> None:
    bench = make_bench()
    for others in ({"max_bytes": 0}, {"max_ns": 0}):
        with pytest.raises(ValueError, match="at least 1"):
            bench.loop(print, **others)
    with pytest.raises(ValueError, match="3 is no mode"):
        bench.loop(print, 3)
    with pytest.raises(ValueError, match="no slot 2"):
        Loop(bench.board, 2, print, COUNT, finish=no_finish, fail=raise_it)
    loop = bench.loop(print)
    for slab, message in [
        (Slab(0, 10, 0, 0, cut=print), "do not fit"),
        (Slab(0, 10, 3, 31, cut=print), "31 rows by 3 do not fit mini-batches 0..10"),
        (Slab(0, 10, 3, -1, cut=print), "do not fit"),
        (Slab(0, 10, 3, 30), "columns or a cut"),
        (Slab(0, 10, 3, 30, columns=(("x", np.zeros(29)),)), "column 'x' is no array of 30 rows"),
        (Slab(0, 10, 3, 30, columns=(("x", [0] * 30),)), "column 'x' is no array"),
        (Slab(0, 10, 3, 30, columns=(("x", np.array(0)),)), "column 'x' is no array"),
    ]:
        with pytest.raises(ValueError, match=message):
            loop.drain(bench.ledger, slab)
    assert bench.states() == [FREE] * 10
