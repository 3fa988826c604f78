"""Outputs in folders `name=value`: which rows, in which order, under which names."""

from __future__ import annotations

import datetime
import json
import os
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from runner.dataset import partition
from runner.dataset.listing import list_table
from runner.dataset.parts import assemble
from runner.dataset.path_columns import path_columns
from runner.dataset.publish import MANIFEST, prepare_staging, publish, remove_staging
from runner.dataset.render import Renderer
from runner.dataset.returns import IllegalReturn
from runner.dataset.spool import RECORD, write_segment
from runner.entity.lease import Part
from runner.entity.parallel import OutputSpec
from runner.errors import OutputInvalid, TargetExists


class _Taken(NamedTuple):
    records: npt.NDArray[np.void]
    outputs: list[Any]
    kept: list[tuple[Any, int, int]]


def _output(tmp_path: Path, by: str | Sequence[str] = "k", **other: Any) -> OutputSpec:
    by = (by,) if isinstance(by, str) else tuple(by)
    given = {"format": "parquet", "partition_by": by, **other}
    return OutputSpec(name="scores", target=str(tmp_path / "results"), is_folder=True, **given)


def _part(staging: Path, output: OutputSpec, first: int, results: Sequence[Any]) -> Part:
    """The part of mini-batches `first` and following, through a segment as the worker writes it."""
    renderer = Renderer(output)
    records = np.zeros(len(results), RECORD)
    records["mini_batch"] = np.arange(first, first + len(results))
    outputs = []
    for record, result in zip(records, results, strict=True):
        rows, record["length"], record["row_count"] = renderer.finish(result, int(record["mini_batch"]), len(result))
        outputs.append(("object", rows, int(record["row_count"])))
    segment = staging / "segment"
    write_segment(segment, _Taken(records, outputs, []), renderer)
    part = assemble({1: segment}, first, np.ones(len(results), int), output, staging / f"lease-{first}").part
    segment.unlink()
    assert part is not None
    return part


def _staged(output: OutputSpec, *leases: Sequence[Any]) -> tuple[Path, list[Part]]:
    staging = prepare_staging(output, "job")
    parts, first = [], 0
    for results in leases:
        parts.append(_part(staging, output, first, results))
        first += len(results)
    return staging, parts


def _published(output: OutputSpec, *leases: Sequence[Any]) -> Path:
    staging, parts = _staged(output, *leases)
    publish(output, staging, parts, "job")
    remove_staging(staging)
    return Path(output.target)


def _names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def _rows(folder: Path, name: str) -> list[Any]:
    return [
        x for path in sorted((folder / name).iterdir()) for x in pq.read_table(path, partitioning=None)["x"].to_pylist()
    ]


def _frames(seed: int, batches: int, rows: int = 50) -> list[pd.DataFrame]:
    rng = np.random.default_rng(seed)
    at = rng.integers(0, 7, (batches, rows))
    return [pd.DataFrame({"k": at[n], "x": np.arange(rows) + n * rows}) for n in range(batches)]


@pytest.mark.parametrize("block_bytes", [1, 3_000, 64 << 20])
def test_rows_of_a_folder_are_in_mini_batch_order_whatever_the_blocks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block_bytes: int
) -> None:
    monkeypatch.setattr(partition, "BLOCK_BYTES", block_bytes)
    frames = _frames(0, 12)
    folder = _published(_output(tmp_path), frames[:5], frames[5:6], frames[6:])
    every = pd.concat(frames)
    assert _names(folder) == sorted([MANIFEST, *(f"k={k}/part-00000.parquet" for k in range(7))])
    for k in range(7):
        assert _rows(folder, f"k={k}") == every.loc[every["k"] == k, "x"].tolist()
    assert pq.read_schema(folder / "k=0" / "part-00000.parquet").names == ["x"]


def test_the_manifest_lists_paths_below_folders_and_reads_them_back(tmp_path: Path) -> None:
    frames = _frames(1, 4)
    folder = _published(_output(tmp_path, part_size_bytes=200), frames)
    listed = json.loads((folder / MANIFEST).read_bytes())["parts"]
    assert [part["file"] for part in listed] == [name for name in _names(folder) if name != MANIFEST]
    assert sum(part["rows"] for part in listed) == 200
    assert [os.path.relpath(file.path, folder) for file in list_table(str(folder))] == [p["file"] for p in listed]
    assert any("part-00001" in part["file"] for part in listed)


NAMED: list[tuple[Any, str]] = [
    (pa.array(["a b", "ü/~", "", None, "__HIVE_DEFAULT_PARTITION__", "A-z_0.9", "50%"]), ""),
    (pa.array([True, False, None]), ""),
    (pa.array([-5, None, 2**62]), ""),
    (pa.array([Decimal("1.50"), None]), ""),
    (pa.array([datetime.date(2026, 3, 4)]), "2026-03-04"),
    (pa.array([b"\xff\x00a"]), "%FF%00a"),
    (pa.array(["u", "v", "u"]).dictionary_encode(), ""),
    (pa.array([datetime.datetime(2026, 3, 4, 5, 6, 7, tzinfo=datetime.UTC)], pa.timestamp("s", "Europe/Paris")), ""),
]


@pytest.mark.parametrize("values", [values for values, _ in NAMED], ids=lambda values: str(values.type))
def test_every_value_has_a_folder_of_its_own_that_reads_back_as_text(tmp_path: Path, values: pa.Array) -> None:
    table = pa.table({"k": values, "x": range(len(values))})
    folder = _published(_output(tmp_path), [table])
    found = {}
    for path in folder.glob("*/*.parquet"):
        assert all(c.isascii() and (c.isalnum() or c in "-_.%=") for c in path.parent.name)
        (value,) = path_columns(str(folder), str(path)).values()
        for x in pq.read_table(path, partitioning=None)["x"].to_pylist():
            found[x] = value
    plain = values.cast(values.type.value_type) if pa.types.is_dictionary(values.type) else values
    if not pa.types.is_binary(plain.type) and not pa.types.is_timestamp(plain.type):
        assert found == dict(enumerate(plain.cast(pa.string()).to_pylist()))
    assert len(found) == len(values)


def test_names_are_percent_encoded_but_for_letters_digits_and_three_signs(tmp_path: Path) -> None:
    table = pa.table({"a b": ["x/y", None, "ü~", "__HIVE_DEFAULT_PARTITION__"], "x": range(4)})
    folder = _published(_output(tmp_path, "a b"), [table])
    assert sorted(os.listdir(folder)) == sorted(
        [
            MANIFEST,
            "a%20b=%5F_HIVE_DEFAULT_PARTITION__",
            "a%20b=%C3%BC%7E",
            "a%20b=__HIVE_DEFAULT_PARTITION__",
            "a%20b=x%2Fy",
        ]
    )


def test_several_columns_make_folders_in_folders(tmp_path: Path) -> None:
    table = pa.table({"x": range(6), "b": list("uvuvuv"), "a": [1, 1, 2, 2, 1, 1]})
    folder = _published(_output(tmp_path, ["a", "b"]), [table])
    assert [name for name in _names(folder) if name != MANIFEST] == [
        f"a={a}/b={b}/part-00000.parquet" for a in (1, 2) for b in "uv"
    ]
    assert _rows(folder, "a=1/b=u") == [0, 4] and _rows(folder, "a=2/b=v") == [3]


@pytest.mark.parametrize("output_format", ["csv", "jsonl"])
def test_lines_are_the_same_bytes_whatever_parts_and_blocks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, output_format: str
) -> None:
    rng = np.random.default_rng(3)
    frames = [
        pd.DataFrame(
            {
                "k": rng.integers(0, 3, 40),
                "t": [f'a"{n},\n{i}' * int(rng.integers(0, 4)) for i in range(40)],
                "when": pd.Timestamp("2026-01-01") + pd.to_timedelta(rng.integers(0, 2, 40), unit="h"),
                "f": rng.random(40),
            }
        )
        for n in range(8)
    ]
    seen = []
    for number, (block_bytes, cuts) in enumerate([(64 << 20, [8]), (500, [1, 3, 8]), (4_000, [2, 4, 6, 8])]):
        monkeypatch.setattr(partition, "BLOCK_BYTES", block_bytes)
        leases = [frames[a:b] for a, b in zip([0, *cuts], cuts, strict=False)]
        output = _output(tmp_path / str(number), format=output_format, part_size_bytes=700)
        folder = _published(output, *leases)
        seen.append({name: (folder / name).read_bytes() for name in _names(folder)})
    assert seen[0] == seen[1] == seen[2]
    sizes = [len(data) for name, data in seen[0].items() if "part-00000" in name]
    assert all(700 <= size < 900 for size in sizes)
    if output_format == "csv":
        parts = [pd.read_csv(path) for path in sorted((folder / "k=1").iterdir())]
        expected = pd.concat(frames).query("k == 1")["f"].tolist()
        assert pd.concat(parts)["f"].tolist() == pytest.approx(expected)
        assert list(parts[-1].columns) == ["t", "when", "f"]


def test_an_ipc_output_can_be_compressed(tmp_path: Path) -> None:
    folder = _published(_output(tmp_path, format="ipc", compression="zstd"), _frames(2, 2))
    file = folder / "k=3" / "part-00000.arrow"
    assert pa.ipc.open_file(file.read_bytes()).read_all().column_names == ["x"]


@pytest.mark.parametrize(
    ("column", "said"),
    [([0.5, 1.0], "'k', a column of double"), ([[1], [2]], "'k', a column of list"), ([{"a": 1}] * 2, "struct")],
)
def test_floats_and_nested_values_are_refused(tmp_path: Path, column: list[Any], said: str) -> None:
    with pytest.raises(OutputInvalid, match=said):
        _published(_output(tmp_path), [pa.table({"k": column, "x": [1, 2]})])
    assert os.listdir(tmp_path / "results") == []


def test_too_many_folders_fail_with_the_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(partition, "MOST_FOLDERS", 9)
    with pytest.raises(OutputInvalid, match=r"makes 30 folders, and 9 is the most"):
        _published(_output(tmp_path), [pa.table({"k": range(30), "x": range(30)})])


def test_rows_need_the_columns_and_one_more(tmp_path: Path) -> None:
    with pytest.raises(IllegalReturn, match="needs 'k'; return it too"):
        _published(_output(tmp_path), [pd.DataFrame({"x": [1]})])
    with pytest.raises(OutputInvalid, match="takes every column"):
        _published(_output(tmp_path), [pd.DataFrame({"k": [1]})])


def test_a_long_value_is_told_before_anything_is_published(tmp_path: Path) -> None:
    with pytest.raises(OutputInvalid, match="255 is the most"):
        _published(_output(tmp_path), [pa.table({"k": ["ü" * 50], "x": [1]})])


def test_publishing_goes_on_where_it_was_cut_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    frames = _frames(4, 6)
    whole = _published(_output(tmp_path / "whole"), frames)
    expected = {name: (whole / name).read_bytes() for name in _names(whole)}
    output = _output(tmp_path / "cut")
    staging, parts = _staged(output, frames)
    from runner.dataset import publish as module

    real, left = module._move, [0]
    monkeypatch.setattr(module, "_move", lambda *args: left.__setitem__(0, left[0] - 1) or _die(left) or real(*args))
    for moves in (0, 1, 3, 100):
        left[0] = moves
        try:
            publish(output, staging, parts, "job")
        except _Cut:
            assert not (Path(output.target) / MANIFEST).exists()
    assert {name: (Path(output.target) / name).read_bytes() for name in _names(Path(output.target))} == expected
    assert not list(staging.glob("sorted-*"))


class _Cut(Exception):
    pass


def _die(left: list[int]) -> None:
    if left[0] < 0:
        raise _Cut


def test_overwriting_leaves_neither_old_files_nor_empty_folders(tmp_path: Path) -> None:
    output = _output(tmp_path, overwrite=True)
    _published(output, [pa.table({"k": ["old", "both"], "x": [1, 2]})])
    (tmp_path / "results" / "k=old" / "mine.txt").write_text("stays")
    folder = _published(output, [pa.table({"k": ["new", "both"], "x": [3, 4]})])
    assert _names(folder) == [MANIFEST, "k=both/part-00000.parquet", "k=new/part-00000.parquet", "k=old/mine.txt"]
    (folder / "k=old" / "mine.txt").unlink()
    (folder / "k=old").rmdir()
    _published(output, [pa.table({"k": ["new"], "x": [3]})])
    assert sorted(os.listdir(folder)) == [MANIFEST, "k=new"]


def test_a_file_that_has_appeared_in_a_folder_is_not_replaced(tmp_path: Path) -> None:
    output = _output(tmp_path)
    staging, parts = _staged(output, [pa.table({"k": [1], "x": [1]})])
    mine = Path(output.target) / "k=1" / "part-00000.parquet"
    mine.parent.mkdir()
    mine.write_text("mine")
    with pytest.raises(TargetExists):
        publish(output, staging, parts, "job")
    assert mine.read_text() == "mine"
