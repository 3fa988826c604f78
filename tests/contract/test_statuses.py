"""The twelve statuses are the same in the table, in the SQL checks and on the wire."""

from __future__ import annotations

import re
from pathlib import Path

import runner.store.migrate
from runner.api.v1 import job_pb2
from runner.entity.asset import PublishedStatus
from runner.entity.status import TERMINAL, TRANSITIONS, JobStatus
from runner.store.silence import BEATING

SCHEMA = Path(runner.store.migrate.__file__).with_name("schema.sql").read_text()
WORDS = {str(status) for status in JobStatus}


def lists_of(column: str) -> list[set[str]]:
    return [set(re.findall(r"'(\w+)'", found)) for found in re.findall(rf"\b{column} IN \((.*?)\)", SCHEMA, re.S)]


def test_the_table_has_a_row_for_every_status_and_terminal_ones_lead_only_to_a_new_run() -> None:
    assert set(TRANSITIONS) == set(JobStatus)
    assert len(JobStatus) == 12
    for status in TERMINAL:
        assert TRANSITIONS[status] <= {JobStatus.STARTING}


def test_sql_checks_hold_the_same_words() -> None:
    published = {str(status) for status in PublishedStatus}
    assert lists_of("CHECK \\(status") == [WORDS, WORDS, published]
    assert lists_of("CHECK \\(silent_status") == [{str(status) for status in BEATING}]
    quiet = set(re.findall(r"'(\w+)'", re.findall(r"status NOT IN \((.*?)\)", SCHEMA, re.S)[0]))
    assert quiet == WORDS - {str(status) for status in BEATING}


def test_the_wire_has_the_same_words() -> None:
    names = [value.name for value in job_pb2.JobStatus.DESCRIPTOR.values]
    assert names[0] == "JOB_STATUS_UNSPECIFIED"
    wire = {"".join(part.capitalize() for part in name.removeprefix("JOB_STATUS_").split("_")) for name in names[1:]}
    assert wire == WORDS
