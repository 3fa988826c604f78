"""What a service does about commands and pipelines without a driver, and never about steps."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from piped_jobs import Steps, write_command, write_pipeline
from served_jobs import TO_RUNNING, TO_THE_END, Hand

from runner.entity.status import JobStatus
from runner.instance.reaper import TOKEN
from runner.server.jobs import Jobs
from runner.server.orphans import LIMIT, adopt_orphans
from runner.store.home import Home
from runner.store.store import Store

S = JobStatus


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


@pytest.fixture
def launched() -> list[str]:
    return []


@pytest.fixture
def jobs(home: Home, launched: list[str], tmp_path: Path) -> Iterator[Jobs]:
    """With a command `sift` and a pipeline `dawn`, just started."""
    jobs = Jobs(home, launched.append)
    jobs.create(write_command(tmp_path / "work"), name="sift")
    jobs.create(write_pipeline(tmp_path / "work"), name="dawn")
    launched.clear()
    yield jobs
    jobs.close()


def lose(home: Home, name: str) -> None:
    """A driver begins, and dies."""
    hand = Hand(home, name)
    if hand.store.get(name).status is S.STARTING:
        hand.move(*TO_RUNNING)
    hand.die()


def test_commands_and_pipelines_are_resumed_and_let_go_when_that_is_in_vain(
    jobs: Jobs, home: Home, launched: list[str]
) -> None:
    for _ in range(LIMIT + 1):
        lose(home, "sift")
        lose(home, "dawn")
        adopt_orphans(jobs)
    adopt_orphans(jobs)
    assert sorted(launched) == ["dawn"] * LIMIT + ["sift"] * LIMIT
    for name in ("sift", "dawn"):
        assert jobs.get(name).status is S.NOT_RESPONDING
        assert "times in a row" in jobs.get(name).message


def test_a_pipeline_of_which_steps_complete_is_resumed_on_and_on(jobs: Jobs, home: Home, launched: list[str]) -> None:
    for _ in range(LIMIT):
        lose(home, "dawn")
        adopt_orphans(jobs)
    steps = Steps(home, "dawn")
    steps.begin("sift").complete()
    steps.close()
    lose(home, "dawn")
    adopt_orphans(jobs)
    assert launched.count("dawn") == LIMIT + 1


def test_a_step_is_left_to_its_pipeline(jobs: Jobs, home: Home, launched: list[str]) -> None:
    hand = Hand(home, "dawn")
    steps = Steps(home, "dawn")
    step = steps.begin("sift")
    step.move(*TO_RUNNING)
    step.die()
    adopt_orphans(jobs)
    assert jobs.get("dawn--sift").run_number == 1
    assert "dawn--sift" not in launched
    hand.move(S.PREPARING, S.FAILED)
    hand.die()
    adopt_orphans(jobs)
    assert "dawn--sift" not in launched
    steps.close()


def test_a_cancelled_pipeline_without_drivers_is_ended_with_its_steps(jobs: Jobs, home: Home) -> None:
    steps = Steps(home, "dawn")
    steps.begin("sift").die()
    hand = Hand(home, "dawn")
    hand.store.request_cancel("dawn")
    hand.die()
    adopt_orphans(jobs)
    assert steps.store.get("dawn").status is S.CANCELED
    assert steps.store.get("dawn--sift").status is S.CANCELED
    steps.close()


def test_what_a_cancelled_command_left_running_is_ended(jobs: Jobs, home: Home) -> None:
    hand = Hand(home, "sift")
    hand.move(*TO_RUNNING)
    attempts = home.job("sift").attempts
    attempts.mkdir()
    environment = {**os.environ, TOKEN: f"{attempts}/1/"}
    with subprocess.Popen(["sleep", "600"], env=environment, start_new_session=True) as left:
        try:
            hand.die()
            assert jobs.cancel("sift").status is S.CANCELED
            assert left.wait(20) == -signal.SIGKILL
        finally:
            left.kill()


def test_a_pipeline_that_waits_for_a_step_is_not_taken_for_deaf(jobs: Jobs, home: Home) -> None:
    steps = Steps(home, "dawn")
    step = steps.begin("sift")
    step.move(*TO_THE_END[:-1])
    long_ago = Store(home, clock=lambda: time.time() - 3600)
    long_ago.request_cancel("dawn")
    with driver(home, "dawn") as driving:
        assert jobs.get("dawn").status is S.CANCEL_REQUESTED
        step.move(S.COMPLETED)
        assert jobs.get("dawn").status is S.CANCEL_REQUESTED, "it may just be about to write that it is Canceled"
        assert driving.poll() is None
    step.die()
    steps.close()
    long_ago.close()


def test_a_pipeline_that_says_nothing_long_after_its_steps_have_ended_is_deaf(jobs: Jobs, home: Home) -> None:
    long_ago = Store(home, clock=lambda: time.time() - 3600)
    long_ago.request_cancel("dawn")
    with driver(home, "dawn") as driving:
        assert jobs.get("dawn").status is S.CANCELED
        assert driving.wait(20) == -signal.SIGKILL
    long_ago.close()


@contextmanager
def driver(home: Home, name: str) -> Iterator[subprocess.Popen[str]]:
    """A process that holds the lock of a job, has signed it, and does nothing."""
    lines = (
        "import sys",
        "from pathlib import Path",
        "from runner.store.lock import JobLock",
        "lock = JobLock.take(Path(sys.argv[1]))",
        "lock.sign()",
        "print('held', flush=True)",
        "sys.stdin.read()",
    )
    argv = [sys.executable, "-c", "\n".join(lines), str(home.job(name).lock)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        try:
            yield process
        finally:
            process.kill()
