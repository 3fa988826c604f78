"""`runner preview` shows how a job would begin and changes nothing; `runner.limit` runs a trial of it."""

from __future__ import annotations

import os
from typing import Any

import pyarrow as pa
import pytest
from cli_kit import ECHO, TABLES, Bench

SCRIPT = "import os\nopen('ran', 'w')\ndef run(frame):\n    return frame['id']\n"


def _table(bench: Bench) -> None:
    bench.script(SCRIPT)
    ids = pa.array([None, *range(1, 25)], pa.int32())
    bench.table("a.parquet", {"id": ids, "name": ["é\n" + "long" * 20] * 25, "at": [[1.5, None]] * 25})


def _preview(bench: Bench, *arguments: str, **changes: Any) -> dict[str, Any]:
    with bench.nothing_written():
        seen: dict[str, Any] = bench.run("preview", bench.job(**changes), "--output", "json", *arguments).ok().json
    assert not (bench.home / "jobs").exists() or not os.listdir(bench.home / "jobs")
    return seen


def test_the_first_mini_batch_and_the_first_cuts_of_a_table(bench: Bench) -> None:
    _table(bench)
    seen = _preview(bench, **TABLES)
    assert (seen["item_count"], seen["mini_batch_count"], seen["unit_count"], seen["file_count"]) == (25, 3, 1, 1)
    assert [(cut["mini_batch"], cut["row"], cut["item_count"]) for cut in seen["mini_batches"]] == [
        (0, 0, 10),
        (1, 10, 10),
        (2, 20, 5),
    ]
    first = seen["first"]
    assert (first["type"], first["item_count"]) == ("pandas.DataFrame", 10)
    assert next((c["name"], c["type"], c["seen_as"]) for c in first["columns"]) == ("id", "int32", "float64")
    assert first["items"][1][0] == 1.0 and first["items"][0][1].startswith("é\n")


@pytest.mark.parametrize(
    ("form", "kind", "seen_as", "first_id"),
    [("arrow", "pyarrow.Table", "int32", None), ("numpy", "dict of arrays", "masked int32", None)],
)
def test_the_mini_batch_is_shown_in_the_format_of_the_job(
    bench: Bench, form: str, kind: str, seen_as: str, first_id: Any
) -> None:
    _table(bench)
    first = _preview(bench, **TABLES, runner={"mini_batch_format": form})["first"]
    assert (first["type"], first["columns"][0]["seen_as"], first["items"][0][0]) == (kind, seen_as, first_id)


def test_files_are_shown_as_paths(bench: Bench) -> None:
    bench.script(ECHO)
    bench.files(23)
    (bench.data / os.fsdecode(b"0\xff.txt")).write_text("")
    seen = _preview(bench, "--set", "mini_batch_size=2")
    assert (seen["item_count"], seen["mini_batch_count"], len(seen["mini_batches"])) == (24, 12, 10)
    assert seen["first"]["type"] == "list of paths" and seen["mini_batches"][1]["row"] is None
    assert [os.path.basename(path) for (path,) in seen["first"]["items"]] == ["000.txt", "001.txt"]


def test_a_person_gets_tables_with_long_values_cut(bench: Bench) -> None:
    _table(bench)
    done = bench.run("preview", bench.job(**TABLES)).ok()
    assert "25 items in 3 mini-batches and 1 unit, from 1 file" in done.out
    assert "mini-batch 0: pandas.DataFrame, 10 items" in done.out
    assert "\\xe9\\nlong" in done.out or "é\\nlong" in done.out
    assert max(map(len, done.out.splitlines())) < 160


def test_groups_by_key_are_shown_with_their_keys(bench: Bench) -> None:
    bench.script(SCRIPT)
    bench.table("a.parquet", {"id": range(9), "store": [1, 2, 3] * 3})
    seen = _preview(bench, **TABLES | {"mini_batch_size": None}, partition_keys=["store"])
    assert sorted(cut["key"] for cut in seen["mini_batches"]) == [f'{{"store": {n}}}' for n in (1, 2, 3)]
    assert seen["first"]["item_count"] == 3 and seen["mini_batches"][0]["file"] is None


def test_a_target_that_exists_is_no_matter_but_missing_data_and_other_kinds_are(bench: Bench) -> None:
    bench.script(ECHO)
    bench.files(1)
    bench.target.parent.mkdir()
    bench.target.write_text("here")
    assert _preview(bench)["item_count"] == 1
    done = bench.run("preview", bench.job(inputs={"cargo": {"type": "uri_folder", "path": "nowhere"}}))
    assert done.code == 2 and "nowhere" in done.err
    command = bench.folder / "command.yml"
    command.write_text("type: command\ncompute: local\ncommand: echo hi\n")
    done = bench.run("preview", command)
    assert done.code == 2 and "only parallel jobs have mini-batches" in done.err


def test_a_trial_runs_the_first_mini_batches_says_so_and_stays_one_when_resumed(bench: Bench) -> None:
    text = "import os, signs\ndef run(files):\n    if '001' in files[0] and not signs.is_given('mended'):\n"
    bench.script(text + "        raise ValueError('not yet')\n    return [os.path.basename(path) for path in files]\n")
    bench.files(20)
    done = bench.submit("--set", "runner.limit=3", "--set", "mini_batch_size=2", mini_batch_error_threshold=0)
    assert done.code == 0
    assert "a trial" in done.err and bench.target.read_text().splitlines() == [f"{n:03d}.txt" for n in range(6)]
    shown = bench.show()
    assert (shown["mini_batch_count"], shown["done_mini_batch_count"], shown["item_count"]) == (3, 3, 6)
    bench.run("delete", "probe").ok()
    done = bench.submit("--overwrite", mini_batch_error_threshold=0, runner={"limit": 2})
    assert done.code == 1
    bench.give("mended")
    bench.run("resume", "probe").ok()
    assert bench.target.read_text().splitlines() == ["000.txt", "001.txt"]
    assert bench.show()["mini_batch_count"] == 2


def test_a_trial_of_groups_and_of_tables(bench: Bench) -> None:
    bench.script("def run(frame):\n    return [len(frame)]\n")
    bench.table("a.parquet", {"id": range(25), "store": [1, 2, 3, 4, 5] * 5})
    bench.submit(**TABLES, runner={"limit": 2}).ok()
    assert bench.target.read_text() == "10\n10\n"
    bench.run("delete", "probe").ok()
    tables = TABLES | {"mini_batch_size": None}
    bench.submit("--overwrite", **tables, partition_keys=["store"], runner={"limit": 2}).ok()
    assert bench.target.read_text() == "5\n5\n"
    bench.run("delete", "probe").ok()
    bench.submit("--overwrite", **TABLES, runner={"limit": 100}).ok()
    assert bench.target.read_text() == "10\n10\n5\n"


@pytest.mark.parametrize("limit", [0, -1, "few"])
def test_a_limit_is_a_whole_number_of_at_least_one(bench: Bench, limit: Any) -> None:
    bench.script(ECHO)
    bench.files(1)
    done = bench.submit(runner={"limit": limit})
    assert done.code == 2 and "runner.limit" in done.err
