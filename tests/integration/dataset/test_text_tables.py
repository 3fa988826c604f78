"""CSV, JSON lines and ORC as tables: every record once, with types that the whole input settles."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
import lzma
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyarrow import orc
from table_reading import read_all, rows_of, table_job, types_of

from runner.dataset import text_layout
from runner.entity.table import TableOptions
from runner.errors import InputUnreadable, SchemaMismatch
from runner.plan.make import make_plan

Write = Callable[[Path, list[dict[str, Any]]], Path]


def _csv_text(rows: list[dict[str, Any]], delimiter: str = ",") -> str:
    written = io.StringIO()
    writer = csv.writer(written, delimiter=delimiter, quoting=csv.QUOTE_NONNUMERIC)
    writer.writerow(rows[0])
    writer.writerows(row.values() for row in rows)
    return written.getvalue()


def _json_text(rows: list[dict[str, Any]]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def _packed(path: Path, data: bytes) -> Path:
    pack: dict[str, Callable[[bytes], bytes]] = {".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress}
    if path.suffix in (".zst", ".lz4"):
        with pa.CompressedOutputStream(str(path), {".zst": "zstd", ".lz4": "lz4"}[path.suffix]) as sink:
            sink.write(data)
        return path
    path.write_bytes(pack.get(path.suffix, bytes)(data))
    return path


def _write(path: Path, rows: list[dict[str, Any]], encoding: str = "utf-8") -> Path:
    kind = next(suffix for suffix in path.suffixes if suffix in (".csv", ".tsv", ".jsonl", ".orc"))
    if kind == ".orc":
        orc.write_table(pa.Table.from_pylist(rows), str(path), stripe_size=4096, batch_size=16)
        return path
    text = _json_text(rows) if kind == ".jsonl" else _csv_text(rows, "\t" if kind == ".tsv" else ",")
    return _packed(path, text.encode(encoding))


def _table(count: int) -> list[dict[str, Any]]:
    words = ["plain", 'a "quote"', "a,comma\tand tab", "line\nbreak", "Zoë €", " blank ", "x" * 300]
    pick = random.Random(count)
    return [{"id": n, "x": n / 4 + 0.125, "s": f"{n} {pick.choice(words)}"} for n in range(count)]


@pytest.fixture
def small_marks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Marks as dense as in files of many GB."""
    monkeypatch.setattr(text_layout, "MARK_BYTES", 512)


NAMES = ["x.csv", "x.tsv", "x.jsonl", "x.orc"]
PACKED = [f"x{kind}{packing}" for kind in (".csv", ".jsonl") for packing in (".gz", ".bz2", ".xz", ".zst", ".lz4")]


@pytest.mark.usefixtures("small_marks")
@pytest.mark.parametrize("name", NAMES)
@given(count=st.integers(1, 400), per=st.integers(1, 450), seed=st.integers(0, 99))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=12)
def test_rows_are_the_same_for_every_size_and_any_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, count: int, per: int, seed: int
) -> None:
    monkeypatch.setattr("runner.plan.cut.UNIT_ROWS", 60)
    rows = _table(count)
    spec = table_job(_write(tmp_path / name, rows), rows=per)
    plan = make_plan(spec)
    order = list(range(len(plan.units)))
    random.Random(seed).shuffle(order)
    got = read_all(spec, plan, units=order)
    assert [row for number in range(len(got)) for row in got[number]] == rows


@pytest.mark.parametrize("name", PACKED)
def test_compressed_text_is_cut_like_its_plain_twin(tmp_path: Path, name: str) -> None:
    rows = _table(700)
    packed = table_job(_write(tmp_path / name, rows), rows=90)
    (tmp_path / "plain").mkdir()
    plain = table_job(_write(tmp_path / "plain" / name.rpartition(".")[0], rows), rows=90)
    assert len(make_plan(packed).units) == 1
    assert read_all(packed, make_plan(packed)) == read_all(plain, make_plan(plain))


def test_a_long_stream_is_read_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runner.dataset.text_blocks.STREAM_BYTES", 1000)
    monkeypatch.setattr("runner.dataset.text_blocks.BLOCK_BYTES", 300)
    rows = _table(500)
    assert rows_of(table_job(_write(tmp_path / "x.csv.gz", rows), rows=7)) == rows
    assert rows_of(table_job(_write(tmp_path / "x.jsonl.gz", rows), rows=7)) == rows


def test_gzip_of_several_members_is_read_whole(tmp_path: Path) -> None:
    (tmp_path / "x.csv.gz").write_bytes(gzip.compress(b"a\n1\n") + gzip.compress(b"2\n3\n"))
    assert [row["a"] for row in rows_of(table_job(tmp_path))] == [1, 2, 3]


@pytest.mark.parametrize(
    ("encoding", "codec"),
    [
        ("utf8", "utf-8"),
        ("utf8", "utf-8-sig"),
        ("utf8bom", "utf-8-sig"),
        ("latin1", "latin-1"),
        ("windows1252", "cp1252"),
        ("utf16", "utf-16"),
        ("utf32", "utf-32"),
    ],
)
@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_encodings_with_and_without_byte_order_mark(tmp_path: Path, kind: str, encoding: str, codec: str) -> None:
    euro = "€" if codec != "latin-1" else "¤"
    rows = [{"id": n, "naïve": f"Zoë {euro} {n}\n"} for n in range(30)]
    path = _write(tmp_path / f"x.{kind}", rows, encoding=codec)
    assert rows_of(table_job(path, rows=4, options=TableOptions(encoding=encoding))) == rows


def test_a_byte_order_mark_within_the_data_is_data(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("\ufeffs,n\n\ufeffa,1\nb,2\n", encoding="utf-8")
    assert rows_of(table_job(tmp_path)) == [{"s": "\ufeffa", "n": 1}, {"s": "b", "n": 2}]


@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("has_last", [True, False])
def test_line_ends_of_all_systems(tmp_path: Path, line_end: str, has_last: bool) -> None:
    text = line_end.join(["a,b", "1,x", "", "2,y", '3,"z"']) + (line_end if has_last else "")
    (tmp_path / "x.csv").write_bytes(text.encode())
    assert rows_of(table_job(tmp_path, rows=2)) == [{"a": 1, "b": "x"}, {"a": 2, "b": "y"}, {"a": 3, "b": "z"}]


@pytest.mark.usefixtures("small_marks")
@pytest.mark.parametrize("size", [400, 3_000, 2_500_000])
@pytest.mark.parametrize("name", ["x.csv", "x.jsonl", "x.csv.gz", "x.jsonl.gz"])
def test_a_record_larger_than_a_mark_or_a_block(tmp_path: Path, name: str, size: int) -> None:
    rows = [{"n": 1, "s": "a"}, {"n": 2, "s": "b\n" * (size // 2)}, {"n": 3, "s": "c"}]
    for order in (rows, rows[1:], rows[::-1]):
        assert rows_of(table_job(_write(tmp_path / name, order), rows=1)) == order


class TestHeaders:
    def _folder(self, path: Path, *texts: str) -> Path:
        for number, text in enumerate(texts):
            (path / f"{number}.csv").write_text(text)
        return path

    def test_each_file_has_the_same_header(self, tmp_path: Path) -> None:
        self._folder(tmp_path, "a,b\n1,x\n", "a,b\n2,y\n")
        assert rows_of(table_job(tmp_path)) == [{"a": 1, "b": "x"}, {"a": 2, "b": "y"}]

    def test_without_header_columns_are_numbered(self, tmp_path: Path) -> None:
        self._folder(tmp_path, "1,x\n", "2,y\n")
        assert rows_of(table_job(tmp_path, options=TableOptions(header="no_header"))) == [
            {"Column1": 1, "Column2": "x"},
            {"Column1": 2, "Column2": "y"},
        ]

    def test_a_header_in_the_first_file_alone(self, tmp_path: Path) -> None:
        self._folder(tmp_path, "a,b\n1,x\n", "2,y\n")
        assert rows_of(table_job(tmp_path, options=TableOptions(header="from_first_file"))) == [
            {"a": 1, "b": "x"},
            {"a": 2, "b": "y"},
        ]

    def test_a_file_that_does_not_fit_the_first_header_is_named(self, tmp_path: Path) -> None:
        self._folder(tmp_path, "a,b\n1,x\n", "2,y,z\n")
        with pytest.raises(InputUnreadable, match=r"1\.csv cannot be read: it has 3 columns, the header of the first"):
            make_plan(table_job(tmp_path, options=TableOptions(header="from_first_file")))

    def test_different_headers_are_unified(self, tmp_path: Path) -> None:
        self._folder(tmp_path, "a,b\n1,x\n", "c,a\n2,2.5\n")
        assert rows_of(table_job(tmp_path, options=TableOptions(header="all_files_different_headers"))) == [
            {"a": 1.0, "b": "x", "c": None},
            {"a": 2.5, "b": None, "c": 2},
        ]

    def test_a_file_with_nothing_but_a_header_changes_no_type(self, tmp_path: Path) -> None:
        self._folder(tmp_path, "a,b\n", "a,b\n1,2.5\n")
        assert rows_of(table_job(tmp_path)) == [{"a": 1, "b": 2.5}]

    def test_a_quoted_header_with_line_breaks_and_delimiters(self, tmp_path: Path) -> None:
        self._folder(tmp_path, '"a\nb","c,d"\n1,2\n')
        assert rows_of(table_job(tmp_path)) == [{"a\nb": 1, "c,d": 2}]

    def test_a_name_twice_is_refused(self, tmp_path: Path) -> None:
        self._folder(tmp_path, "a,b,a\n1,2,3\n")
        with pytest.raises(InputUnreadable, match=r"0\.csv cannot be read: its header names 'a' twice"):
            make_plan(table_job(tmp_path))


class TestTypes:
    def _told(self, tmp_path: Path, text: str, options: TableOptions = TableOptions()) -> list[str]:  # noqa: B008 - it is frozen
        (tmp_path / "x.csv").write_text(text)
        return [str(kind) for kind in types_of(table_job(tmp_path, options=options)).values()]

    @pytest.mark.parametrize(
        ("values", "kind"),
        [
            (["1", "-2"], "int64"),
            (["1", "2.5"], "double"),
            (["1", "x"], "string"),
            (["007", "8"], "string"),
            (["-07"], "string"),
            (["0", "10"], "int64"),
            (["true", "False"], "bool"),
            (["true", "1"], "string"),
            (["2024-01-02"], "date32[day]"),
            (["2024-01-02T03:04:05"], "timestamp[s]"),
            (["", ""], "string"),
            (["", "1"], "int64"),
            (["12:30"], "string"),
            (["99999999999999999999"], "double"),
        ],
    )
    def test_samples_tell(self, tmp_path: Path, values: list[str], kind: str) -> None:
        assert self._told(tmp_path, "a,b\n" + "".join(f"{value},k\n" for value in values)) == [kind, "string"]

    def test_types_of_all_files_are_joined(self, tmp_path: Path) -> None:
        (tmp_path / "a.csv").write_text("n,m,z\n1,1,\n")
        (tmp_path / "b.csv").write_text("n,m,z\n2.5,x,\n")
        assert rows_of(table_job(tmp_path)) == [
            {"n": 1.0, "m": "1", "z": None},
            {"n": 2.5, "m": "x", "z": None},
        ]

    def test_text_throughout_where_nothing_is_inferred(self, tmp_path: Path) -> None:
        options = TableOptions(infer_column_types=False)
        assert self._told(tmp_path, "a,b\n1,2024-01-01\n", options) == ["string", "string"]

    def test_an_empty_field_is_null_and_a_quoted_one_is_not(self, tmp_path: Path) -> None:
        (tmp_path / "x.csv").write_text('s,n\n,1\n"",\nx,3\n')
        assert rows_of(table_job(tmp_path)) == [{"s": None, "n": 1}, {"s": "", "n": None}, {"s": "x", "n": 3}]
        options = TableOptions(empty_as_string=True)
        assert [row["s"] for row in rows_of(table_job(tmp_path, options=options))] == ["", "", "x"]

    def test_a_late_sample_is_looked_at_too(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        for name, size in (("FIRST_SAMPLE_BYTES", 100), ("LATER_EVERY_BYTES", 5_000), ("LATER_SAMPLE_BYTES", 900)):
            monkeypatch.setattr(text_layout, name, size)
        monkeypatch.setattr(text_layout, "MARK_BYTES", 100)
        monkeypatch.setattr("runner.dataset.text_source.BLOCK_BYTES", 1_000)
        lines = [f'{n},"line\nbreak"\n' for n in range(2_000)]
        lines[1_000:] = [f'{n}.5,"line\nbreak"\n' for n in range(1_000)]
        assert self._told(tmp_path, "a,b\n" + "".join(lines)) == ["double", "string"]

    def test_json_lines(self, tmp_path: Path) -> None:
        rows = [
            {"n": 1, "f": 1, "b": True, "t": "2024-01-02T03:04:05", "l": [1], "o": {"x": 1}, "m": 1, "z": None},
            {"n": 2, "f": 2.5, "b": False, "t": "2024-01-02T03:04:06", "l": [], "o": {"x": 2}, "m": "x", "e": []},
        ]
        _write(tmp_path / "x.jsonl", rows)
        kinds = {name: str(kind) for name, kind in types_of(table_job(tmp_path)).items()}
        assert kinds == {
            "n": "int64",
            "f": "double",
            "b": "bool",
            "t": "timestamp[s]",
            "l": "list<item: int64>",
            "o": "struct<x: int64>",
            "m": "string",
            "z": "string",
            "e": "list<item: string>",
        }
        got = rows_of(table_job(tmp_path))
        assert [row["m"] for row in got] == ["1", "x"]
        assert got[1]["o"] == {"x": 2} and got[0]["e"] is None

    def test_numbers_become_text_as_they_are_written(self, tmp_path: Path) -> None:
        (tmp_path / "x.jsonl").write_text('{"m": 1.50}\n{"m": "x"}\n{"m": 1e2}\n{"m": {"a":  [1]}}\n{"m": true}\n')
        assert [row["m"] for row in rows_of(table_job(tmp_path))] == ["1.50", "x", "1e2", '{"a":[1]}', "true"]


class TestBadRecords:
    """One bad record costs its mini-batch, and that one is told with file, row and column."""

    def _lost(self, path: Path, rows: int, options: TableOptions = TableOptions()) -> dict[int, str]:  # noqa: B008
        spec = table_job(path, rows=rows, options=options)
        got = read_all(spec, make_plan(spec))
        return {number: found for number, found in got.items() if isinstance(found, str)}

    @pytest.mark.usefixtures("small_marks")
    @pytest.mark.parametrize(
        ("bad", "what"),
        [
            ("12,x,y\n", "row 700 has 3 fields instead of 2: '12,x,y'"),
            ("12\n", "row 700 has 1 fields instead of 2: '12'"),
            ("oops,x\n", "row 700 has 'oops' in column 'id', which is no int64"),
            ('"",x\n', "row 700 has '' in column 'id', which is no int64"),
            ("1.5,x\n", "row 700 has '1.5' in column 'id', which is no int64"),
        ],
    )
    def test_a_late_record_of_csv(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bad: str, what: str) -> None:
        monkeypatch.setattr(text_layout, "FIRST_SAMPLE_BYTES", 100)
        lines = [f"{n},s{n}\n" for n in range(1_000)]
        lines[700] = bad
        (tmp_path / "x.csv").write_text("id,s\n" + "".join(lines))
        lost = self._lost(tmp_path, 10)
        assert list(lost) == [70]
        assert f"{tmp_path}/x.csv cannot be read: {what}" in lost[70]
        if "int64" in what:
            assert "write `convert_column_types` with 'id' as string" in lost[70]

    @pytest.mark.parametrize(
        ("bad", "what"),
        [
            ('{"id": "oops"}', "row 7 has \"oops\" in column 'id', which is no int64"),
            ('{"id": 1.5}', "row 7 has 1.5 in column 'id', which is no int64"),
            ('{"id": true}', "row 7 has true in column 'id', which is no int64"),
            ('{"id": 1', "row 7 is no JSON object"),
            ("[1]", "row 7 is no JSON object"),
            ('{"id": 1} {"id": 2}', "row 7 is no JSON object"),
        ],
    )
    def test_a_late_record_of_json_lines(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bad: str, what: str
    ) -> None:
        monkeypatch.setattr(text_layout, "FIRST_SAMPLE_BYTES", 30)
        lines = [json.dumps({"id": n, "o": {"a": [n]}, "t": "2024-01-02"}) for n in range(10)]
        lines[7] = bad
        (tmp_path / "x.jsonl").write_text("\n".join(lines) + "\n")
        lost = self._lost(tmp_path, 2)
        assert list(lost) == [3]
        assert f"{tmp_path}/x.jsonl cannot be read: {what}" in lost[3]
        spec = table_job(tmp_path, rows=2)
        others = read_all(spec, make_plan(spec))
        assert [row["o"]["a"] for row in others[4]] == [[8], [9]]

    @pytest.mark.parametrize("name", ["x.csv", "x.jsonl"])
    def test_bytes_of_another_encoding(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
        monkeypatch.setattr(text_layout, "FIRST_SAMPLE_BYTES", 30)
        lines = [b"s,n\n", *(b"s%d,1\n" % n for n in range(9))]
        if name == "x.jsonl":
            lines = [b'{"s": "s%d"}\n' % n for n in range(10)]
        lines[8] = lines[8].replace(b"s8" if name == "x.jsonl" else b"s7", b"\xff\xfe")
        (tmp_path / name).write_bytes(b"".join(lines))
        lost = self._lost(tmp_path, 1)
        assert list(lost) == [8 if name == "x.jsonl" else 7]

    def test_bytes_of_another_encoding_in_the_sample_are_refused_at_once(self, tmp_path: Path) -> None:
        (tmp_path / "x.csv").write_bytes("s\nZoë\n".encode("latin-1"))
        with pytest.raises(InputUnreadable, match="column 's' holds bytes that are no utf8; say the `encoding`"):
            make_plan(table_job(tmp_path))

    def test_where_lines_are_records_an_open_quote_costs_one(self, tmp_path: Path) -> None:
        (tmp_path / "x.csv").write_text('n,s\n1,a\n2,"b\n3,c\n4,"d"\n5,"e\n6,f\n')
        options = TableOptions(is_multi_line=False)
        spec = table_job(tmp_path, rows=1, options=options)
        got = read_all(spec, make_plan(spec))
        assert [found[0]["n"] for found in got.values() if not isinstance(found, str)] == [1, 3, 4, 6]
        assert {number for number, found in got.items() if isinstance(found, str)} == {1, 4}
        assert "row 1 has a quote that is not closed on its line" in got[1]

    def test_several_in_one_mini_batch_tell_the_first(self, tmp_path: Path) -> None:
        (tmp_path / "x.csv").write_text("a,b\n1,2\n3\n4,5\n6\n7,8\n")
        lost = self._lost(tmp_path, 5)
        assert list(lost) == [0] and "row 1 has 1 fields" in lost[0]


class TestRefused:
    @pytest.mark.parametrize(
        ("name", "data", "what"),
        [
            ("x.csv", b"", "it is empty, without even a header"),
            ("x.csv", b'a,b\n1,"x\n2,y\n', "a quote is opened and never closed"),
            ("x.csv", b'a,"b\n1,2\n', "a quote is opened in its first record"),
            ("x.json", b'[{"a": 1},\n {"a": 2}]', "it is one JSON array; write one object a line"),
            ("x.json", b'{\n  "a": 1\n}\n', "none of its first lines is a JSON object"),
            ("x.jsonl", b"hello\nworld\n", "none of its first lines is a JSON object"),
            ("x.csv.gz", gzip.compress(b"a\n" + os.urandom(2000).hex().encode())[:-40], "ended before"),
            ("x.csv.gz", b"a,b\n1,2\n", "gzip"),
            ("x.jsonl.xz", lzma.compress(b'{"a": 1}\n' * 9)[:-10], "ended before"),
            ("x.csv.bz2", bz2.compress(b"a\n1\n")[:-5], "ended before"),
            ("x.xlsx", b"PK", "Excel files are not read; save the sheet as CSV"),
            ("x.avro", b"Obj\x01", "Avro is not read; convert it to Parquet"),
            ("x.orc", b"ORC", ""),
        ],
    )
    def test_a_file_is_named(self, tmp_path: Path, name: str, data: bytes, what: str) -> None:
        (tmp_path / name).write_bytes(data)
        with pytest.raises(InputUnreadable) as told:
            make_plan(table_job(tmp_path))
        assert f"{tmp_path}/{name} cannot be read: " in str(told.value)
        assert what in str(told.value)

    @pytest.mark.parametrize("packing", ["zst", "lz4"])
    def test_a_stream_that_is_cut_off(self, tmp_path: Path, packing: str) -> None:
        path = _packed(tmp_path / f"x.csv.{packing}", b"a\n" + os.urandom(2_000).hex().encode() + b"\n")
        path.write_bytes(path.read_bytes()[:-100])
        with pytest.raises(InputUnreadable, match=rf"x\.csv\.{packing} cannot be read"):
            make_plan(table_job(path))

    def test_two_formats_in_one_input(self, tmp_path: Path) -> None:
        _write(tmp_path / "a.csv", _table(2))
        _write(tmp_path / "b.jsonl", _table(2))
        with pytest.raises(SchemaMismatch, match="the first is CSV, the second JSON lines"):
            make_plan(table_job(tmp_path))

    def test_a_file_that_is_written_to_while_it_is_scanned(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = _write(tmp_path / "x.csv", _table(20))
        blocks_of = text_layout.blocks_of

        def blocks_and_a_writer(stream: Any) -> Any:
            yield from blocks_of(stream)
            with path.open("a") as file:
                file.write("1,2,3\n")

        monkeypatch.setattr(text_layout, "blocks_of", blocks_and_a_writer)
        with pytest.raises(InputUnreadable, match=r"x\.csv cannot be read: it was written to while it was looked at"):
            make_plan(table_job(tmp_path))


class TestColumns:
    @pytest.mark.parametrize("name", [*NAMES, "x.csv.gz"])
    def test_only_those_asked_for_in_the_order_asked(self, tmp_path: Path, name: str) -> None:
        spec = table_job(_write(tmp_path / name, _table(30)), rows=7, columns=("s", "id"))
        assert [list(row) for row in rows_of(spec)] == [["s", "id"]] * 30

    @pytest.mark.parametrize("name", NAMES)
    def test_nothing_but_what_stands_in_the_path(self, tmp_path: Path, name: str) -> None:
        (tmp_path / "k=v").mkdir()
        _write(tmp_path / "k=v" / name, _table(30))
        assert rows_of(table_job(tmp_path, rows=7, columns=("k",))) == [{"k": "v"}] * 30

    @pytest.mark.parametrize("name", NAMES)
    def test_kept_dropped_converted_skipped_and_taken(self, tmp_path: Path, name: str) -> None:
        for part in ("a", "b"):
            (tmp_path / part).mkdir()
            _write(tmp_path / part / name, _table(30))
        options = TableOptions(
            keep_columns=("s", "id", "x"), drop_columns=("x",), column_types={"id": "float64"}, skip=25, take=20
        )
        wanted = [{"s": row["s"], "id": float(row["id"])} for row in (_table(30) * 2)[25:45]]
        assert rows_of(table_job(tmp_path, rows=7, options=options)) == wanted

    @pytest.mark.parametrize("name", ["x.csv", "x.jsonl"])
    def test_what_cannot_be_converted_is_null(self, tmp_path: Path, name: str) -> None:
        _write(tmp_path / name, [{"v": "1"}, {"v": "oops"}, {"v": "3"}])
        options = TableOptions(column_types={"v": "int64"})
        assert [row["v"] for row in rows_of(table_job(tmp_path, rows=2, options=options))] == [1, None, 3]

    @pytest.mark.parametrize("name", ["x.csv", "x.jsonl"])
    def test_converted_to_text_a_number_is_as_it_is_written(self, tmp_path: Path, name: str) -> None:
        text = "v\n1.50\n2\n" if name == "x.csv" else '{"v": 1.50}\n{"v": 2}\n'
        (tmp_path / name).write_text(text)
        options = TableOptions(column_types={"v": "string"})
        assert [row["v"] for row in rows_of(table_job(tmp_path, options=options))] == ["1.50", "2"]

    def test_every_input_has_its_own_options(self, tmp_path: Path) -> None:
        (tmp_path / "a").mkdir()
        (tmp_path / "b").mkdir()
        (tmp_path / "a" / "x.csv").write_text("id;v;w\n1;2;3\n")
        (tmp_path / "b" / "x.csv").write_text("4,5,6\n")
        first = TableOptions(delimiter=";", drop_columns=("w",), column_types={"v": "string"})
        second = TableOptions(header="no_header", keep_columns=("Column1",))
        spec = table_job(tmp_path / "a", tmp_path / "b", options=[first, second])
        assert rows_of(spec) == [{"id": 1, "v": "2", "Column1": None}, {"id": None, "v": None, "Column1": 4}]

    def test_what_one_input_drops_is_null_beside_another_that_has_it(self, tmp_path: Path) -> None:
        for part in ("a", "b"):
            (tmp_path / part).mkdir()
            (tmp_path / part / "x.csv").write_text("id,v\n1,2\n")
        spec = table_job(tmp_path / "a", tmp_path / "b", options=[TableOptions(drop_columns=("v",)), TableOptions()])
        assert rows_of(spec) == [{"id": 1, "v": None}, {"id": 1, "v": 2}]


def test_orc_keeps_types_nulls_and_stripes(tmp_path: Path) -> None:
    table = pa.table(
        {
            "n": pa.array([None if n % 7 == 0 else n for n in range(20_000)], pa.int32()),
            "s": [f"text {n} " * 9 for n in range(20_000)],
            "l": [[n, None] for n in range(20_000)],
        }
    )
    orc.write_table(table, str(tmp_path / "x.orc"), stripe_size=64 << 10, compression="uncompressed")
    spec = table_job(tmp_path, rows=999)
    plan = make_plan(spec)
    assert len(plan.files[0].marks) > 2
    got = read_all(spec, plan, units=list(reversed(range(len(plan.units)))))
    assert [row for number in range(len(got)) for row in got[number]] == table.to_pylist()
    assert types_of(spec)["n"] == pa.int32()
