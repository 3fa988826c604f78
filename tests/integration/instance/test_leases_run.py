"""Leases in, parts out: order, counts, pieces, pages of the same lease by several workers."""

from __future__ import annotations

import os
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from instance_runs import Run, numbers, shared_memory

from runner.entity.lease import Heartbeat, InstanceClosed, InstanceFailed, LeaseSplit, Report

ECHO = """
def run(batch):
    return batch["id"]
"""


@pytest.mark.parametrize("workers", [1, 3])
def test_lines_come_in_mini_batch_order_whatever_the_number_of_workers(tmp_path: Path, workers: int) -> None:
    run = Run(tmp_path, ECHO, rows=2003, row_group=700, per=7, workers=workers).finish()
    assert numbers(run.lines) == list(range(2003))
    assert (run.tally.mini_batch_count, run.tally.item_count, run.tally.failed_item_count) == (287, 2003, 0)
    assert run.tally.row_count == 2003
    assert run.records["mini_batch"].tolist() == list(range(287))
    assert (run.records["elapsed_ns"] > 0).all()


def test_several_leases_are_worked_on_and_reported_each_by_itself(tmp_path: Path) -> None:
    run = Run(tmp_path, ECHO, rows=1000, row_group=300, per=10).finish(0, 5, 37, 64, 100)
    assert [(report.first, report.end) for report in run.reports] == [(0, 5), (5, 37), (37, 64), (64, 100)]
    assert numbers(run.lines) == list(range(1000))


def test_leases_that_come_later_wake_idle_workers(tmp_path: Path) -> None:
    run = Run(tmp_path, ECHO, rows=300, per=10)
    with run:
        for first in range(0, 30, 10):
            run.work(first, first + 10)
        run.close()
    assert numbers(run.lines) == list(range(300))


def test_summary_only_reports_records_and_no_part(tmp_path: Path) -> None:
    run = Run(tmp_path, "def run(batch): return batch['id'][1:]", output=None).finish()
    assert [report.part for report in run.reports] == [None]
    assert run.tally.mini_batch_count == 10
    assert (run.tally.item_count, run.tally.failed_item_count) == (100, 10)
    assert run.records["succeeded"].sum() == 90


def test_parquet_parts_hold_all_rows_in_order(tmp_path: Path) -> None:
    run = Run(tmp_path, ECHO, rows=1000, output="parquet").finish(0, 50, 100)
    tables = [pq.read_table(tmp_path / "staging" / r.part.file) for r in run.reports if r.part is not None]
    assert np.concatenate([t.column(0).to_numpy() for t in tables]).tolist() == list(range(1000))


def test_lists_of_files_reach_run_with_their_number(tmp_path: Path) -> None:
    script = """
    import os
    def run(paths):
        return [f"{paths.task_id} {os.path.basename(path)} {open(path).read()}" for path in paths]
    """
    run = Run(tmp_path, script, files=25, per=4).finish()
    assert run.lines == [f"{n // 4} {n:05d}.txt {n}" for n in range(25)]


def test_the_first_report_says_ready_before_and_closed_comes_last(tmp_path: Path) -> None:
    run = Run(tmp_path, ECHO).finish()
    assert len(run.ready) == 1
    assert run.ready[0].pid == os.getpid()
    assert isinstance(run.events[-1], InstanceClosed)


def test_nothing_is_left_in_shared_memory_scratch_or_descriptors(tmp_path: Path) -> None:
    fds = len(os.listdir("/proc/self/fd"))
    run = Run(tmp_path, ECHO)
    with run:
        run.work(0, 4, 10)
        (folder,) = shared_memory(os.getpid())
        # Ledgers and spools of settled leases go while the instance still lives.
        run.until(lambda event: {path.name for path in folder.iterdir()} == {"board", "lock"})
        run.close()
    assert not folder.exists()
    assert not (tmp_path / "scratch").exists()
    assert len(os.listdir("/proc/self/fd")) <= fds


SLOW_ONE = """
import os, time
def run(batch):
    if batch["id"][0] == 40:
        while not os.path.exists("../side/go"):
            time.sleep(0.01)
    return batch["id"]
"""


def test_finished_neighbours_of_a_slow_mini_batch_are_reported_as_pieces(tmp_path: Path) -> None:
    run = Run(tmp_path, SLOW_ONE)
    with run:
        run.lend()
        while sum(report.end - report.first for report in run.reports) < 9:
            run.take()
        assert run.of(LeaseSplit)
        (tmp_path / "side/go").touch()
        run.until(lambda event: isinstance(event, Report) and event.first == 4)
        run.close()
    ranges = [(report.first, report.end) for report in run.reports]
    assert ranges[0][0] == 0
    assert ranges[-1][1] == 10
    assert all(a[1] == b[0] for a, b in pairwise(ranges))
    assert numbers(run.lines) == list(range(100))


def test_pieces_of_a_split_cover_what_is_split(tmp_path: Path) -> None:
    run = Run(tmp_path, SLOW_ONE)
    with run:
        run.lend()
        run.until(lambda event: isinstance(event, LeaseSplit))
        (tmp_path / "side/go").touch()
        while run.reports == [] or run.reports[-1].end < 10 or sum(r.end - r.first for r in run.reports) < 10:
            run.take()
        run.close()
    for split in run.of(LeaseSplit):
        assert split.pieces[0][0] == split.lease.first
        assert split.pieces[-1][1] == split.lease.end
        assert all(a[1] == b[0] for a, b in pairwise(split.pieces))


def test_commit_now_reports_what_is_final_at_once(tmp_path: Path) -> None:
    from runner.instance.policy import Limits

    run = Run(tmp_path, SLOW_ONE, limits=Limits(beat_s=0.05, hold_s=1000))
    with run:
        run.lend()
        run.until(lambda event: isinstance(event, Heartbeat) and event.live.mini_batch_count == 9)
        run.instance.commit_now()
        while sum(report.end - report.first for report in run.reports) < 9:
            run.take()
        (tmp_path / "side/go").touch()
        run.until(lambda event: isinstance(event, Report) and event.first == 4)
        run.close()
    assert numbers(run.lines) == list(range(100))


def test_heartbeats_tell_what_is_in_flight_and_live_counts(tmp_path: Path) -> None:
    run = Run(tmp_path, SLOW_ONE)
    with run:
        run.lend()
        beat = run.until(
            lambda e: isinstance(e, Heartbeat) and [f.mini_batch for f in e.in_flight if f.phase == "run"] == [4]
        )
        assert isinstance(beat, Heartbeat)
        assert beat.worker_count >= 1
        assert beat.in_flight[0].worker.startswith("process00")
        (tmp_path / "side/go").touch()
        run.until(lambda event: isinstance(event, Report) and event.end == 10)
        while sum(report.end - report.first for report in run.reports) < 10:
            run.take()
        last = run.until(lambda event: isinstance(event, Heartbeat))
        run.close()
    assert isinstance(last, Heartbeat)
    assert last.live.mini_batch_count == 0
    assert last.attempt_count == 10


@pytest.mark.parametrize("broken", ["scratch", "logs"])
def test_an_instance_that_cannot_begin_says_so_and_leaves_nothing(tmp_path: Path, broken: str) -> None:
    fds = len(os.listdir("/proc/self/fd"))
    run = Run(tmp_path, ECHO)
    (tmp_path / broken).write_text("a file where a folder should be")
    with run:
        failed = run.until(lambda event: isinstance(event, InstanceFailed))
        assert isinstance(run.take(), InstanceClosed)
        assert run.instance.join(20)
    assert isinstance(failed, InstanceFailed)
    assert failed.reason == "STORAGE_FAILED"
    assert str(tmp_path / broken) in failed.message
    assert shared_memory(os.getpid()) == set()
    assert len(os.listdir("/proc/self/fd")) <= fds


def test_an_idle_worker_takes_half_of_what_another_has_before_it(tmp_path: Path) -> None:
    script = """
    import os, time
    def run(batch):
        time.sleep(0.03)
        return [os.getpid()]
    """
    run = Run(tmp_path, script, rows=60, row_group=60, per=1)
    assert len(run.plan.units) == 1
    run.finish()
    counts = [run.lines.count(pid) for pid in set(run.lines)]
    assert len(counts) == 2
    assert min(counts) >= 10


def test_who_speaks_to_an_instance_that_has_ended_writes_into_no_other_file(tmp_path: Path) -> None:
    run = Run(tmp_path, "def run(batch):\n    return list(batch['id'])\n")
    with run:
        run.work(0, run.plan.mini_batch_count)
        run.close()
        assert run.instance.join(10)
        # So many that they have every number of a descriptor that the instance has given back.
        files = [open(tmp_path / f"file-{number}", "wb") for number in range(64)]  # noqa: SIM115 - closed below
        run.instance.touch()
        run.instance.settle(0, run.plan.mini_batch_count)
        run.instance.kill()
        for file in files:
            file.close()
    assert [path.name for path in tmp_path.glob("file-*") if path.stat().st_size] == []
