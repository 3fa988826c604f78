"""What `run` gets: types by the file and never by the rows at hand, and nothing that one call can spoil for another."""

from __future__ import annotations

import datetime as dt
import pickle
from collections.abc import Collection
from decimal import Decimal
from typing import Any, Literal

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from runner.dataset.files import FileBatch
from runner.dataset.frames import converter
from runner.entity.parallel import MiniBatchSize, ParallelSpec, SplitInput

Format = Literal["pandas", "arrow", "numpy", "polars"]
N = 20


def _cutter(
    batch: pa.RecordBatch,
    mini_batch_format: Format,
    *,
    nullable: Collection[str] = (),
    frame_types: Literal["numpy", "arrow"] = "numpy",
    writable: bool = False,
) -> Any:
    spec = ParallelSpec(
        name="job",
        entry_script="score.py",
        code=None,
        inputs=(SplitInput(name="data", kind="table", path="/data"),),
        mini_batch_size=MiniBatchSize(kind="rows", value=5),
        mini_batch_format=mini_batch_format,
        frame_types=frame_types,
        writable=writable,
    )
    columns, cut = converter(spec, batch.schema, nullable, shared=False)(batch)
    if columns is not None:
        return lambda start, stop: {name: array[start:stop] for name, array in columns}
    assert cut is not None
    return lambda start, stop: cut(start, stop, 0)


def _numbers() -> pa.RecordBatch:
    return pa.record_batch({"x": np.arange(N, dtype="f4"), "y": np.arange(N, dtype="f4"), "id": np.arange(N)})


def _with_nulls() -> pa.RecordBatch:
    """Nulls only in the last rows, so that the first mini-batches see none."""
    return pa.record_batch(
        {
            "i": pa.array([*range(N - 1), None], pa.int32()),
            "f": pa.array([*map(float, range(N - 1)), None], pa.float32()),
            "b": pa.array([*[True, False] * (N // 2 - 1), True, None], pa.bool_()),
            "s": pa.array([*map(str, range(N - 1)), None]),
            "t": pa.array([*[0] * (N - 1), None], pa.timestamp("us")),
        }
    )


class TestPandas:
    def test_rows_and_index_begin_at_zero(self) -> None:
        cut = _cutter(_numbers(), "pandas")
        frame = cut(5, 9)
        assert isinstance(frame, pd.DataFrame)
        assert list(frame.index) == [0, 1, 2, 3]
        assert list(frame["id"]) == [5, 6, 7, 8]
        assert [str(kind) for kind in frame.dtypes] == ["float32", "float32", "int64"]

    def test_a_change_reaches_no_other_mini_batch_and_no_later_try(self) -> None:
        cut = _cutter(_numbers(), "pandas")
        first, second = cut(0, 5), cut(5, 10)
        first["x"] = -1.0
        first.loc[0, "id"] = -1
        first.iloc[1, 1] = -1
        first.index = pd.Index(list("abcde"))
        assert list(cut(0, 5)["id"]) == [0, 1, 2, 3, 4]
        assert list(cut(0, 5)["y"]) == [0, 1, 2, 3, 4]
        assert list(second["x"]) == [5, 6, 7, 8, 9]
        assert list(cut(0, 5).index) == [0, 1, 2, 3, 4]

    def test_a_frame_can_be_changed_after_its_slab_is_gone(self) -> None:
        frame = _cutter(_numbers(), "pandas")(5, 10)
        frame.loc[0, "id"] = 100
        frame.iloc[0, 0] = 7
        assert list(frame["id"]) == [100, 6, 7, 8, 9]

    def test_a_change_does_not_reach_the_columns_that_are_kept(self) -> None:
        batch = _numbers()
        spec = ParallelSpec(
            name="job",
            entry_script="score.py",
            code=None,
            inputs=(SplitInput(name="data", kind="table", path="/data"),),
            mini_batch_size=MiniBatchSize(kind="rows", value=5),
        )
        _, cut = converter(spec, batch.schema, (), shared=True)(batch)
        assert cut is not None
        frame = cut(0, N, 0)
        del cut
        frame.loc[:, "id"] = -1
        frame["x"].to_numpy(copy=False)
        assert batch["id"].to_pylist() == list(range(N))

    def test_types_go_by_the_file_and_not_by_the_rows(self) -> None:
        batch = _with_nulls()
        cut = _cutter(batch, "pandas", nullable=batch.schema.names)
        text = str(pd.Series(["a"]).dtype)
        kinds = {name: str(kind) for name, kind in cut(0, 5).dtypes.items()}
        assert kinds == {"i": "float64", "f": "float32", "b": "object", "s": text, "t": "datetime64[us]"}
        assert cut(0, 5).dtypes.equals(cut(N - 5, N).dtypes)
        assert cut(0, 2)["b"].tolist() == [True, False]
        assert cut(N - 1, N).isna().all(axis=None)

    def test_columns_without_nulls_keep_their_types(self) -> None:
        batch = pa.record_batch({"i": pa.array([1, 2], pa.int16()), "b": pa.array([True, False])})
        assert [str(kind) for kind in _cutter(batch, "pandas")(0, 2).dtypes] == ["int16", "bool"]

    def test_arrow_types(self) -> None:
        batch = _with_nulls()
        frame = _cutter(batch, "pandas", nullable=batch.schema.names, frame_types="arrow")(N - 2, N)
        assert frame.dtypes["i"] == pd.ArrowDtype(pa.int32())
        assert frame["i"].isna().tolist() == [False, True]
        assert list(frame.index) == [0, 1]

    def test_nested_values_are_new_in_every_try(self) -> None:
        cut = _cutter(pa.record_batch({"l": [[1, 2], [3]], "d": [{"a": 1}, {"a": 2}]}), "pandas")
        frame = cut(1, 2)
        with pytest.raises(ValueError, match="read-only"):
            frame["l"][0][0] = 99
        frame["d"][0]["a"] = 99
        assert cut(1, 2)["l"][0].tolist() == [3]
        assert cut(1, 2)["d"][0] == {"a": 2}

    def test_many_columns(self) -> None:
        cut = _cutter(pa.record_batch({f"c{n}": np.arange(N) for n in range(200)}), "pandas")
        frame = cut(1, 3)
        frame["new"] = 1
        assert frame["c199"].tolist() == [1, 2]


class TestArrow:
    def test_a_table_of_the_rows(self) -> None:
        table = _cutter(_numbers(), "arrow")(5, 7)
        assert isinstance(table, pa.Table)
        assert table["id"].to_pylist() == [5, 6]

    def test_writable_is_a_copy(self) -> None:
        batch = _numbers()
        table = _cutter(batch, "arrow", writable=True)(5, 7)
        assert table["id"].to_pylist() == [5, 6]
        assert table["id"].chunk(0).buffers()[1].address != batch["id"].buffers()[1].address + 5 * 8
        assert table["id"].chunk(0).buffers()[1].size < 1_000


class TestPolars:
    def test_a_frame_of_the_rows(self) -> None:
        frame = _cutter(_numbers(), "polars")(5, 7)
        assert isinstance(frame, pl.DataFrame)
        assert frame["id"].to_list() == [5, 6]

    def test_a_change_reaches_no_later_try(self) -> None:
        cut = _cutter(_numbers(), "polars")
        cut(0, 2)[0, "id"] = 9
        assert cut(0, 2)["id"].to_list() == [0, 1]


class TestNumpy:
    def test_arrays_by_name_that_cannot_be_written(self) -> None:
        arrays = _cutter(_numbers(), "numpy")(5, 7)
        assert list(arrays) == ["x", "y", "id"]
        assert arrays["id"].tolist() == [5, 6]
        with pytest.raises(ValueError, match="read-only"):
            arrays["id"][0] = 1

    def test_writable_reaches_no_later_try(self) -> None:
        cut = _cutter(_numbers(), "numpy", writable=True)
        cut(0, 2)["id"][0] = 9
        assert cut(0, 2)["id"].tolist() == [0, 1]

    def test_columns_that_may_hold_nulls_are_masked_in_every_mini_batch(self) -> None:
        batch = _with_nulls()
        cut = _cutter(batch, "numpy", nullable=batch.schema.names)
        for start in (0, N - 2):
            arrays = cut(start, start + 2)
            assert all(isinstance(arrays[name], np.ma.MaskedArray) for name in "ifbt")
            assert {name: str(array.dtype) for name, array in arrays.items()} == {
                "i": "int32",
                "f": "float32",
                "b": "bool",
                "s": "object",
                "t": "datetime64[us]",
            }
        last = cut(N - 2, N)
        assert last["i"].tolist() == [N - 2, None]
        assert last["s"].tolist() == [str(N - 2), None]
        with pytest.raises(ValueError, match="read-only"):
            last["i"][0] = 1
        assert cut(N - 2, N)["i"].tolist() == [N - 2, None]

    def test_a_mask_cannot_be_changed_for_others(self) -> None:
        batch = _with_nulls()
        cut = _cutter(batch, "numpy", nullable=batch.schema.names)
        arrays = cut(0, 2)
        try:
            arrays["i"][0] = np.ma.masked
        except ValueError:
            pass
        assert cut(0, 2)["i"].tolist() == [0, 1]

    @pytest.mark.parametrize(
        ("kind", "value", "dtype"),
        [
            (pa.date32(), dt.date(2024, 5, 1), "datetime64[D]"),
            (pa.date64(), dt.date(2024, 5, 1), "datetime64[ms]"),
            (pa.timestamp("ns"), 1_714_564_800_000_000_000, "datetime64[ns]"),
            (pa.timestamp("s", "Europe/Berlin"), dt.datetime(2024, 5, 1, 12, tzinfo=dt.UTC), "datetime64[s]"),
            (pa.duration("ms"), dt.timedelta(seconds=3), "timedelta64[ms]"),
            (pa.float16(), np.float16(1.5), "float16"),
            (pa.uint64(), 2**63, "uint64"),
            (pa.bool_(), True, "bool"),
            (pa.string(), "ä", "object"),
            (pa.binary(), b"\0", "object"),
            (pa.decimal128(5, 2), Decimal("1.50"), "object"),
            (pa.time64("us"), dt.time(1, 2), "object"),
            (pa.list_(pa.int8()), [1, 2], "object"),
            (pa.struct([("a", pa.int8())]), {"a": 1}, "object"),
            (pa.null(), None, "object"),
        ],
    )
    @pytest.mark.parametrize("has_null", [False, True])
    def test_every_type_has_one_form(self, kind: pa.DataType, value: object, dtype: str, has_null: bool) -> None:
        batch = pa.record_batch({"c": pa.array([value, None if has_null else value], kind)})
        array = _cutter(batch, "numpy", nullable=("c",) if has_null else ())(0, 2)["c"]
        assert str(array.dtype) == dtype
        assert len(array) == 2
        if has_null:
            assert array.tolist()[1] is None
        if dtype == "object":
            assert array[0] == value

    def test_zoned_timestamps_are_utc(self) -> None:
        kind = pa.timestamp("s", "Europe/Berlin")
        batch = pa.record_batch({"c": pa.array([dt.datetime(2024, 5, 1, 12, tzinfo=dt.UTC)], kind)})
        assert _cutter(batch, "numpy")(0, 1)["c"][0] == np.datetime64("2024-05-01T12:00:00")


def test_a_file_batch_is_a_list_that_pickles_and_prints() -> None:
    batch = FileBatch(["/a", "/b"], 7)
    again = pickle.loads(pickle.dumps(batch))
    assert (again, again.task_id, str(batch)) == (batch, 7, "['/a', '/b']")
    assert isinstance(batch, list)
