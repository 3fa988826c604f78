"""Publication: the final files, their names, what is refused, and what the user keeps."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from runner.dataset.parts import assemble
from runner.dataset.publish import check_target, prepare_staging, publish, remove_staging
from runner.dataset.render import Renderer
from runner.dataset.spool import RECORD, write_segment
from runner.dataset.staging import check_staging
from runner.entity.lease import Part
from runner.entity.parallel import OutputSpec
from runner.errors import NothingSucceeded, OutputInvalid, StorageFailed, TargetExists


class _Taken(NamedTuple):
    records: npt.NDArray[np.void]
    outputs: list[Any]
    kept: list[tuple[Any, int, int]]


def _file(tmp_path: Path, **other: Any) -> OutputSpec:
    return OutputSpec(name="scores", target=str(tmp_path / "results" / "scores.txt"), is_folder=False, **other)


def _folder(tmp_path: Path, **other: Any) -> OutputSpec:
    return OutputSpec(name="scores", target=str(tmp_path / "results"), is_folder=True, **other)


def _part(staging: Path, output: OutputSpec, first: int, results: Sequence[Any], name: str = "") -> Part:
    """The part of mini-batches `first` and following, through a segment as the worker writes it."""
    renderer = Renderer(output)
    records = np.zeros(len(results), RECORD)
    records["mini_batch"] = np.arange(first, first + len(results))
    outputs = []
    for record, result in zip(records, results, strict=True):
        text, record["length"], record["row_count"] = renderer.finish(result, int(record["mini_batch"]), len(result))
        outputs.append(text if renderer.mode == "text" else ("object", text, int(record["row_count"])))
    segment = staging / "segment"
    write_segment(segment, _Taken(records, outputs, []), renderer)
    part = assemble({1: segment}, first, np.ones(len(results), int), output, staging / (name or f"lease-{first}")).part
    segment.unlink()
    assert part is not None
    return part


def _published(output: OutputSpec, *leases: Sequence[Any]) -> Path:
    staging = prepare_staging(output, "job")
    parts, first = [], 0
    for results in leases:
        parts.append(_part(staging, output, first, results))
        first += len(results)
    publish(output, staging, parts, "job")
    remove_staging(staging)
    return Path(output.target)


def _manifest(folder: Path) -> list[dict[str, Any]]:
    manifest = json.loads((folder / "_manifest.json").read_bytes())
    assert manifest["version"] == 1
    parts: list[dict[str, Any]] = manifest["parts"]
    for part in parts:
        data = (folder / part["file"]).read_bytes()
        assert (part["bytes"], part["sha256"]) == (len(data), hashlib.sha256(data).hexdigest())
    return parts


@pytest.mark.parametrize("lease_count", [1, 3])
def test_a_text_file_holds_all_parts_in_order(tmp_path: Path, lease_count: int) -> None:
    leases = [[[f"{n}"], [f"{n}.5"]] for n in range(lease_count)]
    target = _published(_file(tmp_path), *leases)
    assert target.read_text() == "".join(f"{n}\n{n}.5\n" for n in range(lease_count))
    assert os.listdir(target.parent) == ["scores.txt"]


def test_a_text_folder_gets_one_file_and_no_manifest(tmp_path: Path) -> None:
    target = _published(_folder(tmp_path, file_name="out.txt"), [["a"]], [["b"]])
    assert os.listdir(target) == ["out.txt"]
    assert (target / "out.txt").read_text() == "a\nb\n"


def test_the_header_is_the_first_line_of_the_output(tmp_path: Path) -> None:
    frame = pd.DataFrame({"a": [1], "b c": [2.5]})
    output = _file(tmp_path, frame_header=True, to_csv={"sep": ",", "index": True, "float_format": "%.3f"})
    target = _published(output, [["a list first"]], [frame], [frame])
    assert target.read_text() == ",a,b c\na list first\n0,1,2.500\n0,1,2.500\n"
    plain = _published(_file(tmp_path / "2", frame_header=True), [frame])
    assert plain.read_text() == 'a "b c"\n1 2.5\n'


@pytest.mark.parametrize("other", [{"frame_header": True}, {"format": "csv"}])
def test_parts_with_other_columns_fail_below_one_header(tmp_path: Path, other: Any) -> None:
    leases = [[pd.DataFrame({"a": [1]})], [pd.DataFrame({"a": [2]})], [pd.DataFrame({"b": [3]})]]
    with pytest.raises(OutputInvalid, match="mini-batch 0 returned the columns a and mini-batch 2 the columns b"):
        _published(_folder(tmp_path, **other), *leases)
    assert os.listdir(tmp_path / "results") == []


def test_small_parts_are_joined_and_large_ones_only_renamed(tmp_path: Path) -> None:
    output = _folder(tmp_path, format="parquet", part_size_bytes=100_000)
    rng = np.random.default_rng(0)
    sizes = [20, 20, 20, 5000, 20, 3000, 20, 20]
    leases = [[pd.DataFrame({"x": rng.random(size)})] for size in sizes]
    staging = prepare_staging(output, "job")
    parts = [_part(staging, output, n, lease) for n, lease in enumerate(leases)]
    inodes = {(staging / part.file).stat().st_ino: n for n, part in enumerate(parts)}
    publish(output, staging, parts, "job")
    folder = Path(output.target)
    names = sorted(os.listdir(folder))
    assert names == ["_manifest.json", *(f"part-{n:05d}.parquet" for n in range(5))]
    assert [part["rows"] for part in _manifest(folder)] == [60, 5000, 20, 3000, 40]
    renamed = {name: inodes.get((folder / name).stat().st_ino) for name in names[1:]}
    assert list(renamed.values()) == [None, 3, 4, 5, None]
    expected = np.concatenate([lease[0]["x"] for lease in leases])
    found = np.concatenate([pq.read_table(folder / name)["x"].to_numpy() for name in names[1:]])
    assert np.array_equal(found, expected)


@pytest.mark.parametrize("output_format", ["parquet", "ipc"])
def test_parts_of_another_schema_are_recast(tmp_path: Path, output_format: Any) -> None:
    output = _folder(tmp_path, format=output_format, part_size_bytes=1)
    leases: list[list[Any]] = [[pd.DataFrame({"a": [1]})], [pd.DataFrame({"b": ["x"], "a": [0.5]})], [[7]]]
    folder = _published(output, *leases)
    names = [part["file"] for part in _manifest(folder)]
    read = pq.read_table if output_format == "parquet" else lambda path: pa.ipc.open_file(path.read_bytes()).read_all()
    tables = [read(folder / name) for name in names]
    assert len({table.schema for table in tables}) == 1
    assert pa.concat_tables(tables).to_pydict() == {
        "a": [1.0, 0.5, None], "b": [None, "x", None], "value": [None, None, 7],
    }  # fmt: skip


def test_parts_whose_types_do_not_fit_name_two_mini_batches(tmp_path: Path) -> None:
    with pytest.raises(OutputInvalid, match=r"'a' is int64 in mini-batch 1 and (large_)?string in mini-batch 4"):
        _published(
            _folder(tmp_path, format="parquet"),
            [[], pd.DataFrame({"a": [1]})],
            [pd.DataFrame({"b": [1]}), pd.DataFrame({"b": [1]}), pd.DataFrame({"a": ["x"]})],
        )


@pytest.mark.parametrize("output_format", ["parquet", "ipc"])
def test_a_single_target_is_one_table(tmp_path: Path, output_format: Any) -> None:
    target = _published(_file(tmp_path, format=output_format, part_size_bytes=1), [[1, 2]], [[3]], [[4.5]])
    table = pq.read_table(target) if output_format == "parquet" else pa.ipc.open_file(target.read_bytes()).read_all()
    assert table["value"].to_pylist() == [1.0, 2.0, 3.0, 4.5]
    assert os.listdir(target.parent) == [target.name]


@pytest.mark.parametrize("output_format", ["csv", "jsonl"])
def test_files_of_lines_end_at_the_same_mini_batches_whatever_the_leases(tmp_path: Path, output_format: Any) -> None:
    results = [[n * 1000 + i for i in range(n % 4)] for n in range(40)]
    found = []
    for cut in ([0, 40], [0, 1, 2, 17, 33, 40], [0, 5, 39, 40]):
        output = _folder(tmp_path / f"{len(cut)}", format=output_format, part_size_bytes=40)
        leases = [results[a:b] for a, b in pairwise(cut)]
        folder = _published(output, *[lease for lease in leases if any(lease)])
        parts = _manifest(folder)
        found.append([(part["file"], part["rows"], (folder / part["file"]).read_text()) for part in parts])
    # Leases without any row have no part, which must not move a border either.
    assert found[0] == found[1] == found[2]
    assert len(found[0]) > 5
    header = "value\n" if output_format == "csv" else ""
    sizes = [len(text) - len(header) for _, _, text in found[0]]
    assert all(text.startswith(header) for _, _, text in found[0])
    assert all(40 <= size < 40 + 3 * 20 for size in sizes[:-1])
    assert sum(rows for _, rows, _ in found[0]) == sum(map(len, results))
    lines = "".join(text.removeprefix(header) for _, _, text in found[0]).splitlines()
    expected = [value for result in results for value in result]
    assert [json.loads(line) if output_format == "csv" else json.loads(line)["value"] for line in lines] == expected


def test_lines_can_be_compressed(tmp_path: Path) -> None:
    leases = [[["a"]], [["b"], ["c"]]]
    text = _published(_file(tmp_path, compression="gzip"), *leases)
    assert gzip.decompress(text.read_bytes()) == b"a\nb\nc\n"
    folder = _published(_folder(tmp_path / "2", format="csv", compression="gzip", part_size_bytes=4), *leases)
    assert [part["file"] for part in _manifest(folder)] == ["part-00000.csv.gz", "part-00001.csv.gz"]
    assert gzip.decompress((folder / "part-00000.csv.gz").read_bytes()) == b"value\na\nb\n"
    packed = _published(_folder(tmp_path / "3", format="jsonl", compression="zstd"), *leases)
    stream = pa.CompressedInputStream(pa.OSFile(str(packed / "part-00000.jsonl.zst")), "zstd")
    assert stream.read().count(b"\n") == 3


def test_publishing_again_changes_nothing(tmp_path: Path) -> None:
    for n, output in enumerate(
        [_file(tmp_path / "0"), _folder(tmp_path / "1", format="parquet"), _folder(tmp_path / "2", overwrite=True)]
    ):
        staging = prepare_staging(output, "job")
        parts = [_part(staging, output, 0, [[n]]), _part(staging, output, 1, [[n + 1]])]
        publish(output, staging, parts, "job")
        before = _tree(Path(output.target).parent)
        publish(output, staging, parts, "job")
        assert _tree(Path(output.target).parent) == before


def _tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_nothing_is_visible_before_publication(tmp_path: Path) -> None:
    for output in (_file(tmp_path / "file"), _folder(tmp_path / "folder", format="parquet")):
        staging = prepare_staging(output, "job")
        _part(staging, output, 0, [[1]])
        target = Path(output.target)
        assert not target.exists() or os.listdir(target) == []
        assert staging.parent == target.parent
        assert staging.name == f".{target.name}.job.staging"


@pytest.mark.parametrize("is_folder", [False, True])
def test_an_existing_target_is_refused(tmp_path: Path, is_folder: bool) -> None:
    output = _folder(tmp_path) if is_folder else _file(tmp_path)
    check_target(output)
    target = Path(output.target)
    target.parent.mkdir(exist_ok=True)
    if is_folder:
        target.mkdir()
        check_target(output)  # an empty folder is none
        (target / "old").write_text("")
    else:
        target.write_text("")
    with pytest.raises(TargetExists, match=f"{target} exists already.*--overwrite"):
        check_target(output)
    check_target(_folder(tmp_path, overwrite=True) if is_folder else _file(tmp_path, overwrite=True))


def test_a_target_of_the_wrong_kind_is_refused_even_with_overwrite(tmp_path: Path) -> None:
    output = _file(tmp_path, overwrite=True)
    Path(output.target).mkdir(parents=True)
    with pytest.raises(TargetExists):
        check_target(output)
    (tmp_path / "results" / "other").write_text("")
    wrong = OutputSpec(name="o", target=str(tmp_path / "results" / "other"), is_folder=True, overwrite=True)
    with pytest.raises(TargetExists):
        check_target(wrong)


def test_a_dangling_link_is_a_target(tmp_path: Path) -> None:
    output = _file(tmp_path)
    Path(output.target).parent.mkdir()
    os.symlink("/nonexistent", output.target)
    with pytest.raises(TargetExists):
        check_target(output)


@pytest.mark.parametrize("other", [{}, {"format": "parquet"}, {"format": "csv"}])
def test_a_name_that_appeared_meanwhile_is_not_replaced(tmp_path: Path, other: Any) -> None:
    for output in (_file(tmp_path / "a", **other), _folder(tmp_path / "b", **other)):
        staging = prepare_staging(output, "job")
        parts = [_part(staging, output, 0, [[1]])]
        name = {"parquet": "part-00000.parquet", "csv": "_manifest.json"}.get(other.get("format"), output.file_name)
        taken = Path(output.target) / name if output.is_folder else Path(output.target)
        taken.write_text("theirs")
        with pytest.raises(TargetExists, match=str(taken)):
            publish(output, staging, parts, "job")
        assert taken.read_text() == "theirs"
        if output.is_folder:
            assert os.listdir(output.target) == [taken.name]
        taken.unlink()
        publish(output, staging, parts, "job")


def test_side_files_of_the_script_stay(tmp_path: Path) -> None:
    output = _folder(tmp_path, format="parquet", overwrite=True)
    staging = prepare_staging(output, "job")
    (Path(output.target) / "plot.png").write_text("mine")
    publish(output, staging, [_part(staging, output, 0, [[1]])], "job")
    assert sorted(os.listdir(output.target)) == ["_manifest.json", "part-00000.parquet", "plot.png"]


def test_overwrite_replaces_what_the_old_manifest_names_and_nothing_else(tmp_path: Path) -> None:
    old = _folder(tmp_path, format="parquet", part_size_bytes=1)
    folder = _published(old, [[1]], [[2]], [[3]])
    (folder / "notes.txt").write_text("mine")
    output = _folder(tmp_path, format="parquet", part_size_bytes=1, overwrite=True)
    staging = prepare_staging(output, "again")
    parts = [_part(staging, output, 0, [["new"]])]
    assert len(_manifest(folder)) == 3  # the old output stays until the end
    publish(output, staging, parts, "again")
    assert [part["file"] for part in _manifest(folder)] == ["part-00000.parquet"]
    assert sorted(os.listdir(folder)) == ["_manifest.json", "notes.txt", "part-00000.parquet"]
    assert pq.read_table(folder / "part-00000.parquet")["value"].to_pylist() == ["new"]


def test_overwrite_replaces_a_single_file(tmp_path: Path) -> None:
    _published(_file(tmp_path), [["old"]])
    assert _published(_file(tmp_path, overwrite=True), [["new"]]).read_text() == "new\n"


def test_a_manifest_that_names_files_elsewhere_moves_nothing(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("mine")
    (tmp_path / "results").mkdir()
    names = ["../precious", "..", "", str(tmp_path / "precious"), 7]
    manifest = {"version": 1, "parts": [{"file": name} for name in names]}
    (tmp_path / "results" / "_manifest.json").write_text(json.dumps(manifest))
    _published(_folder(tmp_path, format="parquet", overwrite=True), [[1]])
    assert (tmp_path / "precious").read_text() == "mine"


def test_without_any_row_there_is_nothing_to_publish(tmp_path: Path) -> None:
    output = _folder(tmp_path)
    with pytest.raises(NothingSucceeded, match="job"):
        publish(output, prepare_staging(output, "job"), [], "job")
    assert os.listdir(output.target) == []


def test_parents_are_made_and_a_repetition_is_harmless(tmp_path: Path) -> None:
    output = OutputSpec(name="o", target=str(tmp_path / "a" / "b" / "c"), is_folder=True)
    assert prepare_staging(output, "job") == prepare_staging(output, "job") == tmp_path / "a" / "b" / ".c.job.staging"
    assert Path(output.target).is_dir()


def test_a_place_where_nothing_can_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    output = OutputSpec(name="o", target=str(tmp_path / "file" / "out"), is_folder=True)
    with pytest.raises(StorageFailed, match=r"the output cannot be staged: (Not a directory|File exists)"):
        prepare_staging(output, "job")
    sealed = OutputSpec(name="o", target="/proc/out", is_folder=False)
    with pytest.raises(StorageFailed, match=r"/proc/.out.job.staging: the output cannot be staged"):
        prepare_staging(sealed, "job")


def test_a_node_that_sees_other_storage_is_told(tmp_path: Path) -> None:
    staging = prepare_staging(_folder(tmp_path), "job")
    check_staging(staging, "job")
    with pytest.raises(StorageFailed, match="belongs to job 'job', not 'other'"):
        check_staging(staging, "other")
    with pytest.raises(StorageFailed, match="storage that all nodes share"):
        check_staging(tmp_path / "elsewhere", "job")


def test_removing_staging_twice_is_harmless(tmp_path: Path) -> None:
    staging = prepare_staging(_folder(tmp_path), "job")
    remove_staging(staging)
    remove_staging(staging)
    assert not staging.exists()


def test_what_vanished_after_it_was_published_is_told(tmp_path: Path) -> None:
    output = _file(tmp_path)
    staging = prepare_staging(output, "job")
    parts = [_part(staging, output, 0, [["a"]])]
    publish(output, staging, parts, "job")
    os.unlink(output.target)
    with pytest.raises(StorageFailed, match="is gone"):
        publish(output, staging, parts, "job")
