"""Parquet files glued from others hold the same rows in the same order, for every reader; footers go through whole."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from runner.dataset.encode import ROW_GROUP_ROWS
from runner.dataset.glue import SPARE_BYTES, GluedFile, encode_parquet
from runner.dataset.storage import HashedFile
from runner.dataset.thrift import read_struct, write_struct
from runner.entity.parallel import OutputSpec
from runner.errors import Defect

RNG = np.random.default_rng(7)


def _table(rows: int, first: int = 0) -> pa.Table:
    return pa.table(
        {
            "id": np.arange(first, first + rows),
            "score": RNG.random(rows, dtype=np.float32),
            "label": [f"label {i % 7}" for i in range(rows)],
            "maybe": pa.array([None if i % 3 else i for i in range(rows)], pa.int16()),
            "nested": [{"a": [i, i + 1], "b": str(i)} for i in range(rows)],
            "when": pa.array(range(rows), pa.timestamp("us", "UTC")),
        }
    )


def _output(compression: str = "none") -> OutputSpec:
    return OutputSpec(name="o", target="/o", is_folder=True, format="parquet", compression=compression)


def _footer(path: Path) -> bytes:
    data = path.read_bytes()
    return data[-8 - int.from_bytes(data[-8:-4], "little") : -8]


@pytest.mark.parametrize("columns", [1, 14, 15, 16, 300])
def test_any_footer_is_read_and_written_byte_for_byte(tmp_path: Path, columns: int) -> None:
    table = pa.table({f"column {i}": [1.5 * i, None] for i in range(columns)})
    pq.write_table(table, tmp_path / "f", write_page_index=True, store_schema=columns > 1)
    footer = _footer(tmp_path / "f")
    assert write_struct(read_struct(memoryview(footer))) == footer


def test_a_footer_of_every_type_goes_through_whole(tmp_path: Path) -> None:
    pq.write_table(_table(1000), tmp_path / "f", row_group_size=90, use_dictionary=True, compression="zstd")
    footer = _footer(tmp_path / "f")
    assert write_struct(read_struct(memoryview(footer))) == footer


@pytest.mark.parametrize("compression", ["none", "zstd"])
def test_rows_keep_their_order_whether_taken_over_or_written(tmp_path: Path, compression: str) -> None:
    pieces = [_table(100), _table(30, 100), _table(1, 130), _table(500, 131), _table(9, 631)]
    file = GluedFile(HashedFile(tmp_path / "glued"), pieces[0].schema, _output(compression))
    for at, piece in enumerate(pieces):
        if at in (0, 3):
            file.take_over(memoryview(bytes(encode_parquet(piece, compression))), piece.num_rows)
        else:
            file.write(piece)
    file.finish()
    expected = pa.concat_tables(pieces)
    assert file.row_count == expected.num_rows
    read = pq.ParquetFile(tmp_path / "glued")
    assert read.read().equals(expected)
    assert [read.metadata.row_group(i).num_rows for i in range(read.num_row_groups)] == [100, 31, 500, 9]
    for group in range(read.num_row_groups):  # each group by itself: every offset is right, not only their sum
        start = [0, 100, 131, 631][group]
        assert read.read_row_group(group).equals(expected.slice(start, [100, 31, 500, 9][group]))
    assert polars.read_parquet(tmp_path / "glued").drop("nested").equals(polars.from_arrow(expected).drop("nested"))  # type: ignore[union-attr]


def test_statistics_of_taken_groups_still_select_rows(tmp_path: Path) -> None:
    file = GluedFile(HashedFile(tmp_path / "glued"), _table(1).schema, _output())
    for first in (0, 1000, 2000):
        file.take_over(encode_parquet(_table(1000, first), "none"), 1000)
    file.finish()
    found = pq.read_table(tmp_path / "glued", filters=[("id", ">=", 1500), ("id", "<", 1510)])
    assert found["id"].to_pylist() == list(range(1500, 1510))


def test_large_pieces_are_divided_into_row_groups(tmp_path: Path) -> None:
    rows = pa.table({"x": np.zeros(ROW_GROUP_ROWS + 5, np.int8)})
    file = GluedFile(HashedFile(tmp_path / "glued"), rows.schema, _output())
    file.take_over(encode_parquet(rows, "none"), rows.num_rows)
    file.write(rows.slice(0, 3))
    file.finish()
    read = pq.read_metadata(tmp_path / "glued")
    assert [read.row_group(i).num_rows for i in range(read.num_row_groups)] == [ROW_GROUP_ROWS, 5, 3]
    assert pq.read_table(tmp_path / "glued").num_rows == ROW_GROUP_ROWS + 8


def test_what_grows_by_encoding_is_encoded_all_the_same() -> None:
    rows = pa.table({f"column {i} with a long name": [i] for i in range(20_000)})
    encoded = encode_parquet(rows, "none")
    assert len(encoded) > rows.nbytes + rows.nbytes // 8 + SPARE_BYTES, "the room that is tried first is too small"
    assert pq.read_table(pa.BufferReader(bytes(encoded))).equals(rows)


def test_a_file_of_another_schema_is_refused(tmp_path: Path) -> None:
    file = GluedFile(HashedFile(tmp_path / "glued"), pa.schema([("x", pa.int64())]), _output())
    file.take_over(encode_parquet(pa.table({"x": [1]}), "none"), 1)
    with pytest.raises(Defect, match="two schemas"):
        file.take_over(encode_parquet(pa.table({"x": [1.5]}), "none"), 1)
    file.close()


def test_no_rows_at_all_make_a_file_that_can_be_read(tmp_path: Path) -> None:
    file = GluedFile(HashedFile(tmp_path / "glued"), _table(1).schema, _output())
    file.finish()
    assert pq.read_table(tmp_path / "glued").schema.equals(_table(1).schema)
