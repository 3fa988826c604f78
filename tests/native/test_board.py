"""The board: what a reader sees of a worker that writes, stops or dies in the middle of a write."""

from __future__ import annotations

import os
import random
import select
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from runner.dispatch._board import FLUSH, IDLE, LOAD, RETURN, RUN, Board, Slot
from runner.dispatch._ledger import Ledger
from runner.dispatch._loop import COUNT, Loop


class Rows:
    """A slab without data."""

    rows_per_mini_batch, first_item, columns, kept, bounds = 3, 1000, None, None, None

    def __init__(self, first: int, end: int) -> None:
        self.first_mini_batch, self.end_mini_batch = first, end
        self.row_count = 3 * (end - first)

    def cut(self, start: int, stop: int, mini_batch: int) -> range:
        return range(start, stop)


def no_call(*arguments: object) -> tuple[object, int, int]:
    raise AssertionError(arguments)


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "board")


def test_a_new_board_is_idle(path: str) -> None:
    assert Board.create(path, 3).slot_count == 3
    board = Board.open(path)
    assert board.slot_count == 3
    for slot in range(3):
        assert board.read(slot) == Slot(IDLE, -1, 0, 0, 0, 0, 0, 0, 0, 0)


def test_a_phase_is_seen_with_its_entry_and_time_and_leaves_other_slots_alone(path: str) -> None:
    worker, instance = Board.create(path, 2), Board.open(path)
    before = time.monotonic_ns()
    worker.set_phase(1, LOAD, 7, 70, 10)
    slot = instance.read(1)
    assert slot[:4] == (LOAD, 7, 70, 10)
    assert before <= slot.started_ns <= time.monotonic_ns()
    assert instance.read(0).phase == IDLE
    worker.set_phase(1, FLUSH)
    assert instance.read(1)[:4] == (FLUSH, -1, -1, 0)


def test_the_call_number_grows_with_every_run_and_survives_clear(path: str) -> None:
    board = Board.create(path, 1)
    for phase in (RUN, RETURN, RUN, IDLE, RUN):
        board.set_phase(0, phase, 1)
    assert board.read(0).call_number == 3
    board.clear(0)
    assert board.read(0)._replace(started_ns=0) == Slot(IDLE, -1, -1, 0, 0, 3, 0, 0, 0, 0)


def test_what_is_no_slot_phase_or_board_is_refused(path: str, tmp_path: Path) -> None:
    board = Board.create(path, 2)
    for call in (
        lambda: board.read(2),
        lambda: board.read(-1),
        lambda: board.set_phase(0, 5),
        lambda: board.set_phase(2, IDLE),
        lambda: board.clear(2),
        lambda: Board.create(str(tmp_path / "none"), 0),
        lambda: Board.create(str(tmp_path / "none"), 8193),
        lambda: Board().read(0),
    ):
        with pytest.raises(ValueError):
            call()
    assert not (tmp_path / "none").exists()
    Ledger.create(str(tmp_path / "ledger"), 0, 5, [0])
    with pytest.raises(ValueError, match="is no board"):
        Board.open(str(tmp_path / "ledger"))
    os.truncate(path, 300)
    with pytest.raises(ValueError, match="damaged board"):
        Board.open(path)
    board.close()
    board.close()
    with pytest.raises(ValueError, match="closed"):
        board.read(0)


@pytest.fixture
def busy_worker(path: str, tmp_path: Path) -> Iterator[tuple[Board, int]]:
    """A process that runs mini-batches of nothing without end in slot 0; its process id."""
    board = Board.create(path, 1)
    pid = os.fork()
    if pid == 0:
        try:
            for round_ in range(10**9):
                name = str(tmp_path / f"ledger-{round_}")
                ledger = Ledger.create(name, 0, 100_000, [0])
                os.unlink(name)
                loop = Loop(board, 0, lambda batch: [0] * 2, COUNT, finish=no_call, fail=no_call, max_ns=10**12)
                loop.drain(ledger, Rows(0, 100_000))
        finally:
            os._exit(1)
    yield board, pid
    try:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    except (ProcessLookupError, ChildProcessError):
        pass  # the test did


def is_whole(slot: Slot) -> bool:
    """Whether the fields belong to one write: each follows from the others."""
    counted = slot.item_count_done == 2 * slot.done_count and slot.item_count_failed == slot.done_count
    if slot.phase in (RUN, RETURN):
        in_flight = slot.call_number - slot.done_count == (slot.phase == RUN)
        return counted and in_flight and slot.first_item == 1000 + 3 * slot.mini_batch and slot.item_count == 3
    return counted and slot.phase == IDLE and slot.call_number == slot.done_count and slot.item_count == 0


def test_a_snapshot_is_never_torn(busy_worker: tuple[Board, int]) -> None:
    board, _ = busy_worker
    seen = set()
    while len(seen) < 100_000:
        slot = board.read(0)
        assert is_whole(slot), slot
        seen.add(slot.call_number)


def test_a_stopped_or_killed_writer_never_blocks_its_reader(busy_worker: tuple[Board, int]) -> None:
    board, pid = busy_worker
    chance = random.Random(3)
    pidfd = os.pidfd_open(pid)
    for _ in range(200):
        os.kill(pid, signal.SIGSTOP)
        _, status = os.waitpid(pid, os.WUNTRACED)
        assert os.WIFSTOPPED(status)
        slot = board.read(0)
        assert is_whole(slot), slot
        assert board.read(0) == slot, "it is stopped"
        os.kill(pid, signal.SIGCONT)
        select.select([pidfd], [], [], chance.random() * 0.002)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    os.close(pidfd)
    assert is_whole(board.read(0))
    board.clear(0)
    assert board.read(0).phase == IDLE
