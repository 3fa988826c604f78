"""`runner: {partition_by: ...}` as a user has it: the folders, a resume, what is refused and where."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from cli_kit import TABLES, Bench

FOLDER = {"scores": {"type": "uri_folder", "path": "out/scores"}}
DOUBLE = "def run(frame):\n    return frame[['store', 'x']].assign(x=frame['x'] * 2)\n"
ONLY_EVEN = """\
import signs

def run(frame):
    if frame["x"].min() == 20 and not signs.is_given("mended"):
        raise ValueError("not yet")
    return frame["x"] * 2
"""


def _runner(**more: Any) -> dict[str, Any]:
    return {"output_format": "parquet", "partition_by": ["store"], **more}


def _columns() -> dict[str, Any]:
    return {"store": [f"s {n % 3}" for n in range(45)], "x": list(range(45)), "f": [n / 2 for n in range(45)]}


def _found(folder: Path) -> dict[str, list[int]]:
    parts = json.loads((folder / "_manifest.json").read_text())["parts"]
    found: dict[str, list[int]] = {}
    for part in parts:
        rows = pq.ParquetFile(folder / part["file"]).read()
        assert rows.num_rows == part["rows"] and "store" not in rows.column_names
        found.setdefault(part["file"].rpartition("/")[0], []).extend(rows.column(rows.column_names[-1]).to_pylist())
    return found


EXPECTED = {f"store=s%20{k}": [2 * n for n in range(45) if n % 3 == k] for k in range(3)}


def test_rows_are_published_in_folders_and_read_back_as_one_table(bench: Bench) -> None:
    bench.script(DOUBLE)
    bench.table("a.parquet", _columns())
    bench.submit(**TABLES, outputs=FOLDER, max_concurrency_per_instance=2, runner=_runner()).ok()
    folder = bench.folder / "out" / "scores"
    assert _found(folder) == EXPECTED
    bench.script("def run(frame):\n    return [f'{s}|{x}' for s, x in zip(frame['store'], frame['x'])]\n")
    inputs = {"cargo": {"type": "mltable", "mode": "direct", "path": "out/scores"}}
    bench.run("submit", bench.job(inputs=inputs, mini_batch_size="100 rows"), "--name", "back").ok()
    assert bench.target.read_text().splitlines() == [f"s {k}|{x}" for k in range(3) for x in EXPECTED[f"store=s%20{k}"]]


def test_a_resume_puts_what_had_failed_into_its_place_and_a_column_may_be_kept(bench: Bench) -> None:
    bench.script(ONLY_EVEN)
    bench.table("a.parquet", _columns())
    said = {"outputs": FOLDER, "mini_batch_error_threshold": 0, "runner": _runner(keep_columns=["store"])}
    done = bench.submit(**TABLES, **said)
    assert done.code == 1
    assert not (bench.folder / "out" / "scores" / "_manifest.json").exists()
    bench.give("mended")
    bench.run("resume", "probe").ok()
    assert _found(bench.folder / "out" / "scores") == EXPECTED


def test_a_redrive_is_refused_in_words(bench: Bench) -> None:
    bench.script(ONLY_EVEN)
    bench.table("a.parquet", _columns())
    bench.submit(**TABLES, outputs=FOLDER, runner=_runner(keep_columns=["store"])).ok()
    assert bench.show()["failed_mini_batch_count"] == 1
    done = bench.run("redrive", "probe")
    assert done.code == 2 and "partition_by" in done.err and "submit it anew" in done.err, done.err


@pytest.mark.parametrize(
    ("runner", "outputs", "said"),
    [
        ({"output_format": "text"}, FOLDER, "partition_by has no meaning for text"),
        ({}, None, "needs a folder, and the output 'scores' is a file"),
        ({"partition_by": ["store", "store"]}, FOLDER, "names 'store' twice"),
        ({"partition_by": ["f"], "keep_columns": ["f"]}, FOLDER, "names 'f', a column of double"),
    ],
)
def test_what_cannot_be_is_refused_before_any_work(bench: Bench, runner: Any, outputs: Any, said: str) -> None:
    bench.script(DOUBLE)
    bench.table("a.parquet", _columns())
    done = bench.submit(**TABLES, **({"outputs": outputs} if outputs else {}), runner=_runner(**runner))
    assert done.code == 2 and said in done.err, done.err


def test_a_column_of_floats_fails_the_job_and_names_it(bench: Bench) -> None:
    bench.script("def run(frame):\n    return frame[['store', 'f']]\n")
    bench.table("a.parquet", {**_columns(), "store": pa.array([0.5] * 45)})
    done = bench.submit(**TABLES, outputs=FOLDER, runner=_runner())
    assert done.code == 1 and "'store', a column of double" in done.err, done.err
