"""The logs that a driver writes: bounded, whatever instances elsewhere send and however much has failed."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from runner.dispatch._loop import RECORD
from runner.entity.job import Progress
from runner.entity.lease import Failure
from runner.entity.status import FailureClass, JobStatus
from runner.schedule import job_logs
from runner.schedule.failures import encode_failure
from runner.schedule.job_logs import JobLogs
from runner.schedule.journal import Begun, Committed, Journal, Opened
from runner.store.home import JobFolder

COUNT = 50


@pytest.fixture
def folder(tmp_path: Path) -> JobFolder:
    """A job of which every third mini-batch has failed, with long messages."""
    made = JobFolder(tmp_path / "job")
    made.root.mkdir()
    failed = range(0, COUNT, 3)
    lines = [encode_failure(failure(number)) for number in failed]
    made.failures.write_bytes(b"".join(lines))
    records = np.zeros(COUNT, RECORD)
    records["mini_batch"] = np.arange(COUNT)
    records["item_count"] = 1
    records["succeeded"] = 1
    records["flags"][list(failed)] = 1
    records["succeeded"][list(failed)] = 0
    made.records.write_bytes(records.tobytes())
    journal = Journal(made.journal, 0)
    journal.append((Begun(1, "job", "abc"), Opened(1, 1.5, "host", 42)))
    journal.append((Committed(epoch=1, first=0, end=COUNT, failures_end=sum(map(len, lines))),))
    journal.close()
    return made


def failure(number: int) -> Failure:
    return Failure(
        mini_batch=number,
        first_item=0,
        unit=0,
        file="/data/lamps",
        row=number,
        item_count=1,
        cls=FailureClass.USER_ERROR,
        exception_type="ValueError",
        message=f"{number} " + "x" * 1000,
        traceback="Traceback ...",
        attempts=1,
        instance="node-000",
        worker="process000",
        time=12.5,
    )


def test_messages_in_the_report_are_short_once_there_are_very_many(
    folder: JobFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_logs, "MESSAGES_LIMIT", 5000)
    JobLogs(folder.logs).end(JobStatus.COMPLETED, None, Progress(), folder)
    with open(folder.logs / "sys/job_report/processed_mini-batches.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["Mini-batch Id"] for row in rows] == [str(number) for number in range(COUNT)]
    told = [row["Error Message"] for row in rows if row["Status"] == "FAILED"]
    assert [one.split()[1] for one in told] == [str(number) for number in range(0, COUNT, 3)]
    assert [len(one) > 1000 for one in told] == [True] * 5 + [False] * (len(told) - 5)
    assert all(row["Error Message"] == "" for row in rows if row["Status"] != "FAILED")


def test_a_log_that_is_sent_for_ever_keeps_its_begin_and_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_logs, "SHIPPED_HEAD_BYTES", 1000)
    monkeypatch.setattr(job_logs, "SHIPPED_TAIL_BYTES", 300)
    logs = JobLogs(tmp_path)
    for number in range(1000):
        logs.append("user/stdout/node-001/process000.stdout.txt", f"line {number:05d}\n".encode())
    text = (tmp_path / "user/stdout/node-001/process000.stdout.txt").read_text()
    assert len(text) < 2000
    assert text.startswith("line 00000\n") and text.endswith("line 00999\n")
    assert "some is left out" in text
