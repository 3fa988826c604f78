"""What the core of a pipeline decides: what begins when, what is stopped, what is resumed, and how it all ends."""

from __future__ import annotations

import random
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.entity.pipeline import StepSource, StepSpec
from runner.entity.status import JobStatus
from runner.pipeline.core import (
    RESUME_LIMIT,
    Abandon,
    Action,
    Attach,
    Core,
    Finish,
    Launch,
    Look,
    Phase,
    Prepare,
    Resume,
    Reuse,
    Stop,
)

S = JobStatus


def step(key: str, *needs: str, optional: Iterable[str] = (), after: Iterable[str] = ()) -> StepSpec:
    return StepSpec(
        key=key,
        job=f"p--{key}",
        type="command",
        document={},
        sources=(
            *(StepSource(input=f"i{need}", step=need, output="o") for need in needs),
            *(StepSource(input=f"o{need}", step=need, output="o", is_optional=True) for need in optional),
        ),
        depends_on=tuple(after),
    )


def core_of(*steps: StepSpec, limit: int = 8, goes_on: bool = True, weights: dict[str, int] | None = None) -> Core:
    return Core(steps, limit=limit, goes_on=goes_on, weights=weights)


def run(core: Core, key: str) -> list[Action]:
    """Everything until a step has a driver, each action as it must be."""
    actions = core.on_looked(key, is_hit=False)
    assert actions == [Prepare(key)]
    assert core.on_prepared(key) == [Launch(key)]
    return actions


def begun(core: Core, *keys: str) -> None:
    assert core.begin({}) == [Look(key) for key in keys]
    for key in keys:
        run(core, key)


# ---- order ----------------------------------------------------------------------------------------------
def test_a_step_begins_when_all_its_producers_have_completed() -> None:
    core = core_of(step("a"), step("b"), step("c", "a", "b"))
    begun(core, "a", "b")
    assert core.on_ended("a", S.COMPLETED) == []
    assert core.on_ended("b", S.COMPLETED) == [Look("c")]
    run(core, "c")
    assert core.on_ended("c", S.COMPLETED) == [Finish(S.COMPLETED)]


def test_order_may_be_asked_for_without_data() -> None:
    core = core_of(step("b", after=["a"]), step("a"))
    begun(core, "a")
    assert core.on_ended("a", S.COMPLETED) == [Look("b")]


def test_a_producer_of_several_inputs_is_waited_for_once() -> None:
    twice = StepSpec(
        key="b",
        job="p--b",
        type="command",
        document={},
        sources=(StepSource(input="x", step="a", output="o"), StepSource(input="y", step="a", output="q")),
    )
    core = core_of(step("a"), twice)
    begun(core, "a")
    assert core.on_ended("a", S.COMPLETED) == [Look("b")]


def test_an_earlier_result_stands_in_without_a_slot() -> None:
    core = core_of(step("a"), step("b"), step("c", "b"), limit=1)
    assert core.begin({}) == [Look("a"), Look("b")]
    assert core.on_looked("a", is_hit=False) == [Prepare("a")]
    assert core.on_looked("b", is_hit=True) == [Reuse("b")]
    assert core.on_ended("b", S.COMPLETED) == [Look("c")]


def test_a_step_whose_earlier_result_is_gone_is_looked_up_again() -> None:
    core = core_of(step("a"))
    assert core.begin({}) == [Look("a")]
    assert core.on_looked("a", is_hit=True) == [Reuse("a")]
    assert core.on_looked("a", is_hit=False) == [Prepare("a")]


def test_a_pipeline_without_steps_is_completed() -> None:
    assert core_of().begin({}) == [Finish(S.COMPLETED)]


# ---- slots ----------------------------------------------------------------------------------------------
def test_no_more_steps_than_slots_go_on_and_they_are_the_first_of_the_file_whoever_was_looked_up_first() -> None:
    core = core_of(step("a"), step("b"), step("c"), limit=2)
    core.begin({})
    assert core.on_looked("c", is_hit=False) == []
    assert core.on_looked("b", is_hit=False) == [Prepare("b")]
    assert core.on_looked("a", is_hit=False) == [Prepare("a")]
    assert core.on_ended("b", S.COMPLETED) == [Prepare("c")]


def test_no_more_slots_are_left_to_steps_that_are_looked_up_than_these_would_take() -> None:
    core = core_of(step("a"), step("b"), step("c"), limit=3, weights={"a": 2})
    core.begin({})
    assert core.on_looked("b", is_hit=False) == [Prepare("b")]
    assert core.on_looked("c", is_hit=False) == []
    assert core.on_looked("a", is_hit=True) == [Reuse("a")]
    assert core.on_ended("a", S.COMPLETED) == [Prepare("c")]


def test_a_step_weighs_what_it_takes_and_is_not_overtaken() -> None:
    core = core_of(step("a"), step("b"), step("c"), limit=2, weights={"b": 2})
    core.begin({})
    assert core.on_looked("a", is_hit=False) == [Prepare("a")]
    assert core.on_looked("b", is_hit=False) == []
    assert core.on_looked("c", is_hit=False) == []
    assert core.on_ended("a", S.COMPLETED) == [Prepare("b")]
    assert core.on_ended("b", S.COMPLETED) == [Prepare("c")]


def test_a_step_heavier_than_all_slots_goes_on_alone() -> None:
    core = core_of(step("a"), step("b"), limit=2, weights={"a": 5})
    core.begin({})
    assert core.on_looked("a", is_hit=False) == [Prepare("a")]
    assert core.on_looked("b", is_hit=False) == []
    assert core.on_ended("a", S.COMPLETED) == [Prepare("b")]


# ---- failures -------------------------------------------------------------------------------------------
def test_what_does_not_need_a_failed_step_goes_on_and_the_pipeline_fails() -> None:
    core = core_of(step("a"), step("b"), step("c", "a"), step("d", "c"), step("e", "b"))
    begun(core, "a", "b")
    assert core.on_ended("a", S.FAILED) == []
    assert core.phase("c") is core.phase("d") is Phase.BARRED
    assert core.on_ended("b", S.COMPLETED) == [Look("e")]
    run(core, "e")
    assert core.on_ended("e", S.COMPLETED) == [Finish(S.FAILED, ("a",))]


def test_the_others_are_stopped_when_nothing_goes_on_after_a_failure() -> None:
    core = core_of(step("a"), step("b"), step("c"), goes_on=False, limit=2)
    core.begin({})
    core.on_looked("a", is_hit=False)
    core.on_looked("b", is_hit=False)
    core.on_looked("c", is_hit=False)
    core.on_prepared("a")
    core.on_prepared("b")
    assert core.on_ended("a", S.FAILED) == [Stop()]
    assert core.on_ended("b", S.CANCELED) == [Finish(S.FAILED, ("a",))]
    assert core.phase("c") is Phase.READY


def test_a_step_that_completes_although_it_was_stopped_counts() -> None:
    core = core_of(step("a"), step("b"), goes_on=False)
    begun(core, "a", "b")
    core.on_ended("a", S.FAILED)
    assert core.on_ended("b", S.COMPLETED) == [Finish(S.FAILED, ("a",))]
    assert core.phase("b") is Phase.COMPLETED


@pytest.mark.parametrize("ended", [S.FAILED, S.CANCELED])
def test_an_optional_input_of_a_step_that_did_not_complete_is_no_obstacle(ended: JobStatus) -> None:
    core = core_of(step("a"), step("b", optional=["a"]))
    begun(core, "a")
    assert core.on_ended("a", ended) == [Look("b")]


def test_nor_is_one_of_a_step_that_could_not_run() -> None:
    core = core_of(step("a"), step("b", "a"), step("c", optional=["b"]))
    begun(core, "a")
    assert core.on_ended("a", S.FAILED) == [Look("c")]


def test_an_optional_input_does_not_outweigh_a_dependency() -> None:
    core = core_of(step("a"), step("b", optional=["a"], after=["a"]))
    begun(core, "a")
    assert core.on_ended("a", S.FAILED) == [Finish(S.FAILED, ("a",))]


def test_a_step_cancelled_by_itself_counts_as_failed() -> None:
    core = core_of(step("a"), step("b", "a"))
    begun(core, "a")
    assert core.on_ended("a", S.CANCELED) == [Finish(S.FAILED, ("a",))]


def test_a_step_may_be_cancelled_before_it_begins() -> None:
    core = core_of(step("a"), step("b", "a"), step("c", "b"))
    begun(core, "a")
    assert core.on_ended("b", S.CANCELED) == []
    assert core.phase("c") is Phase.BARRED
    assert core.on_ended("a", S.COMPLETED) == [Finish(S.FAILED, ("b",))]


# ---- cancel ---------------------------------------------------------------------------------------------
def test_a_cancel_stops_what_goes_on_and_starts_nothing_more() -> None:
    core = core_of(step("a"), step("b", "a"))
    begun(core, "a")
    assert core.on_cancel() == [Stop()]
    assert core.on_ended("a", S.COMPLETED) == [Finish(S.CANCELED)]
    assert core.on_looked("b", is_hit=True) == []


def test_a_cancel_does_not_wait_for_looks() -> None:
    core = core_of(step("a"))
    core.begin({})
    assert core.on_cancel() == [Finish(S.CANCELED)]
    assert core.on_looked("a", is_hit=True) == []


def test_a_step_that_was_just_prepared_gets_no_driver_after_a_cancel() -> None:
    core = core_of(step("a"))
    core.begin({})
    core.on_looked("a", is_hit=False)
    assert core.on_cancel() == [Stop()]
    assert core.on_prepared("a") == [Abandon("a", is_cancelled=True)]
    assert core.on_ended("a", S.CANCELED) == [Finish(S.CANCELED)]


# ---- lost drivers ---------------------------------------------------------------------------------------
def test_a_step_that_loses_its_driver_is_resumed_a_few_times() -> None:
    core = core_of(step("a"))
    begun(core, "a")
    for count in range(1, RESUME_LIMIT + 1):
        assert core.on_lost("a", is_cancelled=False) == [Resume("a", count)]
    assert core.on_lost("a", is_cancelled=False) == [Abandon("a", is_cancelled=False)]
    assert core.on_ended("a", S.FAILED) == [Finish(S.FAILED, ("a",))]


def test_a_step_that_was_to_end_is_not_resumed() -> None:
    core = core_of(step("a"), step("b"))
    begun(core, "a", "b")
    assert core.on_lost("a", is_cancelled=True) == [Abandon("a", is_cancelled=True)]
    core.on_cancel()
    assert core.on_lost("b", is_cancelled=False) == [Abandon("b", is_cancelled=True)]


# ---- a second run ---------------------------------------------------------------------------------------
def test_a_later_run_keeps_what_completed_and_attaches_to_what_goes_on() -> None:
    core = core_of(step("a"), step("b", "a"), step("c", "a"), step("d", "b"))
    assert core.begin({"a": S.COMPLETED, "b": S.RUNNING, "c": S.FAILED}) == [Attach("b"), Look("c")]
    assert core.on_ended("b", S.COMPLETED) == [Look("d")]


def test_what_was_asked_to_end_before_begins_anew_when_it_has() -> None:
    core = core_of(step("a"), step("b", "a"))
    assert core.begin({"a": S.CANCEL_REQUESTED}) == [Attach("a")]
    assert core.on_lost("a", is_cancelled=True) == [Abandon("a", is_cancelled=True)]
    assert core.on_ended("a", S.CANCELED) == [Look("a")]
    run(core, "a")
    assert core.on_ended("a", S.COMPLETED) == [Look("b")]


def test_what_goes_on_takes_slots() -> None:
    core = core_of(step("a"), step("b"), limit=1)
    assert core.begin({"a": S.RUNNING}) == [Attach("a"), Look("b")]
    assert core.on_looked("b", is_hit=False) == []
    assert core.on_ended("a", S.COMPLETED) == [Prepare("b")]


def test_a_run_in_which_all_has_completed_is_over_at_once() -> None:
    core = core_of(step("a"), step("b", "a"))
    assert core.begin({"a": S.COMPLETED, "b": S.COMPLETED}) == [Finish(S.COMPLETED)]


# ---- whatever happens -----------------------------------------------------------------------------------
class World:
    """Answers every action sooner or later, in any order, and checks what must hold at every moment."""

    def __init__(self, steps: list[StepSpec], limit: int, goes_on: bool, dice: random.Random) -> None:
        self.steps = {one.key: one for one in steps}
        self.weights = {key: dice.choice([1, 1, 1, 2, 3]) for key in self.steps}
        self.limit, self.goes_on, self.dice = limit, goes_on, dice
        self.core = Core(steps, limit=limit, goes_on=goes_on, weights=self.weights)
        self.asked: list[Action] = []
        self.status: dict[str, JobStatus] = {}
        self.ended: list[str] = []
        self.finish: Finish | None = None
        self.is_cancelled = False
        self.is_stopped = False
        self.looked: set[str] = set()

    def take(self, actions: list[Action]) -> None:
        for action in actions:
            assert self.finish is None
            match action:
                case Finish():
                    self.finish = action
                case Stop():
                    self.is_stopped = True
                case Look(key):
                    assert not self.is_cancelled
                    assert key not in self.looked
                    self.looked.add(key)
                    for source in self.steps[key].sources:
                        assert source.step in self.ended or self.core.phase(source.step) is Phase.BARRED
                        assert source.is_optional or self.status[source.step] is S.COMPLETED
                    assert all(self.status[need] is S.COMPLETED for need in self.steps[key].depends_on)
                    self.asked.append(action)
                case Prepare():
                    assert not self.is_cancelled
                    assert not self.is_stopped
                    self.asked.append(action)
                    out = [one.key for one in self.asked if isinstance(one, (Prepare, Launch, Resume))]
                    weight = sum(self.weights[key] for key in out)
                    assert weight <= self.limit or len(out) == 1
                case _:
                    self.asked.append(action)

    def end(self, key: str, status: JobStatus) -> None:
        self.status[key] = status
        self.ended.append(key)
        self.take(self.core.on_ended(key, status))

    def answer(self) -> None:
        action = self.asked.pop(self.dice.randrange(len(self.asked)))
        match action:
            case Look(key):
                self.take(self.core.on_looked(key, is_hit=self.dice.random() < 0.3))
            case Reuse(key):
                self.end(key, S.COMPLETED)
            case Prepare(key):
                if self.dice.random() < 0.1:
                    self.end(key, S.FAILED)
                else:
                    self.take(self.core.on_prepared(key))
            case Launch(key) | Resume(key, _):
                if self.dice.random() < 0.3:
                    self.take(self.core.on_lost(key, is_cancelled=False))
                else:
                    self.end(key, self.dice.choice([S.COMPLETED, S.COMPLETED, S.COMPLETED, S.FAILED, S.CANCELED]))
            case Abandon(key, is_cancelled):
                self.end(key, S.CANCELED if is_cancelled else S.FAILED)


@given(st.integers(0, 2**32), st.integers(0, 14), st.integers(1, 4), st.booleans(), st.booleans())
def test_every_pipeline_ends_and_no_step_begins_before_its_time(
    seed: int, count: int, limit: int, goes_on: bool, is_cancelled: bool
) -> None:
    dice = random.Random(seed)
    keys = [f"s{number}" for number in range(count)]
    steps = []
    for number, key in enumerate(keys):
        chosen = {kind: [one for one in keys[:number] if dice.random() < 0.2] for kind in ("must", "may", "after")}
        steps.append(step(key, *chosen["must"], optional=chosen["may"], after=chosen["after"]))
    dice.shuffle(steps)
    world = World(steps, limit, goes_on, dice)
    world.take(world.core.begin({}))
    for _ in range(20 * count + 20):
        if world.finish is not None:
            break
        if is_cancelled and dice.random() < 0.1:
            world.is_cancelled = True
            world.take(world.core.on_cancel())
        elif world.asked:
            world.answer()
    assert world.finish is not None, "it never ended"
    assert all(isinstance(one, (Look, Reuse)) for one in world.asked), "it ended while something went on"
    failed = [key for key in world.ended if world.status[key] is S.FAILED]
    if world.is_cancelled:
        assert world.finish.status is S.CANCELED
    else:
        assert set(failed) <= set(world.finish.failed)
        assert (world.finish.status is S.FAILED) == bool(world.finish.failed)
        assert world.finish.status is S.FAILED or set(world.ended) == set(keys)


def test_the_work_grows_with_the_steps_and_not_with_their_square() -> None:
    count = 20_000
    chain = [step("s0"), *(step(f"s{number}", f"s{number - 1}") for number in range(1, count))]
    core = core_of(*chain)
    actions = core.begin({})
    for number in range(count):
        key = f"s{number}"
        assert actions == [Look(key)]
        core.on_looked(key, is_hit=False)
        core.on_prepared(key)
        actions = core.on_ended(key, S.COMPLETED)
    assert actions == [Finish(S.COMPLETED)]


def test_what_is_told_twice_counts_once() -> None:
    core = core_of(step("a"), step("b", "a"), step("c"))
    begun(core, "a", "c")
    assert core.on_ended("a", S.COMPLETED) == [Look("b")]
    assert core.on_ended("a", S.FAILED) == []
    assert core.on_lost("a", is_cancelled=False) == []
    run(core, "b")
    assert core.on_ended("b", S.COMPLETED) == []
    assert core.on_ended("c", S.COMPLETED) == [Finish(S.COMPLETED)]
    assert core.on_cancel() == []
    assert core.ended_count == 3
