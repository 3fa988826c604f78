"""Rate and time left come from the last seconds, and are not told before there is something to tell them by."""

from __future__ import annotations

import pytest

from runner.cli.pace import LEAST_S, WINDOW_S, Pace, clock
from runner.entity.job import Progress


def progress(mini_batches: int, items: int, total: int | None = 100) -> Progress:
    return Progress(mini_batch_count=total, done_mini_batch_count=mini_batches, done_item_count=items)


def test_nothing_is_told_before_something_was_seen() -> None:
    pace = Pace()
    assert pace.items_per_s is None and pace.left_s(progress(0, 0)) is None
    pace.note(10.0, progress(0, 0))
    pace.note(10.0 + LEAST_S / 2, progress(5, 50))
    assert pace.items_per_s is None, "too short a look"
    pace.note(20.0, progress(0, 0))
    assert pace.items_per_s is None, "nothing has been done"


def test_rate_and_time_left_are_those_of_what_was_seen() -> None:
    pace = Pace()
    pace.note(0.0, progress(10, 1000))
    pace.note(4.0, progress(30, 3000))
    assert pace.items_per_s == pytest.approx(500)
    assert pace.left_s(progress(30, 3000)) == pytest.approx(14)
    assert pace.left_s(progress(100, 10_000)) == 0
    assert pace.left_s(progress(30, 3000, total=None)) is None


def test_what_is_long_ago_does_not_count() -> None:
    pace = Pace()
    pace.note(0.0, progress(0, 0))
    for second in range(1, 101):
        pace.note(float(second), progress(second, 10 * second if second <= 50 else 500 + 100 * (second - 50)))
    assert pace.items_per_s == pytest.approx(100), f"only the last {WINDOW_S:g} s"


def test_a_clock_counts_hours_on() -> None:
    assert [clock(s) for s in (0, 65.9, 3600, 100_000)] == ["0:00:00", "0:01:05", "1:00:00", "27:46:40"]
