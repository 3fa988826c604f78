"""A service goes on with jobs whose driver was killed, until that is seen to be in vain; the lock decides who does."""

from __future__ import annotations

import os
import signal
from collections import Counter
from pathlib import Path

import pytest
from cli_kit import Bench, Going, until

from runner.server.orphans import LIMIT

COUNT, HELD = 6, 3
SCORE = f"""\
import os
import signal
import signs

def run(mini_batch):
    name = os.path.basename(mini_batch[0])
    signs.note("runs", name)
    if name == "{HELD:03d}.txt" and not signs.is_given("go"):
        signs.give("held")
        signs.wait("go")
    return [f"{{name}} is scored"]
"""
SCORED = "".join(f"{number:03d}.txt is scored\n" for number in range(COUNT))
KILLER = """
def init():
    signs.note("inits", "x")
    os.kill(os.getppid(), signal.SIGKILL)
"""
"""With compute: local the parent of a worker is the driver."""


@pytest.fixture
def bench(tmp_path: Path, home: Path) -> Bench:
    made = Bench(tmp_path / "work", home)
    made.script(SCORE)
    made.files(COUNT)
    return made


def serve(bench: Bench) -> Going:
    service = bench.start("serve")
    service.says("serving on ")
    return service


def end(*services: Going) -> None:
    for service in services:
        service.send(signal.SIGTERM)
    for service in services:
        ended = service.end()
        assert (ended.code, "Traceback" in ended.err) == (0, False), ended.err


def orphaned(bench: Bench) -> None:
    """A job whose driver was killed in mid-run."""
    bench.start("submit", bench.job(), "--name", "probe", "--detach").end().ok()
    until(lambda: bench.is_given("held"), what="a job in mid-run")
    os.kill(bench.driver_pid(), signal.SIGKILL)
    until(lambda: not bench.driver_pid(), what="the end of the driver")


def test_a_job_that_lost_its_driver_is_resumed_once_by_two_services(bench: Bench) -> None:
    orphaned(bench)
    services = serve(bench), serve(bench)
    bench.give("go")
    until(lambda: bench.status() == "Completed", what="the end of the job")
    assert bench.target.read_text() == SCORED
    shown = bench.run("show", "probe").ok().out
    assert shown.count("Starting") == 2, "one of the services began the second run"
    assert f"resumed by the service, time 1 of {LIMIT}" in shown
    end(*services)


def test_a_job_that_kills_its_driver_is_let_go_and_may_be_resumed_by_hand(bench: Bench) -> None:
    bench.script(SCORE + KILLER)
    service = serve(bench)
    bench.start("submit", bench.job(), "--name", "probe", "--detach").end().ok()
    until(lambda: "times in a row" in bench.run("show", "probe").out, what="the service to give up")
    shown = bench.show()
    assert shown["status"] == "NotResponding"
    assert Counter(event["status"] for event in shown["events"])["Starting"] == 1 + LIMIT
    assert len(bench.notes("inits")) >= 1 + LIMIT
    assert "`runner resume probe` tries again" in bench.run("show", "probe").out
    bench.script(SCORE)
    code = bench.home / "jobs" / "probe" / "code" / "score.py"
    code.chmod(0o600)
    code.write_text(SCORE)  # as a user would not do it, but whose driver does not die is what matters
    bench.give("go")
    bench.run("resume", "probe").ok()
    assert bench.target.read_text() == SCORED
    end(service)


def test_a_cancel_that_a_dead_driver_cannot_hear_is_ended_by_the_service(bench: Bench) -> None:
    orphaned(bench)
    service = serve(bench)
    asked = bench.run("cancel", "probe")
    until(lambda: bench.status() in ("Canceled", "Completed", "CancelRequested"), what="an end")
    if asked.code == 0 and bench.status() != "Canceled":  # the service was quicker than the cancel
        bench.give("go")
    until(lambda: bench.status() == "Canceled", what="the cancel")
    assert not bench.target.exists()
    bench.give("go")
    bench.run("resume", "probe").ok()
    assert bench.target.read_text() == SCORED
    end(service)


@pytest.mark.parametrize("by_service", [True, False])
def test_what_a_driver_left_that_was_killed_after_its_last_record_goes(bench: Bench, by_service: bool) -> None:
    bench.give("go")
    bench.submit().ok()
    assert not list((bench.home / "untidy").iterdir())
    staging = bench.target.with_name(f".{bench.target.name}.probe.staging")
    staging.mkdir()
    (staging / "lease-0.part").touch()
    (bench.home / "untidy" / "probe").touch()
    (bench.home / "untidy" / "deleted").touch()
    if by_service:
        service = serve(bench)
        until(lambda: not list((bench.home / "untidy").iterdir()), what="the service to tidy up")
        end(service)
    else:
        bench.run("submit", bench.job(outputs={"scores": {"path": "out/more.txt"}}), "--name", "more").ok()
    assert not staging.exists()
    assert not list((bench.home / "untidy").iterdir())
    assert bench.target.read_text() == SCORED
