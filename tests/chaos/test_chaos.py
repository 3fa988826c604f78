"""A job whose processes are killed at random, many at once, and some stopped and let go on: nothing lost or doubled.

What comes out is judged by `checker`, which reads files only. The seed decides what is struck and how; when, the work
itself decides: so many calls of the script after the last strike.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from checker import Broken, Verdict, check
from cli_kit import Bench, Going
from havoc import ROLES, Havoc

from runner.server.jobs import Jobs
from runner.store.home import Home

PER = 10
BAD_EVERY, BAD_AT, DEADLY = 499, 7, 123
"""What raises, and what kills its process."""
SCORE = f"""\
import os
import time

import numpy as np

CALLS, PACE = os.environ["CALLS"], float(os.environ["PACE"])

def run(mini_batch):
    ids = mini_batch["id"]
    name = f"{{ids[0]}}.{{len(ids)}}.{{os.getpid()}}.{{time.monotonic_ns()}}"
    os.close(os.open(os.path.join(CALLS, name), os.O_CREAT | os.O_EXCL))
    time.sleep(PACE)
    if (ids % {BAD_EVERY} == {BAD_AT}).any():
        raise ValueError("a wrong label")
    if (ids == {DEADLY}).any():
        os._exit(3)
    scores = ids * ids % 9973
    return RETURN
"""
TEXT = '[f"{item} {score}" for item, score in zip(ids.tolist(), scores.tolist())]'
TABLE = "np.array(list(zip(ids.tolist(), scores.tolist())), dtype=[('id', 'i8'), ('score', 'i8')])"


class Siege:
    """One job under attack."""

    def __init__(self, folder: Path, home: Path, seed: int, *, rows: int, pace_s: float, **job: object) -> None:
        self.bench = Bench(folder / "work", home)
        self.calls = folder / "calls"
        self.calls.mkdir()
        self.havoc = Havoc(home, seed)
        self.chance = self.havoc.random
        is_text = job.get("compute") == "local"
        self.target = self.bench.folder / "out" / ("scores.txt" if is_text else "scores")
        self.bench.script(SCORE.replace("RETURN", TEXT if is_text else TABLE))
        third = rows // 3 // PER * PER
        for number, (first, end) in enumerate([(0, third), (third, 2 * third), (2 * third, rows)]):
            self.bench.table(f"{number}.parquet", {"id": range(first, end)}, row_group_size=400)
        runner = {"mini_batch_format": "numpy"} | ({} if is_text else {"output_format": "parquet", "part_size": "64kb"})
        self.bench.job(
            inputs={"cargo": {"type": "mltable", "mode": "direct", "path": "tables"}},
            outputs={"scores": {"type": "uri_file" if is_text else "uri_folder", "path": str(self.target)}},
            mini_batch_size=f"{PER} rows",
            environment_variables={"CALLS": str(self.calls), "PACE": str(pace_s)},
            **{
                "max_concurrency_per_instance": 2,
                "retry_settings": {"max_retries": 8, "timeout": 20},
                "runner": runner,
                **job,
            },
        )
        self.bad = {item // PER for item in range(rows) if item % BAD_EVERY == BAD_AT} | {DEADLY // PER}
        """The mini-batches that must fail, and no other."""
        self.jobs = Jobs(Home(home), launch=lambda name: None)
        self.service: Going | None = None
        self.stopped: list[threading.Timer] = []
        self.resume_count = 0

    @property
    def status(self) -> str:
        return str(self.jobs.get("probe").status)

    @property
    def call_count(self) -> int:
        return len(os.listdir(self.calls))

    def begin(self) -> None:
        """Submit the job; nobody watches it."""
        self.bench.run("submit", self.bench.folder / "job.yml", "--name", "probe", "--detach").ok()

    def await_work(self, calls: int, within_s: float) -> None:
        """Until so many more calls were made, or nothing can make them."""
        wanted, until = self.call_count + calls, time.monotonic() + within_s
        while self.call_count < wanted and time.monotonic() < until and self.jobs.has_driver("probe") is not False:
            if self.status == "Completed":
                return
            time.sleep(0.01)

    def await_target(self, strike: str, within_s: float) -> None:
        """Until a process of the role that a strike is named after lives: an instance may only just be starting."""
        role, until = "gcs" if strike == "gcs" else strike.split()[-1].removesuffix("s"), time.monotonic() + within_s
        while role in ROLES and not self.havoc.roles()[role] and time.monotonic() < until:
            if self.status == "Completed" or self.jobs.has_driver("probe") is False:
                return
            time.sleep(0.05)

    def stop_for_a_while(self, role: str, for_s: float) -> None:
        """Stop a process; it goes on later, whatever has become of its work meanwhile."""
        for pid in self.havoc.strike(role, 1, signal.SIGSTOP):
            timer = threading.Timer(for_s, self.havoc.send, ([pid], signal.SIGCONT))
            timer.start()
            self.stopped.append(timer)

    def serve(self) -> None:
        """A service over the home, which resumes what has lost its driver; started again when it was killed."""
        if self.service is None or self.service.process.poll() is not None:
            self.service = self.bench.start("serve")

    def resume(self) -> None:
        """Resume the job if its driver is dead; other refusals are for the next round."""
        if self.service is not None:
            self.serve()
            if self.chance.random() < 0.5:
                self.await_driver(within_s=20)
        if self.jobs.has_driver("probe") is not False and self.status not in ("Failed", "Canceled"):
            return
        error = self.jobs.get("probe").error
        assert error is None or error.reason != "INTERNAL", f"{error} after {self.havoc}"
        done = self.bench.run("resume", "probe", "--detach")
        assert "Traceback" not in done.err, done.err
        self.resume_count += done.code == 0

    def await_driver(self, within_s: float) -> None:
        """Until the service has found the job and given it a driver."""
        until = time.monotonic() + within_s
        while time.monotonic() < until and self.jobs.has_driver("probe") is False:
            time.sleep(0.05)

    def let_end(self, within_s: float) -> None:
        """No more strikes: it has to complete."""
        until = time.monotonic() + within_s
        while self.status != "Completed":
            assert time.monotonic() < until, f"still {self.status} after {self.havoc}: {self.jobs.get('probe')}"
            self.resume()
            time.sleep(0.05)

    def verdict(self) -> Verdict:
        """The checker's word, and what it cannot know: that exactly what must fail has failed."""
        beside = self.target.with_name(self.target.name + ".failures")
        failures = beside if beside.exists() else self.bench.home / "jobs" / "probe" / "failures.jsonl"
        try:
            verdict = check(self.bench.folder / "tables", self.target, failures, self.calls)
        except Broken as broken:
            raise AssertionError(f"{broken}\nseed {self.havoc.seed}: {self.havoc}") from None
        return verdict

    def close(self) -> None:
        for timer in self.stopped:
            timer.cancel()
            timer.function(*timer.args)
        self.jobs.close()
        if self.service is not None:
            self.service.process.terminate()
            self.service.process.wait()


def besiege(
    siege: Siege, strikes: dict[str, Callable[[], object]], count: int, calls: tuple[int, int], patience_s: float
) -> None:
    """Strike so many times, each after some more work, or after so long without it."""
    for _ in range(count):
        siege.await_work(siege.chance.randint(*calls), within_s=patience_s)
        if siege.status == "Completed":
            break
        names = siege.chance.choices(list(strikes), k=siege.chance.choice([1, 1, 1, 2, 3]))
        siege.await_target(names[0], within_s=patience_s)
        for name in names:
            strikes[name]()
        siege.resume()


def local_strikes(siege: Siege) -> dict[str, Callable[[], object]]:
    havoc = siege.havoc
    return {
        "worker": lambda: havoc.strike("worker"),
        "workers": lambda: havoc.strike("worker", 9),
        "stopped worker": lambda: siege.stop_for_a_while("worker", 0.5),
        "driver": lambda: havoc.strike("driver"),
        "stopped driver": lambda: siege.stop_for_a_while("driver", 0.5),
        "everything": havoc.kill_all,
    }


def ray_strikes(siege: Siege) -> dict[str, Callable[[], object]]:
    havoc = siege.havoc
    return {
        "worker": lambda: havoc.strike("worker"),
        "workers": lambda: havoc.strike("worker", 9),
        "stopped worker": lambda: siege.stop_for_a_while("worker", 3),
        "instance": lambda: havoc.strike("instance"),
        "instances": lambda: havoc.strike("instance", 9),
        # Longer than a driver waits for an instance: its work is lent again, then it goes on.
        "stopped instance": lambda: siege.stop_for_a_while("instance", 14),
        "driver": lambda: havoc.strike("driver"),
        "stopped driver": lambda: siege.stop_for_a_while("driver", 2),
        # Longer than an instance waits for its driver, and than readers do: another driver takes over.
        "silent driver": lambda: siege.stop_for_a_while("driver", 45),
        "raylet": lambda: havoc.strike("raylet"),
        "gcs": lambda: havoc.strike("gcs"),
        "keeper": lambda: havoc.strike("keeper"),
        "service": lambda: havoc.strike("service"),
        "everything": havoc.kill_all,
    }


def judged(siege: Siege, capsys: pytest.CaptureFixture[str]) -> Verdict:
    verdict = siege.verdict()
    with capsys.disabled():
        sys.stdout.write(f"\nseed {siege.havoc.seed}: {verdict}; {siege.resume_count} resumes; {siege.havoc}\n")
    assert verdict.failed_count == PER * len(siege.bad), "exactly what must fail has failed"
    return verdict


SEED = int(os.environ.get("SEED", "1"))


def test_nothing_is_lost_and_nothing_is_twice_on_this_machine(
    tmp_path: Path, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    siege = Siege(tmp_path, home, SEED, rows=2000, pace_s=0.02, compute="local")
    try:
        siege.begin()
        besiege(siege, local_strikes(siege), count=8, calls=(5, 40), patience_s=20)
        siege.let_end(within_s=60)
        verdict = judged(siege, capsys)
    finally:
        siege.close()
    assert siege.resume_count > 0
    assert verdict.repeated_call_count > 0


@pytest.mark.soak
@pytest.mark.ray
@pytest.mark.timeout(5400)
def test_nothing_is_lost_and_nothing_is_twice_on_ray(
    tmp_path: Path, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    siege = Siege(
        tmp_path,
        home,
        SEED,
        rows=12_000,
        pace_s=0.1,
        compute=None,
        max_concurrency_per_instance=1,
        resources={"instance_count": 2},
    )
    try:
        siege.begin()
        siege.serve()
        besiege(siege, ray_strikes(siege), count=25, calls=(10, 90), patience_s=120)
        siege.let_end(within_s=900)
        judged(siege, capsys)
    finally:
        siege.close()
