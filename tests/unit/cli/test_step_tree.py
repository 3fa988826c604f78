"""Steps as the lines of a tree, and each step in a line."""

from __future__ import annotations

from typing import Any

import pytest

from runner.cli.step_tree import branches_of, counts_line, ends_line, first_line, lasted, why
from runner.entity.job import JobError, JobState, Progress
from runner.entity.status import JobStatus as S


def step(key: str, status: S = S.NOT_STARTED, **more: Any) -> JobState:
    return JobState(
        name=f"ore--{key.replace('/', '--')}", type="command", status=status, create_time=0, step=key, **more
    )


def test_steps_of_sub_pipelines_stand_below_them() -> None:
    lines = branches_of(["dig", "mill/crush", "mill/wash/rinse", "mill/sift", "ship"])
    assert [line.text for line in lines] == [
        "├─ dig",
        "├─ mill",
        "│  ├─ crush",
        "│  ├─ wash",
        "│  │  └─ rinse",
        "│  └─ sift",
        "└─ ship",
    ]
    assert [line.key for line in lines if line.key] == ["dig", "mill/crush", "mill/wash/rinse", "mill/sift", "ship"]


def test_steps_of_one_sub_pipeline_stand_together_even_when_others_lie_between() -> None:
    assert [line.label for line in branches_of(["mill/crush", "dig", "mill/sift"])] == ["mill", "crush", "sift", "dig"]


def test_no_steps_are_no_lines() -> None:
    assert branches_of([]) == []
    assert counts_line([]) == "0/0 steps done, 0 running, 0 failed"


def test_counts_name_what_runs_and_count_what_was_reused() -> None:
    steps = [step("dig", S.COMPLETED, reused_from="old--dig"), step("mill", S.QUEUED), step("sift", S.FAILED)]
    assert counts_line([*steps, step("ship")]) == "2/4 steps done, 1 running (mill), 1 failed, 1 reused"


def test_only_some_of_many_running_steps_are_named() -> None:
    line = counts_line([step(f"s{number}", S.RUNNING) for number in range(7)])
    assert line == "0/7 steps done, 7 running (s0, s1, s2, s3 and 3 more), 0 failed"


def test_the_end_tells_how_each_step_ended() -> None:
    steps = [step("a", S.COMPLETED), step("b", S.COMPLETED, reused_from="x"), step("c", S.CANCELED), step("d")]
    assert ends_line(steps) == "4 steps: 2 completed (1 reused), 1 canceled, 1 not run"
    assert ends_line([step("a", S.FAILED)]) == "1 step: 0 completed, 1 failed"


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({}, "-"),
        ({"start_time": 10.0}, "5.0 s"),
        ({"start_time": 10.0, "end_time": 12.5}, "2.5 s"),
        ({"start_time": 10.0, "end_time": 3675.0}, "1:01:05"),
        ({"start_time": 20.0}, "0.0 s"),
        ({"start_time": 10.0, "end_time": 12.5, "reused_from": "old"}, "-"),
    ],
)
def test_how_long_a_step_ran(given: dict[str, Any], told: str) -> None:
    assert lasted(step("a", S.RUNNING, **given), now=15.0) == told


def test_why_is_the_error_before_the_progress_before_the_reason() -> None:
    error = JobError(reason="COMMAND_FAILED", message="the command ended with 3\nmore")
    assert why(step("a", S.FAILED, error=error, reuse_reason="ran: code differs")) == "the command ended with 3"
    progress = Progress(mini_batch_count=4, item_count=4)
    assert why(step("a", S.RUNNING, progress=progress, reuse_reason="r")) == "0/4 mini-batches, 0/4 items, 0 failed"
    assert why(step("a", S.COMPLETED, progress=progress, reuse_reason="ran: code differs")) == "ran: code differs"
    assert why(step("a", S.QUEUED, message="waiting for 2 cores")) == "waiting for 2 cores"


def test_a_long_line_is_cut() -> None:
    assert first_line("x" * 20, width=10) == "xxxxxxx..."
    assert first_line("x" * 10, width=10) == "x" * 10
