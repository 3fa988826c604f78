"""A driver that is started before its job exists: it goes on with the job, or leaves nothing."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from cli_kit import ECHO, Bench


@pytest.fixture(autouse=True)
def two_files(bench: Bench) -> None:
    bench.script(ECHO)
    bench.files(2)


def processes_of(home: Path) -> list[str]:
    """The command lines of everything that runs for a home."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() and int(entry.name) != os.getpid():
            try:
                if b"RUNNER_HOME=%s" % os.fsencode(home) in (entry / "environ").read_bytes().split(b"\0"):
                    found.append((entry / "cmdline").read_bytes().replace(b"\0", b" ").decode())
            except OSError:
                continue
    return found


def test_the_driver_that_was_started_early_drives_the_job_and_talks_into_its_log(bench: Bench) -> None:
    bench.submit().ok()
    talk = bench.home / "jobs" / "probe" / "logs" / "sys" / "driver.txt"
    assert "|runner.schedule." in talk.read_text()


@pytest.mark.parametrize("changes", [{"mini_batch_size": "0"}, {"input_data": "${{inputs.other}}"}])
def test_no_process_is_left_of_a_job_that_is_refused(bench: Bench, changes: dict[str, str]) -> None:
    assert bench.submit(**changes).code == 2
    assert processes_of(bench.home) == []


def test_a_name_that_was_guessed_wrong_costs_nothing(bench: Bench) -> None:
    job = bench.job()
    job.write_text(job.read_text() + "\nname: other # and a remark\n")
    bench.run("submit", job).ok()
    assert (bench.home / "jobs" / "other").is_dir()
