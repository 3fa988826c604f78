"""What a script overdoes stays in bounds: what it prints, how much of it fails; and failures that have no place.

The long forms take minutes, gigabytes of a pipe and a gigabyte of disk; they print what they measured.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest
from cli_kit import TABLES, Bench, until

MB = 1 << 20
PRINTER = """\
import os
import sys

BLOCK = ("x" * 1023 + "\\n") * 1024

def run(mini_batch):
    for _ in range({count}):
        sys.stdout.write(BLOCK)
        sys.stderr.write(BLOCK)
    print("last words")
    return [os.path.basename(path) for path in mini_batch]
"""
"""Prints `count` megabytes to each of two files for each mini-batch."""
KEPT = 40 * MB
"""Of one worker: the first 16 MB and the last one or two of each of two files, and what is said about the job."""

FAILING = """\
def run(mini_batch):
    if mini_batch["number"].iloc[0] == 0:
        return ["good"]
    raise ValueError("no oil " * 700)
"""


@pytest.fixture
def bench(tmp_path: Path, home: Path) -> Bench:
    return Bench(tmp_path / "work", home)


def tell(what: str) -> None:
    sys.stdout.write(f"{what}\n")


def used(folder: Path) -> int:
    """Bytes of disk below a folder that others write to."""
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.lstat().st_blocks * 512
        except FileNotFoundError:
            continue
    return total


def memory(pid: int) -> int:
    """The most that a process has held that no file stands behind, as seen now; 0 when it is gone."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) << 10 for line in lines if line.startswith("RssAnon:"))


LONG = [pytest.mark.soak, pytest.mark.timeout(1800)]


@pytest.mark.parametrize("count", [4, pytest.param(96, marks=LONG)])
def test_a_worker_may_print_gigabytes(bench: Bench, count: int) -> None:
    bench.script(PRINTER.format(count=count))
    bench.files(16)
    going = bench.start("submit", bench.job(), "--name", "probe")
    most = held = 0
    while going.process.poll() is None:
        most = max(most, used(bench.home / "jobs"))
        held = max(held, memory(bench.driver_pid()))
        time.sleep(0.05)
    going.end().ok()
    tell(f"{32 * count} MB printed: {most / MB:.0f} MB of disk at most, {held / MB:.0f} MB of memory")
    assert used(bench.logs()) < KEPT
    assert held < 150 * MB
    shown = bench.bytes_of("logs", "probe")
    assert len(shown) < KEPT
    assert b"bytes left out" in shown
    assert shown.rstrip().endswith(b"last words")


@pytest.mark.parametrize("count", [3000, pytest.param(100_000, marks=LONG)])
def test_very_many_items_may_fail(bench: Bench, count: int) -> None:
    bench.script(FAILING)
    bench.table("part.parquet", {"number": list(range(count + 1))})
    job = bench.job(**TABLES | {"mini_batch_size": "1 rows", "mini_batch_error_threshold": -1})
    began = time.monotonic()
    going = bench.start("submit", job, "--name", "probe")
    until(lambda: (bench.home / "jobs/probe/failures.jsonl").exists(), what="the first failures")
    held, slowest = 0, 0.0
    while going.process.poll() is None:
        held = max(held, memory(bench.driver_pid()))
        asked = time.monotonic()
        bench.show()
        slowest = max(slowest, time.monotonic() - asked)
    ended = going.process.wait()
    assert ended == 0
    lines = (bench.home / "jobs/probe/failures.jsonl").stat().st_size
    kept = used(bench.target.with_name("scores.txt.failures"))
    told = (
        f"{count} failed in {time.monotonic() - began:.0f} s: {held / MB:.0f} MB of memory, show within {slowest:.1f} s"
    )
    tell(f"{told}; MB of lines: {lines / MB:.0f}, data set: {kept / MB:.1f}, logs: {used(bench.logs()) / MB:.0f}")
    assert held < 300 * MB
    assert used(bench.logs()) < 50 * MB + 1000 * count
    listed = bench.run("failures", "probe", "--limit", "3").ok().out.splitlines()
    assert [line.split()[0] for line in listed] == ["MINI-BATCH", "1", "2", "3"]
    assert f"{count} failed" in bench.run("show", "probe").ok().out


def test_failures_that_have_no_place_beside_the_output_are_told(bench: Bench) -> None:
    place = bench.target.with_name("scores.txt.failures")
    bench.script(f"""
import os, signs
def run(mini_batch):
    if mini_batch[0].endswith("1.txt"):
        if signs.give("made"):
            os.mkdir({str(place)!r})  # as somebody else might, in the middle of the run
        raise ValueError("no oil")
    return ["good"]
""")
    bench.files(3)
    ended = bench.submit(mini_batch_error_threshold=-1).ok()
    assert bench.status() == "Completed"
    inside = bench.home / "jobs/probe/failures"
    assert f"the failures data set is not where it should be, they are in {inside}" in ended.out + ended.err
    assert f"{place} is not this job's" in bench.run("show", "probe").ok().out
    assert (inside / "part-00000.parquet").exists()
    assert not list(place.iterdir())
    assert "no oil" in bench.run("failures", "probe").ok().out
    place.rmdir()
    bench.run("redrive", "probe")  # fails again
    assert (place / "part-00000.parquet").exists() and not inside.exists()
    assert bench.run("show", "probe").ok().out.count("the failures data set") == 1, "only in the history"
