"""A cancel ends a job and all its processes, whatever they do; nothing is published, what is committed is kept."""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from cli_kit import Bench, until

from runner.compose.launch import launch_driver
from runner.entity.parallel import CANCEL_GRACE_S, ParallelSpec
from runner.server.jobs import Jobs
from runner.store.home import Home

COUNT = 4
STUBBORN = """\
import os
import signal
import subprocess
import sys
import time
import signs

def init():
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)

def run(mini_batch):
    name = os.path.basename(mini_batch[0])
    if name != "002.txt" or signs.is_given("go"):
        return [name]
    loop = "import signal, time\\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\\nwhile True: time.sleep(1)"
    child = subprocess.Popen([sys.executable, "-c", loop], start_new_session=True)
    signs.note("pids", child.pid)
    signs.note("pids", os.getpid())
    signs.give("held")
    while True:
        time.sleep(0.1)
"""
SCORED = "".join(f"{number:03d}.txt\n" for number in range(COUNT))


@pytest.fixture
def bench(tmp_path: Path, home: Path) -> Bench:
    made = Bench(tmp_path / "work", home)
    made.script(STUBBORN)
    made.files(COUNT)
    return made


def stubborn(bench: Bench, grace_s: float = CANCEL_GRACE_S) -> list[int]:
    """A job in mid-run with a call that never ends and a child that hears nothing; its processes."""
    home = Home(bench.home)
    jobs = Jobs(home, lambda name: None)
    jobs.create(bench.document(), base_path=str(bench.folder), name="probe")
    jobs.close()
    spec = msgspec.json.decode(home.job("probe").spec.read_bytes(), type=ParallelSpec)
    home.job("probe").spec.write_bytes(msgspec.json.encode(replace(spec, cancel_grace_s=grace_s)))
    launch_driver(home, "probe")
    until(lambda: bench.is_given("held"), what="the call that never ends")
    return [bench.driver_pid(), *map(int, bench.notes("pids"))]


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


def check_gone_and_resumable(bench: Bench, pids: list[int]) -> None:
    until(lambda: not [pid for pid in pids if is_alive(pid)], what="the end of all processes")
    assert not bench.target.exists()
    bench.give("go")
    bench.run("resume", "probe").ok()
    assert bench.target.read_text() == SCORED


def test_a_cancel_ends_processes_that_ignore_signals_hang_and_have_children(bench: Bench) -> None:
    pids = stubborn(bench, grace_s=1.0)
    bench.run("cancel", "probe").ok()
    assert bench.run("watch", "probe").code == 130
    check_gone_and_resumable(bench, pids)


def test_a_cancel_ends_a_driver_that_is_stopped_and_all_below_it(bench: Bench) -> None:
    pids = stubborn(bench)
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    bench.run("cancel", "probe").ok()
    assert bench.status() == "Canceled"
    assert "its driver did not answer and was killed" in bench.run("show", "probe").out
    check_gone_and_resumable(bench, pids)


def test_a_driver_that_is_stopped_after_the_cancel_is_ended_by_who_looks(bench: Bench) -> None:
    pids = stubborn(bench)
    bench.run("cancel", "probe").ok()
    os.kill(pids[0], signal.SIGSTOP)
    until(lambda: bench.status() == "Canceled", what="the cancel")
    check_gone_and_resumable(bench, pids)
