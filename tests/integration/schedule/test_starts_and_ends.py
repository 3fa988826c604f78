"""init() and shutdown() that fail, and the clocks of progress: none is ever charged to a mini-batch."""

from __future__ import annotations

import re

import pytest
from cli_kit import TABLES, Bench, until


def test_an_init_that_always_fails_ends_the_job_with_its_traceback(bench: Bench) -> None:
    bench.script(
        "import signs\n"
        "def init():\n    signs.note('inits', 1)\n    raise OSError('no model')\n"
        "def run(mini_batch): return mini_batch\n"
    )
    bench.files(4)
    done = bench.submit(max_concurrency_per_instance=2)
    assert done.code == 1
    assert "init() failed: OSError: no model" in done.err
    assert done.err.rstrip().endswith("OSError: no model") and re.search(r'score\.py", line 4, in init', done.err)
    shown = bench.show()
    assert shown["status"] == "Failed" and shown["start_time"] is None
    assert shown["failed_mini_batch_count"] == shown["done_mini_batch_count"] == 0
    assert 2 <= len(bench.notes("inits")) <= 4


@pytest.mark.parametrize("act", ["raise OSError('no model')", "os._exit(9)", "os.kill(os.getpid(), 11)", "sys.exit(3)"])
def test_an_init_that_fails_once_costs_nothing(bench: Bench, act: str) -> None:
    bench.script(
        "import os, sys, signs\n"
        "def init():\n"
        "    signs.note('inits', 1)\n"
        f"    if signs.give('once'): {act}\n"
        "    signs.give('ready')\n"
        "def run(mini_batch):\n"
        "    return [os.path.basename(path) for path in mini_batch]\n"
    )
    names = bench.files(6)
    bench.submit(max_concurrency_per_instance=2, error_threshold=0, mini_batch_error_threshold=0).ok()
    assert bench.target.read_text().split() == names
    assert bench.show()["failed_mini_batch_count"] == 0


def test_an_init_that_keeps_failing_beside_a_good_worker_ends_the_job_at_its_limit(bench: Bench) -> None:
    bench.script(
        "import signs\n"
        "def init():\n"
        "    if not signs.give('good'):\n"
        "        signs.wait('began')\n"
        "        signs.note('failed', 1)\n"
        "        raise OSError('no model')\n"
        "def run(mini_batch):\n    signs.give('began')\n    signs.wait('go')\n    return mini_batch\n"
    )
    bench.files(4)
    going = bench.start("submit", bench.job(max_concurrency_per_instance=2), "--name", "probe")
    log = bench.logs() / "sys" / "driver.txt"
    until(
        lambda: (log.exists() and "INIT_FAILED" in log.read_text()) or len(bench.notes("failed")) == 4,
        what="4 failures",
    )
    bench.give("go")
    ended = going.end()
    assert ended.code == 1 and "init() failed: OSError: no model" in ended.err
    assert len(bench.notes("failed")) == 4, "twice the workers"


@pytest.mark.slow
def test_an_init_that_never_ends_is_ended(bench: Bench) -> None:
    bench.script("import signs\ndef init(): signs.wait('never')\ndef run(mini_batch): return mini_batch\n")
    bench.files(1)
    done = bench.submit(retry_settings={"timeout": 1})
    assert done.code == 1
    assert re.search(r"init\(\) failed: init\(\) took longer than 33 s", done.err)


def test_a_shutdown_that_fails_fails_the_job_and_publishes_nothing(bench: Bench) -> None:
    bench.script("def run(mini_batch): return mini_batch\ndef shutdown():\n    raise OSError('cannot flush')\n")
    bench.files(3)
    done = bench.submit()
    assert done.code == 1
    assert "shutdown() failed: OSError: cannot flush" in done.err
    assert re.search(r'score\.py", line 3, in shutdown', done.err)
    shown = bench.show()
    assert shown["done_mini_batch_count"] == 3 and shown["failed_mini_batch_count"] == 0
    assert not bench.target.exists()


def test_a_shutdown_that_dies_fails_the_job(bench: Bench) -> None:
    bench.script("import os\ndef run(mini_batch): return mini_batch\ndef shutdown(): os._exit(6)\n")
    bench.files(1)
    done = bench.submit()
    assert done.code == 1 and "shutdown() failed" in done.err and re.search(r"\b6\b", done.err)


def test_a_shutdown_that_takes_too_long_fails_the_job(bench: Bench) -> None:
    bench.script("import signs\ndef run(mini_batch): return mini_batch\ndef shutdown(): signs.wait('never')\n")
    bench.files(1)
    done = bench.submit(retry_settings={"timeout": 1})
    assert done.code == 1 and "shutdown() failed" in done.err and "1 s" in done.err


def test_shutdown_runs_once_in_every_worker_before_the_output_is_there(bench: Bench) -> None:
    bench.script(
        "import os, signs\n"
        "def run(mini_batch):\n    signs.note('at', os.getpid())\n    return mini_batch\n"
        f"TARGET = {str(bench.target)!r}\n"
        "def shutdown(): signs.note('ends', f'{os.getpid()} {os.path.exists(TARGET)}')\n"
    )
    bench.files(20)
    bench.submit(max_concurrency_per_instance=3).ok()
    ends = [note.split() for note in bench.notes("ends")]
    assert len(ends) == len({pid for pid, _ in ends}) == 3
    assert {there for _, there in ends} == {"False"}
    assert set(bench.notes("at")) <= {pid for pid, _ in ends}


def test_shutdown_runs_when_the_job_has_failed(bench: Bench) -> None:
    bench.script("import signs\ndef run(mini_batch): raise ValueError\ndef shutdown(): signs.give('closed')\n")
    bench.files(1)
    assert bench.submit(mini_batch_error_threshold=0).code == 1
    assert bench.is_given("closed")


def test_no_progress_for_too_long_fails_the_job(bench: Bench) -> None:
    bench.script(
        "import signs\ndef run(mini_batch):\n    if '002' in mini_batch[0]: signs.wait('go')\n    return mini_batch\n"
    )
    bench.files(4)
    going = bench.start(
        "submit",
        bench.job(task={"program_arguments": "--progress_update_timeout 1"}),
        "--name",
        "probe",
    )
    log = bench.logs() / "sys" / "driver.txt"
    until(lambda: log.exists() and "progress_update_timeout" in log.read_text(), within=20)
    bench.give("go")
    ended = going.end()
    assert ended.code == 1
    assert "no mini-batch ended for 1 s (progress_update_timeout)" in ended.err


def test_attempts_that_end_are_progress_and_slow_starts_are_none_of_the_clocks(bench: Bench) -> None:
    bench.script(
        "import time\ndef init(): time.sleep(1.5)\ndef run(mini_batch):\n    time.sleep(0.4)\n    raise ValueError\n"
    )
    bench.files(4)
    arguments = "--progress_update_timeout 1 --first_task_creation_timeout 1"
    done = bench.submit(task={"program_arguments": arguments})
    assert "all 4 mini-batches failed" in done.err, "and no clock"


def test_the_first_mini_batch_has_a_clock_of_its_own(bench: Bench) -> None:
    bench.script(
        "import pyarrow.parquet as pq\n"
        "import signs\n"
        "def init(): pq.ParquetFile = lambda *args, **more: signs.wait('go')\n"
        "def run(mini_batch): return mini_batch\n"
    )
    bench.table("a.parquet", {"x": [1, 2]})
    arguments = {"program_arguments": "--first_task_creation_timeout 1"}
    going = bench.start("submit", bench.job(**TABLES, task=arguments), "--name", "probe")
    log = bench.logs() / "sys" / "driver.txt"
    until(lambda: log.exists() and "first_task_creation_timeout" in log.read_text(), within=20)
    bench.give("go")
    ended = going.end()
    assert ended.code == 1 and "no mini-batch could be created within 1 s (first_task_creation_timeout)" in ended.err
