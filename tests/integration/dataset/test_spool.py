"""Segments: what a worker flushes comes back as it was, and a torn one is never taken for whole."""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Callable, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from runner.dataset.render import Renderer
from runner.dataset.spool import ENTRY, FOOTER, HEADER, RECORD, Segment, write_segment
from runner.entity.parallel import OutputSpec
from runner.errors import Defect, OutputInvalid, StorageFailed

PARQUET = OutputSpec(name="scores", target="/data/out", is_folder=True, format="parquet")
TEXT = OutputSpec(name="scores", target="/data/out", is_folder=True)
FRAME_TEXT = pa.array(pd.Series(["x"])).type
FRAME_UNIT = pd.to_datetime(pd.Series(["2024-05-06"])).dt.unit
"""What pandas 2 and 3 make of text and times differs."""


class _Taken(NamedTuple):
    records: npt.NDArray[np.void]
    outputs: list[Any]
    kept: list[tuple[Any, int, int]]


def _kept_as(output: OutputSpec, *names: str) -> OutputSpec:
    return OutputSpec(name=output.name, target=output.target, is_folder=True, format=output.format, keep_columns=names)


def _taken(renderer: Renderer, results: Sequence[Any], kept: Sequence[tuple[Any, int, int]] = ()) -> _Taken:
    """What the loop would hand over for these results of mini-batches 0, 1, 2, ..."""
    records = np.zeros(len(results), RECORD)
    outputs: list[Any] = []
    for number, result in enumerate(results):
        plain = type(result) is np.ndarray and result.ndim == 1 and result.dtype.kind in "biuf"
        copied = renderer.mode == "rows" and plain
        item_count = len(result)
        output, length, rows = (None, item_count, item_count) if copied else renderer.finish(result, number, item_count)
        records[number]["mini_batch"], records[number]["length"], records[number]["row_count"] = number, length, rows
        if renderer.mode == "text":
            outputs.append(output)
        elif not copied:
            outputs.append(("object", output, rows))
        elif outputs and outputs[-1][0] == "array" and outputs[-1][1].dtype == result.dtype:
            outputs[-1] = ("array", np.concatenate([outputs[-1][1], result]))
        else:
            outputs.append(("array", result.copy()))
    return _Taken(records, outputs if renderer.mode != "count" else [], list(kept))


def _round_trip(
    path: Path, results: Sequence[Any], output: OutputSpec | None = PARQUET, kept: Sequence[tuple[Any, int, int]] = ()
) -> Segment:
    renderer = Renderer(output)
    size = write_segment(path / "segment", _taken(renderer, results, kept), renderer)
    assert size == (path / "segment").stat().st_size
    return Segment.open(path / "segment")


def _rows(segment: Segment, entry: int) -> pa.Table | None:
    place = segment.entries[entry]
    if place["section"] < 0:
        return None
    return segment.section(int(place["section"])).slice(int(place["offset"]), int(place["extent"]))


def test_records_come_back_as_they_were(tmp_path: Path) -> None:
    records = np.zeros(3, RECORD)
    for i, name in enumerate(RECORD.names or ()):
        records[name] = np.arange(3) * 100 + i
    renderer = Renderer(None)
    write_segment(tmp_path / "s", _Taken(records, [], []), renderer)
    segment = Segment.open(tmp_path / "s")
    assert segment.mode == "count"
    assert segment.records.tobytes() == records.tobytes()


def test_text_is_found_by_offset_and_extent(tmp_path: Path) -> None:
    segment = _round_trip(tmp_path, [["a", "b"], [], ["c"]], TEXT)
    text = segment.text()
    found = [bytes(text[e["offset"] : e["offset"] + e["extent"]]) for e in segment.entries]
    assert found == [b"a\nb\n", b"", b"c\n"]


def test_frames_in_text_are_numbered_by_their_columns(tmp_path: Path) -> None:
    output = OutputSpec(name="scores", target="/data/out", is_folder=True, frame_header=True)
    one, two = pd.DataFrame({"a": [1]}), pd.DataFrame({"b": [1]})
    segment = _round_trip(tmp_path, [[1], two, one, two], output)
    assert segment.entries["section"].tolist() == [-1, 0, 1, 0]
    assert segment.frames == (("b",), ("a",))


def test_what_is_not_taken_yet_keeps_its_columns(tmp_path: Path) -> None:
    renderer = Renderer(OutputSpec(name="scores", target="/data/out", is_folder=True, frame_header=True))
    taken = _taken(renderer, [pd.DataFrame({"a": [1]})])
    renderer.finish(pd.DataFrame({"b": [1]}), 1, 1)
    write_segment(tmp_path / "s", taken, renderer)
    assert renderer.frames == {1: ("b",)}


def test_sections_begin_at_multiples_of_64_and_are_not_copied(tmp_path: Path) -> None:
    segment = _round_trip(tmp_path, [np.arange(5), np.arange(3.0), np.arange(2)])
    assert segment.entries["section"].tolist() == [0, 1, 0]
    assert segment.entries["offset"].tolist() == [0, 0, 5]
    whole = np.frombuffer(segment.text(), np.uint8)
    for number in (0, 1):
        values = segment.section(number).column(0).chunk(0).to_numpy()
        assert np.shares_memory(values, whole)
        assert values.__array_interface__["data"][0] % 8 == 0


def test_natively_copied_arrays_lie_beside_other_results(tmp_path: Path) -> None:
    empty = np.empty(0)
    results = [np.arange(3), np.arange(2), [], [1.5], empty, np.arange(4), empty, pd.DataFrame({"value": [7]}), []]
    segment = _round_trip(tmp_path, results)
    found = [_rows(segment, i) for i in range(len(results))]
    expected = [[0, 1, 2], [0, 1], None, [1.5], None, [0, 1, 2, 3], None, [7], None]
    assert [None if rows is None else rows["value"].to_pylist() for rows in found] == expected
    # The arrays, and the frame of their type, share one section.
    assert segment.entries["section"].tolist() == [0, 0, -1, 1, -1, 0, -1, 0, -1]


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        ([1, 2], {"value": (pa.int64(), [1, 2])}),
        ([1, 2.5, None], {"value": (pa.float64(), [1.0, 2.5, None])}),
        (["a", None], {"value": (pa.string(), ["a", None])}),
        ([np.float32(0.5)], {"value": (pa.float32(), [0.5])}),
        ([True], {"value": (pa.bool_(), [True])}),
        ([None], {"value": (pa.null(), [None])}),
        ([dt.date(2024, 5, 6)], {"value": (pa.date32(), [dt.date(2024, 5, 6)])}),
        ([Decimal("1.50")], {"value": (pa.decimal128(3, 2), [Decimal("1.50")])}),
        ([[1, 2], []], {"value": (pa.list_(pa.int64()), [[1, 2], []])}),
        ([np.arange(2.0), np.arange(1.0)], {"value": (pa.list_(pa.float64()), [[0.0, 1.0], [0.0]])}),
        ([np.zeros((1, 2))], {"value": (pa.list_(pa.list_(pa.float64())), [[[0.0, 0.0]]])}),
        ([{"a": 1}, {"b": "x", "a": 2}], {"a": (pa.int64(), [1, 2]), "b": (pa.string(), [None, "x"])}),
        (np.array([[1, 2], [3, 4]], np.int32), {"0": (pa.int32(), [1, 3]), "1": (pa.int32(), [2, 4])}),
        (np.array([["a", "b"]]), {"0": (pa.string(), ["a"]), "1": (pa.string(), ["b"])}),
        (np.zeros((2, 1, 2)), {"value": (pa.list_(pa.list_(pa.float64())), [[[0.0, 0.0]], [[0.0, 0.0]]])}),
        (np.array([(1, 0.5)], [("a", "i2"), ("b", "f4")]), {"a": (pa.int16(), [1]), "b": (pa.float32(), [0.5])}),
        (np.ma.masked_array([1, 2], [False, True]).reshape(2, 1), {"0": (pa.int64(), [1, None])}),
        (np.array([[1.0, np.nan]]), {"0": (pa.float64(), [1.0]), "1": (pa.float64(), ["nan"])}),
        (np.array([[1], [2]], ">i4"), {"0": (pa.int32(), [1, 2])}),
        (pd.Series([1, 2], name="ignored"), {"value": (pa.int64(), [1, 2])}),
        (pd.Series([1.5, np.nan]), {"value": (pa.float64(), [1.5, None])}),
        (pd.Series(["a", "b"]), {"value": (FRAME_TEXT, ["a", "b"])}),
        (pl.Series([1, None]), {"value": (pa.int64(), [1, None])}),
        (pa.chunked_array([[1], [2]]), {"value": (pa.int64(), [1, 2])}),
        (pa.table({"a": pa.array(["x"]).dictionary_encode()}), {"a": (pa.string(), ["x"])}),
        (pa.record_batch({"a": pa.array([1], pa.uint8())}), {"a": (pa.uint8(), [1])}),
        (pl.DataFrame({"a": ["x"], "b": [1]}), {"a": (pa.large_string(), ["x"]), "b": (pa.int64(), [1])}),
    ],
    ids=lambda value: type(value).__name__,
)
def test_types_are_kept(tmp_path: Path, result: Any, expected: dict[str, tuple[pa.DataType, list[Any]]]) -> None:
    rows = _rows(_round_trip(tmp_path, [result]), 0)
    assert rows is not None
    assert rows.column_names == list(expected)
    for name, (kind, values) in expected.items():
        assert rows[name].type == kind
        assert [("nan" if value != value else value) for value in rows[name].to_pylist()] == values


def test_columns_of_frames_keep_their_types_and_the_index_is_dropped(tmp_path: Path) -> None:
    frame = pd.DataFrame(
        {
            "i": np.array([1, 2], "i4"),
            "f": np.array([0.5, np.nan], "f4"),
            "b": [True, False],
            "s": ["x", None],
            "t": pd.Series(pd.to_datetime(["2024-05-06", "NaT"]), index=[5, 6]),
            "z": pd.to_datetime(["2024-05-06", "2024-05-07"]).tz_localize("Europe/Paris"),
            "c": pd.Categorical(["u", "v"]),
            "n": pd.array([1, None], dtype="Int64"),
            "o": [[1], [2, 3]],
            7: [1, 2],
        },
        index=[5, 6],
    )
    rows = _rows(_round_trip(tmp_path, [frame]), 0)
    assert rows is not None
    types = {field.name: str(field.type) for field in rows.schema}
    assert types == {
        "i": "int32", "f": "float", "b": "bool", "s": str(FRAME_TEXT), "t": f"timestamp[{FRAME_UNIT}]",
        "z": f"timestamp[{FRAME_UNIT}, tz=Europe/Paris]", "c": str(FRAME_TEXT), "n": "int64", "o": "list<item: int64>",
        "7": "int64",
    }  # fmt: skip
    assert rows["f"].to_pylist() == [0.5, None]
    assert rows["t"].null_count == rows["n"].null_count == rows["s"].null_count == 1
    assert rows["z"][0].as_py() == frame["z"].iloc[0].to_pydatetime()
    assert rows.schema.metadata is None


def test_frames_of_plain_columns_are_joined_to_one_batch(tmp_path: Path) -> None:
    frames = [
        pd.DataFrame({"id": np.arange(10) + i, "x": np.full(10, np.nan if i == 7 else float(i))}) for i in range(50)
    ]
    segment = _round_trip(tmp_path, frames)
    section = segment.section(0)
    assert section.column(0).num_chunks == 1
    assert [rows["id"][0].as_py() for i in range(50) if (rows := _rows(segment, i)) is not None] == list(range(50))
    assert section["x"].null_count == 10


def _spoil_frame(frame: pd.DataFrame) -> None:
    frame.iloc[:, 0] = -1


def _spoil_array(array: npt.NDArray[Any]) -> None:
    array[:] = -1


def _arrow_over(array: npt.NDArray[Any]) -> tuple[pa.Table, Callable[[], None]]:
    return pa.table({"value": array}), lambda: _spoil_array(array)


@pytest.mark.parametrize("kind", ["frame", "mixed frame", "2-d", "strided", "arrow", "list of arrays", "array frame"])
def test_what_the_script_changes_afterwards_does_not_show(tmp_path: Path, kind: str) -> None:
    array = np.arange(3.0)
    table, spoil = _arrow_over(array)
    result: Any = {
        "frame": pd.DataFrame({"value": [0.0, 1.0, 2.0]}),
        "mixed frame": pd.DataFrame({"value": [0.0, 1.0, 2.0], "s": ["a", "b", "c"]}),
        "2-d": np.arange(3.0).reshape(3, 1),
        "strided": np.arange(6.0).reshape(3, 2)[:, ::2] / 2,
        "arrow": table,
        "list of arrays": [array],
        "array frame": pd.DataFrame({"value": array}, copy=False),
    }[kind]
    renderer = Renderer(PARQUET)
    taken = _taken(renderer, [result])
    if isinstance(result, pd.DataFrame):
        _spoil_frame(result)
    elif isinstance(result, np.ndarray):
        _spoil_array(result)
    spoil()
    write_segment(tmp_path / "s", taken, renderer)
    values = Segment.open(tmp_path / "s").section(0).column(0).to_pylist()
    assert values == ([[0.0, 1.0, 2.0]] if kind == "list of arrays" else [0.0, 1.0, 2.0])


def test_kept_columns_come_first_and_lie_beside_their_rows(tmp_path: Path) -> None:
    slab = pa.table({"b": np.arange(100, 106), "a": list("uvwxyz")})
    results = [np.array([1, 2]), pd.DataFrame({"x": [3, 4]}), [5, 6]]
    kept = [(slab, 0, 2), (slab.to_batches()[0], 2, 6)]
    segment = _round_trip(tmp_path, results, _kept_as(PARQUET, "a", "b"), kept)
    found = [rows.to_pydict() for i in range(3) if (rows := _rows(segment, i)) is not None]
    assert found == [
        {"a": ["u", "v"], "b": [100, 101], "value": [1, 2]},
        {"a": ["w", "x"], "b": [102, 103], "x": [3, 4]},
        {"a": ["y", "z"], "b": [104, 105], "value": [5, 6]},
    ]
    assert list(found[0]) == ["a", "b", "value"]


def test_a_frame_whose_index_is_a_permutation_is_joined_by_index(tmp_path: Path) -> None:
    slab = pa.table({"id": [10, 11, 12, 20, 21, 22, 30, 31, 32]})
    shuffled = pd.DataFrame({"x": [0, 1, 2]}).iloc[[2, 0, 1]]
    filtered = pd.DataFrame({"x": [0, 1, 2]}, index=[0, 2, 5])
    results = [np.array([7, 8, 9]), shuffled, filtered]
    segment = _round_trip(tmp_path, results, _kept_as(PARQUET, "id"), [(slab, 0, 9)])
    found = [rows.to_pydict() for i in range(3) if (rows := _rows(segment, i)) is not None]
    assert found == [
        {"id": [10, 11, 12], "value": [7, 8, 9]},
        {"id": [22, 20, 21], "x": [2, 0, 1]},
        {"id": [30, 31, 32], "x": [0, 1, 2]},
    ]


@pytest.mark.parametrize(
    ("output_format", "lines"),
    [
        ("csv", [b'10,1,x y\n11,2,"a,b"\n', b"12,5\n"]),
        ("jsonl", [b'{"id":10,"n":1,"s":"x y"}\n{"id":11,"n":2,"s":"a,b"}\n', b'{"id":12,"value":5}\n']),
    ],
)
def test_lines_can_have_kept_columns_too(tmp_path: Path, output_format: Any, lines: list[bytes]) -> None:
    output = OutputSpec(name="o", target="/data/out", is_folder=True, format=output_format, keep_columns=("id",))
    results = [pd.DataFrame({"n": [1, 2], "s": ["x y", "a,b"]}), [], np.array([5])]
    segment = _round_trip(tmp_path, results, output, [(pa.table({"id": [10, 11, 12]}), 0, 3)])
    text = segment.text()
    found = [bytes(text[e["offset"] : e["offset"] + e["extent"]]) for e in segment.entries]
    assert found == [lines[0], b"", lines[1]]
    if output_format == "csv":
        assert segment.frames == (("id", "n", "s"), ("id", "value"))
        assert segment.entries["section"].tolist() == [0, -1, 1]


def test_an_array_beside_a_kept_column_of_its_name_fails_the_job(tmp_path: Path) -> None:
    with pytest.raises(OutputInvalid, match=r"'value' in mini-batch 1"):
        _round_trip(tmp_path, [[], np.array([1])], _kept_as(PARQUET, "value"), [(pa.table({"value": [1]}), 0, 1)])


@pytest.mark.parametrize("output", [None, TEXT, PARQUET])
def test_a_torn_or_damaged_segment_is_refused(tmp_path: Path, output: OutputSpec | None) -> None:
    _round_trip(tmp_path, [[1, 2], [3]], output)
    whole = (tmp_path / "segment").read_bytes()
    index_offset = int(np.frombuffer(whole[-FOOTER.itemsize :], FOOTER)[0]["index_offset"])
    torn = [whole[:size] for size in (0, 7, HEADER.itemsize, len(whole) // 2, len(whole) - 1)]
    in_index = range(index_offset, len(whole) - FOOTER.itemsize, 5)
    vital = [0, 8, 12, *in_index, *(len(whole) - FOOTER.itemsize + i for i in (0, 8, 12, 16, 24, 32, 40))]
    flipped = [whole[:at] + bytes([whole[at] ^ 0x40]) + whole[at + 1 :] for at in vital]
    for data in (*torn, *flipped):
        (tmp_path / "bad").write_bytes(data)
        with pytest.raises(Defect, match=r"torn|damaged"):
            Segment.open(tmp_path / "bad")


def test_a_segment_outlives_its_name(tmp_path: Path) -> None:
    segment = _round_trip(tmp_path, [np.arange(3)])
    os.unlink(segment.path)
    assert segment.section(0)["value"].to_pylist() == [0, 1, 2]


@pytest.mark.parametrize("output", [None, TEXT, PARQUET])
def test_a_full_disk_is_told_with_the_path(output: OutputSpec | None) -> None:
    renderer = Renderer(output)
    with pytest.raises(StorageFailed, match="/dev/full: the segment cannot be written: No space left on device"):
        write_segment("/dev/full", _taken(renderer, [[1, 2]]), renderer)


def test_a_missing_segment_is_told_with_the_path(tmp_path: Path) -> None:
    with pytest.raises(StorageFailed, match=r"gone.*No such file"):
        Segment.open(tmp_path / "gone")


def test_the_documented_sizes_hold() -> None:
    assert (HEADER.itemsize, FOOTER.itemsize, ENTRY.itemsize) == (64, 64, 96)


def test_an_empty_segment_is_a_segment(tmp_path: Path) -> None:
    for output in (None, TEXT, PARQUET):
        assert len(_round_trip(tmp_path, [], output).entries) == 0
