"""How heavy a step is, and how many go on at a time."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import pytest

from runner.entity.pipeline import StepSpec
from runner.pipeline.slots import Slots, default_limit, weigh
from runner.spec.places import Places

PLACES = Places(home=Path("/home"), compute={"here": {"kind": "local"}, "there": {"address": "head:6379"}})


def step(kind: Literal["command", "parallel"], **document: Any) -> StepSpec:
    return StepSpec(key="a", job="p--a", type=kind, document=document)


@pytest.mark.parametrize(
    ("made", "weight"),
    [
        (step("command", compute="local"), 1),
        (step("parallel", compute="there", max_concurrency_per_instance=3), 1),
        (step("parallel", max_concurrency_per_instance=3), 1),
        (step("parallel", compute="local", max_concurrency_per_instance=3), 3),
        (step("parallel", compute="here", max_concurrency_per_instance=2, resources={"instance_count": 2}), 4),
        (step("parallel", compute="local", max_concurrency_per_instance=50), 8),
        (step("parallel", compute="local"), 8),
    ],
)
def test_only_parallel_steps_of_this_machine_weigh_more_than_one(made: StepSpec, weight: int) -> None:
    assert weigh(made, PLACES, cores=8) == weight


def test_what_is_given_back_can_be_taken_again() -> None:
    slots = Slots(2)
    assert slots.take("a", 2)
    assert not slots.take("b", 1)
    slots.give("a")
    slots.give("a")
    assert slots.take("b", 1)
    assert slots.take("c", 1)
    assert not slots.take("d", 1)


def test_what_goes_on_already_may_take_more_than_there_is() -> None:
    slots = Slots(1)
    slots.occupy("a", 1)
    slots.occupy("b", 1)
    slots.give("a")
    assert not slots.take("c", 1)
    slots.give("b")
    assert slots.take("c", 1)


def test_two_steps_go_on_at_a_time_even_on_one_core() -> None:
    assert default_limit() >= 2
