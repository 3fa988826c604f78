"""Plans of real folders: numbering, sizes, schemas, and every input that cannot be planned, told by name."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from runner.dataset.schemas import decode_schema
from runner.entity.parallel import MiniBatchSize, OutputSpec, ParallelSpec, SizeKind, SplitInput
from runner.entity.plan import Plan
from runner.errors import ArgumentInvalid, EmptyInput, InputError, InputUnreadable, SchemaMismatch
from runner.plan.make import make_plan


def _spec(
    *paths: Path,
    kind: Literal["table", "files"] = "table",
    size: tuple[SizeKind, int] = ("rows", 10),
    columns: tuple[str, ...] | None = None,
    keep: tuple[str, ...] = (),
    partition_keys: tuple[str, ...] = (),
) -> ParallelSpec:
    return ParallelSpec(
        name="job",
        entry_script="score.py",
        code=None,
        inputs=tuple(SplitInput(name=f"in{n}", kind=kind, path=str(path)) for n, path in enumerate(paths)),
        mini_batch_size=MiniBatchSize(kind=size[0], value=size[1]),
        columns=columns,
        partition_keys=partition_keys,
        output=OutputSpec(name="out", target="/nowhere", is_folder=True, keep_columns=keep) if keep else None,
    )


def _table(rows: int) -> pa.Table:
    return pa.table({"id": range(rows), "x": pa.array([0.5] * rows, pa.float32()), "s": list(map(str, range(rows)))})


def _parquet(path: Path, table: pa.Table, **options: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path, **options)
    return path


def _ipc(
    path: Path, table: pa.Table, *, as_stream: bool = False, rows: int = 7, compression: str | None = None
) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    options = pa.ipc.IpcWriteOptions(compression=compression)
    make = pa.ipc.new_stream if as_stream else pa.ipc.new_file
    with pa.OSFile(os.fsencode(path), "wb") as sink, make(sink, table.schema, options=options) as writer:
        writer.write_table(table, max_chunksize=rows)
    return path


def _row_counts(plan: Plan) -> list[int]:
    return [plan.span_of(number).item_count for number in range(plan.mini_batch_count)]


class TestTables:
    def test_files_are_numbered_in_order_and_cut_each_for_itself(self, tmp_path: Path) -> None:
        _parquet(tmp_path / "b.parquet", _table(25), row_group_size=6)
        _parquet(tmp_path / "a" / "z.parquet", _table(10))
        _parquet(tmp_path / "c.parquet", _table(0))
        _parquet(tmp_path / "d.parquet", _table(1))
        plan = make_plan(_spec(tmp_path))
        assert [os.path.basename(file.path) for file in plan.files] == [
            "z.parquet",
            "b.parquet",
            "c.parquet",
            "d.parquet",
        ]
        assert _row_counts(plan) == [10, 10, 10, 5, 1]
        assert (plan.kind, plan.item_count, plan.inputs) == ("table", 36, ("in0",))

    def test_a_single_file_is_an_input(self, tmp_path: Path) -> None:
        assert make_plan(_spec(_parquet(tmp_path / "one.parquet", _table(11)))).mini_batch_count == 2

    def test_bytes_become_rows_by_the_average_of_each_file(self, tmp_path: Path) -> None:
        path = _parquet(tmp_path / "one.parquet", _table(1_000))
        (file,) = make_plan(_spec(path, size=("bytes", 1_000))).files
        assert file.rows_per_mini_batch == 1_000 * 1_000 // path.stat().st_size
        (file,) = make_plan(_spec(path, size=("bytes", 1))).files
        assert file.rows_per_mini_batch == 1

    def test_several_inputs_follow_each_other(self, tmp_path: Path) -> None:
        second = _parquet(tmp_path / "b" / "x.parquet", _table(5))
        first = _parquet(tmp_path / "c" / "x.parquet", _table(15))
        plan = make_plan(_spec(first, second))
        assert [(file.path, file.input) for file in plan.files] == [(str(first), 0), (str(second), 1)]
        assert _row_counts(plan) == [10, 5, 5]

    @pytest.mark.parametrize("as_stream", [False, True])
    @pytest.mark.parametrize("compression", [None, "zstd"])
    def test_arrow_files_and_streams(self, tmp_path: Path, as_stream: bool, compression: str | None) -> None:
        nested = pa.table(
            {
                "l": pa.array([[1, None]] * 20),
                "m": pa.array([[("a", 1)]] * 20, pa.map_(pa.string(), pa.int8())),
                "st": pa.array([{"a": 1, "b": ["x"]}] * 20),
                "d": pa.array(["a", "b"] * 10).dictionary_encode(),
                "i": pa.array([*range(19), None]),
                "j": range(20),
            }
        )
        path = _ipc(tmp_path / "x.arrow", nested, as_stream=as_stream, compression=compression)
        plan = make_plan(_spec(path))
        assert plan.item_count == 20
        assert plan.files[0].nullable == ("i",)
        assert decode_schema(plan.schema).field("d").type == pa.string()

    def test_the_first_bytes_tell_the_type_of_a_file_without_a_known_extension(self, tmp_path: Path) -> None:
        for path in (
            _parquet(tmp_path / "p", _table(3)),
            _ipc(tmp_path / "i.data", _table(3)),
            _ipc(tmp_path / "s", _table(3), as_stream=True),
        ):
            assert make_plan(_spec(path)).item_count == 3

    def test_names_that_are_no_utf8_or_look_encoded(self, tmp_path: Path) -> None:
        odd = os.fsdecode(os.fsencode(tmp_path) + b"/\xff a%20b.parquet")
        _parquet(tmp_path / "x", _table(3)).rename(odd)
        _ipc(Path(odd[: -len("parquet")] + "arrow"), _table(3)).rename(os.fsdecode(os.fsencode(tmp_path) + b"/\xfe"))
        assert make_plan(_spec(Path(odd))).files[0].path == odd
        assert make_plan(_spec(Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xfe")))).item_count == 3

    def test_a_huge_row_group_is_split(self, tmp_path: Path) -> None:
        path = _parquet(tmp_path / "x.parquet", pa.table({"id": range(1_000_000)}), row_group_size=1_000_000)
        plan = make_plan(_spec(path, size=("rows", 1_000)))
        assert [unit.row_count for unit in plan.units] == [250_000] * 4

    def test_columns_that_may_hold_nulls_are_those_of_each_file(self, tmp_path: Path) -> None:
        full = pa.table({"i": [1, 2], "b": [True, False]})
        holes = pa.table({"i": [1, None], "extra": [1, 2]})
        _parquet(tmp_path / "a.parquet", full)
        _parquet(tmp_path / "b.parquet", holes)
        _parquet(tmp_path / "c.parquet", full, write_statistics=False)
        _parquet(tmp_path / "d.parquet", full.cast(pa.schema([pa.field("i", pa.int64(), False), ("b", pa.bool_())])))
        assert [file.nullable for file in make_plan(_spec(tmp_path)).files] == [
            ("extra",),
            ("i", "b"),
            ("i", "b", "extra"),
            ("extra",),
        ]

    def test_only_the_columns_asked_for_and_kept_are_in_the_schema(self, tmp_path: Path) -> None:
        path = _parquet(tmp_path / "x.parquet", _table(3))
        plan = make_plan(_spec(path, columns=("s", "id"), keep=("id", "x")))
        assert decode_schema(plan.schema).names == ["s", "id", "x"]

    def test_compatible_schemas_are_unified(self, tmp_path: Path) -> None:
        _parquet(tmp_path / "a.parquet", pa.table({"i": pa.array([1], pa.int32())}))
        _parquet(tmp_path / "b.parquet", pa.table({"i": pa.array([1], pa.int64()), "j": ["x"]}))
        schema = decode_schema(make_plan(_spec(tmp_path)).schema)
        assert schema == pa.schema([("i", pa.int64()), ("j", pa.string())])

    def test_folders_give_text_columns_that_win(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        _parquet(tmp_path / "id=7" / "b=x%2Fy" / "a.parquet", _table(3))
        schema = decode_schema(make_plan(_spec(tmp_path)).schema)
        assert schema == pa.schema([("x", pa.float32()), ("s", pa.string()), ("id", pa.string()), ("b", pa.string())])
        assert "id are taken from the paths" in caplog.text


class TestFiles:
    def test_files_in_order_by_count(self, tmp_path: Path) -> None:
        for number in range(7):
            (tmp_path / f"{number}.png").write_text("x")
        plan = make_plan(_spec(tmp_path, kind="files", size=("files", 3)))
        assert _row_counts(plan) == [3, 3, 1]
        assert [os.path.basename(file.path) for file in plan.files] == [f"{n}.png" for n in range(7)]
        assert (plan.kind, plan.item_count, plan.files_per_mini_batch) == ("files", 7, 3)

    def test_parquet_given_as_files_stays_files(self, tmp_path: Path) -> None:
        _parquet(tmp_path / "x.parquet", _table(3))
        assert make_plan(_spec(tmp_path, kind="files", size=("files", 1))).item_count == 1

    def test_no_mini_batch_holds_files_of_two_inputs(self, tmp_path: Path) -> None:
        for name in ("a/1", "a/2", "b/1"):
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_text("x")
        assert _row_counts(make_plan(_spec(tmp_path / "a", tmp_path / "b", kind="files", size=("files", 5)))) == [2, 1]

    def test_a_size_in_bytes_makes_no_sense(self, tmp_path: Path) -> None:
        (tmp_path / "x").write_text("x")
        with pytest.raises(ArgumentInvalid, match="mini_batch_size: must be a number of files"):
            make_plan(_spec(tmp_path, kind="files", size=("bytes", 5)))

    def test_only_the_path_can_be_kept(self, tmp_path: Path) -> None:
        (tmp_path / "x").write_text("x")
        with pytest.raises(ArgumentInvalid, match="only 'path' can be kept"):
            make_plan(_spec(tmp_path, kind="files", size=("files", 1), keep=("path", "id")))


class TestFingerprint:
    def test_the_same_input_gives_the_same_plan(self, tmp_path: Path) -> None:
        for name in ("b", "a"):
            _parquet(tmp_path / f"{name}.parquet", _table(100), row_group_size=7)
        assert make_plan(_spec(tmp_path)) == make_plan(_spec(tmp_path))

    def test_anything_that_matters_changes_it(self, tmp_path: Path) -> None:
        path = _parquet(tmp_path / "a.parquet", _table(100))
        plans = [
            make_plan(_spec(tmp_path)),
            make_plan(_spec(path)),
            make_plan(_spec(tmp_path, size=("rows", 11))),
            make_plan(_spec(tmp_path, columns=("id",))),
        ]
        os.utime(path, ns=(1, 1))
        plans.append(make_plan(_spec(tmp_path)))
        path.rename(tmp_path / "b.parquet")
        plans.append(make_plan(_spec(tmp_path)))
        assert len({plan.fingerprint for plan in plans}) == len(plans)


class TestRefused:
    def _refused(self, error: type[InputError], spec: ParallelSpec) -> str:
        with pytest.raises(error) as caught:
            make_plan(spec)
        return str(caught.value)

    def test_a_missing_folder(self, tmp_path: Path) -> None:
        text = self._refused(EmptyInput, _spec(tmp_path / "gone"))
        assert text == f"input 'in0': {tmp_path}/gone does not exist; give a path that holds data"

    def test_files_without_a_row(self, tmp_path: Path) -> None:
        _parquet(tmp_path / "a.parquet", _table(0))
        assert "none of them holds a row" in self._refused(EmptyInput, _spec(tmp_path))

    @pytest.mark.parametrize("cut", [0, 3, 100, -1])
    @pytest.mark.parametrize("name", ["x.parquet", "x.arrow", "x.arrows"])
    def test_a_truncated_file_is_named(self, tmp_path: Path, name: str, cut: int) -> None:
        path = tmp_path / name
        if name == "x.parquet":
            _parquet(path, _table(30))
        else:
            _ipc(path, _table(30), as_stream=name == "x.arrows")
        whole = path.read_bytes()
        path.write_bytes(whole[:cut] if cut >= 0 else whole[:-100])
        assert f"{path} cannot be read: " in self._refused(InputUnreadable, _spec(tmp_path))

    def test_a_file_that_is_something_else_is_named(self, tmp_path: Path) -> None:
        (tmp_path / "x.parquet").write_text("id,x\n1,2\n" * 100)
        assert f"{tmp_path}/x.parquet cannot be read: " in self._refused(InputUnreadable, _spec(tmp_path))

    def test_a_file_of_unknown_type_is_named(self, tmp_path: Path) -> None:
        (tmp_path / "readme.md").write_text("hello")
        text = self._refused(InputUnreadable, _spec(tmp_path))
        assert "readme.md cannot be read: neither its extension nor its first bytes say Parquet or Arrow IPC" in text

    def test_a_compressed_parquet_file_is_named(self, tmp_path: Path) -> None:
        (tmp_path / "x.parquet.gz").write_text("x")
        assert "uncompress it" in self._refused(InputUnreadable, _spec(tmp_path))

    def test_two_types_in_one_input_name_a_file_of_each(self, tmp_path: Path) -> None:
        first = _ipc(tmp_path / "a.arrow", _table(3))
        second = _parquet(tmp_path / "b.parquet", _table(3))
        text = self._refused(SchemaMismatch, _spec(tmp_path))
        assert text.startswith(f"{first} and {second} do not fit together: the first is Arrow IPC, the second Parquet")

    def test_schemas_that_do_not_fit_name_both_files(self, tmp_path: Path) -> None:
        first = _parquet(tmp_path / "a.parquet", pa.table({"x": [1]}))
        second = _parquet(tmp_path / "b.parquet", pa.table({"x": ["1"]}))
        text = self._refused(SchemaMismatch, _spec(tmp_path))
        assert text.startswith(f"{first} and {second} do not fit together: column 'x' is int64 in the first and string")

    def test_an_unknown_column_names_the_nearest(self, tmp_path: Path) -> None:
        path = _parquet(tmp_path / "a.parquet", pa.table({"amount": [1], "customer": [2]}))
        text = self._refused(ArgumentInvalid, _spec(path, columns=("custommer",)))
        assert text == "columns: no file of the input has a column 'custommer'; did you mean 'customer'?"
        text = self._refused(ArgumentInvalid, _spec(path, keep=("zzz",)))
        assert text == "keep_columns: no file of the input has a column 'zzz'; there are: amount, customer"

    def test_two_columns_of_one_name(self, tmp_path: Path) -> None:
        doubled = pa.table([[1], [2]], names=["a", "a"])
        path = _ipc(tmp_path / "a.arrow", doubled)
        assert "two columns named 'a'" in self._refused(InputUnreadable, _spec(path))

    def test_a_file_without_a_key_of_the_others_names_both(self, tmp_path: Path) -> None:
        first = _parquet(tmp_path / "a=1" / "x.parquet", _table(1))
        second = _parquet(tmp_path / "b.parquet", _table(1))
        text = self._refused(SchemaMismatch, _spec(tmp_path))
        assert text.startswith(f"{first} and {second} do not fit together: only the path of the first has a folder a=")

    def test_partition_keys_need_a_place_for_what_belongs_to_the_plan(self, tmp_path: Path) -> None:
        _parquet(tmp_path / "a.parquet", _table(1))
        text = self._refused(ArgumentInvalid, _spec(tmp_path, partition_keys=("id",)))
        assert text == "partition_keys: need a place beside the plan"
