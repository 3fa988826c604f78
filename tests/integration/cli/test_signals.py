"""Off a terminal: what SIGINT, SIGTERM, SIGHUP and a dead driver do to a job and to the command that watches it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time

import pytest
from cli_kit import RUNNER, Bench, until

HOLD_AND_NOTE_THE_END = """\
import signs

def run(mini_batch):
    signs.give("began")
    signs.wait("go")
    return mini_batch

def shutdown():
    signs.give("closed")
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_sigint_and_sigterm_cancel_the_job(bench: Bench, number: signal.Signals) -> None:
    bench.files(4)
    going = bench.began()
    going.send(number)
    going.says("cancelling probe")
    bench.give("go")
    ended = going.end()
    assert ended.code == 130
    assert "probe is Canceled" in ended.err and "Traceback" not in ended.err
    shown = bench.show()
    assert shown["status"] == "Canceled"
    assert [event["status"] for event in shown["events"]][-2:] == ["CancelRequested", "Canceled"]
    assert not bench.target.exists()


def test_a_signal_while_the_job_is_made_is_not_lost(bench: Bench) -> None:
    bench.files(2)
    bench.script("import signs\nsigns.give('imported')\ndef init(): signs.wait('go')\ndef run(b): return b\n")
    going = bench.start("submit", bench.job(), "--name", "probe")
    until(lambda: (bench.home / "jobs" / "probe").exists(), what="the first trace of the job")
    going.send(signal.SIGTERM)
    bench.give("go")
    assert going.end().code == 130
    assert bench.status() == "Canceled"


def test_sighup_detaches_and_the_job_goes_on(bench: Bench) -> None:
    bench.files(2)
    going = bench.began()
    going.send(signal.SIGHUP)
    ended = going.end()
    assert ended.code == 0 and "probe goes on; `runner watch probe` follows it" in ended.err
    assert bench.status() == "Running"
    bench.give("go")
    assert bench.run("watch", "probe").code == 0
    assert bench.target.exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_watch_of_a_job_that_is_not_its_own_only_stops_watching(bench: Bench, number: signal.Signals) -> None:
    bench.files(1)
    bench.began("--detach").end().ok()
    watch = bench.start("watch", "probe")
    watch.says("0/1 mini-batches")
    watch.send(number)
    assert watch.end().code == 0
    assert bench.status() == "Running"
    bench.give("go")
    assert bench.run("watch", "probe").code == 0


def test_shutdown_runs_in_live_workers_when_a_job_is_cancelled(bench: Bench) -> None:
    bench.files(2)
    bench.script(HOLD_AND_NOTE_THE_END)
    going = bench.start("submit", bench.job(), "--name", "probe")
    bench.wait_began(going.process)
    bench.run("cancel", "probe").ok()
    bench.give("go")
    assert going.end().code == 130
    assert bench.is_given("closed")


def test_a_driver_that_is_killed_is_noticed_within_five_seconds(bench: Bench) -> None:
    bench.files(2)
    going = bench.began()
    os.kill(bench.driver_pid(), signal.SIGKILL)
    killed = time.monotonic()
    ended = going.end(within=20)
    assert time.monotonic() - killed < 5
    assert ended.code == 3
    assert "driver of job 'probe' is gone" in ended.err and "`runner resume probe`" in ended.err
    assert "Traceback" not in ended.err
    assert bench.run("watch", "probe").code == 3
    assert bench.run("logs", "probe", "sys/driver.txt").code == 0, "as the message says"
    follow = bench.run("logs", "probe", "--follow")
    assert follow.code == 0, "what there is to read is read, and then it ends"


def test_a_driver_that_is_killed_takes_its_workers_along(bench: Bench) -> None:
    bench.script(
        "import os, signs\n"
        "def run(mini_batch):\n    signs.note('pids', os.getpid())\n    signs.give('began')\n    signs.wait('go')\n"
    )
    bench.files(4)
    going = bench.start("submit", bench.job(max_concurrency_per_instance=2), "--name", "probe")
    bench.wait_began(going.process)
    until(lambda: len(bench.notes("pids")) == 2, what="two workers")
    os.kill(bench.driver_pid(), signal.SIGKILL)
    assert going.end().code == 3
    until(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in bench.notes("pids")), what="the workers' end")


def test_sigterm_to_the_driver_itself_cancels(bench: Bench) -> None:
    bench.files(2)
    going = bench.began()
    os.kill(bench.driver_pid(), signal.SIGTERM)
    until(lambda: bench.status() == "CancelRequested" or bench.status() == "Canceled", what="the cancel")
    bench.give("go")
    assert going.end().code == 130


def test_a_reader_that_goes_away_does_not_end_the_job(bench: Bench) -> None:
    bench.script("import signs\ndef run(b):\n    signs.give('began')\n    signs.wait('go')\n    return b\n")
    bench.files(1)
    process = subprocess.Popen(
        [*RUNNER, "submit", str(bench.job()), "--name", "probe"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        cwd=bench.folder,
    )
    assert process.stdout is not None
    assert re.match(rb"submitted probe", process.stdout.readline())
    process.stdout.close()
    bench.wait_began(process)
    bench.give("go")
    assert process.wait(30) == 0
    assert bench.status() == "Completed"


def test_standard_input_that_is_closed_is_no_terminal(bench: Bench) -> None:
    bench.script("def run(b): return b\n")
    bench.files(1)
    line = " ".join(f"'{word}'" for word in (*RUNNER, "submit", str(bench.job()), "--name", "probe"))
    done = subprocess.run(["sh", "-c", f"{line} <&-"], capture_output=True, text=True, cwd=bench.folder, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_a_call_that_never_returns_is_killed_when_the_grace_is_over(bench: Bench) -> None:
    bench.files(2)
    going = bench.began()
    going.send(signal.SIGINT)
    ended = going.end(within=100)
    assert ended.code == 130 and bench.status() == "Canceled"
    assert "30 s" in ended.err
