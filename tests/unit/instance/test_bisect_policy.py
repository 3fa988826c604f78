"""The search for failing items: exact where its bounds allow, never losing an item, never beyond its bounds."""

from __future__ import annotations

import random
from collections.abc import Callable

import hypothesis.strategies as st
from hypothesis import given, settings

from runner.entity.status import FailureClass
from runner.instance.bisect import MAX_EXTRA_CALLS, MAX_EXTRA_DEATHS, Bisection, Blame

Calls = list[tuple[int, int]]


def blame(text: str = "bad") -> Blame:
    return Blame(FailureClass.USER_ERROR, "ValueError", text, "", "process000")


def play(search: Bisection, fails: Callable[[int, int], bool], is_death: bool = False) -> Calls:
    """Run the search against a script that fails on some ranges; the calls made, in order."""
    calls: Calls = []
    while (at := search.at_hand) is not None:
        calls.append(at)
        if fails(*at):
            search.fail(blame(str(at)), is_death=is_death)
        else:
            search.succeed(len(calls))
    return calls


def with_poison(*poison: int) -> Callable[[int, int], bool]:
    return lambda first, count: any(first <= item < first + count for item in poison)


def covers(search: Bisection) -> list[tuple[int, int]]:
    pieces = [*((s.first, s.count) for s in search.survivors), *((f.first, f.count) for f in search.found)]
    return sorted(pieces)


def test_the_left_half_comes_first_and_every_item_is_found() -> None:
    search = Bisection.of_failed(8, 3, blame())
    assert play(search, with_poison(2, 7)) == [
        (0, 4),
        (0, 2),
        (2, 2),
        (2, 1),
        (3, 1),
        (4, 4),
        (4, 2),
        (6, 2),
        (6, 1),
        (7, 1),
    ]
    assert [(f.first, f.count, f.tries, f.is_isolated) for f in search.found] == [(2, 1, 4, True), (7, 1, 4, True)]
    assert [f.blame.message for f in search.found] == ["(2, 1)", "(7, 1)"], "each with its own cause"
    assert [(s.first, s.count) for s in search.survivors] == [(0, 2), (3, 1), (4, 2), (6, 1)]


def test_a_single_item_is_found_without_any_call() -> None:
    search = Bisection.of_failed(1, 2, blame())
    assert search.at_hand is None
    assert [(f.first, f.count, f.tries, f.is_isolated) for f in search.found] == [(0, 1, 2, True)]


def test_halves_that_fail_only_together_all_survive() -> None:
    search = Bisection.of_failed(10, 1, blame())
    assert play(search, lambda first, count: count > 5) == [(0, 5), (5, 5)]
    assert search.found == []


@settings(max_examples=300, deadline=None)
@given(count=st.integers(1, 5000), poison=st.sets(st.integers(0, 4999), max_size=30), is_death=st.booleans())
def test_no_item_is_lost_and_no_bound_is_passed(count: int, poison: set[int], is_death: bool) -> None:
    poison = {item for item in poison if item < count} or {0}
    search = Bisection.of_failed(count, 1, blame())
    calls = play(search, with_poison(*poison), is_death)
    assert len(calls) <= MAX_EXTRA_CALLS
    assert search.deaths <= MAX_EXTRA_DEATHS
    at = 0
    for first, length in covers(search):
        assert first == at, "each item once"
        at += length
    assert at == count
    found = [range(f.first, f.first + f.count) for f in search.found]
    assert all(any(item in each for each in found) for item in poison)
    assert all(f.count == 1 and f.first in poison for f in search.found if f.is_isolated and count > 1)
    if len(calls) < MAX_EXTRA_CALLS and search.deaths < MAX_EXTRA_DEATHS:
        assert {f.first for f in search.found} == poison, "exactly those, within the bounds"


def test_at_the_bound_of_calls_what_waits_is_set_aside_in_ranges_with_the_cause_of_what_held_them() -> None:
    search = Bisection.of_failed(4096, 1, blame("whole"))
    calls = play(search, lambda first, count: True)
    assert len(calls) == MAX_EXTRA_CALLS
    left = [f for f in search.found if not f.is_isolated]
    assert left, "it could not finish"
    assert len(left) <= 13, "no more ranges than the search was deep"
    assert left[-1].blame.message == "whole"
    assert (left[-1].first, left[-1].count) == (2048, 2048)
    assert {f.tries for f in search.found} == {2}


def test_at_the_bound_of_deaths_the_search_stops() -> None:
    search = Bisection.of_failed(4096, 1, blame())
    calls = play(search, lambda first, count: True, is_death=True)
    assert len(calls) == search.deaths == MAX_EXTRA_DEATHS


def test_ranges_that_are_asked_for_have_tries_of_their_own_and_are_divided_only_when_that_is_on() -> None:
    search = Bisection([(3, 1), (10, 4)], tries=2, may_divide=False)
    assert play(search, with_poison(3, 12)) == [(3, 1), (3, 1), (10, 4), (10, 4)]
    assert [(f.first, f.count, f.tries, f.is_isolated) for f in search.found] == [(3, 1, 2, True), (10, 4, 2, True)]
    search = Bisection([(3, 1), (10, 4)], tries=2, may_divide=True)
    assert play(search, with_poison(12)) == [(3, 1), (10, 4), (10, 4), (10, 2), (12, 2), (12, 1), (13, 1)]
    assert [(f.first, f.count, f.tries) for f in search.found] == [(12, 1, 3)]
    assert search.item_count == 5
    assert search.calls == 4, "tries of what was asked for are not extra"


def test_what_cannot_be_read_any_more_ends_the_search() -> None:
    search = Bisection.of_failed(8, 1, blame())
    search.succeed(1)
    search.give_up(blame("unreadable"))
    assert search.at_hand is None
    assert [(f.first, f.count, f.blame.message) for f in search.found] == [(4, 4, "unreadable")]


def test_an_unreliable_script_is_searched_to_an_end() -> None:
    for seed in range(200):
        chance = random.Random(seed)
        search = Bisection.of_failed(chance.randint(1, 300), 1, blame())
        is_death = chance.random() < 0.5
        calls = play(search, lambda *_, draw=chance.random: draw() < 0.6, is_death)  # type: ignore[misc] # by default
        assert len(calls) <= MAX_EXTRA_CALLS
        assert sum(count for _, count in covers(search)) == search.item_count
