"""Bisecting with real processes: the items that fail are found, all others survive, and every output stays in order."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from instance_runs import Run, numbers

from runner.entity.lease import ItemRange, Lease, Report
from runner.instance.bisect import MAX_EXTRA_CALLS, MAX_EXTRA_DEATHS

POISON = [5, 40, 41, 77]
NOTES = """
def note(batch, what=""):
    with open("../side/calls", "a") as file:
        file.write(f"{batch['id'][0]} {len(batch['id'])} {what}\\n")
"""


def script(what: str = "raise ValueError(f'bad row {row}')", result: str = "batch['id']") -> str:
    return f"""
    import os, signal, time
    from calls import note
    import numpy as np
    def run(batch):
        note(batch)
        for row in batch["id"].tolist():
            if row in {POISON}:
                {what}
        return {result}
    """


def bisecting(folder: Path, text: str = "", **options: Any) -> Run:
    given: dict[str, Any] = {"per": 20, "max_retries": 0, "bisect": True, "code": {"calls.py": NOTES}} | options
    return Run(folder, text or script(), **given)


def calls(run: Run) -> list[tuple[int, int]]:
    """First row and number of rows of each call."""
    lines = (run.folder / "side/calls").read_text().splitlines()
    return [(int(first), int(count)) for first, count, *_ in (line.split() for line in lines)]


def places(run: Run) -> list[tuple[int, int]]:
    """Rows and bytes of the output before each failure, over all pieces in which the lease was reported."""
    found, rows, size = [], 0, 0
    for report in run.reports:
        found += [(rows + failure.at_row, size + failure.at_byte) for failure in report.failures]
        rows += report.tally.row_count
        size += report.part.size_bytes if report.part is not None else 0
    return found


def good(rows: int = 100) -> list[int]:
    return [row for row in range(rows) if row not in POISON]


def test_exactly_the_rows_that_raise_are_set_aside(tmp_path: Path) -> None:
    run = bisecting(tmp_path, max_retries=1).finish()
    assert numbers(run.lines) == good()
    found = [(f.mini_batch, f.first_item, f.item_count, f.row) for f in run.failures]
    assert found == [(0, 5, 1, 5), (2, 0, 1, 40), (2, 1, 1, 41), (3, 17, 1, 77)]
    assert {f.message for f in run.failures} == {f"bad row {row}" for row in POISON}
    assert {(str(f.cls), f.exception_type, f.attempts) for f in run.failures} == {("user_error", "ValueError", 3)}
    tally = run.tally
    assert (tally.mini_batch_count, tally.failed_mini_batch_count) == (5, 0)
    assert (tally.item_count, tally.failed_item_count, tally.row_count) == (100, 4, 96)
    assert tally.failed_by_class == {"user_error": 4}
    assert run.records["succeeded"].tolist() == [19, 20, 18, 19, 20]
    assert run.records["item_count"].tolist() == [20] * 5


def test_failures_tell_where_in_the_part_their_rows_would_stand(tmp_path: Path) -> None:
    run = bisecting(tmp_path).finish()
    lines = run.text.splitlines(keepends=True)
    before = [sum(1 for row in good() if row < poison) for poison in POISON]
    assert places(run) == [(count, sum(map(len, lines[:count]))) for count in before]


@pytest.mark.parametrize(
    ("what", "cls", "options"),
    [
        ("os.kill(os.getpid(), signal.SIGSEGV)", "crash", {}),
        ("time.sleep(600)", "timeout", {"timeout_s": 0.4}),
    ],
)
def test_crashes_and_time_outs_are_found_like_exceptions(
    tmp_path: Path, what: str, cls: str, options: dict[str, Any]
) -> None:
    text = script(what).replace(str(POISON), "[41]")
    run = bisecting(tmp_path, text, rows=60, per=30, max_retries=0, **options).finish()
    assert numbers(run.lines) == [row for row in range(60) if row != 41]
    assert [(f.row, f.item_count, str(f.cls), f.attempts) for f in run.failures] == [(41, 1, cls, 2)]
    assert run.tally.failed_mini_batch_count == 0


def test_a_mini_batch_of_which_nothing_survives_fails_with_each_of_its_items(tmp_path: Path) -> None:
    text = script().replace(str(POISON), "[20, 21, 22, 23]")
    run = bisecting(tmp_path, text, rows=40, row_group=40, per=4).finish()
    assert numbers(run.lines) == [*range(20), *range(24, 40)]
    assert [(f.mini_batch, f.first_item, f.item_count) for f in run.failures] == [(5, n, 1) for n in range(4)]
    assert {rows for rows, _ in places(run)} == {20}
    tally = run.tally
    assert (tally.mini_batch_count, tally.failed_mini_batch_count, tally.failed_item_count) == (10, 1, 4)
    assert len(run.records) == 10
    assert (run.records[5]["flags"], run.records[5]["item_count"], run.records[5]["succeeded"]) == (1, 4, 0)


FORMS = ["csv", "jsonl", "parquet", "ipc"]


@pytest.mark.parametrize(("form", "keep"), [*((form, ()) for form in FORMS), ("parquet", ("x",)), ("csv", ("x",))])
def test_every_form_of_output_keeps_the_order(tmp_path: Path, form: str, keep: tuple[str, ...]) -> None:
    frame = "__import__('pandas').DataFrame({'n': batch['id']})"
    run = bisecting(tmp_path, script(result=frame), output=form, keep=keep).finish()
    parts = [tmp_path / "staging" / report.part.file for report in run.reports if report.part is not None]
    if form in ("parquet", "ipc"):
        read = pq.read_table if form == "parquet" else lambda path: pa.ipc.open_file(path).read_all()
        table = pa.concat_tables([read(part) for part in parts])
        assert table.column_names == [*keep, "n"]
        assert table["n"].to_pylist() == good()
        assert not keep or table["x"].to_pylist() == [row / 2 for row in good()]
        assert {f.at_byte for f in run.failures} == {0}
    else:
        text = "".join(part.read_text() for part in parts)
        line = {"csv": "{row}", "jsonl": '{{"n":{row}}}'}[form]
        before = [f"{row / 2}," if keep else "" for row in good()]
        lines = [b + line.format(row=row) for b, row in zip(before, good(), strict=True)]
        assert text.replace(" ", "").splitlines() == lines
    assert [rows for rows, _ in places(run)] == [5, 39, 39, 74]


def test_what_is_counted_only_is_counted_right(tmp_path: Path) -> None:
    run = bisecting(tmp_path, output=None).finish()
    assert (run.tally.item_count, run.tally.failed_item_count) == (100, 4)
    assert [f.row for f in run.failures] == POISON


def test_files_are_found_by_their_paths(tmp_path: Path) -> None:
    text = """
    import os
    def run(paths, context):
        names = [os.path.basename(path) for path in paths]
        if "00007.txt" in names:
            raise ValueError("unreadable")
        return [f"{paths.task_id} {context.minibatch_index} {name}" for name in names]
    """
    run = bisecting(tmp_path, text, files=25, per=10).finish()
    assert run.lines == [f"{n // 10} {n // 10} {n:05d}.txt" for n in range(25) if n != 7]
    (failure,) = run.failures
    assert (failure.mini_batch, failure.first_item, failure.row) == (0, 7, None)
    assert failure.file.endswith("00007.txt")


def test_at_its_bounds_the_search_ends_and_sets_ranges_aside(tmp_path: Path) -> None:
    text = script().replace(f"in {POISON}", "% 2 == 0 and row < 600")
    run = bisecting(tmp_path, text, rows=2000, row_group=2000, per=1000, workers=1).finish()
    assert len(calls(run)) == 2 + MAX_EXTRA_CALLS
    left = [f for f in run.failures if "not isolated" in f.message]
    assert 0 < len(left) < 12
    for failure in left:
        text = f" (not isolated: {failure.item_count} items, bisecting stopped at its limit)"
        assert failure.message.endswith(text)
    gone = {row for f in run.failures for row in range(f.row or 0, (f.row or 0) + f.item_count)}
    assert numbers(run.lines) == [row for row in range(2000) if row not in gone]
    assert set(range(0, 600, 2)) <= gone
    assert run.tally.failed_item_count == len(gone)


@pytest.mark.soak  # 32 processes, one after the other
def test_deaths_have_a_bound_of_their_own(tmp_path: Path) -> None:
    text = script("os._exit(1)").replace(f"in {POISON}", "< 100")
    run = bisecting(tmp_path, text, rows=300, row_group=300, per=200, workers=1).finish()
    assert len(run.of(Report)) >= 1
    died = [f for f in run.failures if f.cls == "crash"]
    assert sum(f.item_count for f in died) >= 100
    starts = sum("started as pid" in line for line in run.log("sys/node/node-000/_main.txt").splitlines())
    assert starts == 2 + MAX_EXTRA_DEATHS, "the first process, one for the mini-batch's own death, one for each more"


RANGES = (
    ItemRange(mini_batch=1, first_item=0, item_count=20),
    ItemRange(mini_batch=2, first_item=0, item_count=1),
    ItemRange(mini_batch=2, first_item=1, item_count=4),
    ItemRange(mini_batch=4, first_item=19, item_count=1),
)


def mended(folder: Path, text: str, ranges: tuple[ItemRange, ...] = RANGES, **options: Any) -> tuple[Run, Report]:
    """Lend a lease of just these items and give its report."""
    run = bisecting(folder, text, **options)
    with run:
        first, end = ranges[0].mini_batch, ranges[-1].mini_batch + 1
        run.lend_lease(Lease(first=first, end=end, epoch=1, ranges=ranges))
        report = run.until(lambda event: isinstance(event, Report))
        run.close()
    assert isinstance(report, Report)
    return run, report


def test_a_lease_with_ranges_runs_only_these_and_tells_what_was_mended(tmp_path: Path) -> None:
    run, report = mended(tmp_path, script("pass"))
    assert sorted(calls(run)) == [(20, 20), (40, 1), (41, 4), (99, 1)]
    assert numbers(run.lines) == [*range(20, 40), *range(40, 45), 99]
    assert [mend.items for mend in report.mends] == list(RANGES)
    assert [mend.row_count for mend in report.mends] == [20, 1, 4, 1]
    assert sum(mend.byte_count for mend in report.mends) == len(run.text)
    assert (report.first, report.end, report.failures) == (1, 5, ())
    assert (report.tally.mini_batch_count, report.tally.item_count, report.tally.failed_item_count) == (3, 26, 0)
    assert len(report.records) == 3 * 72


def test_what_fails_again_in_a_lease_with_ranges_is_told_in_ranges(tmp_path: Path) -> None:
    text = script().replace(str(POISON), "[22, 40, 43, 99]")
    run, report = mended(tmp_path, text, max_retries=1)
    found = [(f.mini_batch, f.first_item, f.item_count, f.attempts) for f in report.failures]
    assert found == [(1, 2, 1, 3), (2, 0, 1, 2), (2, 3, 1, 3), (4, 19, 1, 2)]
    mends = [(m.items.mini_batch, m.items.first_item, m.items.item_count, m.row_count) for m in report.mends]
    assert [m[:2] for m in mends][:1] == [(1, 0)]
    assert sorted(
        n for batch, first, count, _ in mends for n in range(batch * 20 + first, batch * 20 + first + count)
    ) == [
        *(row for row in range(20, 40) if row != 22),
        41,
        42,
        44,
    ]
    assert numbers(run.lines) == [*(row for row in range(20, 40) if row != 22), 41, 42, 44]
    assert [f.at_row for f in report.failures] == [2, 19, 21, 22]
    assert report.tally.failed_mini_batch_count == 1, "nothing of mini-batch 4 came of it"
    assert (report.tally.item_count, report.tally.failed_item_count) == (26, 4)


def test_without_bisecting_a_range_fails_as_a_whole(tmp_path: Path) -> None:
    text = script("os._exit(1)").replace(str(POISON), "[43]")
    run, report = mended(tmp_path, text, bisect=False, max_retries=1, workers=1)
    assert [(f.mini_batch, f.first_item, f.item_count, f.attempts) for f in report.failures] == [(2, 1, 4, 2)]
    assert [mend.items for mend in report.mends] == [RANGES[0], RANGES[1], RANGES[3]]
    assert numbers(run.lines) == [*range(20, 40), 40, 99]


def test_many_ranges_are_shared_by_the_workers(tmp_path: Path) -> None:
    ranges = tuple(ItemRange(mini_batch=n, first_item=n % 20, item_count=1) for n in range(100))
    run, report = mended(tmp_path, script("pass"), ranges, rows=2000, row_group=500, workers=3)
    assert numbers(run.lines) == [n * 20 + n % 20 for n in range(100)]
    assert [mend.items for mend in report.mends] == list(ranges)
