"""What was set aside is told as data beside the output, and what is tried again takes its place in it."""

from __future__ import annotations

import csv
import hashlib
import json
from pathlib import Path

import pyarrow.parquet as pq
from cli_kit import TABLES, Bench

from runner.entity.failure import FAILURE_COLUMNS

ROWS = 60
POISON = (7, 8, 31, 59)
SCORE = """\
import signs

def run(mini_batch):
    bad = [int(n) for n in mini_batch["number"] if n in {poison} and not signs.is_given(f"good-{{n}}")]
    if bad:
        raise ValueError(f"number {{bad[0]}} is off")
    return mini_batch[["number"]].assign(half=mini_batch["number"] / 2)
"""
FOLDER = {"outputs": {"scores": {"type": "uri_folder", "path": "out/scores"}}}


def tables(bench: Bench) -> Path:
    """Sixty numbers in one file, ten to a mini-batch, bisected, scored into a folder of small Parquet files."""
    bench.script(SCORE.format(poison=POISON))
    bench.table("numbers.parquet", {"number": list(range(ROWS))})
    return bench.folder / "out" / "scores"


SPLIT = {**TABLES, **FOLDER, "runner": {"output_format": "parquet", "bisect": True, "part_size": "1kb"}}


def numbers_in(target: Path) -> list[int]:
    """The rows of all parts in the order of names; the manifest must agree with them."""
    listed = json.loads((target / "_manifest.json").read_bytes())["parts"]
    files = sorted(target.glob("*.parquet"))
    assert [part["file"] for part in listed] == [file.name for file in files]
    for part, file in zip(listed, files, strict=True):
        data = file.read_bytes()
        assert (part["bytes"], part["sha256"]) == (len(data), hashlib.sha256(data).hexdigest())
        assert part["rows"] == pq.read_metadata(file).num_rows
    return [number for file in files for number in pq.read_table(file)["number"].to_pylist()]


def test_failing_rows_are_found_told_and_mended_one_after_the_other(bench: Bench) -> None:
    target = tables(bench)
    bench.submit(**SPLIT).ok()
    assert numbers_in(target) == [n for n in range(ROWS) if n not in POISON]
    told = target.with_name("scores.failures")
    rows = pq.read_table(told)
    assert tuple(rows.column_names) == FAILURE_COLUMNS
    assert rows["row"].to_pylist() == list(POISON) and set(rows["item_count"].to_pylist()) == {1}
    assert rows["message"].to_pylist() == [f"number {n} is off" for n in POISON]
    assert bench.show()["failed_item_count"] == 4 and bench.show()["failed_mini_batch_count"] == 0
    for good, left in (((8, 59), [7, 31]), ((7, 31), [])):
        for number in good:
            bench.give(f"good-{number}")
        assert bench.run("redrive", "probe").code == (1 if left else 0)
        assert numbers_in(target) == [n for n in range(ROWS) if n not in left]
        assert bench.show()["failed_item_count"] == len(left)
        assert told.exists() == bool(left)
        if left:
            assert pq.read_table(told)["row"].to_pylist() == left
    with open(bench.logs() / "sys" / "job_report" / "processed_mini-batches.csv", newline="") as file:
        report = list(csv.DictReader(file))
    assert [(line["Mini-batch Id"], line["Succeeded"], line["Failed"]) for line in report] == [
        (str(number), "10", "0") for number in range(6)
    ]
    assert len(list(bench.logs().glob("job_result.run-*.txt"))) == 2
    assert sorted(path.name for path in target.parent.iterdir()) == ["scores"], "nothing hidden is left"


def test_a_failed_job_tells_its_failures_and_a_resume_mends_them_before_anything_is_published(bench: Bench) -> None:
    target = tables(bench)
    assert bench.submit(**SPLIT, error_threshold=1).code == 1
    told = target.with_name("scores.failures")
    assert 2 <= pq.read_table(told).num_rows <= len(POISON)
    for number in POISON[1:]:
        bench.give(f"good-{number}")
    bench.run("resume", "probe").ok()
    assert numbers_in(target) == [n for n in range(ROWS) if n != POISON[0]]
    assert pq.read_table(told)["row"].to_pylist() == [POISON[0]]
    bench.give(f"good-{POISON[0]}")
    bench.run("redrive", "probe").ok()
    assert numbers_in(target) == list(range(ROWS)) and not told.exists()


def test_a_job_without_output_keeps_its_failures_in_its_own_folder(bench: Bench) -> None:
    tables(bench)
    bench.submit(**TABLES, task={"append_row_to": None}, outputs=None).ok()
    told = bench.home / "jobs" / "probe" / "failures"
    assert pq.read_table(told)["mini_batch"].to_pylist() == [0, 3, 5]
    for number in POISON:
        bench.give(f"good-{number}")
    bench.run("redrive", "probe").ok()
    assert not told.exists() and bench.show()["failed_mini_batch_count"] == 0


def test_what_somebody_else_keeps_beside_the_target_is_refused_before_work(bench: Bench) -> None:
    target = tables(bench)
    other = target.with_name("scores.failures")
    other.mkdir(parents=True)
    (other / "mine.txt").write_text("mine")
    refused = bench.submit(**SPLIT)
    assert refused.code == 2 and "scores.failures exists already" in refused.err
    assert (other / "mine.txt").read_text() == "mine" and not target.exists()


def test_a_published_file_that_was_changed_is_refused_by_name_and_left(bench: Bench) -> None:
    target = tables(bench)
    bench.submit(**SPLIT).ok()
    changed = max(target.glob("*.parquet"))
    changed.write_bytes(b"x" + changed.read_bytes())
    refused = bench.run("redrive", "probe")
    assert refused.code == 2 and f"{changed.name} has" in refused.err and "since it was published" in refused.err
    assert changed.read_bytes()[0] == ord("x")
