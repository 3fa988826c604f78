"""Pipelines of real commands: what runs after what, what is handed on, what is left out, and how it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pipeline_kit import Pipelines, source, until

from runner.entity.pipeline import PromotedOutput, StepSource, StepSpec
from runner.entity.status import JobStatus
from runner.store.lock import JobLock

S = JobStatus


@pytest.fixture
def bench(tmp_path: Path, home: Path) -> Iterator[Pipelines]:
    made = Pipelines(tmp_path / "work", home)
    yield made
    made.close()


def test_a_step_gets_what_its_producer_has_made(bench: Pipelines) -> None:
    bench.make(
        bench.step("a", "note a; echo tea > ${{outputs.o}}"),
        bench.step("b", "note b; tr a-z A-Z < ${{inputs.a}} > ${{outputs.o}}", source("a")),
        promoted=[PromotedOutput(name="report", type="uri_file", step="b", output="o")],
    )
    bench.start()
    state = bench.completed()
    assert bench.notes() == ["a", "b"]
    assert bench.text("b") == "TEA\n"
    assert bench.events() == [
        "NotStarted",
        "Starting",
        "Preparing",
        "Queued",
        "Running",
        "Finalizing",
        "Completed",
    ]
    assert [(one.name, Path(one.path).read_text()) for one in state.outputs] == [("report", "TEA\n")]
    (record,) = bench.store.reuse.records("probe")
    assert (record.name, record.path) == ("report", state.outputs[0].path)


def test_independent_steps_go_on_at_the_same_time_within_the_limit(bench: Pipelines) -> None:
    bench.make(*(bench.step(key, f"held {key}") for key in "abc"), max_concurrent_steps=2)
    bench.start()
    bench.noted("a", "b")
    assert bench.statuses()["c"] is S.NOT_STARTED
    bench.give("go-a")
    bench.noted("c")
    assert "b went on" not in bench.notes()
    bench.give("go")
    bench.completed()


def test_what_does_not_need_a_failed_step_goes_on_and_the_pipeline_fails(bench: Pipelines) -> None:
    bench.make(
        bench.step("a", "note a; exit 7"),
        bench.step("b", "note b; echo 1 > ${{outputs.o}}"),
        bench.step("c", "note c", source("a")),
        bench.step("d", "note d", source("b")),
    )
    bench.start()
    state = bench.ended()
    assert bench.statuses() == {"a": S.FAILED, "b": S.COMPLETED, "c": S.NOT_STARTED, "d": S.COMPLETED}
    assert sorted(bench.notes()) == ["a", "b", "d"]
    assert state.status is S.FAILED
    assert state.error is not None
    assert (state.error.reason, state.error.exit_code) == ("STEPS_FAILED", 1)
    first = bench.state("a").error
    assert first is not None
    assert state.error.message.startswith("steps failed: a; ")
    assert first.message in state.error.message
    assert "continue_on_step_failure is true" in bench.log()


def test_the_rest_is_cancelled_when_a_step_fails_and_nothing_is_to_go_on(bench: Pipelines) -> None:
    bench.make(
        bench.step("a", "held a; exit 7"),
        bench.step("b", "held b"),
        bench.step("c", "note c"),
        max_concurrent_steps=2,
        continue_on_step_failure=False,
    )
    bench.start()
    bench.noted("a", "b")
    bench.give("go-a")
    state = bench.ended()
    assert bench.statuses() == {"a": S.FAILED, "b": S.CANCELED, "c": S.NOT_STARTED}
    assert state.status is S.FAILED
    assert state.error is not None
    assert state.error.message.startswith("steps failed: a; "), "what was stopped has not failed"
    assert "c" not in bench.notes()
    assert "continue_on_step_failure is false" in bench.log()


def test_an_optional_input_of_a_failed_step_is_absent(bench: Pipelines) -> None:
    bench.make(
        bench.step("a", "exit 1"),
        bench.step("b", "note b$[[-${{inputs.a}}]]", source("a", optional=True)),
    )
    bench.start()
    assert bench.ended().status is S.FAILED
    assert bench.statuses() == {"a": S.FAILED, "b": S.COMPLETED}
    assert bench.notes() == ["b"]


def test_order_without_data(bench: Pipelines) -> None:
    bench.make(
        bench.step("b", "note b", after=["a"]),
        bench.step("a", "held a"),
    )
    bench.start()
    bench.noted("a")
    assert bench.statuses()["b"] is S.NOT_STARTED
    bench.give("go")
    bench.completed()
    assert bench.notes() == ["a", "a went on", "b"]


def test_a_pipeline_without_steps_is_completed(bench: Pipelines) -> None:
    bench.make()
    bench.start()
    bench.completed()
    assert bench.events()[-3:] == ["Running", "Finalizing", "Completed"]


# ---- cancel ---------------------------------------------------------------------------------------------
def test_a_cancel_reaches_all_steps_in_progress_and_starts_nothing_more(bench: Pipelines) -> None:
    bench.make(
        bench.step("a", "held a"),
        bench.step("b", "held b"),
        bench.step("c", "note c", after=["a"]),
    )
    bench.start()
    bench.noted("a", "b")
    bench.store.request_cancel("probe")
    assert bench.ended().status is S.CANCELED
    assert bench.statuses() == {"a": S.CANCELED, "b": S.CANCELED, "c": S.NOT_STARTED}
    assert sorted(bench.notes()) == ["a", "b"]


def test_a_signal_cancels_too(bench: Pipelines) -> None:
    bench.make(bench.step("a", "held a"))
    bench.start()
    bench.noted("a")
    os.kill(bench.driver(), signal.SIGTERM)
    assert bench.ended().status is S.CANCELED
    assert bench.statuses() == {"a": S.CANCELED}


def test_a_step_cancelled_by_itself_counts_as_failed(bench: Pipelines) -> None:
    bench.make(
        bench.step("a", "held a"),
        bench.step("b", "note b", after=["a"]),
        bench.step("c", "held c"),
    )
    bench.start()
    bench.noted("a", "c")
    bench.store.request_cancel("probe--a")
    until(lambda: bench.statuses()["a"] is S.CANCELED, "the end of a")
    assert not bench.state().status.is_terminal
    bench.give("go")
    state = bench.ended()
    assert bench.statuses() == {"a": S.CANCELED, "b": S.NOT_STARTED, "c": S.COMPLETED}
    assert state.status is S.FAILED
    assert state.error is not None
    assert state.error.message == "steps failed: a; a was cancelled"


def test_a_step_may_be_cancelled_before_it_starts(bench: Pipelines) -> None:
    bench.make(
        bench.step("a", "held a"),
        bench.step("b", "note b", after=["a"]),
        bench.step("c", "note c", after=["b"]),
    )
    bench.start()
    bench.noted("a")
    bench.store.request_cancel("probe--b")
    until(lambda: bench.statuses()["b"] is S.CANCELED, "the end of b")
    bench.give("go")
    assert bench.ended().status is S.FAILED
    assert bench.statuses() == {"a": S.COMPLETED, "b": S.CANCELED, "c": S.NOT_STARTED}
    assert bench.notes() == ["a", "a went on"]
    bench.resume()
    bench.completed()
    assert bench.notes() == ["a", "a went on", "b", "c"]
    assert bench.state("b").reuse_reason.startswith("ran: ")


def test_a_step_that_is_being_published_is_left_to_complete(bench: Pipelines) -> None:
    bench.make(bench.step("a"), bench.step("b", "note b", after=["a"]))
    folder = bench.home.job("probe--a")
    folder.root.mkdir()
    with JobLock.take(folder.lock) or pytest.fail("the lock is held"):
        for status in (S.STARTING, S.PREPARING, S.QUEUED, S.RUNNING, S.FINALIZING):
            bench.store.move("probe--a", status)
        bench.start()
        until(lambda: bench.state().status is S.RUNNING, "the pipeline at work")
        bench.store.request_cancel("probe")
        until(lambda: "CancelRequested" in bench.events(), "the request")
        assert bench.statuses()["a"] is S.FINALIZING
        assert not bench.state().status.is_terminal
        bench.store.move("probe--a", S.COMPLETED)
    assert bench.ended().status is S.CANCELED
    assert bench.statuses() == {"a": S.COMPLETED, "b": S.NOT_STARTED}


def test_a_step_that_is_lost_while_it_is_published_has_failed(bench: Pipelines) -> None:
    bench.make(bench.step("a"))
    folder = bench.home.job("probe--a")
    folder.root.mkdir()
    with JobLock.take(folder.lock) or pytest.fail("the lock is held"):
        for status in (S.STARTING, S.PREPARING, S.QUEUED, S.RUNNING, S.FINALIZING):
            bench.store.move("probe--a", status)
        bench.start()
        until(lambda: bench.state().status is S.RUNNING, "the pipeline at work")
        bench.store.request_cancel("probe")
        until(lambda: "CancelRequested" in bench.events(), "the request")
    assert bench.ended().status is S.CANCELED
    assert bench.statuses() == {"a": S.FAILED}
    error = bench.state("a").error
    assert error is not None
    assert "lost while its outputs were published" in error.message


# ---- odd beginnings and ends ----------------------------------------------------------------------------
def test_a_second_driver_writes_nothing(bench: Pipelines) -> None:
    bench.make(bench.step("a", "held a"))
    bench.start()
    bench.noted("a")
    until(lambda: bench.state().status is S.RUNNING, "the pipeline at work")
    before = (bench.store.events("probe"), bench.log(), bench.state().driver_pid)
    second = subprocess.run([sys.executable, "-P", "-m", "runner.compose", "drive", "probe"], check=False)
    assert second.returncode == 0
    assert (bench.store.events("probe"), bench.log(), bench.state().driver_pid) == before
    bench.give("go")
    bench.completed()
    assert bench.notes() == ["a", "a went on"]


def test_a_step_whose_target_has_appeared_meanwhile_fails_before_it_runs(bench: Pipelines, tmp_path: Path) -> None:
    target = tmp_path / "taken.txt"
    bench.make(
        bench.step("a", f"echo tea > ${{{{outputs.o}}}}; echo mine > {target}"),
        bench.step("b", "note b > ${{outputs.o}}", source("a"), path={"o": str(target)}),
        bench.step("c", "note c", after=["b"]),
    )
    bench.start()
    assert bench.ended().status is S.FAILED
    assert bench.statuses() == {"a": S.COMPLETED, "b": S.FAILED, "c": S.NOT_STARTED}
    error = bench.state("b").error
    assert error is not None
    assert (error.reason, error.exit_code) == ("TARGET_EXISTS", 2)
    assert bench.notes() == []
    assert target.read_text() == "mine\n"


def test_outputs_of_a_reused_step_are_those_of_its_source(bench: Pipelines) -> None:
    for name in ("first", "second"):
        bench.make(
            bench.step("a", "note a; echo tea > ${{outputs.o}}", pipeline=name),
            bench.step("b", "note b; cat ${{inputs.a}} > ${{outputs.o}}", source("a"), pipeline=name),
            name=name,
            promoted=[PromotedOutput(name="report", type="uri_file", step="b", output="o")],
        )
    bench.start("first")
    first = bench.completed("first")
    bench.start("second")
    second = bench.completed("second")
    assert bench.notes() == ["a", "b"]
    assert second.outputs == first.outputs
    for key in ("a", "b"):
        state = bench.state(key, "second")
        assert state.reused_from == f"first--{key}"
        assert state.outputs == bench.state(key, "first").outputs
        assert state.reuse_reason.startswith(f"reused from first--{key}")
    assert bench.events("", "second")[-4:] == ["Preparing", "Running", "Finalizing", "Completed"]
    assert [one.path for one in bench.store.reuse.records("second")] == [second.outputs[0].path]


def scoring(key: str, code: Path, cargo: StepSource, **document: Any) -> StepSpec:
    """A parallel step with two workers in its driver's process, over the files of another step."""
    return StepSpec(
        key=key,
        job=f"probe--{key}",
        type="parallel",
        code=str(code),
        sources=(cargo,),
        document={
            "type": "parallel",
            "compute": "local",
            "max_concurrency_per_instance": 2,
            "inputs": {"cargo": {"type": "uri_folder", "path": f"${{{{steps.{cargo.step}.outputs.o}}}}"}},
            "outputs": {"o": {"type": "uri_file"}},
            "input_data": "${{inputs.cargo}}",
            "mini_batch_size": "1",
            "task": {
                "type": "run_function",
                "code": str(code),
                "entry_script": "score.py",
                "append_row_to": "${{outputs.o}}",
            },
            **document,
        },
    )


FILL = "for i in 1 2 3; do echo crate $i > ${{outputs.o}}/c$i.txt; done"


def test_a_parallel_step_between_commands(bench: Pipelines, tmp_path: Path) -> None:
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "score.py").write_text(
        "def run(mini_batch):\n    return [open(path).read().strip().upper() for path in mini_batch]\n"
    )
    bench.make(
        bench.step("load", FILL, kind="uri_folder"),
        scoring("score", tmp_path / "code", source("load", name="cargo")),
        bench.step("tally", "grep -c CRATE < ${{inputs.score}} > ${{outputs.o}}", source("score")),
    )
    bench.start()
    bench.completed()
    assert bench.text("score").splitlines() == ["CRATE 1", "CRATE 2", "CRATE 3"]
    assert bench.text("tally") == "3\n"
    progress = bench.state("score").progress
    assert (progress.done_mini_batch_count, progress.failed_mini_batch_count) == (3, 0)


def test_local_parallel_steps_take_the_slots_of_their_workers(bench: Pipelines, tmp_path: Path) -> None:
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "score.py").write_text(
        "import os, time\n"
        "def run(mini_batch):\n"
        "    open(os.environ['BEGAN'], 'w').close()\n"
        "    while not os.path.exists(os.environ['GO']):\n"
        "        time.sleep(0.01)\n"
        "    return mini_batch\n"
    )

    def held(key: str) -> StepSpec:
        signs = {"BEGAN": str(bench.signs / key), "GO": str(bench.signs / "go")}
        document = {"environment_variables": signs}
        return scoring(key, tmp_path / "code", source("load", name="cargo"), **document)

    bench.make(bench.step("load", FILL, kind="uri_folder"), held("one"), held("two"), max_concurrent_steps=2)
    bench.start()
    began = until(lambda: [key for key in ("one", "two") if (bench.signs / key).exists()], "one of them at work")
    statuses = bench.statuses()
    assert [key for key in ("one", "two") if statuses[key] is not S.NOT_STARTED] == began
    bench.give("go")
    bench.completed()


def test_equal_steps_of_one_pipeline_all_run_and_later_ones_may_be_reused_from_any(bench: Pipelines) -> None:
    for name in ("first", "second"):
        steps = [bench.step(key, "note ran; echo 1 > ${{outputs.o}}", pipeline=name) for key in "abc"]
        bench.make(*steps, name=name, max_concurrent_steps=1)
    bench.start("first")
    bench.completed("first")
    assert bench.notes() == ["ran"] * 3
    bench.start("second")
    bench.completed("second")
    assert bench.notes() == ["ran"] * 3
