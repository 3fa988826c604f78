"""Leases cut short and given up while workers claim at full speed: nothing is lost, run twice, or reported too late."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from pathlib import Path

from instance_runs import Run, numbers

from runner.entity.lease import Heartbeat, InstanceFailed, Lease, LeaseCut, Report

COUNTED = """
import os
def run(batch):
    fd = os.open("../side/calls", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(fd, b"%d\\n" % (batch["id"][0] // 2))
    os.close(fd)
    return batch["id"]
"""
GATED = """
import os, time
def run(batch):
    open(f"../side/begun-{batch['id'][0]}", "w").close()
    while not os.path.exists("../side/go"):
        time.sleep(0.01)
    return batch["id"]
"""


def test_what_is_cut_off_is_never_run_here_and_the_rest_is_run_once(tmp_path: Path) -> None:
    run = Run(tmp_path, COUNTED, rows=8_000, row_group=800, per=2, workers=3)
    lent = [(n, n + 500) for n in range(0, 4_000, 500)]
    with run:
        run.lend(*range(0, 4_001, 500))
        run.until(lambda event: isinstance(event, Report))
        for first, end in lent:
            run.instance.retract(first, end, first + 150)  # at once, and beside claims in progress
        kept: list[tuple[int, int]] = []
        back: list[tuple[int, int]] = []
        while sum(end - first for first, end in [*kept, *back]) < 4_000:
            assert not isinstance(run.take(), InstanceFailed)
            kept = [(report.first, report.end) for report in run.of(Report)]
            back = [(cut.limit, cut.end) for cut in run.of(LeaseCut) if cut.limit < cut.end]
        assert back, "some of it was not begun"
        assert all(cut.limit > cut.first for cut in run.of(LeaseCut)), "at least one stays"
        assert all(a[1] == b[0] for a, b in pairwise(sorted([*kept, *back]))), "what is kept and what is back is all"
        ran = Counter(map(int, (tmp_path / "side/calls").read_text().split()))
        assert set(ran.values()) == {1}
        assert set(ran) == {number for first, end in kept for number in range(first, end)}
        for first, end in back:  # somebody else's now, here the same instance's
            run.lend_lease(Lease(first=first, end=end, epoch=1, lending=1))
        while sum(report.end - report.first for report in run.of(Report)) < 4_000:
            run.take()
        run.close()
    assert numbers(run.lines) == list(range(8_000))


def test_a_lease_that_is_given_up_is_not_run_on_and_not_reported(tmp_path: Path) -> None:
    run = Run(tmp_path, GATED, rows=400, per=10, row_group=100, workers=1)
    with run:
        run.lend(0, 20, 40)
        run.until(lambda event: bool(run.side("begun-*")))
        (begun,) = {int(name.split("-")[1]) // 200 for name in run.side("begun-*")}
        first, end = begun * 20, begun * 20 + 20
        run.instance.forget(first, end)
        run.until(lambda event: isinstance(event, Heartbeat) and len(event.leases) == 1)
        (tmp_path / "side/go").touch()
        other = run.until(lambda event: isinstance(event, Report))
        assert isinstance(other, Report)
        assert (other.first, other.end) == (20 - first, 40 - first)
        run.instance.forget(0, 40)  # of what is not there nothing happens
        run.close()
    assert len(run.reports) == 1
    assert not run.of(InstanceFailed)
    assert len(run.side("begun-*")) == 21
    assert [path.name for path in (tmp_path / "staging").iterdir()] == [other.part.file if other.part else ""]


def test_heartbeats_tell_how_far_leases_are_and_what_holds_them_back(tmp_path: Path) -> None:
    script = """
    import os, time
    def run(batch):
        number = batch["id"][0] // 10
        while number in (5, 19) and not os.path.exists(f"../side/go-{number // 10}"):
            time.sleep(0.01)
        return batch["id"]
    """
    run = Run(tmp_path, script, rows=200, per=10, row_group=100, workers=1)
    with run:
        run.lend(0, 20)
        slow = run.until(lambda event: isinstance(event, Heartbeat) and any(p.final_count for p in event.leases))
        assert isinstance(slow, Heartbeat)
        assert sum(progress.unstarted_count for progress in slow.leases) >= 10
        assert not any(progress.is_held for progress in slow.leases if progress.unstarted_count)
        (tmp_path / "side/go-0").touch()
        held = run.until(lambda event: isinstance(event, Heartbeat) and any(p.is_held for p in event.leases))
        assert isinstance(held, Heartbeat)
        (piece,) = [progress for progress in held.leases if progress.is_held]
        assert piece.end - piece.first - piece.final_count == 1, "one long call is all that is left"
        (tmp_path / "side/go-1").touch()
        run.until(lambda event: isinstance(event, Heartbeat) and not event.leases)
        run.close()
    assert numbers(run.lines) == list(range(200))
