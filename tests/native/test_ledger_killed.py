"""Workers that claim at once, and workers killed at any instant: every mini-batch is done once, from one copy."""

from __future__ import annotations

import json
import os
import random
import select
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from runner.dispatch._board import FLUSH, RETURN, RUN, Board
from runner.dispatch._ledger import CLAIMED, DONE, SET_ASIDE, Ledger
from runner.dispatch._loop import DRY, ROWS, Loop

WORKERS = 4


def fork(work: Callable[[], None]) -> int:
    """Run `work` in a child that ends with 0, or 1 after an exception; its process id."""
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        work()
        status = 0
    finally:
        os._exit(status)


def ended_well(pid: int) -> bool:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def claim_all(path: str, slot: int, start: int, max_count: int, log: Path) -> None:
    ledger = Ledger.open(path)
    mine = []
    lo = start
    while True:
        first, count = ledger.claim(slot, lo, ledger.end, max_count)
        if count == 0 and lo == ledger.first:
            break
        mine += range(first, first + count)
        lo = first + count if count else ledger.first
    log.write_text(json.dumps(mine))


@pytest.mark.parametrize("max_count", [1, 3, 1000])
def test_each_number_is_claimed_by_exactly_one_of_several_processes(tmp_path: Path, max_count: int) -> None:
    path = str(tmp_path / "ledger")
    count = 20_000 * min(max_count, 10)
    ledger = Ledger.create(path, 0, count, [0])
    logs = [tmp_path / f"claims-{slot}" for slot in range(WORKERS)]
    # All begin at the same number, so they meet at every word.
    children = [fork(lambda slot=slot: claim_all(path, slot, 0, max_count, logs[slot])) for slot in range(WORKERS)]
    assert all(list(map(ended_well, children)))
    claims = [json.loads(log.read_text()) for log in logs]
    assert sorted(number for mine in claims for number in mine) == list(range(count))
    for slot, mine in enumerate(claims):
        assert all(ledger.word(number)[:3] == (CLAIMED, 0, slot) for number in mine)


@pytest.mark.parametrize("seed", range(8))
def test_nothing_is_claimed_beyond_a_limit_once_it_was_answered(tmp_path: Path, seed: int) -> None:
    path = str(tmp_path / "ledger")
    count = 200_000
    ledger = Ledger.create(path, 0, count, [0])
    children = [fork(lambda slot=slot: claim_all(path, slot, 0, 7, tmp_path / f"{slot}")) for slot in range(2)]
    chance = random.Random(seed)
    limit = count
    while ledger.has_free(0, count):
        limit = ledger.lower_limit(limit - chance.randrange(1, 2000))
        assert limit == ledger.limit
        before = ledger.words(limit, count)
        assert set(before & np.uint64(7)) <= {np.uint64(4)}, "all above is withdrawn, nothing claimed"
    assert all(list(map(ended_well, children)))
    assert ledger.counts(0, limit) == (0, limit, 0, 0)
    assert ledger.counts(limit, count) == (0, 0, 0, 0)


@pytest.mark.parametrize("max_count", [1, 5])
def test_each_unit_is_taken_by_exactly_one_of_several_processes(tmp_path: Path, max_count: int) -> None:
    path = str(tmp_path / "ledger")
    ledger = Ledger.create(path, 0, 9000, list(range(0, 9000, 3)))

    def take_all(slot: int) -> None:
        units, last = [], -1
        while (last := Ledger.open(path).take_unit(slot, last + max_count)) != -1:
            units.append(last)
        (tmp_path / f"units-{slot}").write_text(json.dumps(units))

    children = [fork(lambda slot=slot: take_all(slot)) for slot in range(WORKERS)]
    assert all(list(map(ended_well, children)))
    taken = [unit for slot in range(WORKERS) for unit in json.loads((tmp_path / f"units-{slot}").read_text())]
    assert sorted(taken) == list(range(3000))
    ledger.close()


class Rows:
    """A slab whose mini-batch m is the array [m]."""

    rows_per_mini_batch, cut, kept, bounds = 1, None, None, None

    def __init__(self, first: int, end: int) -> None:
        self.first_mini_batch, self.end_mini_batch, self.row_count, self.first_item = first, end, end - first, first
        self.columns = (("number", np.arange(first, end)),)


@dataclass
class Instance:
    """Plays the instance: starts workers, kills them, waits, frees their words, starts others."""

    folder: Path
    ledger: Ledger
    board: Board
    failing: int
    max_bytes: int
    chance: random.Random
    generation: int = 0
    blamed: int = 0
    killed: int = 0

    def worker(self, slot: int, generation: int, failures: int) -> None:
        """One worker: takes units, drains them, writes segments, completes; reports failures by a pipe."""
        ledger, board = Ledger.open(str(self.folder / "ledger")), Board.open(str(self.folder / "board"))
        segment = generation * 10_000

        def flush() -> None:
            nonlocal segment
            taken = loop.take()
            if not len(taken.records):
                return
            board.set_phase(slot, FLUSH)
            segment += 1
            values = np.concatenate([values for _, values in taken.outputs])
            np.save(self.segment(slot, segment), np.stack([taken.records["mini_batch"], values]))
            ledger.complete(slot, taken.records["mini_batch"], segment)

        def run(batch: dict[str, np.ndarray]) -> np.ndarray:
            number = int(batch["number"][0])
            if number % self.failing == 0:
                raise ValueError(number)
            return batch["number"] * 10

        def fail(mini_batch: int, attempt: int, first_item: int, item_count: int, error: BaseException) -> None:
            os.write(failures, mini_batch.to_bytes(8, "little"))

        def no_finish(*arguments: object) -> tuple[object, int, int]:
            raise AssertionError(arguments)

        loop = Loop(board, slot, run, ROWS, finish=no_finish, fail=fail, max_bytes=self.max_bytes)
        while (unit := ledger.take_unit(slot)) != -1:
            slab = Rows(*ledger.unit_range(unit))
            while loop.drain(ledger, slab) != DRY:
                flush()
            if unit % 7 == 0:
                flush()
        flush()
        while (stretch := ledger.fullest_stretch()) != (0, 0):
            while loop.drain(ledger, Rows(*stretch)) != DRY:
                flush()
            flush()

    def segment(self, slot: int, number: int) -> Path:
        return self.folder / f"segment-{slot}-{number}.npy"

    def spawn(self, slot: int) -> tuple[int, int]:
        self.generation += 1
        generation = self.generation
        readable, writable = os.pipe()
        pid = fork(lambda: self.worker(slot, generation, writable))
        os.close(writable)
        return pid, readable

    def after_death(self, slot: int) -> None:
        """What the slot says of a dead worker must fit the ledger; then its words are handed back."""
        entry = self.board.read(slot)
        if entry.phase in (RUN, RETURN):
            self.blamed += 1
            word = self.ledger.word(entry.mini_batch)
            assert entry.first_item == entry.mini_batch
            # What failed has been settled already.
            assert (word.state, word.slot) == (CLAIMED, slot) or entry.mini_batch % self.failing == 0
        self.ledger.free_slot(slot)
        assert self.ledger.free_slot(slot) == []
        self.ledger.release_units(slot)
        self.board.clear(slot)

    def settle_failures(self, slot: int, readable: int) -> None:
        """Retry once, then set aside; a number that was freed meanwhile fails again later."""
        while data := os.read(readable, 8):
            number = int.from_bytes(data, "little")
            move = self.ledger.retry if self.ledger.word(number).attempt == 0 else self.ledger.set_aside
            move(number, slot)
        os.close(readable)

    def play(self, longest_s: float) -> None:
        children = {slot: self.spawn(slot) for slot in range(WORKERS)}
        while self.ledger.first_open(0, self.ledger.end) < self.ledger.end:
            slot = self.chance.randrange(WORKERS)
            pid, readable = children[slot]
            pidfd = os.pidfd_open(pid)
            ended, _, _ = select.select([pidfd], [], [], self.chance.random() * longest_s)
            os.close(pidfd)
            if not ended:
                os.kill(pid, signal.SIGKILL)
            status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            assert status in (0, -signal.SIGKILL)
            self.killed += status != 0
            self.settle_failures(slot, readable)
            self.after_death(slot)
            children[slot] = self.spawn(slot)
        for pid, readable in children.values():
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            os.close(readable)


@pytest.mark.parametrize(("count", "max_bytes"), [(200_000, 1 << 30), (100_000, 5000), (5_000, 400), (2_000, 1)])
def test_workers_killed_at_any_instant_leave_each_mini_batch_done_once(
    tmp_path: Path, count: int, max_bytes: int
) -> None:
    chance = random.Random(max_bytes)
    killed = blamed = 0
    while killed < 100 or blamed == 0:
        folder = tmp_path / f"lease-after-{killed}"
        folder.mkdir()
        ledger = Ledger.create(str(folder / "ledger"), 0, count, list(range(0, count, 100)))
        board = Board.create(str(folder / "board"), WORKERS)
        instance = Instance(folder, ledger, board, 97, max_bytes, chance)
        instance.play(longest_s=0.008)
        check_segments(instance)
        killed, blamed = killed + instance.killed, blamed + instance.blamed


def check_segments(instance: Instance) -> None:
    """Every word is final, and every DONE one names a segment that holds its number once, with its value."""
    named: dict[tuple[int, int], list[int]] = {}
    for number in range(instance.ledger.end):
        word = instance.ledger.word(number)
        assert word.state == (SET_ASIDE if number % instance.failing == 0 else DONE)
        if word.state == DONE:
            named.setdefault((word.slot, word.segment), []).append(number)
    for (slot, segment), numbers in named.items():
        entries, values = np.load(instance.segment(slot, segment))
        assert len(set(entries.tolist())) == len(entries), "no entry is twice in one segment"
        found = dict(zip(entries.tolist(), values.tolist(), strict=True))
        assert {number: found[number] for number in numbers} == {number: number * 10 for number in numbers}
