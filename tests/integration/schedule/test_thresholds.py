"""A job fails if and only if more failed than it allows, and its counters are exact."""

from __future__ import annotations

import re

import pytest
from cli_kit import Bench, Ended, until

FAIL_BELOW = """\
import os

LIMIT = int(os.environ["LIMIT"])

def run(mini_batch):
    for path in mini_batch:
        if int(os.path.basename(path)[:3]) < LIMIT:
            raise ValueError(f"cannot score {os.path.basename(path)}")
    return list(map(os.path.basename, mini_batch))
"""
"""Fails every mini-batch that holds a file with a number below LIMIT."""

SHORTEN_BELOW = """\
import os

LIMIT = int(os.environ["LIMIT"])

def run(mini_batch):
    return [name for name in map(os.path.basename, mini_batch) if int(name[:3]) >= LIMIT]
"""
"""Leaves the files with a number below LIMIT out of what it returns."""


def submit(bench: Bench, limit: int, **changes: object) -> Ended:
    environment = {"LIMIT": str(limit), "SIGNS": str(bench.signs)}
    return bench.submit(environment_variables=environment, **changes)


def counts(bench: Bench) -> tuple[int, ...]:
    """Items, failed items, mini-batches, done, failed."""
    shown = bench.show()
    keys = ("item_count", "failed_item_count", "mini_batch_count", "done_mini_batch_count", "failed_mini_batch_count")
    return tuple(shown[key] for key in keys)


@pytest.mark.parametrize("threshold", [0, 1, 3])
def test_as_many_mini_batches_as_allowed_may_fail(bench: Bench, threshold: int) -> None:
    bench.script(FAIL_BELOW)
    names = bench.files(8)
    submit(bench, threshold, mini_batch_error_threshold=threshold).ok()
    assert counts(bench) == (8, threshold, 8, 8, threshold)
    assert bench.target.read_text().split() == names[threshold:]


@pytest.mark.parametrize("threshold", [0, 1, 3])
def test_one_mini_batch_more_than_allowed_fails_the_job(bench: Bench, threshold: int) -> None:
    bench.script(FAIL_BELOW)
    bench.files(8)
    done = submit(bench, threshold + 1, mini_batch_error_threshold=threshold)
    assert done.code == 1
    assert f"{threshold + 1} mini-batch" in done.err
    assert f"more than mini_batch_error_threshold = {threshold} allows" in done.err
    assert "mini-batch 0: ValueError: cannot score 000.txt" in done.err
    assert bench.status() == "Failed" and not bench.target.exists()
    assert counts(bench)[4] == threshold + 1


@pytest.mark.parametrize(("threshold", "code"), [(5, 0), (4, 1)])
def test_items_count_whole_mini_batches_that_failed(bench: Bench, threshold: int, code: int) -> None:
    bench.script(FAIL_BELOW)
    bench.files(9)
    done = submit(bench, 5, mini_batch_size="5", error_threshold=threshold)
    assert done.code == code, done.err
    assert counts(bench)[1] == 5
    assert ("5 items failed, more than error_threshold = 4 allows" in done.err) == bool(code)


@pytest.mark.parametrize(("threshold", "code"), [(3, 0), (2, 1)])
def test_items_count_what_short_returns_lack_but_no_mini_batch_fails(bench: Bench, threshold: int, code: int) -> None:
    bench.script(SHORTEN_BELOW)
    bench.files(8)
    done = submit(bench, 3, mini_batch_size="4", error_threshold=threshold, mini_batch_error_threshold=0)
    assert done.code == code, done.err
    assert counts(bench)[1] == 3 and counts(bench)[4] == 0


def test_failed_mini_batches_and_short_returns_add_up(bench: Bench) -> None:
    bench.script(
        "import os\n"
        "def run(mini_batch):\n"
        "    if '000' in mini_batch[0]: raise ValueError\n"
        "    return [1] if '002' in mini_batch[0] else [1] * 9\n"
    )
    bench.files(6)
    bench.submit(mini_batch_size="2", error_threshold=3).ok()
    assert counts(bench) == (6, 3, 3, 3, 1), "a longer return counts as all of its items"


@pytest.mark.parametrize(("percent", "code"), [("25", 0), ("24", 1), ("24.9", 1), ("0", 1), ("100", 0)])
def test_percent_is_of_the_planned_mini_batches(bench: Bench, percent: str, code: int) -> None:
    bench.script(FAIL_BELOW)
    bench.files(8)
    task = {"program_arguments": f"--allowed_failed_percent {percent}"}
    done = submit(bench, 2, task=task)
    assert done.code == code, done.err
    if code:
        assert re.search(rf"[12] mini-batch(es)? failed, more than allowed_failed_percent = {percent} % of 8", done.err)
    else:
        assert counts(bench) == (8, 2, 8, 8, 2)


def test_arguments_stand_in_for_the_keys(bench: Bench) -> None:
    bench.script(FAIL_BELOW)
    bench.files(4)
    done = submit(bench, 2, task={"program_arguments": "--allowed_failed_count 1 --error_threshold 3"})
    assert done.code == 1 and "mini_batch_error_threshold = 1" in done.err


def test_any_of_several_thresholds_ends_the_job(bench: Bench) -> None:
    bench.script(FAIL_BELOW)
    bench.files(6)
    done = submit(bench, 2, mini_batch_error_threshold=5, error_threshold=1)
    assert done.code == 1 and "error_threshold = 1 allows" in done.err


def test_the_defaults_ignore_every_failure_but_the_last(bench: Bench) -> None:
    bench.script(FAIL_BELOW)
    bench.files(4)
    submit(bench, 3).ok()
    assert counts(bench) == (4, 3, 4, 4, 3)


@pytest.mark.parametrize("append", [True, False])
def test_a_job_in_which_nothing_succeeded_fails(bench: Bench, append: bool) -> None:
    bench.script(FAIL_BELOW)
    bench.files(3)
    task = {} if append else {"append_row_to": None}
    done = submit(bench, 3, task=task)
    assert done.code == 1
    assert "all 3 mini-batches failed: mini-batch 0: ValueError: cannot score 000.txt" in done.err
    assert done.err.rstrip().endswith("ValueError: cannot score 000.txt"), "the script's own traceback"
    assert counts(bench) == (3, 3, 3, 3, 3)
    assert not bench.target.parent.exists() or not any(p.is_file() for p in bench.target.parent.glob("*"))


def test_only_empty_returns_fail_a_job_that_appends(bench: Bench) -> None:
    bench.script("def run(mini_batch): return []\n")
    bench.files(3)
    done = bench.submit()
    assert done.code == 1 and "every run() returned an empty result" in done.err
    assert counts(bench) == (3, 3, 3, 3, 0)


def test_only_empty_returns_are_successes_without_output(bench: Bench) -> None:
    bench.script("def run(mini_batch): return []\n")
    bench.files(3)
    bench.submit(task={"append_row_to": None}).ok()
    assert counts(bench) == (3, 3, 3, 3, 0)


def test_a_threshold_is_exact_with_many_workers_and_many_failures(bench: Bench) -> None:
    bench.script(FAIL_BELOW)
    names = bench.files(300)
    submit(bench, 100, mini_batch_error_threshold=100, error_threshold=100, max_concurrency_per_instance=4).ok()
    assert counts(bench) == (300, 100, 300, 300, 100)
    assert bench.target.read_text().split() == names[100:]


def test_a_job_stops_soon_after_the_threshold_is_passed(bench: Bench) -> None:
    bench.script(
        "import os, signs\n"
        "def run(mini_batch):\n"
        "    if '000' in mini_batch[0]: raise ValueError('first')\n"
        "    signs.note('ran', mini_batch[0])\n"
        "    signs.wait('go')\n"
    )
    bench.files(50)
    going = bench.start("submit", bench.job(mini_batch_error_threshold=0), "--name", "probe")
    log = bench.logs() / "sys" / "driver.txt"
    # The second mini-batch does not end, so the failure is committed before its lease is final.
    until(lambda: log.exists() and "more than mini_batch_error_threshold" in log.read_text(), within=20)
    bench.give("go")
    assert going.end().code == 1
    assert len(bench.notes("ran")) < 10
