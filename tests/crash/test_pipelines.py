"""Pipelines whose driver, nursery or step drivers are killed: what ran is kept, what runs goes on, none runs twice."""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from pipeline_kit import Pipelines, source, until

from runner.compose.launch import launch_driver
from runner.entity.status import JobStatus
from runner.errors import JobStatusConflict
from runner.pipeline.core import RESUME_LIMIT
from runner.store.silence import SILENCE_S
from runner.store.store import Store

S = JobStatus


@pytest.fixture
def bench(tmp_path: Path, home: Path) -> Iterator[Pipelines]:
    made = Pipelines(tmp_path / "work", home)
    yield made
    made.close()


def held_chain(bench: Pipelines) -> None:
    """Three steps, the second of which is held."""
    bench.make(
        bench.step("a", "note a; echo tea > ${{outputs.o}}"),
        bench.step("b", "held b; cat ${{inputs.a}} > ${{outputs.o}}", source("a")),
        bench.step("c", "note c; tr a-z A-Z < ${{inputs.b}} > ${{outputs.o}}", source("b")),
    )
    bench.start()
    bench.noted("b")


# ---- the pipeline's driver ------------------------------------------------------------------------------
def test_steps_go_on_without_the_driver_and_the_next_one_attaches_to_them(bench: Pipelines) -> None:
    held_chain(bench)
    step_driver = bench.driver("b")
    bench.kill(bench.driver())
    bench.resume()
    until(lambda: "Step b is in progress already" in bench.log(), "the next driver at work")
    assert bench.driver("b") == step_driver
    bench.give("go")
    bench.completed()
    assert bench.text("c") == "TEA\n"
    assert bench.notes() == ["a", "b", "b went on", "c"]
    assert {key: bench.state(key).run_number for key in "abc"} == dict.fromkeys("abc", 1)


def test_what_ended_without_a_driver_is_kept(bench: Pipelines) -> None:
    held_chain(bench)
    bench.kill(bench.driver())
    bench.give("go")
    until(lambda: bench.statuses()["b"] is S.COMPLETED, "the end of b")
    assert bench.statuses()["c"] is S.NOT_STARTED
    bench.resume()
    bench.completed()
    assert bench.notes() == ["a", "b", "b went on", "c"]
    assert all(map(bench.store.reuse.is_source, ("probe--a", "probe--b", "probe--c")))


def test_what_has_lost_its_driver_too_is_resumed(bench: Pipelines) -> None:
    held_chain(bench)
    bench.kill(bench.driver())
    bench.kill_step("b")
    bench.resume()
    until(lambda: bench.notes().count("b") == 2, "b once more")
    bench.give("go")
    bench.completed()
    assert bench.text("c") == "TEA\n"
    assert Counter(bench.notes()) == {"a": 1, "b": 2, "b went on": 1, "c": 1}
    assert bench.state("b").run_number == 2


def test_a_driver_may_be_killed_again_and_again_at_any_moment(bench: Pipelines) -> None:
    keys = [f"s{number}" for number in range(8)]
    bench.make(
        bench.step("s0", "note s0; echo 0 > ${{outputs.o}}"),
        *(
            bench.step(
                key, f"note {key}; {{ cat ${{{{inputs.{before}}}}}; echo {key}; }} > ${{{{outputs.o}}}}", source(before)
            )
            for before, key in pairwise(keys)
        ),
    )
    dice = random.Random(20261121)
    bench.start()
    kill_count = 0
    while True:
        wanted = len(bench.notes()) + dice.choice([0, 0, 1, 2])
        until(lambda count=wanted: bench.state().status.is_terminal or len(bench.notes()) >= count, "some more steps")
        if bench.state().status.is_terminal:
            break
        pid = bench.driver_or_none()
        if pid and kill_count < 12:
            bench.kill(pid)
            kill_count += 1
            bench.resume()
    bench.completed()
    assert kill_count >= 3
    assert bench.notes() == keys, "each ran once, in its order"
    assert bench.text("s7").split() == ["0", *keys[1:]]


def test_a_failed_step_begins_anew_as_the_same_job(bench: Pipelines) -> None:
    bench.make(
        bench.step("a", "note a; echo 1 > ${{outputs.o}}"),
        bench.step("b", 'note b; [ -e "$SIGNS/mended" ] && cat ${{inputs.a}} > ${{outputs.o}}', source("a")),
        bench.step("c", "note c", source("b")),
    )
    bench.start()
    assert bench.ended().status is S.FAILED
    assert bench.statuses() == {"a": S.COMPLETED, "b": S.FAILED, "c": S.NOT_STARTED}
    bench.give("mended")
    bench.resume()
    bench.completed()
    assert bench.notes() == ["a", "b", "b", "c"]
    assert {key: bench.state(key).run_number for key in "abc"} == {"a": 1, "b": 2, "c": 1}
    assert bench.state("b").reuse_reason.startswith("ran: ")


def test_an_optional_input_that_was_absent_is_there_when_both_steps_begin_anew(bench: Pipelines) -> None:
    mended = '[ -e "$SIGNS/mended" ]'
    bench.make(
        bench.step("a", f"{mended} && echo tea > ${{{{outputs.o}}}}"),
        bench.step("b", f"note b$[[-$(cat ${{{{inputs.a}}}})]]; {mended}", source("a", optional=True)),
    )
    bench.start()
    assert bench.ended().status is S.FAILED
    assert bench.statuses() == {"a": S.FAILED, "b": S.FAILED}
    bench.give("mended")
    bench.resume()
    bench.completed()
    assert bench.notes() == ["b", "b-tea"]


def test_a_cancelled_pipeline_goes_on_where_it_was(bench: Pipelines) -> None:
    held_chain(bench)
    bench.store.request_cancel("probe")
    assert bench.ended().status is S.CANCELED
    bench.give("go")
    bench.resume()
    bench.completed()
    assert bench.notes() == ["a", "b", "b", "b went on", "c"]


def test_a_step_that_was_asked_to_end_in_an_earlier_run_ends_and_begins_anew(bench: Pipelines) -> None:
    held_chain(bench)
    bench.kill(bench.driver())
    bench.kill_step("b")
    bench.store.request_cancel("probe")
    assert bench.statuses()["b"] is S.CANCEL_REQUESTED
    bench.store.move("probe", S.CANCELED)  # as whoever sees the request does
    bench.give("go")
    bench.resume()
    bench.completed()
    assert bench.notes() == ["a", "b", "b", "b went on", "c"]
    assert bench.events("b").count("Canceled") == 1


def test_steps_hear_of_a_cancel_although_their_pipeline_has_no_driver(bench: Pipelines) -> None:
    held_chain(bench)
    bench.kill(bench.driver())
    bench.store.request_cancel("probe")
    until(lambda: bench.statuses()["b"] is S.CANCELED, "the end of b")
    assert bench.notes() == ["a", "b"]


# ---- drivers of steps -----------------------------------------------------------------------------------
def test_a_step_that_loses_its_driver_is_resumed_at_once(bench: Pipelines) -> None:
    held_chain(bench)
    bench.kill_step("b")
    until(lambda: bench.notes().count("b") == 2, "b once more")
    bench.give("go")
    bench.completed()
    assert bench.text("c") == "TEA\n"
    assert "Step b has lost its driver and is resumed, time 1" in bench.log()


def test_a_step_that_loses_every_driver_fails(bench: Pipelines) -> None:
    held_chain(bench)
    for count in range(1, RESUME_LIMIT + 2):
        until(lambda times=count: bench.notes().count("b") == times, f"b for the {count}th time")
        bench.kill_step("b")
    state = bench.ended()
    assert state.status is S.FAILED
    error = bench.state("b").error
    assert error is not None
    assert error.reason == "COMMAND_LOST"
    assert "infrastructure" in error.message
    assert bench.statuses() == {"a": S.COMPLETED, "b": S.FAILED, "c": S.NOT_STARTED}
    bench.give("go")
    bench.resume()
    bench.completed()


def test_a_step_that_loses_its_driver_while_it_is_cancelled_is_cancelled(bench: Pipelines) -> None:
    bench.make(bench.step("a", "trap '' TERM; held a"))
    bench.start()
    bench.noted("a")
    pid = bench.driver("a")
    bench.store.request_cancel("probe")
    until(lambda: bench.statuses()["a"] is S.CANCEL_REQUESTED, "the request")
    bench.kill(pid)
    assert bench.ended().status is S.CANCELED
    assert bench.statuses() == {"a": S.CANCELED}
    assert bench.notes() == ["a"]


def test_a_driver_that_somebody_else_started_is_attached_to_when_ours_finds_it(bench: Pipelines) -> None:
    """The row says that a driver is needed, but one is on its way already: the lock decides, and both are content."""
    held_chain(bench)
    bench.kill(bench.driver())
    bench.kill_step("b")
    bench.drive_by_hand("b")
    until(lambda: bench.notes().count("b") == 2, "b once more")
    bench.resume()
    until(lambda: "Step b is in progress already" in bench.log(), "the next driver at work")
    bench.give("go")
    bench.completed()
    assert Counter(bench.notes()) == {"a": 1, "b": 2, "b went on": 1, "c": 1}


def test_a_stopped_driver_of_a_step_does_not_hold_up_a_cancel(bench: Pipelines) -> None:
    bench.make(bench.step("a", "held a"))
    bench.start()
    bench.noted("a")
    os.kill(bench.driver("a"), signal.SIGSTOP)
    bench.store.request_cancel("probe")
    assert bench.ended().status is S.CANCELED
    assert bench.statuses() == {"a": S.CANCELED}


def test_a_silent_driver_of_a_step_makes_room_when_the_pipeline_is_resumed(bench: Pipelines) -> None:
    held_chain(bench)
    bench.kill(bench.driver())
    os.kill(bench.driver("b"), signal.SIGSTOP)
    later = Store(bench.home, clock=lambda: time.time() + SILENCE_S + 1)
    assert later.get("probe--b").status is S.NOT_RESPONDING
    later.close()
    bench.give("go")
    bench.resume()
    bench.completed()
    assert bench.state("b").run_number == 2
    assert bench.text("c") == "TEA\n"


# ---- the nursery ----------------------------------------------------------------------------------------
def test_a_killed_nursery_takes_no_step_with_it_and_is_replaced(bench: Pipelines) -> None:
    held_chain(bench)
    bench.kill(bench.nursery())
    bench.give("go")
    bench.completed()
    assert bench.notes() == ["a", "b", "b went on", "c"]
    assert bench.text("c") == "TEA\n"


def test_a_nursery_that_does_not_answer_is_replaced(bench: Pipelines) -> None:
    held_chain(bench)
    os.kill(bench.nursery(), signal.SIGSTOP)
    bench.give("go")
    bench.completed()
    assert bench.notes() == ["a", "b", "b went on", "c"]


def test_the_end_of_a_step_is_heard_although_the_nursery_is_gone(bench: Pipelines) -> None:
    held_chain(bench)
    bench.kill(bench.nursery())
    bench.kill_step("b")
    until(lambda: bench.notes().count("b") == 2, "b once more")
    bench.give("go")
    bench.completed()


def test_a_request_that_the_nursery_answers_too_late_starts_nothing_twice(bench: Pipelines) -> None:
    """The pipeline's driver is killed after the row said Starting, and before there was a driver for the step."""
    held_chain(bench)
    nursery = bench.nursery()
    os.kill(nursery, signal.SIGSTOP)
    bench.give("go")
    until(lambda: bench.statuses()["c"] is S.STARTING, "a step without a driver")
    bench.kill(bench.driver())
    bench.resume()
    bench.completed()
    told = bench.store.events("probe--c")
    os.kill(nursery, signal.SIGCONT)
    until(lambda: not Path(f"/proc/{nursery}").exists(), "the end of the old nursery")
    bench.quiet("c")
    assert bench.store.events("probe--c") == told
    assert bench.notes() == ["a", "b", "b went on", "c"]
    assert bench.state("c").run_number == 2


# ---- cancel in every phase ------------------------------------------------------------------------------
def test_a_cancel_before_the_driver_begins_starts_nothing(bench: Pipelines) -> None:
    bench.make(bench.step("a", "note a"))
    bench.store.move("probe", S.STARTING)
    bench.store.request_cancel("probe")
    launch_driver(bench.home, "probe")
    assert bench.ended().status is S.CANCELED
    assert bench.statuses() == {"a": S.NOT_STARTED}
    bench.resume()
    bench.completed()
    assert bench.notes() == ["a"]


def test_a_cancel_at_any_moment_ends_soon_and_leaves_nothing_half(bench: Pipelines) -> None:
    keys = [f"s{number}" for number in range(4)]
    dice = random.Random(20261121)
    for turn in range(8):
        name = f"turn{turn}"
        bench.make(
            bench.step("s0", f"note {name}-s0; echo s0 > ${{{{outputs.o}}}}", pipeline=name),
            *(
                bench.step(
                    key,
                    f"note {name}-{key}; {{ cat ${{{{inputs.{before}}}}}; echo {key}; }} > ${{{{outputs.o}}}}",
                    source(before),
                    pipeline=name,
                )
                for before, key in pairwise(keys)
            ),
            name=name,
        )
        bench.start(name)
        after, event_count = dice.choice(["probe", *keys]), dice.randrange(2, 7)
        key = "" if after == "probe" else after
        until(lambda k=key, n=name, c=event_count: len(bench.events(k, n)) >= c, f"{event_count} events of {after}")
        try:
            bench.store.request_cancel(name)
        except JobStatusConflict:
            assert bench.completed(name).status is S.COMPLETED
            continue
        state = bench.ended(name, within=20.0)
        assert state.status is S.CANCELED
        statuses = bench.statuses(name)
        assert set(statuses.values()) <= {S.COMPLETED, S.CANCELED, S.NOT_STARTED}, statuses
        done = {key for key, status in statuses.items() if status is S.COMPLETED}
        bench.resume(name)
        bench.completed(name)
        assert bench.text("s3", name=name).split() == keys
        counts = Counter(bench.notes())
        assert {key: counts[f"{name}-{key}"] for key in done} == dict.fromkeys(done, 1)


# ---- all at once ----------------------------------------------------------------------------------------
def test_everything_may_be_killed_at_once(bench: Pipelines) -> None:
    bench.make(
        *(bench.step(key, f"held {key}; echo {key} > ${{{{outputs.o}}}}") for key in "abc"),
        bench.step("d", "cat ${{inputs.a}} ${{inputs.b}} ${{inputs.c}} > ${{outputs.o}}", *map(source, "abc")),
        max_concurrent_steps=3,
    )
    bench.start()
    bench.noted(*"abc")
    for pid in (bench.driver(), bench.nursery()):
        bench.kill(pid)
    for key in "abc":
        bench.kill_step(key)
    bench.give("go")
    bench.resume()
    bench.completed()
    assert bench.text("d").split() == ["a", "b", "c"]
    counts = Counter(bench.notes())
    assert {key: counts[f"{key} went on"] for key in "abc"} == dict.fromkeys("abc", 1)


def test_any_process_may_be_killed_at_any_moment(bench: Pipelines) -> None:
    """Drivers and nurseries die in any order; what has completed never runs again, and the result is right."""
    dice = random.Random(20261122)
    needs = {number: [one for one in range(number) if dice.random() < 0.3] for number in range(10)}
    bench.make(
        *(
            bench.step(
                f"s{number}",
                f"note s{number}; sleep 0.{dice.randrange(4)}; {{ echo s{number}; "
                + "".join(f"cat ${{{{inputs.s{one}}}}}; " for one in some)
                + "} > ${{outputs.o}}",
                *(source(f"s{one}") for one in some),
            )
            for number, some in needs.items()
        ),
        max_concurrent_steps=3,
    )
    bench.start()
    completed: dict[str, int] = {}
    kill_count = 0
    while bench.state().status is not S.COMPLETED:
        counts = Counter(bench.notes())
        for key, status in bench.statuses().items():
            if status is S.COMPLETED:
                assert completed.setdefault(key, counts[key]) == counts[key], f"{key} has run again"
        running = bench.processes()
        if not any(words[-2:] == ["drive", "probe"] for words in running.values()):
            if bench.state().status is not S.COMPLETED:
                bench.resume()
        elif kill_count < 12 and dice.random() < 0.1:
            bench.kill(dice.choice(list(running)))
            kill_count += 1
    bench.completed()
    assert kill_count >= 3

    def text_of(number: int) -> list[str]:
        return [f"s{number}", *(line for one in needs[number] for line in text_of(one))]

    assert {number: bench.text(f"s{number}").split() for number in needs} == {one: text_of(one) for one in needs}
