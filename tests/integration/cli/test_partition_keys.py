"""Partition keys as a user has them: groups in `run`, kills and cancels around the exchange, and what failures tell."""

from __future__ import annotations

import csv
import datetime as dt
import json
import os
import shutil
import signal
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from cli_kit import TABLES, Bench, until

SPECIES = ["wren", "reed bunting", "nightjar", "chough"]

GROUPS = """\
import json

def run(mini_batch, context):
    rings = mini_batch["ring"]
    return [json.dumps([*map(str, context.partition_key_value.values()), *(int(str(ring)) for ring in rings)])]
"""
"""One line for each group: its keys and its rings."""

HELD = """\
import signs

def init():
    signs.give("began")

def run(mini_batch, context):
    signs.note("ran", context.minibatch_index)
    if context.minibatch_index == 2:
        signs.give("second")
        signs.wait("go")
    return [f"{context.partition_key_value['species']} {len(mini_batch)}"]
"""


def birds(bench: Bench, count: int = 100, files: int = 2) -> None:
    """Files of rings, species and nets."""
    for number in range(files):
        rings = range(number * count, number * count + count)
        columns = {"ring": rings, "species": [SPECIES[n * 7 % 4] for n in rings], "net": [n % 3 for n in rings]}
        bench.table(f"{number}.parquet", columns)


def keyed(*keys: str, **more: Any) -> dict[str, Any]:
    return TABLES | {"mini_batch_size": None, "partition_keys": list(keys or ("species",))} | more


def lines(bench: Bench) -> list[Any]:
    return [json.loads(line) for line in bench.target.read_text().splitlines()]


def wanted(total: int) -> list[list[Any]]:
    groups: dict[tuple[str, str], list[int]] = {}
    for ring in range(total):
        groups.setdefault((SPECIES[ring * 7 % 4], str(ring % 3)), []).append(ring)
    return sorted([*key, *rings] for key, rings in groups.items())


@pytest.mark.parametrize("form", ["pandas", "arrow", "numpy", "polars"])
def test_groups_come_whole_and_in_order_in_every_format(bench: Bench, form: str) -> None:
    if form == "polars":
        pytest.importorskip("polars")
    birds(bench)
    bench.script(GROUPS)
    changes = keyed("species", "net", runner={"mini_batch_format": form}, max_concurrency_per_instance=2)
    bench.submit(**changes).ok()
    assert sorted(lines(bench)) == wanted(200)
    shown = bench.show()
    assert (shown["mini_batch_count"], shown["done_mini_batch_count"], shown["item_count"]) == (12, 12, 200)
    assert not (bench.home / "jobs" / "probe" / "groups").exists(), "what was moved is given back"


def test_the_output_does_not_depend_on_memory_or_workers(bench: Bench) -> None:
    birds(bench, 2000)
    bench.script(GROUPS)
    seen = set()
    for number, (memory, workers) in enumerate([("2gb", 1), ("16kb", 2)]):
        changes = keyed("species", "net", runner={"memory": memory}, max_concurrency_per_instance=workers)
        bench.run("submit", bench.job(**changes), "--name", f"job{number}").ok()
        seen.add(bench.target.read_bytes())
        bench.target.unlink()
    assert len(seen) == 1


TYPES = """\
import json

def run(mini_batch, context):
    return [json.dumps([[type(value).__name__, str(value)] for value in context.partition_key_value.values()])]
"""


def test_keys_arrive_with_their_own_types(bench: Bench) -> None:
    noon = dt.datetime(2026, 1, 2, 12, tzinfo=dt.UTC)
    columns: list[tuple[pa.Array, list[str]]] = [
        (pa.array([7], pa.int8()), ["int", "7"]),
        (pa.array([None], pa.int64()), ["NoneType", "None"]),
        (pa.array([float("nan")]), ["float", "nan"]),
        (pa.array([True]), ["bool", "True"]),
        (pa.array(["wren "]), ["str", "wren "]),
        (pa.array([b"\0"]), ["bytes", "b'\\x00'"]),
        (pa.array([Decimal("1.50")]), ["Decimal", "1.50"]),
        (pa.array([dt.date(2026, 1, 2)]), ["date", "2026-01-02"]),
        (pa.array([dt.time(1, 2)]), ["time", "01:02:00"]),
        (pa.array([dt.timedelta(days=1)]), ["Timedelta", "1 days 00:00:00"]),
        (pa.array([noon], pa.timestamp("us", "Europe/Oslo")), ["Timestamp", "2026-01-02 13:00:00+01:00"]),
    ]
    bench.table("a.parquet", {f"k{number}": column for number, (column, _) in enumerate(columns)})
    bench.script(TYPES)
    bench.submit(**keyed(*(f"k{number}" for number in range(len(columns))))).ok()
    assert lines(bench) == [[told for _, told in columns]]


def test_columns_of_the_input_are_kept_beside_the_result(bench: Bench) -> None:
    birds(bench)
    bench.script(
        "import pandas\ndef run(mini_batch):\n    return pandas.DataFrame({'same': list(mini_batch['ring'])})\n"
    )
    bench.submit(**keyed(runner={"keep_columns": ["species", "ring"], "output_format": "csv"})).ok()
    rows = list(csv.DictReader(bench.target.read_text().splitlines()))
    assert sorted(int(row["ring"]) for row in rows) == list(range(200))
    assert all(row["same"] == row["ring"] and row["species"] == SPECIES[int(row["ring"]) * 7 % 4] for row in rows)


class TestFailures:
    PICKY = """\
import signs

def run(mini_batch, context):
    signs.note("calls", context.partition_key_value["species"])
    if context.partition_key_value["species"] == "wren" and not signs.is_given("mended"):
        raise ValueError("no wrens")
    return [context.partition_key_value["species"]] * len(mini_batch)
"""

    def test_a_failed_group_is_told_by_its_key_counted_whole_and_redriven(self, bench: Bench) -> None:
        birds(bench)
        bench.script(self.PICKY)
        bench.submit(**keyed(runner={"bisect": True})).ok()
        assert bench.notes("calls").count("wren") == 1, "a group is never split"
        rows = bench.run("failures", "probe", "--output", "json").ok().json
        assert [(row["key"], row["file"], row["row"], row["item_count"]) for row in rows] == [
            ({"species": "wren"}, None, None, 50)
        ]
        shown = bench.show()
        assert (shown["failed_mini_batch_count"], shown["failed_item_count"]) == (1, 50)
        assert "wren" in bench.run("failures", "probe").ok().out
        bench.give("mended")
        bench.run("redrive", "probe").ok()
        assert sorted(bench.target.read_text().splitlines()) == sorted(SPECIES * 50)
        assert not (bench.home / "jobs" / "probe" / "groups").exists()

    @pytest.mark.parametrize(("threshold", "code"), [(49, 1), (50, 0)])
    def test_a_threshold_counts_the_rows_of_a_group(self, bench: Bench, threshold: int, code: int) -> None:
        birds(bench)
        bench.script(self.PICKY)
        assert bench.submit(**keyed(error_threshold=threshold)).code == code


def test_a_key_that_is_no_column_ends_with_exit_code_2_and_the_nearest(bench: Bench) -> None:
    birds(bench)
    bench.script(GROUPS)
    ended = bench.submit(**keyed("specie"))
    assert ended.code == 2
    assert "no file of the input has a column 'specie'; did you mean 'species'?" in ended.err


class TestKills:
    def _plan(self, bench: Bench) -> Path:
        return bench.home / "jobs" / "probe" / "plan"

    def _killed(self, bench: Bench) -> None:
        """Start a job, and kill its driver when a worker is at a group."""
        birds(bench)
        bench.script(HELD)
        going = bench.start("submit", bench.job(**keyed()), "--name", "probe")
        until(lambda: bench.is_given("second"), what="a worker at its third group")
        os.kill(bench.driver_pid(), signal.SIGKILL)
        going.end()
        bench.give("go")

    def _whole(self, bench: Bench) -> None:
        assert sorted(bench.target.read_text().splitlines()) == sorted(f"{name} 50" for name in SPECIES)

    def test_a_resume_takes_up_the_groups_that_are_there(self, bench: Bench) -> None:
        self._killed(bench)
        groups = self._plan(bench).with_name("groups")
        assert list(groups.rglob("*.arrow"))
        ended = bench.run("resume", "probe").ok()
        self._whole(bench)
        assert "grouping" not in ended.err + ended.out

    @pytest.mark.parametrize("damage", ["gone", "cut"])
    def test_groups_that_are_lost_are_made_anew(self, bench: Bench, damage: str) -> None:
        self._killed(bench)
        groups = self._plan(bench).with_name("groups")
        if damage == "gone":
            shutil.rmtree(groups)
        else:
            os.truncate(next(groups.rglob("*.arrow")), 100)
        bench.run("resume", "probe").ok()
        self._whole(bench)

    def test_a_kill_in_the_exchange_leaves_nothing_that_counts(self, bench: Bench) -> None:
        birds(bench, 20_000)
        bench.script("def run(mini_batch):\n    return [len(mini_batch)]\n")
        groups = self._plan(bench).with_name("groups")
        going = bench.start("submit", bench.job(**keyed(runner={"memory": "1kb"})), "--name", "probe")
        until(lambda: groups.exists() or going.process.poll() is not None, what="the exchange")
        pid = bench.driver_pid()
        if not self._plan(bench).exists() and pid:
            os.kill(pid, signal.SIGKILL)
            going.end()
            bench.run("resume", "probe").ok()
        else:
            going.end().ok()
        assert [int(line) for line in bench.target.read_text().splitlines()] == [10_000] * 4

    def test_a_changed_input_is_refused_by_name(self, bench: Bench) -> None:
        self._killed(bench)
        path = bench.folder / "tables" / "1.parquet"
        os.utime(path, ns=(1, 1))
        ended = bench.run("resume", "probe")
        assert ended.code != 0
        assert f"{path} was written to since the job was planned" in ended.err
        assert not bench.target.exists()


def test_a_cancel_while_rows_are_grouped_ends_within_seconds(bench: Bench) -> None:
    birds(bench, 400_000)
    bench.script("def run(mini_batch):\n    return [len(mini_batch)]\n")
    groups = bench.home / "jobs" / "probe" / "groups"
    changes = keyed("ring", runner={"memory": "100kb"})
    going = bench.start("submit", bench.job(**changes), "--name", "probe")
    until(lambda: groups.exists() or going.process.poll() is not None, what="the exchange")
    assert bench.show().get("mini_batch_count") is None
    began = time.monotonic()
    bench.run("cancel", "probe").ok()
    going.end()
    assert time.monotonic() - began < 15
    assert bench.status() == "Canceled"
    assert not bench.target.exists()


def test_several_inputs_keep_their_groups_apart(bench: Bench) -> None:
    birds(bench, 40, files=1)
    (bench.folder / "more").mkdir()
    shutil.copy(bench.folder / "tables" / "0.parquet", bench.folder / "more" / "0.parquet")
    bench.script("def run(mini_batch, context):\n    return [f'{context.dataset} {len(mini_batch)}']\n")
    inputs = {
        "first": {"type": "mltable", "mode": "direct", "path": "tables"},
        "second": {"type": "mltable", "mode": "direct", "path": "more"},
    }
    changes = keyed() | {"inputs": {"cargo": None, **inputs}}
    changes["input_data"] = ["${{inputs.first}}", "${{inputs.second}}"]
    bench.submit(**changes).ok()
    assert sorted(bench.target.read_text().splitlines()) == ["first 10"] * 4 + ["second 10"] * 4
