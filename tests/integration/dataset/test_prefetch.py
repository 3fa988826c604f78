"""Slabs made ahead in a thread: in order, within a budget, errors and ends handed on."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from runner.dataset.slabs import Prefetch, Slab


def _slab(number: int, byte_count: int = 10) -> Slab:
    return Slab(
        first_mini_batch=number,
        end_mini_batch=number + 1,
        rows_per_mini_batch=1,
        row_count=1,
        first_item=number,
        cut=lambda start, stop, mini_batch: mini_batch,
        byte_count=byte_count,
    )


def test_slabs_come_in_order_and_end() -> None:
    with Prefetch(iter([_slab(number) for number in range(100)]), 25) as slabs:
        assert [slab.first_mini_batch for slab in slabs] == list(range(100))
        assert list(slabs) == []


def test_no_more_than_the_budget_waits() -> None:
    made: list[int] = []
    third = threading.Event()

    def make() -> Iterator[Slab]:
        for number in range(10):
            made.append(number)
            if number == 2:
                third.set()
            yield _slab(number, byte_count=10)

    with Prefetch(make(), 30) as slabs:
        assert third.wait(10)
        assert next(slabs).first_mini_batch == 0
        assert len(made) <= 5
        assert len(list(slabs)) == 9


def test_a_slab_larger_than_the_budget_is_let_through_alone() -> None:
    with Prefetch(iter([_slab(number, byte_count=10**9) for number in range(3)]), 1) as slabs:
        assert len(list(slabs)) == 3


def test_an_error_comes_after_the_slabs_before_it() -> None:
    def make() -> Iterator[Slab]:
        yield _slab(0)
        raise OSError("broken")

    with Prefetch(make(), 100) as slabs:
        assert next(slabs).first_mini_batch == 0
        with pytest.raises(OSError, match="broken"):
            next(slabs)
        assert list(slabs) == []


def test_closing_stops_the_making_and_the_iterator_behind() -> None:
    is_closed = threading.Event()

    def make() -> Iterator[Slab]:
        try:
            for number in range(10**9):
                yield _slab(number)
        finally:
            is_closed.set()

    slabs = Prefetch(make(), 100)
    next(slabs)
    slabs.close()
    slabs.close()
    assert is_closed.is_set()
    assert list(slabs) == []
