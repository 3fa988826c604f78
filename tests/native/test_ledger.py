"""The ledger against its oracle, and what it refuses."""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from oracle import OracleLedger

from runner.dispatch._board import Board
from runner.dispatch._ledger import CLAIMED, DONE, FREE, MAX_MINI_BATCHES, SET_ASIDE, WITHDRAWN, Ledger, Word

SLOTS = st.integers(0, 2)
ODDS = st.floats(0, 1, exclude_max=True)


class LedgerMachine(RuleBasedStateMachine):
    """Every call on both; afterwards every answer and every word agree."""

    @initialize(first=st.integers(0, 10**12), count=st.integers(1, 24), data=st.data())
    def create(self, first: int, count: int, data: st.DataObject) -> None:
        inner = data.draw(st.sets(st.integers(first + 1, first + count - 1))) if count > 1 else set()
        starts = [first, *sorted(inner)]
        self.path = f"/dev/shm/runner-test-{os.getpid()}-{id(self)}"
        self.maker = Ledger.create(self.path, first, first + count, starts)
        self.ledger = Ledger.open(self.path)
        os.unlink(self.path)
        self.twin = OracleLedger(first, first + count, starts)

    def number(self, odds: float) -> int:
        return self.twin.first + int(odds * (self.twin.end - self.twin.first))

    def span(self, one: float, other: float) -> tuple[int, int]:
        lo, hi = sorted((self.number(one), self.number(other)))
        return lo, hi + 1

    @rule(slot=SLOTS, one=ODDS, other=ODDS, count=st.integers(0, 30), beyond=st.booleans())
    def claim(self, slot: int, one: float, other: float, count: int, beyond: bool) -> None:
        lo, hi = (self.twin.first - 5, self.twin.end + 5) if beyond else self.span(one, other)
        assert self.ledger.claim(slot, lo, hi, count) == self.twin.claim(slot, lo, hi, count)

    @rule(slot=SLOTS, odds=ODDS)
    def assign(self, slot: int, odds: float) -> None:
        assert self.ledger.assign(slot, self.number(odds)) == self.twin.assign(slot, self.number(odds))

    @rule(slot=SLOTS, odds=st.lists(ODDS, max_size=8), segment=st.sampled_from([1, 2, 2**32 - 1]))
    def complete(self, slot: int, odds: list[float], segment: int) -> None:
        numbers = np.array([self.number(each) for each in odds], dtype=np.int64)
        assert self.ledger.complete(slot, numbers, segment) == self.twin.complete(slot, numbers.tolist(), segment)

    @rule(slot=SLOTS, odds=ODDS, again=st.booleans(), hold=st.booleans())
    def end_failed(self, slot: int, odds: float, again: bool, hold: bool) -> None:
        number = self.number(odds)
        if again:
            assert self.ledger.retry(number, slot, hold) == self.twin.retry(number, slot, hold)
        else:
            assert self.ledger.set_aside(number, slot) == self.twin.set_aside(number, slot)

    @rule(slot=SLOTS, to_slot=SLOTS, odds=ODDS)
    def pass_on(self, slot: int, to_slot: int, odds: float) -> None:
        number = self.number(odds)
        assert self.ledger.pass_on(number, slot, to_slot) == self.twin.pass_on(number, slot, to_slot)

    @rule(slot=SLOTS, held=st.lists(ODDS, max_size=3))
    def free_slot(self, slot: int, held: list[float]) -> None:
        numbers = {self.number(each) for each in held}
        assert self.ledger.free_slot(slot, numbers) == self.twin.free_slot(slot, numbers)

    @rule(one=ODDS, other=ODDS, rarely=st.integers(0, 4))
    def exclude(self, one: float, other: float, rarely: int) -> None:
        if rarely == 0:
            lo, hi = self.span(one, other)
            assert self.ledger.exclude(lo, hi) == self.twin.exclude(lo, hi)

    @rule(slot=SLOTS, prefer=st.integers(-1, 26))
    def take_unit(self, slot: int, prefer: int) -> None:
        assert self.ledger.take_unit(slot, prefer) == self.twin.take_unit(slot, prefer)

    @rule(slot=SLOTS)
    def release_units(self, slot: int) -> None:
        self.ledger.release_units(slot)
        self.twin.release_units(slot)

    @rule(odds=ODDS, below=st.booleans())
    def lower_limit(self, odds: float, below: bool) -> None:
        limit = self.twin.first - 1 if below else self.number(odds)
        assert self.ledger.lower_limit(limit) == self.twin.lower_limit(limit)

    @precondition(lambda self: hasattr(self, "ledger"))
    @rule(rarely=st.integers(0, 19))
    def abort(self, rarely: int) -> None:
        if rarely == 0:
            self.maker.abort()
            self.twin.aborted = True

    @rule(one=ODDS, other=ODDS)
    def read(self, one: float, other: float) -> None:
        lo, hi = self.span(one, other)
        assert self.ledger.counts(lo, hi) == self.twin.counts(lo, hi)
        assert self.ledger.first_open(lo, hi) == self.twin.first_open(lo, hi)
        assert self.ledger.has_free(lo, hi) == self.twin.has_free(lo, hi)
        assert self.ledger.fullest_stretch() == self.twin.fullest_stretch()

    @invariant()
    def agree(self) -> None:
        if not hasattr(self, "ledger"):
            return
        twin = self.twin
        assert [tuple(self.maker.word(m)) for m in twin.state] == list(twin.state.values())
        raw = self.ledger.words(twin.first, twin.end).tolist()
        parts = [(word & 7, word >> 3 & 0xFFFF, word >> 19 & 0x1FFF, word >> 32) for word in raw]
        assert parts == list(twin.state.values())
        assert (self.ledger.limit, self.ledger.retry_count) == (twin.limit, twin.retry_count)
        assert self.ledger.aborted == twin.aborted

    def teardown(self) -> None:
        if hasattr(self, "ledger"):
            self.ledger.close()
            self.maker.close()


LedgerMachine.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestLedgerAgreesWithItsOracle = LedgerMachine.TestCase


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "ledger")


def test_a_new_ledger_is_all_free_and_says_what_it_was_given(path: str) -> None:
    ledger = Ledger.create(path, 100, 110, [100, 104, 107])
    assert (ledger.first, ledger.end, ledger.limit, ledger.unit_count) == (100, 110, 110, 3)
    assert [ledger.unit_range(unit) for unit in range(3)] == [(100, 104), (104, 107), (107, 110)]
    assert ledger.counts(100, 110) == (10, 0, 0, 0)
    assert ledger.word(100) == Word(FREE, 0, 0, 0)
    assert not ledger.aborted
    assert os.stat(path).st_mode & 0o777 == 0o600


def test_a_word_holds_the_largest_of_everything(path: str) -> None:
    ledger = Ledger.create(path, 0, 2, [0])
    for _ in range(65535):
        assert ledger.claim(8191, 0, 1, 1) == (0, 1)
        assert ledger.retry(0, 8191)
    ledger.claim(8191, 0, 1, 1)
    with pytest.raises(OverflowError, match="set it aside"):
        ledger.retry(0, 8191)
    assert ledger.complete(8191, [0], 2**32 - 1) == 1
    assert ledger.word(0) == Word(DONE, 65535, 8191, 2**32 - 1)
    assert ledger.word(1) == Word(FREE, 0, 0, 0)
    assert ledger.retry_count == 65535


def test_completing_counts_a_number_that_comes_twice_once(path: str) -> None:
    ledger = Ledger.create(path, 0, 4, [0])
    ledger.claim(1, 0, 2, 9)
    assert ledger.complete(1, [0, 0, 1, 2], 1) == 2
    assert ledger.complete(1, [0, 1], 2) == 0
    assert ledger.word(0).segment == 1


def test_a_dead_worker_gives_back_what_it_claimed_and_nothing_else(path: str) -> None:
    ledger = Ledger.create(path, 0, 8, [0])
    ledger.claim(1, 0, 4, 4)
    ledger.claim(2, 4, 6, 2)
    ledger.complete(1, [0], 1)
    ledger.set_aside(1, 1)
    assert ledger.free_slot(1) == [2, 3]
    assert [ledger.word(m).state for m in range(8)] == [DONE, SET_ASIDE, FREE, FREE, CLAIMED, CLAIMED, FREE, FREE]
    assert ledger.complete(1, [2, 3], 2) == 0, "a zombie's results no longer count"


def test_what_is_held_stays_claimed_for_the_next_process_of_the_slot(path: str) -> None:
    ledger = Ledger.create(path, 0, 4, [0])
    ledger.claim(1, 0, 3, 3)
    assert ledger.retry(0, 1, hold=True)
    assert ledger.free_slot(1, {0, 2}) == [1]
    assert [tuple(ledger.word(m))[:3] for m in range(3)] == [(CLAIMED, 1, 1), (FREE, 0, 0), (CLAIMED, 0, 1)]
    assert ledger.retry_count == 0, "nobody else need look for it"
    assert ledger.pass_on(0, 1, 2)
    assert not ledger.pass_on(0, 1, 2)
    assert ledger.complete(2, [0], 1) == 1
    assert ledger.word(0).attempt == 1


def test_what_is_excluded_is_never_claimed_and_counts_as_final(path: str) -> None:
    ledger = Ledger.create(path, 0, 6, [0])
    ledger.claim(1, 4, 5, 1)
    assert ledger.exclude(0, 2) == 2
    assert ledger.exclude(3, 6) == 2, "what is claimed stays"
    assert ledger.claim(2, 0, 6, 6) == (2, 1)
    ledger.complete(2, [2], 1)
    ledger.complete(1, [4], 1)
    assert ledger.first_open(0, 6) == 6
    assert ledger.counts(0, 6) == (0, 0, 2, 0)


def test_the_limit_stops_at_what_was_ever_tried(path: str) -> None:
    ledger = Ledger.create(path, 0, 10, [0])
    ledger.assign(1, 6)
    ledger.retry(6, 1)
    assert ledger.lower_limit(3) == 7, "number 6 has an attempt behind it"
    assert ledger.limit == 7
    assert ledger.word(7).state == WITHDRAWN
    assert ledger.claim(1, 0, 10, 99) == (0, 7)
    assert ledger.lower_limit(9) == 7, "it is never raised"
    assert not ledger.assign(1, 8)


def test_a_unit_becomes_fresh_again_when_its_worker_died(path: str) -> None:
    ledger = Ledger.create(path, 0, 6, [0, 2, 4])
    assert [ledger.take_unit(1), ledger.take_unit(2), ledger.take_unit(1)] == [0, 1, 2]
    assert ledger.take_unit(1) == -1
    ledger.claim(2, 2, 4, 2)
    ledger.free_slot(2)
    ledger.release_units(2)
    assert ledger.take_unit(1, 2) == 1


def test_a_unit_nobody_took_is_fresh_when_a_retry_comes_back_to_it(path: str) -> None:
    ledger = Ledger.create(path, 0, 4, [0, 2])
    ledger.claim(1, 0, 4, 4)
    assert ledger.take_unit(2) == -1
    ledger.retry(1, 1)
    assert ledger.take_unit(2) == 0


@pytest.mark.parametrize(
    ("first", "end", "starts", "message"),
    [
        (0, 0, [0], "at least one mini-batch"),
        (-1, 5, [-1], "at least one mini-batch"),
        (0, MAX_MINI_BATCHES + 1, [0], "at most 1000000 mini-batches"),
        (0, 5, [], "first unit"),
        (3, 5, [4], "first unit"),
        (0, 5, [0, 3, 3], "ascend"),
        (0, 5, [0, 5], "below 5"),
    ],
)
def test_what_is_no_lease_is_refused_and_leaves_no_file(
    path: str, first: int, end: int, starts: list[int], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        Ledger.create(path, first, end, starts)
    assert not os.path.exists(path)


def test_the_largest_lease_is_possible(path: str) -> None:
    ledger = Ledger.create(path, 5, 5 + MAX_MINI_BATCHES, np.arange(5, 5 + MAX_MINI_BATCHES))
    assert ledger.unit_count == MAX_MINI_BATCHES
    assert ledger.fullest_stretch() == (5, 5 + MAX_MINI_BATCHES)
    assert ledger.claim(0, 0, 10**9, 10**9) == (5, MAX_MINI_BATCHES)
    assert ledger.complete(0, np.arange(5, 5 + MAX_MINI_BATCHES), 1) == MAX_MINI_BATCHES
    assert ledger.first_open(5, 5 + MAX_MINI_BATCHES) == 5 + MAX_MINI_BATCHES


def test_numbers_slots_and_ranges_outside_are_refused_and_change_nothing(path: str) -> None:
    ledger = Ledger.create(path, 10, 20, [10])
    ledger.claim(1, 10, 20, 10)
    calls = [
        lambda: ledger.claim(8192, 10, 20, 1),
        lambda: ledger.claim(-1, 10, 20, 1),
        lambda: ledger.complete(1, [10, 20], 1),
        lambda: ledger.complete(1, [10], 0),
        lambda: ledger.complete(1, [10], 2**32),
        lambda: ledger.assign(1, 9),
        lambda: ledger.retry(20, 1),
        lambda: ledger.set_aside(-1, 1),
        lambda: ledger.word(20),
        lambda: ledger.words(9, 12),
        lambda: ledger.counts(12, 11),
        lambda: ledger.first_open(10, 21),
        lambda: ledger.has_free(0, 5),
        lambda: ledger.unit_range(1),
        lambda: ledger.take_unit(8192),
        lambda: ledger.free_slot(-1),
    ]
    for call in calls:
        with pytest.raises(ValueError):
            call()
    assert ledger.counts(10, 20) == (0, 10, 0, 0)


def test_after_close_everything_but_close_is_refused(path: str) -> None:
    ledger = Ledger.create(path, 0, 5, [0])
    ledger.close()
    ledger.close()
    for call in (lambda: ledger.claim(0, 0, 5, 1), lambda: ledger.limit, lambda: ledger.word(0), ledger.abort):
        with pytest.raises(ValueError, match="closed"):
            call()
    with pytest.raises(ValueError, match="closed"):
        Ledger().counts(0, 0)


def test_an_existing_file_is_not_overwritten(path: str) -> None:
    Ledger.create(path, 0, 5, [0]).abort()
    with pytest.raises(FileExistsError):
        Ledger.create(path, 0, 5, [0])
    assert Ledger.open(path).aborted


def damage(path: str, offset: int, data: bytes) -> None:
    with open(path, "r+b") as file:
        file.seek(offset)
        file.write(data)


def test_open_refuses_what_is_no_ledger_of_this_version(path: str, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Ledger.open(path)
    (tmp_path / "short").write_bytes(b"x" * 10)
    with pytest.raises(ValueError, match="is no ledger: it has 10 bytes"):
        Ledger.open(str(tmp_path / "short"))
    (tmp_path / "other").write_bytes(b"x" * 4096)
    with pytest.raises(ValueError, match="is no ledger"):
        Ledger.open(str(tmp_path / "other"))
    Board.create(str(tmp_path / "board"), 3)
    with pytest.raises(ValueError, match="is no ledger"):
        Ledger.open(str(tmp_path / "board"))
    Ledger.create(path, 0, 5, [0])
    damage(path, 8, b"\2")
    with pytest.raises(ValueError, match="version 2, this build reads version 1"):
        Ledger.open(path)


@pytest.mark.parametrize("offset", [16, 24, 32, 40], ids=["first", "end", "unit_count", "size"])
def test_open_refuses_a_header_that_does_not_fit_its_file(path: str, offset: int) -> None:
    Ledger.create(path, 0, 5, [0])
    damage(path, offset, (10**9).to_bytes(8, "little"))
    with pytest.raises(ValueError, match="damaged ledger"):
        Ledger.open(path)


def test_open_refuses_a_truncated_file(path: str) -> None:
    Ledger.create(path, 0, 500, [0])
    os.truncate(path, 1000)
    with pytest.raises(ValueError, match="damaged ledger"):
        Ledger.open(path)


@pytest.fixture
def tiny_memory(tmp_path: Path) -> Iterator[Path]:
    """A shared-memory file system of 64 KiB."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small tmpfs needs root")
    folder = tmp_path / "shm"
    folder.mkdir()
    mount = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", folder], capture_output=True, text=True)
    if mount.returncode != 0:
        pytest.skip(f"no tmpfs can be mounted here: {mount.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def test_full_shared_memory_is_an_error_and_no_crash(tiny_memory: Path) -> None:
    for create in (
        lambda: Ledger.create(str(tiny_memory / "ledger"), 0, 100_000, [0]),
        lambda: Board.create(str(tiny_memory / "board"), 8192),
    ):
        with pytest.raises(OSError, match="cannot reserve") as caught:
            create()
        assert caught.value.errno == errno.ENOSPC
    assert list(tiny_memory.iterdir()) == [], "nothing half made stays behind"
    ledger = Ledger.create(str(tiny_memory / "ledger"), 0, 1000, [0])
    (tiny_memory / "filler").write_bytes(b"x" * 40_000)
    with pytest.raises(OSError, match="No space"):
        (tiny_memory / "more").write_bytes(b"x" * 40_000)
    # The memory is full now, and what was reserved is still there to be written.
    assert ledger.claim(1, 0, 1000, 1000) == (0, 1000)
    assert ledger.complete(1, np.arange(1000), 7) == 1000
    ledger.close()
