"""The files in a job's log folder that users' scripts read."""

from __future__ import annotations

import csv
import re

from cli_kit import Bench

SCRIPT = """\
import logging, os, sys
from azureml_user.parallel_run import EntryScript

def init():
    EntryScript().logger.info("hello from the entry log")
    print("to stdout")
    print("to stderr", file=sys.stderr)
    logging.getLogger("mine").warning("by the root logger")

def run(mini_batch):
    name = os.path.basename(mini_batch[0])
    if name == "002.txt":
        raise ValueError("no oil,\\n\\"twice\\"")
    return mini_batch[:1]
"""
COLUMNS = [
    "Mini-batch Id",
    "Picked Count",
    "Process",
    "Start Time",
    "Total",
    "Succeeded",
    "Failed",
    "Elapsed Seconds",
    "Process Seconds",
    "Run Method Seconds",
    "Status",
    "Error Category",
    "Error Message",
    "Mini-batch Detail",
]


def test_the_log_folder_holds_what_users_read(bench: Bench) -> None:
    bench.script(SCRIPT)
    bench.files(7)
    bench.submit(mini_batch_size="2", retry_settings={"max_retries": 1}).ok()
    logs = bench.logs()
    (overview,) = logs.glob("job_progress_overview.*.txt")
    assert re.fullmatch(r"job_progress_overview\.\d{10}\.txt", overview.name)
    lines = overview.read_text().splitlines()
    assert all(re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ\|INFO\|\d+\|.", line) for line in lines)
    assert "4 mini-batches of 7 items" in lines[0] and "4/4 mini-batches, 7/7 items, 1 failed" in lines[-1]
    result = (logs / "job_result.txt").read_text()
    assert "Completed" in result and "4/4 mini-batches" in result and "user_error 1" in result
    assert "ValueError: no oil," in result, "with an example of each class"
    assert not (logs / "job_error.txt").exists()
    user = logs / "user"
    stdout = (user / "stdout" / "node-000" / "process000.stdout.txt").read_text()
    assert "to stdout" in stdout and "by the root logger" in stdout and "to stderr" not in stdout
    assert "to stderr" in (user / "stderr" / "node-000" / "process000.stderr.txt").read_text()
    assert "hello from the entry log" in "".join(path.read_text() for path in user.glob("entry_script_log/*/*"))
    own = (user / "error" / "node-000" / "process000.txt").read_text()
    assert own.count("Traceback (most recent call last)") == 2, "each try"
    assert "mini-batch 1" in own and "ValueError: no oil" in (user / "error.txt").read_text()
    readme = (logs / "readme.txt").read_text()
    assert "processed_mini-batches.csv" in readme and "user/stdout" in readme


def test_the_report_has_a_line_for_each_mini_batch(bench: Bench) -> None:
    bench.script(SCRIPT)
    bench.files(7)
    bench.submit(mini_batch_size="2", retry_settings={"max_retries": 1}, max_concurrency_per_instance=2).ok()
    with open(bench.logs() / "sys" / "job_report" / "processed_mini-batches.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == COLUMNS
    told = [(r["Mini-batch Id"], r["Picked Count"], r["Total"], r["Succeeded"], r["Failed"]) for r in rows]
    assert told == [
        ("0", "1", "2", "1", "1"),
        ("1", "2", "2", "0", "2"),
        ("2", "1", "2", "1", "1"),
        ("3", "1", "1", "1", "0"),
    ]
    assert rows[1]["Error Category"] == "user_error" and "no oil" in rows[1]["Error Message"]
    assert rows[1]["Mini-batch Detail"] == str(bench.data / "002.txt")
    assert rows[0]["Error Category"] == rows[0]["Error Message"] == rows[0]["Mini-batch Detail"] == ""
    assert len({row["Status"] for row in rows}) == 2 and rows[0]["Status"] == rows[2]["Status"] != rows[1]["Status"]
    assert all(float(row["Run Method Seconds"]) >= 0 for row in rows)
    assert all(re.match(r"\d{4}-\d\d-\d\d.\d\d:\d\d:\d\d", row["Start Time"]) for row in rows)


def test_a_job_that_failed_has_its_reason_and_traceback_in_a_file(bench: Bench) -> None:
    bench.script(SCRIPT)
    bench.files(4)
    assert bench.submit(mini_batch_error_threshold=0).code == 1
    error = bench.run("logs", "probe", "job_error.txt").ok().out
    assert error.startswith("THRESHOLD_EXCEEDED: 1 mini-batch failed, more than mini_batch_error_threshold = 0 allows")
    assert 'score.py", line 13, in run' in error
    assert "Failed" in (bench.logs() / "job_result.txt").read_text()
