"""Cutting: every row in exactly one mini-batch of exactly one unit, borders by rule, the same every time."""

from __future__ import annotations

from itertools import accumulate, pairwise

from hypothesis import given
from hypothesis import strategies as st

from runner.entity.parallel import MiniBatchSize
from runner.entity.plan import Plan, PlanFile, Unit
from runner.plan.cut import UNIT_BYTES, UNIT_FILES, UNIT_ROWS, Rows, cut_files, cut_rows, rows_per_mini_batch

group_lists = st.lists(st.integers(0, 400_000), max_size=12)
row_sizes = st.floats(0.1, 1e9)
per_mini_batch = st.integers(1, 500_000)


def _rows(groups: list[int], row_bytes: float = 8.0, size_bytes: int = 1_000) -> Rows:
    return Rows(row_count=sum(groups), size_bytes=size_bytes, group_rows=groups, row_bytes=row_bytes)


def _cut(groups: list[int], per: int, row_bytes: float = 8.0, first: int = 0) -> list[Unit]:
    return list(cut_rows(0, _rows(groups, row_bytes), per, first))


@given(group_lists, per_mini_batch, row_sizes, st.integers(0, 10**9))
def test_units_cover_every_row_and_every_number_once(groups: list[int], per: int, row_bytes: float, first: int) -> None:
    units = _cut(groups, per, row_bytes, first)
    row, mini_batch = 0, first
    for unit in units:
        assert (unit.first_row, unit.first_mini_batch) == (row, mini_batch)
        assert unit.mini_batch_count == -(-unit.row_count // per) > 0
        row += unit.row_count
        mini_batch += unit.mini_batch_count
    assert row == sum(groups)
    assert all(unit.row_count % per == 0 for unit in units[:-1])


@given(group_lists, per_mini_batch, row_sizes)
def test_units_are_bounded_by_rows_and_bytes_but_hold_at_least_one_mini_batch(
    groups: list[int], per: int, row_bytes: float
) -> None:
    for unit in _cut(groups, per, row_bytes):
        assert unit.mini_batch_count == 1 or unit.row_count <= UNIT_ROWS
        assert unit.mini_batch_count == 1 or unit.row_count * row_bytes <= UNIT_BYTES * 1.000001


@given(group_lists, per_mini_batch)
def test_a_unit_that_ends_inside_a_row_group_had_no_border_in_reach(groups: list[int], per: int) -> None:
    count = -(-sum(groups) // per)
    borders = {min(-(-end // per), count) for end in accumulate(groups)} | {count}
    most = max(1, UNIT_ROWS // per)
    for unit in _cut(groups, per):
        end = unit.first_mini_batch + unit.mini_batch_count
        if end not in borders:
            in_reach = range(unit.first_mini_batch + 1, unit.first_mini_batch + most + 1)
            assert not borders.intersection(in_reach)


def test_units_end_at_row_groups() -> None:
    assert [unit.row_count for unit in _cut([125_000] * 5, 1_000)] == [250_000, 250_000, 125_000]


def test_a_unit_ends_at_the_first_mini_batch_border_after_a_row_group() -> None:
    first = _cut([100_050] * 2, 100)[0]
    assert first.row_count == 200_100


def test_a_huge_row_group_is_cut_evenly() -> None:
    counts = [unit.row_count for unit in _cut([10_000_000], 1_000)]
    assert len(counts) == 39
    assert max(counts) - min(counts) < 20_000


def test_a_row_group_just_over_the_bound_leaves_no_sliver() -> None:
    assert [unit.row_count for unit in _cut([270_000], 1_000)] == [135_000, 135_000]


def test_wide_rows_make_short_units() -> None:
    assert {unit.row_count for unit in _cut([8_000], 100, row_bytes=UNIT_BYTES / 1_000)} == {1_000}


def test_a_file_without_rows_gives_no_mini_batch() -> None:
    assert _cut([], 10) == []
    assert _cut([0, 0], 10) == []


def test_rows_are_exact() -> None:
    assert rows_per_mini_batch(_rows([10_000]), MiniBatchSize(kind="rows", value=1_000)) == 1_000


def test_bytes_go_by_the_average_of_the_file() -> None:
    size = MiniBatchSize(kind="bytes", value=10_240)
    assert rows_per_mini_batch(_rows([10_000], size_bytes=1_000_000), size) == 102
    assert rows_per_mini_batch(_rows([10], size_bytes=1_000_000), size) == 1


@given(st.sampled_from(["rows", "bytes"]), st.integers(1, 10**30), group_lists, st.integers(0, 10**15))
def test_a_mini_batch_has_at_least_one_row_and_at_most_all(
    kind: str, value: int, groups: list[int], size_bytes: int
) -> None:
    size = MiniBatchSize(kind="rows" if kind == "rows" else "bytes", value=value)
    assert 1 <= rows_per_mini_batch(_rows(groups, size_bytes=size_bytes), size) <= max(1, sum(groups))


@given(st.integers(0, 10_000), st.integers(1, 3_000), st.integers(0, 100), st.integers(0, 100))
def test_files_are_cut_into_whole_mini_batches(count: int, per: int, first_file: int, first: int) -> None:
    units = list(cut_files(first_file, count, per, first))
    assert sum(unit.file_count for unit in units) == count
    assert all(unit.file_count % per == 0 for unit in units[:-1])
    assert all(unit.file_count <= max(UNIT_FILES, per) for unit in units)
    ends = [(unit.file + unit.file_count, unit.first_mini_batch + unit.mini_batch_count) for unit in units]
    assert [(unit.file, unit.first_mini_batch) for unit in units] == [(first_file, first), *ends[:-1]][: len(units)]


@given(st.lists(group_lists, min_size=1, max_size=4), st.integers(1, 100_000))
def test_spans_follow_each_other_through_all_files(files: list[list[int]], per: int) -> None:
    units: list[Unit] = []
    number = 0
    for index, groups in enumerate(files):
        mine = list(cut_rows(index, _rows(groups), per, number))
        number += sum(unit.mini_batch_count for unit in mine)
        units += mine
    plan = Plan(
        kind="table",
        inputs=("data",),
        files=tuple(
            PlanFile(path="/f", size_bytes=1, mtime_ns=1, row_count=sum(groups), rows_per_mini_batch=per)
            for groups in files
        ),
        units=tuple(units),
        mini_batch_count=number,
        item_count=sum(map(sum, files)),
        fingerprint="",
    )
    edges = [0, *(unit.first_mini_batch + unit.mini_batch_count for unit in units)]
    looked_at = sorted({number for edge in edges for number in (edge - 1, edge) if 0 <= number < plan.mini_batch_count})
    spans = [(number, plan.span_of(number)) for number in looked_at]
    for (left_number, left), (right_number, right) in pairwise(spans):
        if right_number == left_number + 1:
            follows = right.file == left.file and right.first_row == left.first_row + left.item_count
            ends = left.first_row + left.item_count == plan.files[left.file].row_count and right.first_row == 0
            assert follows or ends
