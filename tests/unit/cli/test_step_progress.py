"""What a watch of a pipeline says, step by step."""

from __future__ import annotations

import io
import re
from typing import Any

import pytest
from rich.console import Console

from runner.cli.step_progress import PlainSteps, chosen, picture
from runner.cli.step_tree import branches_of
from runner.entity.job import JobError, JobState, Progress
from runner.entity.status import JobStatus as S

PIPELINE = JobState(name="ore", type="pipeline", status=S.RUNNING, create_time=0)


def step(key: str, status: S = S.NOT_STARTED, **more: Any) -> JobState:
    return JobState(
        name=f"ore--{key}", type=more.pop("type", "command"), status=status, create_time=0, step=key, **more
    )


def said(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return capsys.readouterr().err.splitlines()


def test_a_step_is_told_when_it_begins_and_when_it_ends_and_once(capsys: pytest.CaptureFixture[str]) -> None:
    view = PlainSteps(is_new=True)
    view.show(PIPELINE, [step("dig"), step("mill")])
    assert said(capsys) == ["0/2 steps done, 0 running, 0 failed"]
    running = step("dig", S.RUNNING, reuse_reason="ran: code differs from old--dig", start_time=0.0)
    for _ in range(3):
        view.show(PIPELINE, [running, step("mill")])
    assert said(capsys) == ["dig began (code differs from old--dig)"]
    ended = step("dig", S.COMPLETED, start_time=0.0, end_time=1.5, reuse_reason="ran: code differs from old--dig")
    error = JobError(reason="COMMAND_FAILED", message="the command ended with 3")
    failed = step("mill", S.FAILED, start_time=1.5, end_time=2.0, error=error)
    view.show(PIPELINE, [ended, step("mill", S.QUEUED)])
    view.end(PIPELINE, [ended, failed])
    assert said(capsys) == [
        "dig Completed after 1.5 s",
        "mill began",
        "mill Failed after 0.5 s: the command ended with 3",
    ]


def test_a_step_that_is_reused_is_told_with_its_reason(capsys: pytest.CaptureFixture[str]) -> None:
    view = PlainSteps(is_new=True)
    reason = "reused from old--dig: nothing that counts has changed"
    view.show(PIPELINE, [step("dig", S.COMPLETED, reused_from="old--dig", reuse_reason=reason)])
    assert said(capsys)[0] == f"dig: {reason}"


def test_what_had_begun_or_ended_before_a_watch_began_is_only_counted(capsys: pytest.CaptureFixture[str]) -> None:
    view = PlainSteps(is_new=False)
    view.show(PIPELINE, [step("dig", S.COMPLETED, start_time=0.0, end_time=1.0), step("mill", S.RUNNING)])
    assert said(capsys) == ["1/2 steps done, 1 running (mill), 0 failed"]
    view.show(PIPELINE, [step("dig", S.COMPLETED), step("mill", S.CANCELED)])
    assert said(capsys) == ["mill Canceled"]


def test_a_step_that_is_resumed_is_told_again(capsys: pytest.CaptureFixture[str]) -> None:
    view = PlainSteps(is_new=False)
    view.show(PIPELINE, [step("dig", S.FAILED)])
    view.show(PIPELINE, [step("dig", S.STARTING)])
    view.show(PIPELINE, [step("dig", S.COMPLETED)])
    assert said(capsys)[1:] == ["dig began", "dig Completed"]


def test_a_step_that_lost_its_driver_is_told_to_go_on(capsys: pytest.CaptureFixture[str]) -> None:
    view = PlainSteps(is_new=True)
    view.show(PIPELINE, [step("dig", S.RUNNING)])
    lost = step("dig", S.STARTING, run_number=2, message="its driver was lost")
    for _ in range(2):
        view.show(PIPELINE, [lost])
    assert said(capsys)[-1:] == ["dig goes on, run 2: its driver was lost"]


def drawn(*steps: JobState, room: int = 30, width: int = 120) -> str:
    console = Console(file=io.StringIO(), width=width, color_system=None)
    console.print(picture(PIPELINE, steps, room, 61.0))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.mark.parametrize("width", [80, 60, 40])
def test_a_narrow_terminal_takes_from_what_is_told_beside_a_step(width: int) -> None:
    progress = Progress(item_count=40, mini_batch_count=40, done_mini_batch_count=10, done_item_count=10)
    running = step("mill", S.RUNNING, type="parallel", progress=progress, start_time=0.0)
    failed = step("ship", S.FAILED, start_time=1.0, end_time=2.0, error=JobError(reason="X", message="it sank " * 20))
    lines = drawn(running, failed, width=width).splitlines()
    assert len(lines[1]) <= width
    assert re.match(r"├─ mill  Running  \d+:\d\d:\d\d  ━", lines[-2])
    assert re.match(r"└─ ship  Failed +1\.0 s  it sank", lines[-1])


def test_the_picture_has_a_line_for_each_step_and_a_bar_for_those_with_mini_batches() -> None:
    progress = Progress(item_count=40, mini_batch_count=40, done_mini_batch_count=10, done_item_count=10)
    text = drawn(
        step("dig", S.COMPLETED, reused_from="old--dig", reuse_reason="reused from old--dig: nothing has changed"),
        step("mill", S.RUNNING, type="parallel", progress=progress, start_time=0.0),
        step("ship"),
    )
    lines = text.splitlines()
    assert lines[0].startswith("ore  Running  0:01:01  1/3 steps done, 1 running (mill), 0 failed, 1 reused")
    assert "├─ dig" in lines[1] and "reused from old--dig" in lines[1]
    assert "━" in lines[2] and "10/40 mini-batches" in lines[2]
    assert lines[3].split() == ["└─", "ship", "NotStarted", "-"]


def test_where_there_is_no_room_for_all_what_runs_and_what_failed_goes_first() -> None:
    many = [step(f"s{number:02}", S.COMPLETED) for number in range(20)]
    many[7], many[13] = step("s07", S.FAILED), step("s13", S.RUNNING)
    text = drawn(*many, room=3)
    assert "s07" in text and "s13" in text and "s00" in text and "s01" not in text
    assert "… 17 more" in text
    by_key = {one.step: one for one in many}
    assert [line.key for line in chosen(branches_of(by_key), by_key, 2)] == ["s07", "s13"]
