"""Off a terminal: a line before the first mini-batch ends, one every five seconds, then a summary with exact totals."""

from __future__ import annotations

import re
import time

import pytest
from cli_kit import ECHO, HOLD, Bench

LINE = re.compile(r"^(\d+)/(\d+) mini-batches, (\d+)/(\d+) items, (\d+) failed(?: \((.*)\))?$", re.MULTILINE)


def lines(text: str) -> list[tuple[str, ...]]:
    """The lines of progress, those of the summary left out."""
    return [match.groups() for match in LINE.finditer(text)]


def test_the_first_line_has_the_totals_and_comes_before_the_first_mini_batch_ends(bench: Bench) -> None:
    bench.files(7)
    going = bench.began(mini_batch_size="2")
    going.says("0/4 mini-batches, 0/7 items, 0 failed")
    bench.give("go")
    ended = going.end().ok()
    assert lines(ended.err)[0] == ("0", "4", "0", "7", "0", None)


def test_totals_are_there_before_a_worker_is(bench: Bench) -> None:
    bench.files(3)
    bench.script("import signs\ndef init(): signs.wait('go')\ndef run(b): return b\n")
    going = bench.start("submit", bench.job(), "--name", "probe")
    going.says("0/3 mini-batches, 0/3 items, 0 failed")
    assert bench.status() in ("Preparing", "Queued")
    bench.give("go")
    going.end().ok()


@pytest.mark.slow
def test_a_line_comes_every_five_seconds(bench: Bench) -> None:
    bench.files(1)
    going = bench.began()
    going.says("0/1 mini-batches")
    first = time.monotonic()
    while len(lines(going.err)) < 3:
        assert time.monotonic() - first < 20
        time.sleep(0.05)
    assert 9 < time.monotonic() - first < 13
    bench.give("go")
    going.end().ok()


def test_the_summary_has_one_line_for_each_class_of_failure_and_says_an_example(bench: Bench) -> None:
    bench.script(
        "import os, signal\n"
        "def run(mini_batch):\n"
        "    name = os.path.basename(mini_batch[0])\n"
        "    if name < '002': raise KeyError(name)\n"
        "    if name < '003': os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return [name]\n"
    )
    bench.files(5)
    done = bench.submit().ok()
    summary = done.err[done.err.index("probe is Completed") :].splitlines()
    assert re.fullmatch(r"probe is Completed after \d+\.\d s", summary[0])
    assert summary[1] == "  5/5 mini-batches, 5/5 items, 3 failed (user_error 2, crash 1)"
    assert summary[2] == "  2 × user_error, first in mini-batch 0: KeyError: '000.txt'"
    assert summary[3].startswith("  1 × crash, first in mini-batch 2: ") and "SIGKILL" in summary[3]
    assert summary[4:] == ["  3 of 5 items failed", f"  output scores: {bench.target}"]
    assert bench.target.read_text() == "003.txt\n004.txt\n"


def test_items_that_are_missing_in_short_returns_are_told_in_the_summary(bench: Bench) -> None:
    bench.script("def run(mini_batch): return mini_batch[:1]\n")
    bench.files(5)
    done = bench.submit(mini_batch_size="2").ok()
    assert "3/3 mini-batches, 5/5 items, 0 failed" in done.err
    assert "  2 of 5 items failed" in done.err


def test_a_job_without_failures_says_so_in_one_line(bench: Bench) -> None:
    bench.script(ECHO)
    bench.files(2)
    done = bench.submit().ok()
    summary = done.err[done.err.index("probe is Completed") :].splitlines()
    assert summary[1:] == ["  2/2 mini-batches, 2/2 items, 0 failed", f"  output scores: {bench.target}"]


def test_a_job_that_failed_says_why_last(bench: Bench) -> None:
    bench.script(ECHO.replace("return", "raise RuntimeError('no oil')\n    return"))
    bench.files(2)
    done = bench.submit(mini_batch_error_threshold=0, max_concurrency_per_instance=1)
    assert done.code == 1
    reason = r"\d mini-batch(es)? failed, more than mini_batch_error_threshold = 0 allows; "
    own = r"Traceback \(most recent call last\):\n(.*\n)+RuntimeError: no oil\n"
    assert re.search(rf"{reason}the first is mini-batch 0: RuntimeError: no oil\n{own}\Z", done.err), done.err
    assert done.err.count("mini-batch 0") == 1 and done.err.count("× user_error") == 1


def test_counts_only_grow_and_end_exact(bench: Bench) -> None:
    bench.script(HOLD)
    bench.files(9)
    going = bench.start("submit", bench.job(max_concurrency_per_instance=2, mini_batch_size="2"), "--name", "probe")
    bench.wait_began(going.process)
    bench.give("go")
    ended = going.end().ok()
    seen = [tuple(map(int, line[:5])) for line in lines(ended.err)]
    assert seen == sorted(seen)
    assert "  5/5 mini-batches, 9/9 items, 0 failed" in ended.err
