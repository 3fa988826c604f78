"""Rows to groups: the result depends on the rows and their order alone, whatever the memory."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runner.dataset.exchange import Exchange, Groups
from runner.dataset.key_hash import Words, hashes_of
from runner.errors import StorageFailed

PLENTY = 1 << 30


def _rows(count: int, keys: int = 40, seed: int = 1) -> pa.Table:
    rng = np.random.default_rng(seed)
    species = pa.array([None if x == 7 else f"species {x}" for x in rng.integers(0, keys, count)])
    return pa.table({"net": rng.integers(0, 3, count), "species": species, "ring": np.arange(count)})


def _group(
    folder: Path,
    table: pa.Table,
    keys: Sequence[str] = ("species", "net"),
    budget: int = PLENTY,
    batch: int = 1000,
    hashes: Callable[[Sequence[pa.Array]], Words] = hashes_of,
    byte_count: int | None = None,
) -> Groups:
    batches = table.to_batches(max_chunksize=batch)
    size = table.nbytes if byte_count is None else byte_count
    return Exchange(table.schema, keys, folder / "groups", budget, hashes).run(batches, size)


def _content(groups: Groups) -> tuple[list[dict[str, Any]], list[int], list[dict[str, Any]]]:
    """All rows in the order of the files, and the sizes and keys of the groups."""
    rows: list[dict[str, Any]] = []
    for file in groups.files:
        table = pa.ipc.open_file(file.path).read_all()
        assert (table.num_rows, os.stat(file.path).st_size) == (file.row_count, file.byte_count)
        rows += table.to_pylist()
    return rows, groups.counts.tolist(), groups.keys.to_pylist()


def _twin(table: pa.Table, keys: Sequence[str], hashes: Words) -> tuple[list[dict[str, Any]], list[int], list[Any]]:
    """Groups by their hash, ties by their first rows; the rows of each in the order of the input."""
    groups: dict[Any, list[tuple[int, int]]] = {}
    for at, row in enumerate(table.to_pylist()):
        key = tuple("nan" if isinstance(row[name], float) and math.isnan(row[name]) else row[name] for name in keys)
        groups.setdefault(key, []).append((int(hashes[at]), at))
    ordered = sorted(groups.values(), key=lambda members: members[0])
    rows = table.to_pylist()
    first = [{name: rows[members[0][1]][name] for name in keys} for members in ordered]
    return [rows[at] for members in ordered for _, at in members], [len(members) for members in ordered], first


def _hashes(table: pa.Table, keys: Sequence[str]) -> Words:
    return hashes_of([table.column(name).combine_chunks() for name in keys])


def _of_all(table: pa.Table) -> tuple[list[dict[str, Any]], list[int], list[Any]]:
    return _twin(table, ("species", "net"), _hashes(table, ("species", "net")))


def few_bits(columns: Sequence[pa.Array]) -> Words:
    """A hash of which almost nothing is left."""
    return hashes_of(columns) & np.uint64(0xC000_0000_0000_0000)


def no_bits(columns: Sequence[pa.Array]) -> Words:
    """A hash that says nothing."""
    return np.zeros(len(columns[0]), np.uint64)


@pytest.mark.parametrize("budget", [PLENTY, 4 << 20, 1 << 18, 1 << 14, 1])
def test_groups_are_those_of_the_twin_whatever_the_budget(tmp_path: Path, budget: int) -> None:
    table = _rows(6000)
    assert _content(_group(tmp_path, table, budget=budget)) == _of_all(table)


@pytest.mark.parametrize("batch", [1, 17, 100_000])
@pytest.mark.parametrize("budget", [PLENTY, 1 << 15])
def test_and_whatever_the_batches(tmp_path: Path, batch: int, budget: int) -> None:
    table = _rows(800)
    assert _content(_group(tmp_path, table, batch=batch, budget=budget)) == _of_all(table)


@pytest.mark.parametrize("byte_count", [0, 1, 1 << 40])
def test_and_whatever_was_thought_of_their_size(tmp_path: Path, byte_count: int) -> None:
    table = _rows(3000)
    assert _content(_group(tmp_path, table, budget=1 << 16, byte_count=byte_count)) == _of_all(table)


@pytest.mark.parametrize("hashes", [few_bits, no_bits])
@pytest.mark.parametrize("budget", [PLENTY, 1 << 16, 1 << 13, 1])
def test_keys_of_one_hash_are_told_apart_by_their_values(
    tmp_path: Path, hashes: Callable[[Sequence[pa.Array]], Words], budget: int
) -> None:
    table = _rows(2000)
    columns = [table.column(name).combine_chunks() for name in ("species", "net")]
    want = _twin(table, ("species", "net"), hashes(columns))
    assert _content(_group(tmp_path, table, budget=budget, hashes=hashes)) == want


def test_zeros_and_nans_of_one_hash_stay_together(tmp_path: Path) -> None:
    keys = [0.0, 5.0, -0.0, math.nan, 5.0, None, -math.nan, 0.0]
    table = pa.table({"key": pa.array(keys, pa.float64()), "ring": list(range(8))})
    groups = _group(tmp_path, table, ("key",), hashes=no_bits)
    assert groups.counts.tolist() == [3, 2, 2, 1]
    assert [row["ring"] for row in _content(groups)[0]] == [0, 2, 7, 1, 4, 3, 6, 5]


def test_a_bucket_over_the_budget_is_split_by_further_bits(tmp_path: Path) -> None:
    """All hashes begin alike, so the first bits tell nothing apart."""
    table = _rows(4000)

    def late(columns: Sequence[pa.Array]) -> Words:
        return hashes_of(columns) >> np.uint64(20)

    columns = [table.column(name).combine_chunks() for name in ("species", "net")]
    groups = _group(tmp_path, table, budget=1 << 16, hashes=late)
    assert _content(groups) == _twin(table, ("species", "net"), late(columns))
    assert len(groups.files) > 4


def test_one_key_above_the_budget_is_copied_in_its_order(tmp_path: Path) -> None:
    keys = np.where(np.arange(20_000) % 3 == 0, -1, np.arange(20_000) % 50)
    table = pa.table({"key": keys, "ring": np.arange(20_000)})
    groups = _group(tmp_path, table, ("key",), budget=1 << 16)
    assert _content(groups) == _twin(table, ("key",), _hashes(table, ("key",)))
    whole = max(groups.files, key=lambda file: file.row_count)
    assert whole.row_count == groups.counts.max(), "it has a file of its own"


def test_nothing_but_groups_is_left_behind(tmp_path: Path) -> None:
    (tmp_path / "groups").mkdir()
    (tmp_path / "groups" / "spill-000001").write_text("of a run before")
    groups = _group(tmp_path, _rows(3000), budget=1 << 16)
    left = {str(path) for path in (tmp_path / "groups").iterdir()}
    assert left == {file.path for file in groups.files}


def test_no_rows_are_no_groups(tmp_path: Path) -> None:
    groups = _group(tmp_path, _rows(0))
    assert (groups.files, groups.counts.tolist(), groups.keys.num_rows) == ((), [], 0)
    assert groups.keys.column_names == ["species", "net"]


def test_a_disk_that_is_full_is_told(tmp_path: Path) -> None:
    full = tmp_path / "groups"
    full.mkdir()

    class Full:
        """Puts a device without room into the place of the first file of groups."""

        def __call__(self) -> Iterator[pa.RecordBatch]:
            (full / "groups-00000.arrow").symlink_to("/dev/full")
            yield from _rows(50_000).to_batches()

    with pytest.raises(StorageFailed) as caught:
        Exchange(_rows(0).schema, ["net"], full, PLENTY).run(Full()(), 0)
    assert "rows cannot be grouped by key: No space left on device; make room and resume the job" in str(caught.value)


def test_what_reading_raises_comes_through_and_ends_the_work(tmp_path: Path) -> None:
    def rows() -> Iterator[pa.RecordBatch]:
        yield from _rows(3000).to_batches(max_chunksize=500)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Exchange(_rows(0).schema, ["net"], tmp_path / "groups", 1 << 14).run(rows(), 0)


@settings(deadline=None, max_examples=40)
@given(
    keys=st.lists(st.tuples(st.none() | st.floats(), st.none() | st.text("ab\0", max_size=3)), min_size=1),
    budget=st.sampled_from([1, 1 << 10, PLENTY]),
    mask=st.sampled_from([2**64 - 1, 3 << 62, 1]),
    batch=st.integers(1, 9),
)
def test_any_keys_are_grouped_as_the_twin_does(
    tmp_path_factory: pytest.TempPathFactory, keys: list[Any], budget: int, mask: int, batch: int
) -> None:
    table = pa.table(
        {
            "wing": pa.array([row[0] for row in keys], pa.float64()),
            "note": pa.array([row[1] for row in keys], pa.string()),
            "ring": list(range(len(keys))),
        }
    )

    def hashes(columns: Sequence[pa.Array]) -> Words:
        return hashes_of(columns) & np.uint64(mask)

    names = ("wing", "note")
    folder = tmp_path_factory.mktemp("any")
    found = _content(_group(folder, table, names, budget, batch, hashes))
    want = _twin(table, names, hashes([table.column(name).combine_chunks() for name in names]))
    assert [row["ring"] for row in found[0]] == [row["ring"] for row in want[0]]
    assert found[1] == want[1]
