"""`runner failures`: what a job has set aside, as a table and for programs, here and through a service."""

from __future__ import annotations

import csv
import io
import json
import signal
from datetime import datetime
from typing import Any

import pyarrow.parquet as pq
import pytest
from cli_kit import TABLES, Bench, until

from runner.client.client import Client
from runner.entity.failure import FAILURE_COLUMNS
from runner.errors import ArgumentInvalid, JobNotFound
from runner.server.jobs import Jobs
from runner.store.home import Home

PICKY = """\
import os
import signs

def run(mini_batch):
    name = os.path.basename(mini_batch[0])
    if name in ("001.txt", "004.txt"):
        raise ValueError(f"no oil in {name}\\nand no water")
    if name == "003.txt":
        os._exit(3)
    if name == "005.txt":
        signs.give("held")
        signs.wait("go")
    return [name]
"""


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """A completed job of six files, three of which are set aside; only read by the tests that share it."""
    folder = tmp_path_factory.mktemp("ended")
    bench = Bench(folder / "work", folder / "home")
    bench.script(PICKY)
    bench.files(6)
    bench.give("go")
    bench.submit().ok()
    return bench


def listed(bench: Bench, *arguments: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = bench.run("failures", "probe", *arguments, "--output", "json").ok().json
    return rows


def test_failures_are_told_as_json_and_csv_with_the_same_columns(ended: Bench) -> None:
    rows = listed(ended)
    assert [row["mini_batch"] for row in rows] == [1, 3, 4]
    assert all(tuple(row) == FAILURE_COLUMNS for row in rows)
    first = rows[0]
    assert (first["class"], first["exception_type"], first["item_count"], first["attempts"]) == (
        "user_error",
        "ValueError",
        1,
        1,
    )
    assert first["message"] == "no oil in 001.txt\nand no water"
    assert "score.py" in first["traceback"]
    assert (first["file"], first["row"], first["key"]) == (str(ended.data / "001.txt"), None, None)
    assert datetime.fromisoformat(first["time"]).tzinfo is not None
    told = ended.run("failures", "probe", "--output", "csv").ok().out
    table = list(csv.DictReader(io.StringIO(told)))
    assert table == [{k: "" if v is None else str(v) for k, v in row.items()} for row in rows]


def test_parquet_has_the_same_columns_with_types(ended: Bench) -> None:
    rows = listed(ended)
    path = ended.folder / "failures.parquet"
    path.write_bytes(ended.bytes_of("failures", "probe", "--output", "parquet"))
    typed = pq.read_table(path)
    assert tuple(typed.column_names) == FAILURE_COLUMNS
    same = [name for name in FAILURE_COLUMNS if name != "time"]
    assert typed.select(same).to_pylist() == [{name: row[name] for name in same} for row in rows]
    assert typed["time"].to_pylist() == [datetime.fromisoformat(row["time"]) for row in rows]
    path.write_bytes(ended.bytes_of("failures", "probe", "--class", "read", "--output", "parquet"))
    assert (pq.read_schema(path), pq.read_table(path).num_rows) == (typed.schema, 0)


def test_failures_are_filtered_by_class_and_limited(ended: Bench) -> None:
    assert [row["mini_batch"] for row in listed(ended, "--class", "crash")] == [3]
    assert [row["mini_batch"] for row in listed(ended, "--class", "crash", "--class", "user_error")] == [1, 3, 4]
    assert listed(ended, "--class", "read") == []
    assert [row["mini_batch"] for row in listed(ended, "--limit", "2")] == [1, 3]
    assert len(listed(ended, "--all")) == 3
    unknown = ended.run("failures", "probe", "--class", "oil")
    assert unknown.code == 2 and "user_error" in unknown.err


def test_a_person_sees_a_table_with_the_first_line_of_each_message(ended: Bench) -> None:
    lines = ended.run("failures", "probe").ok().out.splitlines()
    assert lines[0].split() == ["MINI-BATCH", "ITEMS", "CLASS", "TRIES", "PLACE", "WHY"]
    assert len(lines) == 4
    assert lines[1].split()[:4] == ["1", "1", "user_error", "1"]
    assert lines[1].endswith("ValueError: no oil in 001.txt")
    assert str(ended.data / "003.txt") in lines[2]
    assert "STATE" in ended.run("failures", "probe", "--all").ok().out


def test_parquet_is_not_written_to_a_terminal(ended: Bench) -> None:
    terminal = ended.at_terminal("failures", "probe", "--output", "parquet")
    assert terminal.end() == 2
    assert "is a terminal; write it to a file" in terminal.text and "PAR1" not in terminal.text


def test_an_unknown_job_is_told_by_name_and_a_whole_one_has_no_failures(bench: Bench) -> None:
    for form in ("text", "json", "csv"):
        unknown = bench.run("failures", "nobody", "--output", form)
        assert (unknown.code, unknown.out) == (2, "")
        assert "there is no job 'nobody'" in unknown.err
    bench.script("def run(mini_batch):\n    return mini_batch\n")
    bench.files(2)
    bench.submit().ok()
    assert listed(bench) == []
    assert bench.run("failures", "probe", "--output", "csv").ok().out == ",".join(FAILURE_COLUMNS) + "\n"
    none = bench.run("failures", "probe").ok()
    assert (none.out, "nothing that probe has set aside is open" in none.err) == ("", True)


def test_while_a_job_runs_its_committed_failures_are_told(bench: Bench) -> None:
    bench.script(PICKY)
    bench.files(6)
    going = bench.start("submit", bench.job(), "--name", "probe")
    until(lambda: bench.is_given("held"), what="the mini-batch that holds")
    rows = until(lambda: listed(bench) if len(listed(bench)) == 3 else None, what="failures of a job that runs")
    assert [row["mini_batch"] for row in rows] == [1, 3, 4]
    bench.give("go")
    assert going.end().code == 0
    assert listed(bench) == rows


def test_a_row_of_a_table_is_told_by_its_place_in_its_file(bench: Bench) -> None:
    bench.script("def run(mini_batch):\n    assert 25 not in set(mini_batch['bed']), 'dry'\n    return mini_batch\n")
    bench.table("beds.parquet", {"bed": list(range(40))})
    bench.submit(**TABLES).ok()
    (row,) = listed(bench)
    assert (row["mini_batch"], row["row"], row["item_count"]) == (2, 20, 10)
    assert row["file"].endswith("beds.parquet")


def test_failures_are_the_same_through_a_service_and_from_python(ended: Bench) -> None:
    service = ended.start("serve")
    service.says("serving on ")
    address = service.out.split()[-1]
    there = ("--server", address)
    for arguments in (("--class", "crash"), ("--output", "json")):
        here = ended.run("failures", "probe", *arguments).ok().out
        assert ended.run("failures", "probe", *arguments, *there).ok().out == here
    service.send(signal.SIGTERM)
    service.end().ok()
    jobs = Jobs(Home(ended.home), lambda name: None)
    client = Client(jobs, jobs.home)
    rows = list(client.jobs.failures("probe", classes=["user_error"]))
    assert [(row.mini_batch, str(row.cls), row.is_open) for row in rows] == [
        (1, "user_error", True),
        (4, "user_error", True),
    ]
    assert json.loads(json.dumps([row.as_dict() for row in rows]))[0]["class"] == "user_error"
    with pytest.raises(ArgumentInvalid, match=r"'oil' is no class.*crash"):
        list(client.jobs.failures("probe", classes=["oil"]))
    with pytest.raises(JobNotFound):
        list(client.jobs.failures("nobody"))
    client.close()
