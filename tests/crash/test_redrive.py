"""`runner redrive`: what a completed job has set aside is tried again, alone, and merged into its outputs."""

from __future__ import annotations

import json
import os
import signal
from collections import Counter
from pathlib import Path

import pytest
from cli_kit import Bench, until

from runner.server.jobs import Jobs
from runner.store.home import Home

COUNT, POOR = 8, (2, 5, 6)
SCORE = """\
import os
import signs

def run(mini_batch):
    name = os.path.basename(mini_batch[0])
    signs.note("runs", name)
    if name in {poor}:
        raise ValueError(f"no oil in {{name}}")
    if name in {held}:
        signs.give("held")
        signs.wait("go")
    return [f"{{name}} is scored"]
"""


def score(*poor: int, held: tuple[int, ...] = ()) -> str:
    """A script that fails for some files, and holds at others until the sign `go`."""
    return SCORE.format(poor=[f"{n:03d}.txt" for n in poor], held=[f"{n:03d}.txt" for n in held])


def scored(*without: int) -> str:
    return "".join(f"{number:03d}.txt is scored\n" for number in range(COUNT) if number not in without)


@pytest.fixture
def bench(tmp_path: Path, home: Path) -> Bench:
    """A completed job, three of whose eight mini-batches are set aside."""
    made = Bench(tmp_path / "work", home)
    made.script(score(*POOR))
    made.files(COUNT)
    made.submit().ok()
    (made.signs / "runs").unlink()
    assert made.target.read_text() == scored(*POOR)
    return made


def mended(bench: Bench, text: str) -> Path:
    """A folder with a corrected script."""
    folder = bench.folder / "mended"
    folder.mkdir(exist_ok=True)
    (folder / "signs.py").write_text((bench.code / "signs.py").read_text())
    (folder / "score.py").write_text(text)
    return folder


def runs(bench: Bench) -> Counter[int]:
    return Counter(int(name[:3]) for name in bench.notes("runs"))


def open_ones(bench: Bench, *arguments: str) -> list[int]:
    rows = bench.run("failures", "probe", "--output", "json", *arguments).ok().json
    return [row["mini_batch"] for row in rows]


def test_corrected_code_runs_what_failed_alone_and_its_results_are_merged(bench: Bench) -> None:
    code = mended(bench, score())
    done = bench.run("redrive", "probe", "--code", code).ok()
    assert "redriving probe, run 2" in done.err and "probe is Completed" in done.err
    assert (bench.target.read_text(), runs(bench)) == (scored(), Counter(POOR))
    assert (open_ones(bench), open_ones(bench, "--all")) == ([], list(POOR))
    shown = bench.show()
    assert (shown["status"], shown["failed_item_count"], shown["failed_mini_batch_count"]) == ("Completed", 0, 0)
    assert [event["status"] for event in shown["events"]].count("Completed") == 2
    assert not list(bench.target.parent.glob(".*.staging"))
    again = bench.run("redrive", "probe")
    assert again.code == 2
    assert "nothing that it has set aside is open" in again.err
    assert bench.show() == shown


def test_what_fails_again_stays_open_and_the_next_redrive_uses_the_latest_code(bench: Bench) -> None:
    part = bench.run("redrive", "probe", "--code", mended(bench, score(5)))
    assert part.code == 1
    assert "some of it failed again; `runner failures probe` lists what is open" in part.err
    assert (bench.target.read_text(), open_ones(bench)) == (scored(5), [5])
    assert bench.show()["failed_item_count"] == 1
    mended(bench, "this is no Python any more")  # the copy counts, not the folder
    same = bench.run("redrive", "probe")
    assert (same.code, runs(bench)[5], bench.target.read_text()) == (1, 2, scored(5))
    bench.run("redrive", "probe", "--code", mended(bench, score())).ok()
    assert (bench.target.read_text(), open_ones(bench)) == (scored(), [])


@pytest.mark.parametrize("verb", ["redrive", "resume"])
def test_a_redrive_whose_driver_was_killed_is_gone_on_with(bench: Bench, verb: str) -> None:
    code = mended(bench, score(held=(6,)))
    assert bench.start("redrive", "probe", "--code", code, "--detach").end().code == 0
    until(lambda: bench.is_given("held"), what="the mini-batch that holds")
    assert bench.status() == "Running"
    os.kill(bench.driver_pid(), signal.SIGKILL)
    until(lambda: not bench.driver_pid(), what="the end of the driver")
    assert bench.target.read_text() == scored(*POOR), "what was published stays until it is replaced"
    bench.give("go")
    bench.run(verb, "probe").ok()
    assert (bench.target.read_text(), open_ones(bench)) == (scored(), [])
    assert set(runs(bench)) == set(POOR)


def test_a_redrive_that_failed_is_tried_anew_with_other_code(bench: Bench) -> None:
    broken = bench.run("redrive", "probe", "--code", mended(bench, "raise OSError('no model')\ndef run(b): return b\n"))
    assert broken.code == 2 and "no model" in broken.err
    assert (bench.status(), bench.target.read_text()) == ("Failed", scored(*POOR))
    bench.run("redrive", "probe", "--code", mended(bench, score())).ok()
    assert bench.target.read_text() == scored()


def test_an_interrupt_cancels_a_redrive_and_what_was_published_stays(bench: Bench) -> None:
    going = bench.start("redrive", "probe", "--code", mended(bench, score(held=(5,))))
    until(lambda: bench.is_given("held"), what="the mini-batch that holds")
    going.send(signal.SIGINT)
    going.says("cancelling probe")
    bench.give("go")
    assert going.end().code == 130
    assert (bench.status(), bench.target.read_text()) == ("Canceled", scored(*POOR))
    bench.run("redrive", "probe").ok()
    assert bench.target.read_text() == scored()


def test_what_cannot_be_redriven_is_refused_and_left_as_it_is(bench: Bench) -> None:
    before, folder = bench.show(), bench.home / "jobs" / "probe"
    names = sorted(path.name for path in folder.iterdir())
    refused = {
        ("nobody",): "there is no job 'nobody'",
        ("probe", "--code", "nowhere"): "nowhere is not there",
        ("probe", "--code", "data"): "score.py",
        ("probe", "--code", str(mended(bench, "def run(b)\n"))): "mended/score.py",
    }
    for arguments, said in refused.items():
        ended = bench.run("redrive", *arguments)
        assert ended.code == 2 and said in ended.err, ended.err
    no_run = bench.run("redrive", "probe", "--code", mended(bench, "def walk(b): return b\n"))
    assert no_run.code == 2 and "no function run" in no_run.err
    assert (bench.show(), sorted(path.name for path in folder.iterdir())) == (before, names)


def test_a_job_that_failed_or_runs_is_not_redriven(tmp_path: Path, home: Path) -> None:
    bench = Bench(tmp_path / "work", home)
    bench.script(score(1, held=(0,)))
    bench.files(2)
    bench.start("submit", bench.job(mini_batch_error_threshold=0), "--name", "probe", "--detach").end().ok()
    until(lambda: bench.is_given("held"), what="the mini-batch that holds")
    live = bench.run("redrive", "probe")
    assert live.code == 2
    assert "cannot be redriven" in live.err and "`runner watch probe`" in live.err
    bench.give("go")
    assert bench.run("watch", "probe").code == 1
    failed = bench.run("redrive", "probe")
    assert failed.code == 2
    assert "is Failed and cannot be redriven; `runner resume probe` tries" in failed.err


def test_of_two_redrives_at_once_one_begins_the_run(bench: Bench) -> None:
    launched: list[str] = []
    jobs = Jobs(Home(bench.home), launched.append)
    code = str(mended(bench, score()))
    assert jobs.redrive("probe", code).run_number == 2
    second = bench.run("redrive", "probe", "--code", code)
    assert second.code == 2 and "just starting" in second.err
    folder = jobs.home.job("probe")
    assert json.loads(folder.redrive.read_text()) == {"code": "code.2", "number": 2}
    assert (folder.code_of(2) / "score.py").is_file()
    assert not folder.code_of(3).exists()
    assert launched == ["probe"]
    jobs.close()
