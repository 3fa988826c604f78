"""A loop's buffer can be taken by another thread while the script runs."""

from __future__ import annotations

import gc
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from runner.dispatch._board import Board
from runner.dispatch._ledger import CLAIMED, FREE, Ledger
from runner.dispatch._loop import COUNT, DRY, ROWS, TEXT, Loop


def test_what_was_finished_before_a_long_call_can_be_taken_during_it(tmp_path: Path) -> None:
    board = Board.create(str(tmp_path / "board"), 1)
    ledger = Ledger.create(str(tmp_path / "ledger"), 0, 10, [0])
    inside, taken, where = threading.Event(), threading.Event(), {"run": 4, "finish": 7}

    def pause(place: str, number: int) -> None:
        if where[place] == number:
            inside.set()
            assert taken.wait(30)
            taken.clear()

    def run(batch: dict[str, Any]) -> list[int]:
        number = int(batch["n"][0])
        pause("run", number)
        return [number]

    def finish(result: list[int], mini_batch: int, item_count: int) -> tuple[bytes, int, int]:
        pause("finish", mini_batch)
        return b"%d\n" % result[0], 1, 1

    loop = Loop(board, 0, run, TEXT, finish=finish, fail=lambda *_: None, max_ns=10**12)
    slab = SimpleNamespace(
        first_mini_batch=0,
        end_mini_batch=10,
        rows_per_mini_batch=1,
        row_count=10,
        first_item=0,
        columns=(("n", np.arange(10)),),
        cut=None,
        kept=None,
        bounds=None,
    )
    found: list[tuple[list[int], list[bytes]]] = []

    def take() -> None:
        for _ in range(2):
            assert inside.wait(30)
            inside.clear()
            got = loop.take()
            found.append((got.records["mini_batch"].tolist(), got.outputs))
            taken.set()

    other = threading.Thread(target=take)
    other.start()
    loop.drain(ledger, slab)
    other.join()
    last = loop.take()
    found.append((last.records["mini_batch"].tolist(), last.outputs))
    assert [numbers for numbers, _ in found] == [[0, 1, 2, 3], [4, 5, 6], [7, 8, 9]]
    assert [line for _, lines in found for line in lines] == [b"%d\n" % n for n in range(10)]


class Cycle:
    """Only the collector frees it, and then Python code runs in which the other thread may get its turn."""

    def __init__(self) -> None:
        self.me = self

    def __del__(self) -> None:
        for _ in range(20):
            pass


@pytest.fixture
def eager_threads() -> Iterator[None]:
    """Collect at almost every allocation, and change threads whenever that is possible."""
    interval, thresholds = sys.getswitchinterval(), gc.get_threshold()
    sys.setswitchinterval(1e-6)
    gc.set_threshold(2)
    yield
    gc.set_threshold(*thresholds)
    sys.setswitchinterval(interval)


def test_nothing_is_lost_or_doubled_when_another_thread_takes_all_the_time(tmp_path: Path, eager_threads: None) -> None:
    count = 20_000
    board = Board.create(str(tmp_path / "board"), 1)
    ledger = Ledger.create(str(tmp_path / "ledger"), 0, count, [0])

    def run(batch: dict[str, Any]) -> Any:
        Cycle()
        number = int(batch["n"][0])
        return np.full(number % 3, number, [np.int32, np.float64][number % 7 == 0])

    def no_finish(*arguments: object) -> tuple[object, int, int]:
        raise AssertionError(arguments)

    loop = Loop(board, 0, run, ROWS, finish=no_finish, fail=no_finish, keep=False, max_ns=10**12)
    slab = SimpleNamespace(
        first_mini_batch=0,
        end_mini_batch=count,
        rows_per_mini_batch=1,
        row_count=count,
        first_item=0,
        columns=(("n", np.arange(count)),),
        cut=None,
        kept=None,
        bounds=None,
    )
    done = threading.Event()
    numbers: list[int] = []

    def take() -> None:
        while True:
            last = done.is_set()
            taken = loop.take()
            mine = taken.records["mini_batch"].tolist()
            values = [value for _, array in taken.outputs for value in array.tolist()]
            assert values == [number for number in mine for _ in range(number % 3)]
            numbers.extend(mine)
            if last:
                return

    other = threading.Thread(target=take)
    other.start()
    assert loop.drain(ledger, slab) == DRY
    done.set()
    other.join()
    assert numbers == list(range(count))


def test_what_is_claimed_behind_a_long_call_can_be_handed_back_during_it(tmp_path: Path) -> None:
    board = Board.create(str(tmp_path / "board"), 1)
    ledger = Ledger.create(str(tmp_path / "ledger"), 0, 2000, [0])
    counts: list[tuple[int, ...]] = []

    def run(batch: int) -> list[int]:
        if batch == 1500 and not counts:
            counts.append(ledger.counts(0, 2000))
            back = threading.Thread(target=lambda: counts.append((loop.hand_back_rest(), loop.hand_back_rest())))
            back.start()
            back.join()
            assert [ledger.word(number).state for number in (1500, 1501)] == [CLAIMED, FREE]
        return [batch]

    def no_finish(*arguments: object) -> tuple[object, int, int]:
        raise AssertionError(arguments)

    loop = Loop(board, 0, run, COUNT, finish=no_finish, fail=no_finish, max_ns=10**12, max_bytes=72 * 1000)
    slab = SimpleNamespace(
        first_mini_batch=0,
        end_mini_batch=2000,
        rows_per_mini_batch=1,
        row_count=2000,
        first_item=0,
        columns=None,
        cut=lambda start, stop, mini_batch: mini_batch,
        kept=None,
        bounds=None,
    )
    while loop.drain(ledger, slab) != DRY:
        ledger.complete(0, loop.take().records["mini_batch"], 1)
    ledger.complete(0, loop.take().records["mini_batch"], 2)
    assert counts[1] == (counts[0][1] + counts[0][2] - 1501, 0)
    assert ledger.counts(0, 2000) == (0, 0, 2000, 0), "what was handed back is found again"
