"""What `run` may return, how it is counted, and what text it becomes."""

from __future__ import annotations

import datetime as dt
import json
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from runner.dataset.files import FileBatch
from runner.dataset.render import IllegalReturn, Renderer
from runner.entity.parallel import OutputFormat, OutputSpec
from runner.errors import OutputInvalid

FORMATS: tuple[OutputFormat, ...] = ("text", "csv", "jsonl", "parquet", "ipc")


def _output(output_format: OutputFormat = "text", **other: Any) -> OutputSpec:
    return OutputSpec(name="scores", target="/data/out", is_folder=True, format=output_format, **other)


def _text(result: object, **other: Any) -> str:
    text, length, rows = Renderer(_output(**other)).finish(result, 0, 3)
    assert length == rows
    assert isinstance(text, bytes)
    return text.decode()


class _Item:
    def __str__(self) -> str:
        return "an item"


def test_each_element_of_a_list_is_one_line_in_the_form_of_str() -> None:
    items = [1, 2.5, "x y", (1, "a"), {"k": None}, None, True, _Item(), np.float32(0.1), np.int64(7)]
    expected = ["1", "2.5", "x y", "(1, 'a')", "{'k': None}", "None", "True", "an item", "0.1", "7"]
    assert _text(items) == "".join(f"{line}\n" for line in expected)
    assert _text(tuple(items)) == _text(items)


def test_line_breaks_inside_an_element_stay() -> None:
    assert _text(["a\nb", "c"]) == "a\nb\nc\n"


def test_a_name_that_is_no_utf8_is_written_as_the_bytes_it_was() -> None:
    assert Renderer(_output()).finish(["caf\udce9.jpg"], 0, 1)[0] == b"caf\xe9.jpg\n"


def test_an_array_as_an_element_is_written_in_full() -> None:
    long = np.arange(3000)
    full = np.array2string(long, threshold=sys.maxsize)
    assert _text([long]) == f"{full}\n"
    assert "..." not in _text([("nested", long)])
    assert _text([np.arange(3)]) == "[0 1 2]\n"


def test_the_script_keeps_its_own_print_options() -> None:
    before = np.get_printoptions()
    _text([np.arange(3)])
    assert np.get_printoptions() == before


@pytest.mark.parametrize(
    ("array", "lines"),
    [
        (np.array([1, 2]), ["1", "2"]),
        (np.array([0.1, 1e16, np.nan]), ["0.1", "1e+16", "nan"]),
        (np.array([0.1, 1 / 3], np.float32), ["0.1", "0.33333334"]),
        (np.array([True, False]), ["True", "False"]),
        (np.array(["a b", "c"]), ["a b", "c"]),
        (np.array(["2024-05-06"], "M8[D]"), ["2024-05-06"]),
        (np.array([1, None, "x"], object), ["1", "None", "x"]),
        (np.arange(8).reshape(2, 2, 2), ["[[0 1]\n [2 3]]", "[[4 5]\n [6 7]]"]),
    ],
)
def test_one_dimensional_arrays_are_one_element_a_line(array: np.ndarray[Any, Any], lines: list[str]) -> None:
    assert _text(array) == "".join(f"{line}\n" for line in lines)
    assert _text(array) == _text(list(array))


def test_series_are_one_element_a_line() -> None:
    assert _text(pd.Series([0.1, 0.2], dtype="float32")) == "0.1\n0.2\n"
    assert _text(pd.Series(["a b", "c"])) == "a b\nc\n"
    assert _text(pd.Series(pd.to_datetime(["2024-05-06 01:02:03"]))) == "2024-05-06 01:02:03\n"
    assert _text(pl.Series([1, 2])) == "1\n2\n"
    assert _text(pa.array([1, None])) == "1\nNone\n"


def test_frames_are_rows_with_spaces_and_quotes_where_needed() -> None:
    assert _text(pd.DataFrame({"a": [1, 2], "b": ["x y", "z"], "c": [3, 4]}, index=[9, 8])) == '1 "x y" 3\n2 z 4\n'


@pytest.mark.parametrize(
    "table",
    [
        np.array([[1, 2], [3, 4]]),
        np.array([(1, 2), (3, 4)], [("a", "i8"), ("b", "i4")]),
        pa.table({"a": [1, 3], "b": [2, 4]}),
        pa.record_batch({"a": [1, 3], "b": [2, 4]}),
        pl.DataFrame({"a": [1, 3], "b": [2, 4]}),
    ],
    ids=lambda table: type(table).__name__,
)
def test_tables_of_every_kind_are_written_as_frames(table: Any) -> None:
    assert _text(table) == "1 2\n3 4\n"


def test_integers_with_nulls_stay_integers() -> None:
    assert _text(pa.table({"a": [1, None], "b": [2, 3]})) == "1 2\n 3\n"


def test_settings_of_the_script_shape_the_rows() -> None:
    frame = pd.DataFrame({"a": [1, 2], "b": [0.5, None]})
    assert _text(frame, to_csv={"sep": ",", "index": True, "na_rep": "NA"}) == "0,1,0.5\n1,2,NA\n"


@pytest.mark.parametrize("output_format", FORMATS)
@pytest.mark.parametrize(
    ("result", "said"),
    [
        (None, "None"),
        ("text", "str"),
        (b"bytes", "bytes"),
        ({"a": 1}, "dict"),
        (7, "int"),
        ({1, 2}, "set"),
        (np.float64(1), "numpy.float64"),
        (np.array(1), "an array"),
        (_Item(), f"{__name__}._Item"),
    ],
)
def test_what_is_not_legal_is_named_by_its_type(output_format: OutputFormat, result: object, said: str) -> None:
    with pytest.raises(IllegalReturn) as caught:
        Renderer(_output(output_format)).finish(result, 0, 1)
    assert f"run() returned {said}" in str(caught.value)
    assert isinstance(caught.value, TypeError)


def test_counting_only_refuses_the_same_and_counts_the_rest() -> None:
    counter = Renderer(None)
    assert counter.mode == "count"
    assert counter.finish(pd.DataFrame({"a": [1, 2]}), 0, 3) == (None, 2, 0)
    assert counter.finish(iter([1, 2, 3]), 0, 3) == (None, 3, 0)
    with pytest.raises(IllegalReturn, match="None"):
        counter.finish(None, 0, 3)


@pytest.mark.parametrize("output_format", FORMATS)
@pytest.mark.parametrize(
    "empty",
    [[], (), np.empty(0), pd.DataFrame(), pd.Series(dtype=float), pa.table({"a": []}), pl.DataFrame()],
    ids=lambda empty: type(empty).__name__,
)
def test_an_empty_return_is_legal_and_writes_nothing(output_format: OutputFormat, empty: Any) -> None:
    output, length, rows = Renderer(_output(output_format)).finish(empty, 0, 3)
    assert (length, rows) == (0, 0)
    assert not output


def test_generators_and_other_sequences_are_materialised() -> None:
    def scores() -> Iterator[int]:
        yield from (1, 2)

    assert _text(scores()) == "1\n2\n"
    assert _text(map(str, [1, 2])) == "1\n2\n"
    assert _text(range(2)) == "0\n1\n"
    assert _text(FileBatch(["a.jpg"])) == "a.jpg\n"


def test_what_a_generator_raises_is_the_scripts_own() -> None:
    def broken() -> Iterator[int]:
        yield 1
        raise LookupError("no model")

    with pytest.raises(LookupError, match="no model"):
        Renderer(_output()).finish(broken(), 0, 1)


def test_lengths_are_those_of_the_return_not_of_the_batch() -> None:
    for result in ([1, 2, 3, 4], np.zeros((4, 7)), pd.DataFrame({"a": range(4)}), pa.table({"a": range(4)})):
        assert Renderer(_output()).finish(result, 0, 3)[1:] == (4, 4)


def test_csv_takes_lists_dicts_frames_and_arrays() -> None:
    assert _text([1, "a,b", None, 'say "x"'], output_format="csv") == '1\n"a,b"\n""\n"say ""x"""\n'
    assert _text([{"a": 1, "b": "x"}, {"b": "y", "c": 2}], output_format="csv") == "1,x,\n,y,2\n"
    assert _text(pd.DataFrame({"a": [1], "b": ["x,y"]}), output_format="csv") == '1,"x,y"\n'
    assert _text(np.array([[1, 2]]), output_format="csv") == "1,2\n"
    assert _text(np.array([1.5, 2.5]), output_format="csv") == "1.5\n2.5\n"


def test_settings_for_text_do_not_touch_csv() -> None:
    assert _text(pd.DataFrame({"a": [1], "b": [2]}), output_format="csv", to_csv={"sep": ";", "index": True}) == "1,2\n"


def test_json_lines_hold_values_dicts_and_rows() -> None:
    def lines(result: object) -> list[Any]:
        return [json.loads(line) for line in _text(result, output_format="jsonl").splitlines()]

    assert lines([1, "x", None, float("nan"), [1, 2]]) == [
        {"value": 1}, {"value": "x"}, {"value": None}, {"value": None}, {"value": [1, 2]},
    ]  # fmt: skip
    assert lines([{"a": 1, "deep": {"b": [True]}}]) == [{"a": 1, "deep": {"b": [True]}}]
    assert lines([np.float32(0.5), np.arange(2), dt.date(2024, 5, 6)]) == [
        {"value": 0.5}, {"value": [0, 1]}, {"value": "2024-05-06"},
    ]  # fmt: skip
    assert lines(pd.DataFrame({"a": [1, 2], "b": ["x", None]})) == [{"a": 1, "b": "x"}, {"a": 2, "b": None}]
    assert lines(pd.DataFrame({"mixed": [1, "x"]})) == [{"mixed": 1}, {"mixed": "x"}]
    assert lines(pa.table({"a": [1, None]})) == [{"a": 1}, {"a": None}]
    assert lines(np.array([[1, 2]])) == [{"0": 1, "1": 2}]
    assert lines(np.array([1, 2])) == [{"value": 1}, {"value": 2}]


def test_json_refuses_what_it_cannot_hold() -> None:
    with pytest.raises(IllegalReturn, match="_Item"):
        Renderer(_output("jsonl")).finish([_Item()], 0, 1)


def test_columns_are_remembered_only_where_a_header_needs_them() -> None:
    frame = pd.DataFrame({"a": [1], "b": [2]})
    plain, headed, csv = Renderer(_output()), Renderer(_output(frame_header=True)), Renderer(_output("csv"))
    for renderer in (plain, headed, csv):
        renderer.finish(frame, 5, 1)
    headed.finish([1], 6, 1)
    csv.finish([1], 6, 1)
    assert plain.frames == {}
    assert headed.frames == {5: ("a", "b")}
    assert csv.frames == {5: ("a", "b"), 6: ("value",)}


def test_header_names_follow_the_settings_of_the_script() -> None:
    frame = pd.DataFrame({"a": [1], "b c": [2]}, index=pd.Index([7], name="id"))

    def cells(frame: pd.DataFrame, **to_csv: object) -> tuple[str, ...]:
        renderer = Renderer(_output(frame_header=True, to_csv=to_csv))
        renderer.finish(frame, 0, 1)
        return renderer.frames[0]

    assert cells(frame) == ("a", "b c")
    assert cells(frame, index=True) == ("id", "a", "b c")
    assert cells(frame.reset_index(drop=True), index=True, sep=",") == ("", "a", "b c")
    assert cells(frame, columns=["b c"]) == ("b c",)
    assert cells(pd.DataFrame([[1, 2]])) == ("0", "1")
    assert cells(pd.DataFrame([[1, 2]], columns=pd.MultiIndex.from_tuples([("a", "x"), ("a", "y")]))) == (
        "('a', 'x')",
        "('a', 'y')",
    )


def test_the_names_of_the_last_frame_are_not_taken_for_those_of_another() -> None:
    renderer = Renderer(_output(frame_header=True, to_csv={"index": True}))
    frames = [
        pd.DataFrame({"a": [1]}),
        pd.DataFrame({"b": [1]}),
        pd.DataFrame({"b": [1]}, index=pd.Index([0], name="id")),
        pd.DataFrame({"b": [1]}),
    ]
    for number, frame in enumerate(frames):
        renderer.finish(frame, number, 1)
    assert list(renderer.frames.values()) == [("", "a"), ("", "b"), ("id", "b"), ("", "b")]


@pytest.mark.parametrize("output_format", ["parquet", "ipc"])
@pytest.mark.parametrize(
    ("result", "said"),
    [
        ([1, "x"], "typed columns"),
        ([("a", 1.0)], "typed columns"),
        ([_Item()], "typed columns"),
        (pd.DataFrame({"a": [1, "x"]}), "typed columns"),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), "two columns named 'a'"),
        (pa.Table.from_arrays([pa.array([1]), pa.array([1])], ["a", "a"]), "two columns named 'a'"),
        (pd.DataFrame([[1, 2]], columns=[1, "1"]), "two columns named '1'"),
        (pd.DataFrame(index=range(3)), "without columns"),
        ([{}, {}], "without columns"),
        (np.array([1j]), "typed columns"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_has_no_typed_columns_is_refused(output_format: OutputFormat, result: Any, said: str) -> None:
    with pytest.raises(IllegalReturn, match=said):
        Renderer(_output(output_format)).finish(result, 0, len(result))


def test_a_type_that_only_arrow_has_is_refused_for_parquet() -> None:
    result: list[dict[str, object]] = [{"a": {}}]
    with pytest.raises(IllegalReturn, match="Parquet cannot hold"):
        Renderer(_output("parquet")).finish(result, 0, 1)
    assert Renderer(_output("ipc")).finish(result, 0, 1)[1:] == (1, 1)


def test_a_kept_column_that_is_also_returned_fails_the_job() -> None:
    renderer = Renderer(_output("parquet", keep_columns=("id",)))
    for result in (pd.DataFrame({"id": [1]}), pa.table({"id": [1]}), [{"id": 1}]):
        with pytest.raises(OutputInvalid, match=r"'id' in mini-batch 4.*keep_columns"):
            renderer.finish(result, 4, 1)


def test_lines_with_kept_columns_are_collected_as_rows() -> None:
    assert Renderer(_output("csv", keep_columns=("id",))).mode == "rows"
    assert Renderer(_output("csv")).mode == "text"
    assert Renderer(_output("parquet")).mode == "rows"
