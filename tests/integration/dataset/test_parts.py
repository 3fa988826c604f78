"""Parts: the copy of each mini-batch that counts, in mini-batch order, whatever lies in the segments beside it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runner.dataset import spool
from runner.dataset.parts import BORDER, BORDERS_SUFFIX, Assembly, assemble
from runner.dataset.payload import Payload
from runner.dataset.render import Renderer
from runner.dataset.schemas import decode_schema
from runner.dataset.spool import RECORD, write_segment
from runner.entity.parallel import OutputFormat, OutputSpec
from runner.errors import Defect, OutputInvalid, StorageFailed

RNG = np.random.default_rng(3)


class _Taken(NamedTuple):
    records: npt.NDArray[np.void]
    outputs: list[Any]
    kept: list[tuple[Any, int, int]]


def _output(output_format: OutputFormat = "text", **other: Any) -> OutputSpec:
    return OutputSpec(name="scores", target="/data/out", is_folder=True, format=output_format, **other)


def _segment(path: Path, results: Mapping[int, Any], output: OutputSpec | None, payload: Payload | None = None) -> Path:
    renderer = Renderer(output)
    records = np.zeros(len(results), RECORD)
    outputs = []
    for record, (number, result) in zip(records, results.items(), strict=True):
        text, record["length"], record["row_count"] = renderer.finish(result, number, len(result))
        record["mini_batch"] = number
        outputs.append(text if renderer.mode == "text" else ("object", text, int(record["row_count"])))
    write_segment(path, _Taken(records, outputs if renderer.mode != "count" else [], []), renderer, payload)
    return path


def _assemble(
    folder: Path,
    segments: Sequence[Mapping[int, Any]],
    numbers: Sequence[int],
    output: OutputSpec | None,
    first: int = 0,
    *,
    is_whole_lease: bool = True,
) -> Assembly:
    """One worker's payload serves as well as several: each of their appends is one write."""
    payload = Payload(folder / "payload") if output is not None and output.format == "parquet" else None
    files = {n: _segment(folder / f"s{n}", results, output, payload) for n, results in enumerate(segments, 1)}
    path = payload.path if payload else None
    target = folder / "part"
    return assemble(files, first, np.array(numbers), output, target, path, is_whole_lease=is_whole_lease)


def _values(path: Path, name: str = "value") -> list[Any]:
    values: list[Any] = pq.read_table(path)[name].to_pylist()
    return values


def test_text_comes_in_mini_batch_order_with_its_digest(tmp_path: Path) -> None:
    segments = [{3: ["d"], 0: ["a"]}, {1: ["b", "bb"], 2: []}]
    part = _assemble(tmp_path, segments, [1, 2, 2, 1], _output()).part
    assert part is not None
    data = (tmp_path / "part").read_bytes()
    assert data == b"a\nb\nbb\nd\n"
    assert (part.file, part.size_bytes, part.row_count) == ("part", len(data), 4)
    assert part.sha256 == hashlib.sha256(data).hexdigest()
    assert (part.frame_columns, part.schema) == (None, "")


def test_only_the_copy_that_the_number_names_counts(tmp_path: Path) -> None:
    segments = [{5: ["old"], 6: ["six"]}, {5: ["new"], 7: ["set aside later"], 99: ["of another lease"]}]
    assembly = _assemble(tmp_path, segments, [2, 1, 0], _output(), first=5)
    assert (tmp_path / "part").read_bytes() == b"new\nsix\n"
    assert assembly.records["mini_batch"].tolist() == [5, 6]


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    data=st.data(),
    output_format=st.sampled_from(["text", "parquet", "ipc"]),
    encode_bytes=st.sampled_from([1, 20]),
    is_whole_lease=st.booleans(),
)
def test_any_spread_over_segments_gives_the_same_rows(
    tmp_path: Path, data: st.DataObject, output_format: Any, encode_bytes: int, is_whole_lease: bool
) -> None:
    (tmp_path / "payload").unlink(missing_ok=True)
    with pytest.MonkeyPatch.context() as patch:
        # So small that workers encode what they flush: all of it, or only stretches of three rows and more.
        patch.setattr(spool, "ENCODE_BYTES", encode_bytes)
        _spread(tmp_path, data, output_format, is_whole_lease)


def _spread(tmp_path: Path, data: st.DataObject, output_format: Any, is_whole_lease: bool) -> None:
    sizes = data.draw(st.lists(st.integers(0, 3), min_size=1, max_size=30))
    results = {n: [n * 10 + i for i in range(size)] for n, size in enumerate(sizes)}
    owners = data.draw(st.lists(st.integers(0, 3), min_size=len(sizes), max_size=len(sizes)))
    stale = data.draw(st.lists(st.integers(1, 3), min_size=len(sizes), max_size=len(sizes)))
    segments: list[dict[int, Any]] = [{}, {}, {}]
    for n in data.draw(st.permutations(range(len(sizes)))):
        if owners[n]:
            segments[owners[n] - 1][n] = results[n]
        if stale[n] != owners[n]:
            segments[stale[n] - 1][n] = [-1]
    output = _output(output_format)
    part = _assemble(tmp_path, segments, owners, output, is_whole_lease=is_whole_lease).part
    expected = [value for n, owner in enumerate(owners) if owner for value in results[n]]
    if not expected:
        assert part is None
        return
    assert part is not None
    assert part.row_count == len(expected)
    path = tmp_path / "part"
    if output_format == "text":
        assert path.read_text().split() == [str(value) for value in expected]
    elif output_format == "parquet":
        assert _values(path) == expected
    else:
        assert pa.ipc.open_file(path.read_bytes()).read_all()["value"].to_pylist() == expected
    assert part.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("is_whole_lease", [True, False])
def test_a_payload_becomes_the_part_where_nobody_else_needs_it(tmp_path: Path, is_whole_lease: bool) -> None:
    rows = 200_000
    segments = [{n: np.arange(n * rows, (n + 1) * rows) for n in numbers} for numbers in ([2, 3], [0], [1])]
    part = _assemble(tmp_path, segments, [2, 3, 1, 1], _output("parquet"), is_whole_lease=is_whole_lease).part
    assert part is not None
    assert _values(tmp_path / "part") == list(range(4 * rows))
    assert part.sha256 == hashlib.sha256((tmp_path / "part").read_bytes()).hexdigest()
    assert (tmp_path / "payload").exists() is not is_whole_lease, "it is needed for the other pieces of the lease"


def test_what_a_dead_worker_left_in_a_payload_is_not_in_the_part(tmp_path: Path) -> None:
    rows = 200_000
    segments = [{0: np.zeros(rows)}, {0: np.ones(rows)}, {1: np.full(rows, 2.0)}]
    assert _assemble(tmp_path, segments, [2, 3], _output("parquet")).part is not None
    assert _values(tmp_path / "part") == [1.0] * rows + [2.0] * rows


def test_a_payload_that_is_mostly_waste_does_not_become_the_part(tmp_path: Path) -> None:
    rows = 200_000
    segments = [{0: np.zeros(rows)}, {0: np.zeros(rows)}, {0: RNG.random(rows)}]
    part = _assemble(tmp_path, [*segments, {0: np.ones(rows)}], [4], _output("parquet")).part
    assert part is not None
    assert _values(tmp_path / "part") == [1.0] * rows
    assert part.size_bytes < 2 * 8 * rows
    assert (tmp_path / "payload").exists()


def test_a_lease_without_rows_has_no_part(tmp_path: Path) -> None:
    for output in (_output(), _output("parquet"), _output("csv")):
        assembly = _assemble(tmp_path, [{0: [], 1: []}], [1, 1, 0], output)
        assert assembly.part is None
        assert len(assembly.records) == 2
        assert not (tmp_path / "part").exists()
    assert _assemble(tmp_path, [], [0, 0], _output()).part is None


def test_counting_only_gives_records_and_no_part(tmp_path: Path) -> None:
    assembly = _assemble(tmp_path, [{1: [1, 2], 0: [3]}], [1, 1], None)
    assert assembly.part is None
    assert assembly.records["length"].tolist() == [1, 2]


def test_a_segment_that_lacks_what_names_it_is_a_defect(tmp_path: Path) -> None:
    with pytest.raises(Defect, match=r"\[2\]"):
        _assemble(tmp_path, [{0: ["a"], 1: ["b"]}], [1, 1, 1], _output())
    with pytest.raises(Defect, match=r"\[1\]"):
        files = {1: tmp_path / "double"}
        renderer = Renderer(_output())
        records = np.zeros(2, RECORD)
        records["mini_batch"] = 1
        write_segment(files[1], _Taken(records, [b"a\n", b"b\n"], []), renderer)
        assemble(files, 1, np.array([1]), _output(), tmp_path / "part")


def test_schemas_are_unified_in_mini_batch_order(tmp_path: Path) -> None:
    segments: list[dict[int, Any]] = [
        {2: pd.DataFrame({"b": [1.5], "a": ["x"]}), 0: pd.DataFrame({"a": [None]})},
        {1: pd.DataFrame({"b": np.array([1], "i4")})},
    ]
    part = _assemble(tmp_path, segments, [1, 2, 1], _output("parquet")).part
    assert part is not None
    table = pq.read_table(tmp_path / "part")
    assert table.to_pydict() == {"a": [None, None, "x"], "b": [None, 1.0, 1.5]}
    assert [str(field.type) for field in table.schema] == [str(pa.array(pd.Series(["x"])).type), "double"]
    assert decode_schema(part.schema).names == ["a", "b"]
    assert part.frame_mini_batch == 0


def test_types_that_do_not_fit_fail_naming_both(tmp_path: Path) -> None:
    segments: list[dict[int, Any]] = [{7: [1], 8: ["x"]}, {9: [2]}]
    with pytest.raises(OutputInvalid, match="'value' is int64 in mini-batch 7 and string in mini-batch 8"):
        _assemble(tmp_path, segments, [1, 1, 2], _output("parquet"), first=7)


def test_the_first_frame_in_order_gives_the_header(tmp_path: Path) -> None:
    frame = pd.DataFrame({"a": [1], "b": [2]})
    segments: list[dict[int, Any]] = [{3: frame, 0: ["line"]}, {2: frame, 1: pd.DataFrame({"z": []})}]
    part = _assemble(tmp_path, segments, [1, 0, 2, 1], _output(frame_header=True)).part
    assert part is not None
    assert (part.frame_columns, part.frame_mini_batch) == (("a", "b"), 2)
    assert (tmp_path / "part").read_bytes() == b"line\n1 2\n1 2\n"


@pytest.mark.parametrize("output", [_output(frame_header=True), _output("csv")])
def test_frames_with_other_columns_fail_below_one_header(tmp_path: Path, output: OutputSpec) -> None:
    one, two = pd.DataFrame({"a": [1], "b": [2]}), pd.DataFrame({"a": [1], "c": [2]})
    segments = [{0: one, 4: one}, {3: two, 2: one}]
    with pytest.raises(OutputInvalid, match="mini-batch 0 returned the columns a, b and mini-batch 3 the columns a, c"):
        _assemble(tmp_path, segments, [1, 0, 2, 2, 1], output)
    part = _assemble(tmp_path, segments, [1, 0, 2, 0, 1], output).part
    assert part is not None
    assert part.frame_columns == ("a", "b")


def test_without_a_header_columns_may_differ(tmp_path: Path) -> None:
    segments = [{0: pd.DataFrame({"a": [1]}), 1: pd.DataFrame({"b": [1], "c": [2]})}]
    _assemble(tmp_path, segments, [1, 1], _output())
    assert (tmp_path / "part").read_bytes() == b"1\n1 2\n"


def test_borders_stand_beside_lines_that_may_be_divided(tmp_path: Path) -> None:
    _assemble(tmp_path, [{0: [1, 2], 2: [34]}, {1: []}], [1, 2, 1], _output("jsonl"))
    borders = np.fromfile(tmp_path / f"part{BORDERS_SUFFIX}", BORDER)
    assert borders.tolist() == [(0, 24, 2), (1, 0, 0), (2, 13, 1)]


def test_numbers_have_no_dictionary_and_sequences_are_deltas(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "id": np.arange(5000),
            "hash": rng.integers(0, 2**62, 5000),
            "score": rng.random(5000, np.float32),
            "label": ["cat", "dog"] * 2500,
        }
    )
    part = _assemble(tmp_path, [{0: frame}], [1], _output("parquet")).part
    assert part is not None
    group = pq.ParquetFile(tmp_path / "part").metadata.row_group(0)
    encodings = {group.column(i).path_in_schema: set(group.column(i).encodings) for i in range(4)}
    assert "DELTA_BINARY_PACKED" in encodings["id"]
    assert encodings["hash"] & {"PLAIN"}
    assert not encodings["hash"] & {"DELTA_BINARY_PACKED", "RLE_DICTIONARY"}
    assert not encodings["score"] & {"RLE_DICTIONARY", "PLAIN_DICTIONARY"}
    assert encodings["label"] & {"RLE_DICTIONARY", "PLAIN_DICTIONARY"}
    assert group.column(0).total_compressed_size < 5000
    assert pq.read_table(tmp_path / "part").to_pandas().astype({"label": "str"}).equals(frame)


@pytest.mark.parametrize(("compression", "codec"), [("none", "UNCOMPRESSED"), ("zstd", "ZSTD"), ("gzip", "GZIP")])
def test_parquet_is_compressed_as_asked(tmp_path: Path, compression: str, codec: str) -> None:
    _assemble(tmp_path, [{0: ["x"] * 100}], [1], _output("parquet", compression=compression))
    assert pq.ParquetFile(tmp_path / "part").metadata.row_group(0).column(0).compression == codec


@pytest.mark.parametrize("output_format", ["text", "parquet", "ipc"])
def test_a_full_disk_is_told_with_the_path(tmp_path: Path, output_format: OutputFormat) -> None:
    output = _output(output_format)
    segment = _segment(tmp_path / "s", {0: list(range(1000))}, output)
    with pytest.raises(StorageFailed, match=r"/dev/full: the part cannot be written: No space left.*resume"):
        assemble({1: segment}, 0, np.array([1]), output, Path("/dev/full"))


def test_a_folder_without_permission_is_told(tmp_path: Path) -> None:
    segment = _segment(tmp_path / "s", {0: ["a"]}, _output())
    with pytest.raises(StorageFailed, match="gone/part: the part cannot be written: No such file or directory"):
        assemble({1: segment}, 0, np.array([1]), _output(), tmp_path / "gone" / "part")
