"""Plans by partition keys: groups, units and bounds of real folders, saved and loaded, and what is refused."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.dataset.key_values import KeyValues, keys_of
from runner.dataset.read import UnitReader
from runner.dataset.saved_plan import bounds_of, load_plan, save_plan
from runner.entity.parallel import MiniBatchFormat, MiniBatchSize, ParallelSpec, SplitInput
from runner.entity.plan import Plan, PlanFile, Unit
from runner.errors import ArgumentInvalid, InputError, InputUnreadable, SchemaMismatch, StorageFailed
from runner.plan.make import make_plan

SPECIES = ["wren", "reed bunting", "nightjar", "chough"]


def _spec(
    *paths: Path,
    keys: tuple[str, ...] = ("species",),
    kind: Literal["table", "files"] = "table",
    memory: int | None = None,
    columns: tuple[str, ...] | None = None,
    form: MiniBatchFormat = "arrow",
) -> ParallelSpec:
    return ParallelSpec(
        name="job",
        entry_script="score.py",
        code=None,
        inputs=tuple(SplitInput(name=f"in{n}", kind=kind, path=str(path)) for n, path in enumerate(paths)),
        mini_batch_size=MiniBatchSize(kind="rows", value=10),
        columns=columns,
        partition_keys=keys,
        memory_bytes=memory,
        mini_batch_format=form,
    )


def _birds(count: int, first: int = 0) -> pa.Table:
    rings = range(first, first + count)
    return pa.table({"ring": rings, "species": [SPECIES[n * 7 % 4] for n in rings], "net": [n % 3 for n in rings]})


def _put(path: Path, table: pa.Table, **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path, **options)
    return path


def _plan(folder: Path, spec: ParallelSpec) -> Plan:
    """The plan as a worker has it: saved and loaded."""
    folder.mkdir(exist_ok=True)
    plan = make_plan(spec, folder / "plan")
    save_plan(plan, folder / "plan")
    loaded = load_plan(folder / "plan")
    assert loaded == plan
    assert list(loaded.bounds) == list(plan.bounds)
    return loaded


def _groups(folder: Path, spec: ParallelSpec, column: str = "ring") -> list[tuple[dict[str, Any], list[Any]]]:
    """The keys of each group, and one column of its rows, as read by a worker."""
    plan = _plan(folder, spec)
    reader = UnitReader(plan, spec)
    values = KeyValues(folder / "plan")
    found: list[tuple[dict[str, Any], list[Any]]] = []
    for index, unit in enumerate(plan.units):
        end = unit.first_mini_batch + unit.mini_batch_count
        for slab in reader.slabs(index, unit.first_mini_batch, end, lambda first, last: True):
            for number in range(slab.first_mini_batch, slab.end_mini_batch):
                assert number == len(found)
                rows = slab.get(number).column(column).to_pylist()
                assert len(rows) == plan.span_of(number).item_count
                found.append((values.of(number), rows))
    reader.close()
    assert len(found) == plan.mini_batch_count
    return found


def _moves(folder: Path) -> bool:
    return (folder / "groups").exists()


class TestByRows:
    def test_each_group_has_all_rows_of_its_keys_in_input_order(self, tmp_path: Path) -> None:
        for number in range(3):
            _put(tmp_path / "data" / f"{number}.parquet", _birds(50, 50 * number), row_group_size=20)
        groups = _groups(tmp_path / "job", _spec(tmp_path / "data", keys=("species", "net")))
        assert _moves(tmp_path / "job")
        assert len(groups) == 12
        assert [list(keys) for keys, _ in groups] == [["species", "net"]] * 12
        for keys, rings in groups:
            assert rings == [n for n in range(150) if SPECIES[n * 7 % 4] == keys["species"] and n % 3 == keys["net"]]

    def test_nothing_shows_of_memory_or_of_how_files_are_cut(self, tmp_path: Path) -> None:
        whole = _put(tmp_path / "whole" / "a.parquet", _birds(3000))
        for number in range(4):
            _put(tmp_path / "many" / f"{number}.parquet", _birds(750, 750 * number), row_group_size=100)
        plain = _groups(tmp_path / "job0", _spec(whole))
        assert plain == _groups(tmp_path / "job1", _spec(tmp_path / "many"))
        assert plain == _groups(tmp_path / "job2", _spec(whole, memory=1 << 14))
        units = [
            [
                (unit.first_mini_batch, unit.mini_batch_count, unit.row_count)
                for unit in load_plan(folder / "plan").units
            ]
            for folder in (tmp_path / "job0", tmp_path / "job2")
        ]
        assert units[0] == units[1]
        assert len(load_plan(tmp_path / "job2" / "plan").files) > 1

    def test_units_are_whole_groups(self, tmp_path: Path) -> None:
        rng = np.random.default_rng(3)
        table = pa.table({"species": rng.integers(0, 700, 600_000), "ring": np.arange(600_000)})
        plan = _plan(tmp_path / "job", _spec(_put(tmp_path / "a.parquet", table)))
        assert plan.mini_batch_count == 700
        assert len(plan.units) == 3
        _check_units(plan)

    def test_key_columns_are_read_also_when_the_job_names_others(self, tmp_path: Path) -> None:
        path = _put(tmp_path / "a.parquet", _birds(8))
        groups = _groups(tmp_path / "job", _spec(path, columns=("ring",)), "species")
        assert all(rows == [keys["species"]] * 2 for keys, rows in groups)

    def test_types_differ_between_files_and_not_between_keys(self, tmp_path: Path) -> None:
        _put(tmp_path / "data" / "a.parquet", pa.table({"k": pa.array([1, 2, None], pa.int8()), "ring": [0, 1, 2]}))
        _put(tmp_path / "data" / "b.parquet", pa.table({"k": pa.array([2, 1], pa.int64()), "ring": [3, 4]}))
        groups = _groups(tmp_path / "job", _spec(tmp_path / "data", keys=("k",)))
        assert sorted(groups, key=str) == [({"k": 1}, [0, 4]), ({"k": 2}, [1, 3]), ({"k": None}, [2])]

    def test_dictionaries_count_as_their_values(self, tmp_path: Path) -> None:
        for number, words in enumerate((["a", "b"], ["b", "a"])):
            table = pa.table({"k": pa.array(words).dictionary_encode(), "ring": [2 * number, 2 * number + 1]})
            _put(tmp_path / "data" / f"{number}.parquet", table)
        groups = _groups(tmp_path / "job", _spec(tmp_path / "data", keys=("k",)))
        assert sorted(groups, key=str) == [({"k": "a"}, [0, 3]), ({"k": "b"}, [1, 2])]

    def test_inputs_are_grouped_one_after_the_other(self, tmp_path: Path) -> None:
        first, second = _put(tmp_path / "a.parquet", _birds(8)), _put(tmp_path / "b.parquet", _birds(8, 8))
        plan = _plan(tmp_path / "job", _spec(first, second))
        groups = _groups(tmp_path / "job", _spec(first, second))
        assert len(groups) == 8
        assert sorted(ring for _, rings in groups[:4] for ring in rings) == list(range(8))
        assert [plan.files[unit.file].input for unit in plan.units] == [0, 1]
        _check_units(plan)


class TestByPath:
    def test_folders_move_nothing_and_number_by_the_first_file(self, tmp_path: Path) -> None:
        for at, (site, part) in enumerate([("weir", 0), ("mere", 0), ("weir", 1), ("mere", 1)]):
            _put(tmp_path / f"data/part={part}/site={site}/x.parquet", pa.table({"ring": [at]}))
        groups = _groups(tmp_path / "job", _spec(tmp_path / "data", keys=("site",)))
        assert groups == [({"site": "mere"}, [1, 3]), ({"site": "weir"}, [0, 2])]
        assert not _moves(tmp_path / "job")

    def test_files_as_inputs(self, tmp_path: Path) -> None:
        for site, name in (("b", "2"), ("a", "1"), ("b", "3")):
            path = tmp_path / "data" / f"site={site}" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        spec = _spec(tmp_path / "data", keys=("site",), kind="files")
        plan = _plan(tmp_path / "job", spec)
        values = KeyValues(tmp_path / "job" / "plan")
        found = []
        for number in range(plan.mini_batch_count):
            span = plan.span_of(number)
            paths = plan.files[span.file : span.file + span.item_count]
            found.append((values.of(number), [os.path.basename(file.path) for file in paths]))
        assert found == [({"site": "a"}, ["1"]), ({"site": "b"}, ["2", "3"])]
        assert plan.key_of(1) == '{"site": "b"}'

    def test_exact_statistics_move_nothing(self, tmp_path: Path) -> None:
        for number, keys in enumerate(([1] * 4 + [2] * 4, [2] * 4 + [1] * 4)):
            table = pa.table({"k": keys, "ring": range(8 * number, 8 * number + 8)})
            _put(tmp_path / "data" / f"{number}.parquet", table, row_group_size=2)
        groups = _groups(tmp_path / "job", _spec(tmp_path / "data", keys=("k",)))
        assert groups == [({"k": 1}, [0, 1, 2, 3, 12, 13, 14, 15]), ({"k": 2}, [4, 5, 6, 7, 8, 9, 10, 11])]
        assert not _moves(tmp_path / "job")

    def test_folders_and_statistics_together(self, tmp_path: Path) -> None:
        for site in ("mere", "weir"):
            _put(tmp_path / f"data/site={site}/x.parquet", pa.table({"k": ["a"] * 2 + ["b"] * 2}), row_group_size=2)
        groups = _groups(tmp_path / "job", _spec(tmp_path / "data", keys=("k", "site")), "k")
        assert [tuple(keys.values()) for keys, _ in groups] == [
            ("a", "mere"),
            ("b", "mere"),
            ("a", "weir"),
            ("b", "weir"),
        ]
        assert not _moves(tmp_path / "job")

    @pytest.mark.parametrize(
        "column",
        [
            pa.array([1.0, 1.0, 2.0, 2.0]),
            pa.array([1, None, 2, 2]),
            pa.array([1, 2, 2, 2]),
            pa.array(["a" * 50] * 2 + ["b" * 50] * 2),
        ],
        ids=["floats", "nulls", "two values", "long text"],
    )
    def test_statistics_that_are_not_exact_do_not_count(self, tmp_path: Path, column: pa.Array) -> None:
        path = _put(tmp_path / "a.parquet", pa.table({"k": column, "ring": range(4)}), row_group_size=2)
        groups = _groups(tmp_path / "job", _spec(path, keys=("k",)))
        assert _moves(tmp_path / "job")
        assert sorted(ring for _, rings in groups for ring in rings) == [0, 1, 2, 3]
        assert len(groups) == 2 + (column.null_count > 0)


class TestRefusals:
    def _refused(self, tmp_path: Path, kind: type[InputError], spec: ParallelSpec) -> str:
        with pytest.raises(kind) as caught:
            make_plan(spec, tmp_path / "plan")
        return str(caught.value)

    def test_a_key_that_is_no_column_names_the_nearest(self, tmp_path: Path) -> None:
        path = _put(tmp_path / "a.parquet", _birds(3))
        text = self._refused(tmp_path, ArgumentInvalid, _spec(path, keys=("specie",)))
        assert text == "partition_keys: no file of the input has a column 'specie'; did you mean 'species'?"
        text = self._refused(tmp_path, ArgumentInvalid, _spec(path, keys=("zzz",)))
        assert text.endswith("no file of the input has a column 'zzz'; there are: ring, species, net")

    def test_and_when_the_job_reads_few_columns(self, tmp_path: Path) -> None:
        path = _put(tmp_path / "a.parquet", _birds(3))
        text = self._refused(tmp_path, InputError, _spec(path, keys=("specie",), columns=("ring",)))
        assert "'specie'" in text

    def test_a_nested_key_is_refused_by_its_type(self, tmp_path: Path) -> None:
        path = _put(tmp_path / "a.parquet", pa.table({"k": [[1], [2]]}))
        text = self._refused(tmp_path, ArgumentInvalid, _spec(path, keys=("k",)))
        assert text.startswith("partition_keys: 'k' is list<") and text.endswith("rows cannot be grouped by it")

    def test_a_file_without_the_key_is_named_beside_one_with_it(self, tmp_path: Path) -> None:
        first = _put(tmp_path / "data" / "a.parquet", _birds(3))
        second = _put(tmp_path / "data" / "b.parquet", _birds(3).drop_columns("species"))
        text = self._refused(tmp_path, SchemaMismatch, _spec(tmp_path / "data"))
        assert text.startswith(
            f"{first} and {second} do not fit together: only the first has the partition key 'species'"
        )

    @pytest.mark.parametrize("lacking", ["0", "site=z"])
    def test_so_is_a_path_without_it(self, tmp_path: Path, lacking: str) -> None:
        names = {"0": ("site=a/x", "0/x"), "site=z": ("site=a/x", "zone=a/x")}[lacking]
        for name in names:
            path = tmp_path / "data" / name
            path.parent.mkdir(parents=True)
            path.touch()
        text = self._refused(tmp_path, SchemaMismatch, _spec(tmp_path / "data", keys=("site",), kind="files"))
        assert text.startswith(
            f"{tmp_path}/data/{names[0]} and {tmp_path}/data/{names[1]} do not fit together: only the"
        )

    def test_files_without_any_folders_are_told_what_is_missing(self, tmp_path: Path) -> None:
        (tmp_path / "data").mkdir()
        (tmp_path / "data" / "x").touch()
        text = self._refused(tmp_path, ArgumentInvalid, _spec(tmp_path / "data", keys=("site",), kind="files"))
        assert text == f"partition_keys: site: no path below {tmp_path}/data has folders name=value for them"

    def test_a_file_that_cannot_be_read_ends_the_plan_by_name(self, tmp_path: Path) -> None:
        path = _put(tmp_path / "data" / "a.parquet", _birds(5000), compression="none", use_dictionary=False)
        data = bytearray(path.read_bytes())
        data[30:400] = b"\xff" * 370
        path.write_bytes(data)
        assert str(path) in self._refused(tmp_path, InputUnreadable, _spec(tmp_path / "data"))

    def test_too_little_room_is_told_before_anything_is_read(self, tmp_path: Path) -> None:
        """A folder of which there is no more room than for a page."""
        small = Path("/sys/fs/cgroup") if Path("/sys/fs/cgroup").is_dir() else Path("/proc")
        from runner.dataset.schemas import decode_schema
        from runner.plan.by_keys import check_space

        path = _put(tmp_path / "a.parquet", _birds(100))
        plan = make_plan(_spec(path, keys=()))
        check_space(plan, decode_schema(plan.schema), tmp_path)
        with pytest.raises(
            StorageFailed, match=r"has 0 bytes free, and grouping rows by key needs about \d+; make room"
        ):
            check_space(plan, decode_schema(plan.schema), small)


class TestOnDisk:
    @pytest.fixture
    def job(self, tmp_path: Path) -> Path:
        _plan(tmp_path / "job", _spec(_put(tmp_path / "a.parquet", _birds(40))))
        return tmp_path / "job"

    def test_keys_are_text_for_failures(self, job: Path) -> None:
        plan = load_plan(job / "plan")
        assert sorted(str(plan.key_of(number)) for number in range(4)) == sorted(
            f'{{"species": "{name}"}}' for name in SPECIES
        )

    @pytest.mark.parametrize("beside", [bounds_of, keys_of])
    @pytest.mark.parametrize("damage", ["flipped", "short", "longer", "gone", "empty"])
    def test_what_is_damaged_beside_it_is_refused(self, job: Path, beside: Any, damage: str) -> None:
        path: Path = beside(job / "plan")
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        whole = path.read_bytes()
        if damage == "gone":
            path.unlink()
        else:
            path.write_bytes(
                {"flipped": bytes(data), "short": whole[:-8], "longer": whole + bytes(8), "empty": b""}[damage]
            )
        with pytest.raises(InputUnreadable):
            load_plan(job / "plan")

    def test_nothing_partial_is_left(self, job: Path) -> None:
        assert sorted(path.name for path in job.iterdir()) == [
            "groups",
            "plan",
            "plan.bounds",
            "plan.input",
            "plan.keys",
        ]

    def test_the_fingerprint_knows_keys_and_input(self, tmp_path: Path) -> None:
        path = _put(tmp_path / "a.parquet", _birds(40))
        first = _plan(tmp_path / "1", _spec(path)).fingerprint
        assert _plan(tmp_path / "2", _spec(path, memory=1 << 14)).fingerprint == first
        assert _plan(tmp_path / "3", _spec(path, keys=("net",))).fingerprint != first
        assert _plan(tmp_path / "4", _spec(path, keys=("net", "species"))).fingerprint != first
        os.utime(path, ns=(1, 1))
        assert _plan(tmp_path / "5", _spec(path)).fingerprint != first

    def test_keys_that_two_lists_spell_alike_differ(self, tmp_path: Path) -> None:
        path = _put(tmp_path / "a.parquet", pa.table({"a/b": [1, 2], "a": [1, 1], "b": [1, 1]}))
        one = _plan(tmp_path / "1", _spec(path, keys=("a/b",))).fingerprint
        assert _plan(tmp_path / "2", _spec(path, keys=("a", "b"))).fingerprint != one


def _check_units(plan: Plan) -> None:
    """Units follow each other, hold whole groups, and lie in the files that they name."""
    at = 0
    for unit in plan.units:
        assert unit.first_mini_batch == at
        at += unit.mini_batch_count
        start, end = plan.bounds[unit.first_mini_batch], plan.bounds[at]
        assert unit.row_count == end - start
        starts = plan.file_starts
        assert starts[unit.file] + unit.first_row == start < starts[unit.file + 1]
        assert starts[unit.file + unit.file_count - 1] < end <= starts[unit.file + unit.file_count]
    assert at == plan.mini_batch_count
    assert plan.bounds[at] == plan.item_count


@st.composite
def _cuts(draw: st.DrawFn) -> tuple[list[int], list[int], list[int]]:
    """Sizes of files, sizes of groups over the same rows, and groups in each unit."""
    files = draw(st.lists(st.integers(0, 6), min_size=1, max_size=8).filter(sum))
    left, groups = sum(files), []
    while left:
        groups.append(draw(st.integers(1, left)))
        left -= groups[-1]
    left, units = len(groups), []
    while left:
        units.append(draw(st.integers(1, left)))
        left -= units[-1]
    return files, groups, units


@given(_cuts(), st.sampled_from(["table", "files"]))
def test_spans_and_units_are_those_of_a_naive_twin(
    cuts: tuple[list[int], list[int], list[int]], kind: Literal["table", "files"]
) -> None:
    sizes, groups, per_unit = cuts
    bounds = [sum(groups[:index]) for index in range(len(groups) + 1)]
    starts = [sum(per_unit[:index]) for index in range(len(per_unit))]
    plan = Plan(
        kind=kind,
        inputs=("in",),
        files=tuple(PlanFile(path=f"/{n}", size_bytes=1, mtime_ns=1, row_count=size) for n, size in enumerate(sizes)),
        units=tuple(
            Unit(file=0, first_mini_batch=start, mini_batch_count=count)
            for start, count in zip(starts, per_unit, strict=True)
        ),
        mini_batch_count=len(groups),
        item_count=sum(groups),
        fingerprint="",
        keys=("k",),
        bounds=bounds,
    )
    rows = [(file, row) for file, size in enumerate(sizes) for row in range(size)]
    units = [unit for unit, count in enumerate(per_unit) for _ in range(count)]
    for number, count in enumerate(groups):
        span = plan.span_of(number)
        assert plan.unit_of(number) == span.unit == units[number]
        assert span.item_count == count
        if kind == "table":
            assert (span.file, span.first_row) == rows[bounds[number]]
        else:
            assert (span.file, span.first_row) == (bounds[number], 0)
    for number in (-1, len(groups)):
        with pytest.raises(IndexError):
            plan.span_of(number)
