"""A loop's buffer can be taken by another thread while the script runs."""

from __future__ import annotations

import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from runner.dispatch._ledger import Board, Ledger
from runner.dispatch._loop import TEXT, Loop


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
