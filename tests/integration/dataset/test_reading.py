"""Units become slabs: every row once, in order, whatever the order of units, formats and row groups."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runner.dataset.files import FileBatch
from runner.dataset.read import WINDOW_ROWS, UnitReader
from runner.dataset.slabs import Slab
from runner.entity.parallel import MiniBatchFormat, MiniBatchSize, OutputSpec, ParallelSpec, SplitInput
from runner.entity.plan import Plan
from runner.errors import InputChanged, InputUnreadable
from runner.plan.make import make_plan


def _spec(
    path: Path,
    rows: int,
    *,
    kind: Literal["table", "files"] = "table",
    mini_batch_format: MiniBatchFormat = "arrow",
    columns: tuple[str, ...] | None = None,
    keep: tuple[str, ...] = (),
) -> ParallelSpec:
    return ParallelSpec(
        name="job",
        entry_script="score.py",
        code=None,
        inputs=(SplitInput(name="data", kind=kind, path=str(path)),),
        mini_batch_size=MiniBatchSize(kind="rows" if kind == "table" else "files", value=rows),
        mini_batch_format=mini_batch_format,
        columns=columns,
        output=OutputSpec(name="out", target="/nowhere", is_folder=True, keep_columns=keep) if keep else None,
    )


def _everything(_first: int, _end: int) -> bool:
    return True


def _slabs(
    reader: UnitReader, plan: Plan, wanted: Callable[[int, int], bool] = _everything
) -> Iterator[tuple[int, Slab]]:
    for number, unit in enumerate(plan.units):
        for slab in reader.slabs(number, unit.first_mini_batch, unit.first_mini_batch + unit.mini_batch_count, wanted):
            yield number, slab


def _mini_batches(slab: Slab) -> Iterator[tuple[int, Any]]:
    for number in range(slab.first_mini_batch, slab.end_mini_batch):
        yield number, slab.get(number)


def _ids(rows: int) -> pa.Table:
    return pa.table({"id": range(rows), "s": [f"row {number}" for number in range(rows)]})


def _write(path: Path, table: pa.Table, group_rows: int) -> Path:
    if path.suffix == ".parquet":
        pq.write_table(table, path, row_group_size=group_rows, data_page_size=4096)
        return path
    make = pa.ipc.new_stream if path.suffix == ".arrows" else pa.ipc.new_file
    with pa.OSFile(str(path), "wb") as sink, make(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=group_rows)
    return path


def _check_whole(plan: Plan, spec: ParallelSpec) -> None:
    """Every mini-batch has exactly the rows that the plan says, and the slabs are in order."""
    reader = UnitReader(plan, spec)
    expected = 0
    for number, slab in _slabs(reader, plan):
        assert slab.first_mini_batch == expected
        assert slab.row_count <= max(WINDOW_ROWS, slab.rows_per_mini_batch)
        for mini_batch, rows in _mini_batches(slab):
            span = plan.span_of(mini_batch)
            assert span.unit == number
            start = span.first_row
            assert rows["id"].to_pylist() == list(range(start, start + span.item_count))
            assert rows["s"][0].as_py() == f"row {start}"
        assert slab.first_item == plan.span_of(slab.first_mini_batch).first_row
        expected = slab.end_mini_batch
    assert expected == plan.mini_batch_count
    reader.close()


@pytest.mark.parametrize("suffix", [".parquet", ".arrow", ".arrows"])
@given(rows=st.integers(1, 3_000), group_rows=st.integers(1, 1_500), per=st.integers(1, 1_200))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=15)
def test_every_row_comes_once_in_order(tmp_path: Path, suffix: str, rows: int, group_rows: int, per: int) -> None:
    path = _write(tmp_path / f"x{suffix}", _ids(rows), group_rows)
    spec = _spec(path, per)
    _check_whole(make_plan(spec), spec)


@pytest.mark.parametrize("suffix", [".parquet", ".arrow", ".arrows"])
@pytest.mark.parametrize(("group_rows", "per"), [(300_000, 1_000), (125_000, 30_000), (70_000, 70_001), (9_999, 7)])
def test_long_files_are_read_in_windows(tmp_path: Path, suffix: str, group_rows: int, per: int) -> None:
    spec = _spec(_write(tmp_path / f"x{suffix}", _ids(300_000), group_rows), per, columns=("id", "s"))
    plan = make_plan(spec)
    _check_whole(plan, spec)


@pytest.mark.parametrize("suffix", [".parquet", ".arrow", ".arrows"])
@given(data=st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=15)
def test_any_part_of_any_unit_can_be_read_in_any_order(tmp_path: Path, suffix: str, data: st.DataObject) -> None:
    path = tmp_path / f"x{suffix}"
    if not path.exists():
        _write(path, _ids(700_000), 40_000)
    spec = _spec(path, 1_000, columns=("id",))
    plan = make_plan(spec)
    reader = UnitReader(plan, spec)
    for _ in range(4):
        number = data.draw(st.integers(0, len(plan.units) - 1))
        unit = plan.units[number]
        lo = data.draw(st.integers(unit.first_mini_batch, unit.first_mini_batch + unit.mini_batch_count))
        hi = data.draw(st.integers(lo, lo + 80))
        stop_after = data.draw(st.integers(0, 100))
        expected = lo
        for slab in reader.slabs(number, lo, hi, _everything):
            assert slab.first_mini_batch == expected
            expected = slab.end_mini_batch
            assert slab.get(slab.first_mini_batch)["id"][0].as_py() == slab.first_mini_batch * 1_000
            assert slab.get(slab.end_mini_batch - 1)["id"][-1].as_py() == slab.end_mini_batch * 1_000 - 1
            if expected >= lo + stop_after:
                break
        else:
            assert expected == max(lo, min(hi, unit.first_mini_batch + unit.mini_batch_count))
    reader.close()


def test_what_is_not_wanted_is_not_given(tmp_path: Path) -> None:
    spec = _spec(_write(tmp_path / "x.parquet", _ids(400_000), 50_000), 1_000, columns=("id",))
    plan = make_plan(spec)
    asked: list[tuple[int, int]] = []

    def wanted(first: int, end: int) -> bool:
        asked.append((first, end))
        return first % 2 == 0

    given_ = [(slab.first_mini_batch, slab.end_mini_batch) for _, slab in _slabs(UnitReader(plan, spec), plan, wanted)]
    assert [first for first, _ in asked] == [0, *(end for _, end in asked[:-1])]
    assert asked[-1][1] == 400
    covered = {number for first, end in given_ for number in range(first, end)}
    assert covered == {number for first, end in asked if first % 2 == 0 for number in range(first, end)}


def test_an_abandoned_unit_leaves_a_reader_that_works(tmp_path: Path) -> None:
    spec = _spec(_write(tmp_path / "x.parquet", _ids(200_000), 50_000), 1_000, columns=("id",))
    plan = make_plan(spec)
    reader = UnitReader(plan, spec)
    slabs = reader.slabs(0, 0, 200, _everything)
    next(slabs)
    slabs.close()  # type: ignore[attr-defined]
    again = next(reader.slabs(0, 10, 11, _everything))
    assert again.get(10)["id"].to_pylist() == list(range(10_000, 11_000))


def _read_so_far() -> int:
    """The bytes that this process has read, as the kernel counts them."""
    return int(Path("/proc/self/io").read_text().split("rchar: ")[1].split()[0])


def test_adjacent_units_read_each_row_group_once(tmp_path: Path) -> None:
    numbers = np.random.default_rng(0).integers(0, 2**62, 1_000_000)
    path = tmp_path / "x.parquet"
    pq.write_table(pa.table({"id": numbers}), path, row_group_size=1_000_000, use_dictionary=False)
    spec = _spec(path, 1_000)
    plan = make_plan(spec)
    assert len(plan.units) == 4
    reader = UnitReader(plan, spec)
    before = _read_so_far()
    seen = [slab.get(slab.first_mini_batch)["id"][0].as_py() for _, slab in _slabs(reader, plan)]
    assert _read_so_far() - before < 1.2 * path.stat().st_size
    assert len(seen) >= 16


def test_only_the_columns_asked_for_are_read(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    wide = np.random.default_rng(0).random((500_000, 8))
    pq.write_table(pa.table({f"c{n}": wide[:, n] for n in range(8)}), path, row_group_size=100_000)
    spec = _spec(path, 1_000, columns=("c3",))
    plan = make_plan(spec)
    before = _read_so_far()
    for _, slab in _slabs(UnitReader(plan, spec), plan):
        assert slab.get(slab.first_mini_batch).column_names == ["c3"]
    assert _read_so_far() - before < 0.3 * path.stat().st_size


def test_types_and_columns_are_those_of_all_files(tmp_path: Path) -> None:
    folder = tmp_path / "k=a%2Fb"
    folder.mkdir()
    pq.write_table(pa.table({"i": pa.array([1, 2], pa.int8()), "k": ["own", "own"]}), folder / "1.parquet")
    pq.write_table(pa.table({"j": ["x"], "i": pa.array([3], pa.int64())}), folder / "2.parquet")
    packed = pa.table({"i": pa.array([4.5], pa.float32()), "j": pa.array(["y"]).dictionary_encode()})
    pq.write_table(packed, folder / "3.parquet")
    spec = _spec(tmp_path, 10)
    plan = make_plan(spec)
    reader = UnitReader(plan, spec)
    assert reader.schema == pa.schema([("i", pa.float64()), ("j", pa.string()), ("k", pa.string())])
    tables = [slab.get(slab.first_mini_batch) for _, slab in _slabs(reader, plan)]
    assert all(table.schema == reader.schema for table in tables)
    assert pa.concat_tables(tables).to_pydict() == {
        "i": [1.0, 2.0, 3.0, 4.5],
        "j": [None, None, "x", "y"],
        "k": ["a/b"] * 4,
    }


def test_a_value_that_the_wider_type_cannot_hold_names_file_and_column(tmp_path: Path) -> None:
    pq.write_table(pa.table({"i": [2**53 + 1]}), tmp_path / "1.parquet")
    pq.write_table(pa.table({"i": [0.5]}), tmp_path / "2.parquet")
    spec = _spec(tmp_path, 10)
    plan = make_plan(spec)
    with pytest.raises(InputUnreadable, match=r"1\.parquet cannot be read: column 'i' as double"):
        list(_slabs(UnitReader(plan, spec), plan))


def test_kept_columns_are_aligned_and_need_not_be_read_by_run(tmp_path: Path) -> None:
    spec = _spec(_write(tmp_path / "x.parquet", _ids(1_000), 300), 70, columns=("s",), keep=("id",))
    plan = make_plan(spec)
    for _, slab in _slabs(UnitReader(plan, spec), plan):
        assert slab.get(slab.first_mini_batch).column_names == ["s"]
        assert slab.kept is not None
        assert slab.kept.column_names == ["id"]
        assert slab.kept["id"].to_pylist() == list(range(slab.first_item, slab.first_item + slab.row_count))


def test_types_in_pandas_are_the_same_in_every_mini_batch(tmp_path: Path) -> None:
    values = pa.table({"i": pa.array([*range(999), None]), "j": range(1_000)})
    spec = _spec(_write(tmp_path / "x.parquet", values, 100), 30, mini_batch_format="pandas")
    plan = make_plan(spec)
    for _, slab in _slabs(UnitReader(plan, spec), plan):
        for _, frame in _mini_batches(slab):
            assert [str(kind) for kind in frame.dtypes] == ["float64", "int64"]


def test_a_frames_own_index_is_a_column_like_others(tmp_path: Path) -> None:
    import pandas as pd

    rows = pd.DataFrame({"a": ["x", "y", "z"]}, index=pd.Index([7, 8, 9], name="key"))
    rows.to_parquet(tmp_path / "x.parquet")
    spec = _spec(tmp_path, 2, mini_batch_format="pandas")
    plan = make_plan(spec)
    frames = [frame for _, slab in _slabs(UnitReader(plan, spec), plan) for _, frame in _mini_batches(slab)]
    assert [(list(frame.columns), list(frame.index)) for frame in frames] == [
        (["a", "key"], [0, 1]),
        (["a", "key"], [0]),
    ]


class TestChanges:
    def _reader(self, path: Path) -> UnitReader:
        spec = _spec(_write(path, _ids(600_000), 50_000), 1_000, columns=("id",))
        return UnitReader(make_plan(spec), spec)

    def test_a_file_that_changed_before_a_unit_is_named(self, tmp_path: Path) -> None:
        reader = self._reader(tmp_path / "x.parquet")
        list(reader.slabs(0, 0, 10**6, _everything))
        os.utime(tmp_path / "x.parquet", ns=(1, 1))
        with pytest.raises(InputChanged, match=r"x\.parquet was written to"):
            list(reader.slabs(1, 0, 10**6, _everything))

    def test_a_file_that_changed_during_a_unit_is_named(self, tmp_path: Path) -> None:
        reader = self._reader(tmp_path / "x.parquet")
        slabs = reader.slabs(0, 0, 10**6, _everything)
        next(slabs)
        shutil.copy(tmp_path / "x.parquet", tmp_path / "y")
        (tmp_path / "y").replace(tmp_path / "x.parquet")
        with pytest.raises(InputChanged):
            list(slabs)

    def test_a_file_cut_short_during_a_unit_is_changed_and_not_unreadable(self, tmp_path: Path) -> None:
        reader = self._reader(tmp_path / "x.parquet")
        slabs = reader.slabs(0, 0, 10**6, _everything)
        next(slabs)
        os.truncate(tmp_path / "x.parquet", 100)
        with pytest.raises(InputChanged):
            list(slabs)
        with pytest.raises(InputChanged):
            list(reader.slabs(1, 0, 10**6, _everything))

    def test_a_file_that_is_gone_is_named(self, tmp_path: Path) -> None:
        reader = self._reader(tmp_path / "x.parquet")
        (tmp_path / "x.parquet").unlink()
        with pytest.raises(InputChanged, match=r"x\.parquet is gone"):
            list(reader.slabs(0, 0, 10**6, _everything))


def test_a_corrupt_page_names_the_file_and_the_next_unit_can_be_tried(tmp_path: Path) -> None:
    path = _write(tmp_path / "x.parquet", _ids(1_000_000), 100_000)
    groups = pq.ParquetFile(path).metadata
    at = groups.row_group(1).column(0).data_page_offset
    data = bytearray(path.read_bytes())
    data[at : at + 2_000] = b"\xff" * 2_000
    path.write_bytes(data)
    spec = _spec(path, 1_000, columns=("id",))
    plan = make_plan(spec)
    reader = UnitReader(plan, spec)
    with pytest.raises(InputUnreadable, match=r"x\.parquet cannot be read: "):
        list(reader.slabs(0, 0, 10**6, _everything))
    first = plan.units[2].first_mini_batch
    slab = next(reader.slabs(2, first, first + 1, _everything))
    assert slab.get(first)["id"][0].as_py() == plan.units[2].first_row


class TestFiles:
    def test_lists_of_paths_with_their_number(self, tmp_path: Path) -> None:
        odd = os.fsdecode(os.fsencode(tmp_path) + b"/z \xff%20.png")
        for path in [*(str(tmp_path / f"{number:04d}.png") for number in range(2_500)), odd]:
            Path(path).write_text("x")
        spec = _spec(tmp_path, 3, kind="files", keep=("path",))
        plan = make_plan(spec)
        batches = [pair for _, slab in _slabs(UnitReader(plan, spec), plan) for pair in _mini_batches(slab)]
        assert [batch.task_id for _, batch in batches] == list(range(834))
        assert all(isinstance(batch, FileBatch) for _, batch in batches)
        assert [path for _, batch in batches for path in batch] == [file.path for file in plan.files]
        assert batches[-1][1][-1] == odd
        last = list(_slabs(UnitReader(plan, spec), plan))[-1][1]
        assert last.kept is not None
        assert last.kept["path"][-1].as_py() == f"{tmp_path}/z \\xff%20.png"
        assert last.first_item == plan.units[-1].file

    def test_a_part_of_a_unit(self, tmp_path: Path) -> None:
        for number in range(10):
            (tmp_path / str(number)).write_text("x")
        spec = _spec(tmp_path, 3, kind="files")
        reader = UnitReader(make_plan(spec), spec)
        (slab,) = reader.slabs(0, 2, 4, _everything)
        assert [slab.get(2), slab.get(3)] == [[str(tmp_path / n) for n in "678"], [str(tmp_path / "9")]]
        assert (slab.first_item, slab.row_count) == (6, 4)
        assert list(reader.slabs(0, 2, 4, lambda first, end: False)) == []

    def test_a_file_that_changed_is_named(self, tmp_path: Path) -> None:
        (tmp_path / "a").write_text("x")
        spec = _spec(tmp_path, 1, kind="files")
        reader = UnitReader(make_plan(spec), spec)
        (tmp_path / "a").write_text("longer")
        with pytest.raises(InputChanged, match="/a has changed"):
            list(reader.slabs(0, 0, 1, _everything))
