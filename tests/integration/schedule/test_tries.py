"""What a try that raises, hangs or dies costs: exactly one try of exactly that mini-batch, and a new worker."""

from __future__ import annotations

import csv
import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from cli_kit import TABLES, Bench

HEAD = """\
import ctypes, os, signal, sys, threading, time
import signs

def init():
    signs.note("inits", os.getpid())

def run(mini_batch, context):
    name = os.path.basename(mini_batch[0])
    signs.note("tries", f"{name} {context.retry_count} {os.getpid()}")
    if name == "001.txt" and (FOREVER or signs.give("once")):
        ACT
    return [name]
"""
DEATHS = {
    "SIGKILL": "os.kill(os.getpid(), signal.SIGKILL)",
    "SIGSEGV": "ctypes.string_at(0)",
    "SIGABRT": "os.abort()",
    "exit 3": "os._exit(3)",
    "exit 0": "os._exit(0)",
    "SystemExit": "sys.exit(4)",
    "a thread's exit": "threading.Thread(target=os._exit, args=(5,)).start(); time.sleep(60)",
}


def script(bench: Bench, act: str, *, forever: bool = False) -> None:
    bench.script(HEAD.replace("FOREVER", str(forever)).replace("ACT", act))


def tries(bench: Bench) -> Counter[str]:
    """How often each file was given to run."""
    return Counter(note.split()[0] for note in bench.notes("tries"))


def failures(bench: Bench) -> list[dict[str, Any]]:
    text = (bench.home / "jobs" / "probe" / "failures.jsonl").read_text()
    return [json.loads(line) for line in text.splitlines()]


def counts(bench: Bench) -> tuple[int, int, int]:
    """Mini-batches done and failed, items failed."""
    shown = bench.show()
    return shown["done_mini_batch_count"], shown["failed_mini_batch_count"], shown["failed_item_count"]


@pytest.mark.parametrize("retries", [0, 1, 3])
def test_tries_are_one_more_than_max_retries(bench: Bench, retries: int) -> None:
    script(bench, "raise KeyError(name)", forever=True)
    bench.files(3)
    bench.submit(retry_settings={"max_retries": retries}).ok()
    assert tries(bench) == {"000.txt": 1, "001.txt": retries + 1, "002.txt": 1}
    assert [note.split()[1] for note in bench.notes("tries") if "001" in note] == [str(n) for n in range(retries + 1)]
    assert len(bench.notes("inits")) == 1, "raising costs no process"
    (failure,) = failures(bench)
    assert (failure["mini_batch"], failure["class"], failure["attempts"]) == (1, "user_error", retries + 1)
    assert failure["exception_type"] == "KeyError" and "001.txt" in failure["message"]
    assert failure["file"].endswith("/001.txt") and failure["row"] is None
    assert "raise KeyError(name)" in failure["traceback"]
    assert counts(bench) == (3, 1, 1)


def test_only_final_failures_count(bench: Bench) -> None:
    script(bench, "raise KeyError(name)")
    names = bench.files(3)
    bench.submit(retry_settings={"max_retries": 1}, mini_batch_error_threshold=0, error_threshold=0).ok()
    assert counts(bench) == (3, 0, 0)
    assert bench.target.read_text().split() == names
    assert not failures(bench)


@pytest.mark.parametrize("death", DEATHS)
def test_a_worker_that_dies_is_replaced_and_the_mini_batch_tried_again(bench: Bench, death: str) -> None:
    script(bench, DEATHS[death])
    names = bench.files(4)
    bench.submit(retry_settings={"max_retries": 1}, error_threshold=0).ok()
    assert bench.target.read_text().split() == names
    assert tries(bench)["001.txt"] == 2
    assert len(bench.notes("inits")) == 2
    assert counts(bench) == (4, 0, 0)


@pytest.mark.parametrize("death", ["SIGKILL", "SIGSEGV", "exit 3", "SystemExit"])
def test_a_mini_batch_that_kills_every_worker_is_set_aside_by_name(bench: Bench, death: str) -> None:
    script(bench, DEATHS[death], forever=True)
    names = bench.files(3)
    done = bench.submit(retry_settings={"max_retries": 1}).ok()
    assert bench.target.read_text().split() == [names[0], names[2]]
    (failure,) = failures(bench)
    assert (failure["mini_batch"], failure["class"], failure["attempts"]) == (1, "crash", 2)
    told = {"SIGKILL": "SIGKILL", "SIGSEGV": "SIGSEGV", "exit 3": r"\b3\b", "SystemExit": r"\b4\b"}[death]
    assert re.search(told, failure["message"])
    assert re.search(rf"1 × crash, first in mini-batch 1: .*{told}", done.err)
    assert counts(bench) == (3, 1, 1)


def test_a_crash_above_the_threshold_fails_the_job(bench: Bench) -> None:
    script(bench, DEATHS["SIGKILL"], forever=True)
    bench.files(3)
    done = bench.submit(mini_batch_error_threshold=0)
    assert done.code == 1 and "the first is mini-batch 1: the worker process" in done.err and "SIGKILL" in done.err


def test_a_call_that_takes_too_long_costs_a_try_and_its_worker(bench: Bench) -> None:
    script(bench, "signs.wait('never')")
    names = bench.files(3)
    bench.submit(retry_settings={"max_retries": 1, "timeout": 1}, error_threshold=0).ok()
    assert bench.target.read_text().split() == names
    assert tries(bench)["001.txt"] == 2 and len(bench.notes("inits")) == 2


def test_a_call_that_always_takes_too_long_is_a_timeout(bench: Bench) -> None:
    script(bench, "signs.wait('never')", forever=True)
    bench.files(3)
    done = bench.submit(retry_settings={"max_retries": 0, "timeout": 1}).ok()
    (failure,) = failures(bench)
    assert (failure["class"], failure["attempts"], failure["mini_batch"]) == ("timeout", 1, 1)
    assert "timeout = 1 s" in failure["message"]
    assert re.search(r"1 × timeout, first in mini-batch 1: run\(\) took longer than timeout = 1 s", done.err)


def test_a_call_that_cannot_be_interrupted_is_ended_too(bench: Bench) -> None:
    # Signals blocked, and the interpreter's lock held: only SIGKILL helps.
    script(
        bench,
        "signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 64)); ctypes.PyDLL(None).sleep(600)",
        forever=True,
    )
    bench.files(2)
    bench.submit(retry_settings={"timeout": 1}).ok()
    assert [failure["class"] for failure in failures(bench)] == ["timeout"]


def test_other_workers_are_not_touched_by_a_timeout(bench: Bench) -> None:
    script(bench, "signs.wait('never')")
    names = bench.files(40)
    settings = {"max_retries": 1, "timeout": 1}
    bench.submit(retry_settings=settings, max_concurrency_per_instance=2, error_threshold=0).ok()
    assert bench.target.read_text().split() == names
    assert len(bench.notes("inits")) == 3
    assert sum(tries(bench).values()) - len(names) >= 1


def test_what_a_worker_that_died_had_finished_is_not_lost_and_counts_once(bench: Bench) -> None:
    script(bench, DEATHS["SIGKILL"])
    bench.script((bench.code / "score.py").read_text().replace('"001.txt"', '"150.txt"'))
    names = bench.files(200)
    bench.submit(retry_settings={"max_retries": 1}, error_threshold=0).ok()
    assert bench.target.read_text().split() == names
    assert counts(bench) == (200, 0, 0)
    with open(bench.logs() / "sys" / "job_report" / "processed_mini-batches.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["Mini-batch Id"]) for row in rows] == list(range(200))
    assert rows[150]["Picked Count"] == "2"


@pytest.mark.parametrize(
    ("returned", "kind"),
    [("None", "None"), ("'text'", "str"), ("b'bytes'", "bytes"), ("{'a': 1}", "dict"), ("7", "int")],
)
def test_an_illegal_return_fails_the_mini_batch_and_names_the_type(bench: Bench, returned: str, kind: str) -> None:
    bench.script(f"def run(mini_batch):\n    return {returned} if '001' in mini_batch[0] else mini_batch\n")
    bench.files(2)
    bench.submit(retry_settings={"max_retries": 1}).ok()
    (failure,) = failures(bench)
    assert failure["class"] == "user_error" and kind in failure["message"] and "list" in failure["message"]
    assert failure["attempts"] == 2


@pytest.mark.parametrize("error", ["KeyboardInterrupt", "GeneratorExit", "MemoryError('much')", "RecursionError"])
def test_exceptions_of_other_kinds_never_end_the_job(bench: Bench, error: str) -> None:
    script(bench, f"raise {error}", forever=True)
    bench.files(3)
    bench.submit().ok()
    (failure,) = failures(bench)
    assert failure["mini_batch"] == 1


def test_a_message_that_cannot_be_made_or_is_huge_is_told_anyway(bench: Bench) -> None:
    bench.script(
        "class Odd(Exception):\n"
        "    def __str__(self): raise ValueError('no words')\n"
        "def run(mini_batch):\n"
        "    if '000' in mini_batch[0]: raise Odd()\n"
        "    if '001' in mini_batch[0]: raise ValueError('x' * 10_000_000)\n"
        "    if '002' in mini_batch[0]: raise ValueError('\\udce9\\x00')\n"
        "    return mini_batch\n"
    )
    bench.files(4)
    done = bench.submit().ok()
    found = {failure["mini_batch"]: failure for failure in failures(bench)}
    assert sorted(found) == [0, 1, 2]
    assert found[0]["exception_type"] == "score.Odd"
    assert len(found[1]["message"]) < 1_000_000 and len(done.err) < 10_000


def test_children_of_a_worker_that_is_killed_are_gone_too(bench: Bench) -> None:
    script(
        bench,
        "import subprocess; signs.note('child', subprocess.Popen(['sleep', '600']).pid); signs.wait('never')",
        forever=True,
    )
    bench.files(2)
    bench.submit(retry_settings={"timeout": 1}).ok()
    (child,) = bench.notes("child")
    stat = Path(f"/proc/{child}/stat")
    assert not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] == "Z", "ended, if nobody waited for it"


BLOCKED = """\
import pyarrow.parquet as pq
import signs

Real = pq.ParquetFile

def init():
    pq.ParquetFile = blocked

def blocked(*args, **more):
    if FOREVER or signs.give("once"):
        signs.wait("never")
    return Real(*args, **more)

def run(mini_batch):
    return mini_batch
"""


def test_reading_that_hangs_costs_the_unit_a_try(bench: Bench) -> None:
    bench.script(BLOCKED.replace("FOREVER", "False"))
    bench.table("a.parquet", {"x": list(range(30))})
    task = {"program_arguments": "--task_overhead_timeout 1"}
    bench.submit(**TABLES, task=task, retry_settings={"max_retries": 1}, error_threshold=0).ok()
    assert bench.target.read_text().split() == [str(n) for n in range(30)]


def test_reading_that_always_hangs_fails_its_mini_batches_as_read(bench: Bench) -> None:
    bench.script(BLOCKED.replace("FOREVER", "True"))
    path = bench.table("a.parquet", {"x": list(range(30))})
    task = {"program_arguments": "--task_overhead_timeout 1"}
    done = bench.submit(**TABLES, task=task)
    assert done.code == 1
    assert {failure["class"] for failure in failures(bench)} == {"read"}
    assert all(failure["file"] == str(path) for failure in failures(bench))
    assert "all 3 mini-batches failed" in done.err and "task_overhead_timeout = 1 s" in done.err


def test_workers_that_have_nothing_to_do_are_left_alone(bench: Bench) -> None:
    bench.script(
        "import os, time, signs\n"
        "def init(): signs.note('inits', os.getpid())\n"
        "def run(frame):\n"
        "    if frame['x'][0] == 10 and signs.give('once'): os._exit(1)\n"
        "    if frame['x'][0] == 0: time.sleep(3.5)\n"
        "    return [1] * len(frame)\n"
    )
    bench.table("a.parquet", {"x": list(range(40))})
    task = {"program_arguments": "--task_overhead_timeout 1"}
    retries = {"max_retries": 1}
    bench.submit(**TABLES, task=task, retry_settings=retries, max_concurrency_per_instance=4, error_threshold=0).ok()
    assert len(bench.notes("inits")) == 5, "only the one that died was replaced"


def test_a_page_that_is_corrupt_fails_its_mini_batches_and_names_the_file(bench: Bench) -> None:
    good = bench.table("a.parquet", {"x": list(range(1000))}, compression="zstd", use_dictionary=False)
    bad = bench.table("b.parquet", {"x": list(range(1000))}, compression="zstd", use_dictionary=False)
    data = bytearray(bad.read_bytes())
    data[4:200] = bytes(196)  # the head of the only page
    bad.write_bytes(data)
    bench.script("def run(mini_batch): return mini_batch\n")
    done = bench.submit(**TABLES).ok()
    found = failures(bench)
    assert {failure["class"] for failure in found} == {"read"} and {f["file"] for f in found} == {str(bad)}
    assert len(found) == 100 and [f["row"] for f in found] == list(range(0, 1000, 10))
    assert len(bench.target.read_text().splitlines()) == 1000
    assert counts(bench) == (200, 100, 1000)
    assert str(bad) in done.err and str(good) not in done.err
