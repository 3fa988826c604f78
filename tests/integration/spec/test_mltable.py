"""MLTable files: every key, what they come to, and every refusal with its line."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from runner.dataset.listing import list_files, list_table
from runner.entity.table import TableOptions
from runner.errors import SpecInvalid
from runner.spec.mltable import TableDefinition, find_mltable, read_mltable


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a.csv", "b.csv", "_hidden.csv", "sub/c.csv"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("id,v\n1,2\n")
    return tmp_path


def _read(folder: Path, text: str) -> TableDefinition:
    (folder / "MLTable").write_text(text)
    return read_mltable(folder / "MLTable")


def _steps(folder: Path, *steps: str) -> TableOptions:
    body = "".join(f"  - {step}\n" for step in steps)
    return _read(folder, f"paths:\n  - file: ./a.csv\ntransformations:\n{body}").options


def _told(folder: Path, text: str) -> list[str]:
    """The problems, without the path of the file."""
    with pytest.raises(SpecInvalid) as caught:
        _read(folder, text)
    return [str(problem).replace(f"{folder}/MLTable:", "") for problem in caught.value.problems]


def test_it_is_found_in_a_folder_and_by_its_own_path(folder: Path) -> None:
    assert find_mltable(folder) is None
    (folder / "MLTable").write_text("")
    assert find_mltable(folder) == find_mltable(folder / "MLTable") == folder / "MLTable"


class TestPaths:
    def _listed(self, folder: Path, *entries: str, as_files: bool = False) -> list[str]:
        options = _read(folder, "paths:\n" + "".join(f"  - {entry}\n" for entry in entries)).options
        found = (list_files if as_files else list_table)(str(folder), paths=options.paths)
        return [file.path.removeprefix(f"{folder}/") for file in found]

    def test_files_folders_and_patterns_in_their_order(self, folder: Path) -> None:
        assert self._listed(folder, "folder: ./sub", "file: ./b.csv", "pattern: ./[ab].csv") == [
            "sub/c.csv", "b.csv", "a.csv", "b.csv",
        ]  # fmt: skip

    def test_a_file_may_be_a_folder(self, folder: Path) -> None:
        assert self._listed(folder, "file: ./sub") == ["sub/c.csv"]

    def test_patterns_go_down_and_leave_out_what_is_no_data(self, folder: Path) -> None:
        assert self._listed(folder, "pattern: ./**/*") == ["a.csv", "b.csv", "sub/c.csv"]
        assert self._listed(folder, "pattern: ./*", as_files=True) == ["_hidden.csv", "a.csv", "b.csv"]

    def test_a_folder_with_the_letters_of_patterns(self, tmp_path: Path) -> None:
        odd = tmp_path / "a [1] * b%20"
        odd.mkdir()
        (odd / "x.csv").write_text("id\n1\n")
        assert self._listed(odd, "pattern: ./*.csv") == self._listed(odd, "file: x.csv") == ["x.csv"]

    def test_a_file_named_twice_is_read_twice_with_a_notice(self, folder: Path) -> None:
        assert self._listed(folder, "file: a.csv", "file: ./a.csv") == ["a.csv", "a.csv"]
        definition = _read(folder, "paths:\n  - file: a.csv\n  - file: ./a.csv\n")
        assert definition.notices == [
            f"{folder}/MLTable:3: paths[1] names {folder}/a.csv again: it is read twice",
        ]

    @pytest.mark.parametrize(
        ("text", "problem"),
        [
            ("type: mltable\n", "1: names no paths; write `paths:`"),
            ("paths: []\n", "1: paths names no paths"),
            ("paths: a.csv\n", "1: paths names no paths"),
            ("paths:\n  - a.csv\n", "2: paths[0] is 'a.csv'; write `file:`, `folder:` or `pattern:`"),
            ("paths:\n  - file: a.csv\n    folder: sub\n", "2: paths[0] is a mapping; write"),
            ("paths:\n  - link: a.csv\n", "2: paths[0] is a mapping; write"),
            ("paths:\n  - file: 3\n", "2: paths[0].file is 3; write a path"),
            ("paths:\n  - file: ./none.csv\n", "2: paths[0].file leads to "),
            ("paths:\n\n  - pattern: ./*.parquet\n", "3: paths[0].pattern is './*.parquet', and no file matches it"),
            ("paths:\n  - file: https://x.org/a.csv\n", "2: paths[0].file is 'https://x.org/a.csv', which is no place"),
        ],
    )
    def test_refused_with_their_line(self, folder: Path, text: str, problem: str) -> None:
        told = _told(folder, text)
        assert len(told) == 1 and told[0].startswith(problem), told


class TestReading:
    def test_without_a_read_it_is_a_list_of_files(self, folder: Path) -> None:
        assert not _read(folder, "paths:\n  - folder: .\n").reads

    def test_all_of_read_delimited(self, folder: Path) -> None:
        text = """\
type: mltable
paths: [{file: ./a.csv}]
transformations:
  - read_delimited:
      delimiter: ";"
      header: no_header
      encoding: Latin-1
      empty_as_string: true
      infer_column_types: false
      include_path_column: true
      support_multi_line: false
      partition_size: 20mb
"""
        definition = _read(folder, text)
        assert definition.reads
        assert definition.options == TableOptions(
            format="delimited",
            delimiter=";",
            header="no_header",
            encoding="latin1",
            empty_as_string=True,
            infer_column_types=False,
            include_path_column=True,
            is_multi_line=False,
            paths=(f"{folder}/a.csv",),
        )

    @pytest.mark.parametrize("step", ["read_delimited", "read_delimited:", "read_delimited: {}"])
    def test_defaults(self, folder: Path, step: str) -> None:
        assert _steps(folder, step) == TableOptions(format="delimited", paths=(f"{folder}/a.csv",))

    @pytest.mark.parametrize("written", [r'"\t"', r"'\t'"])
    def test_a_tab_however_it_is_written(self, folder: Path, written: str) -> None:
        assert _steps(folder, f"read_delimited: {{delimiter: {written}}}").delimiter == "\t"

    def test_the_other_formats(self, folder: Path) -> None:
        assert _steps(folder, "read_parquet: {include_path_column: true}").include_path_column
        assert _steps(folder, "read_parquet").format == "parquet"
        json = _steps(folder, "read_json_lines: {encoding: utf-16, include_path_column: true, invalid_lines: error}")
        assert (json.format, json.encoding, json.include_path_column) == ("json_lines", "utf16", True)

    @pytest.mark.parametrize("header", ["no_header", "from_first_file", "all_files_different_headers"])
    def test_headers(self, folder: Path, header: str) -> None:
        assert _steps(folder, f"read_delimited: {{header: {header}}}").header == header

    @pytest.mark.parametrize("encoding", ["utf8", "UTF-8", "utf8bom", "ascii", "iso88591", "windows1252", "utf32"])
    def test_encodings(self, folder: Path, encoding: str) -> None:
        assert _steps(folder, f"read_delimited: {{encoding: {encoding}}}").encoding == encoding.lower().replace("-", "")


class TestOrder:
    """Transformations run in the order written."""

    def test_columns_kept_then_dropped(self, folder: Path) -> None:
        options = _steps(folder, "read_delimited", "keep_columns: [a, b, c]", "drop_columns: b")
        assert [name for name in ("a", "b", "c", "d") if options.gives(name)] == ["a", "c"]

    def test_kept_twice_the_later_order_counts(self, folder: Path) -> None:
        options = _steps(folder, "read_delimited", "keep_columns: [a, b, c]", "keep_columns: [c, a]")
        assert options.keep_columns == ("c", "a")

    def test_columns_of_paths_that_come_after_a_choice_are_not_subject_to_it(self, folder: Path) -> None:
        form = "extract_columns_from_partition_format: {partition_format: '/{shop}/{day:yyyy}/x.csv'}"
        late = _steps(folder, "read_delimited", "keep_columns: [a]", form)
        assert late.keep_columns == ("a", "shop", "day") and late.partition_format == "/{shop}/{day:yyyy}/x.csv"
        assert _steps(folder, "read_delimited", form, "keep_columns: [a]").keep_columns == ("a",)

    def test_types_given_twice_the_later_counts(self, folder: Path) -> None:
        first = "convert_column_types: [{columns: [a, b], column_type: int}, {columns: c, column_type: {datetime: []}}]"
        options = _steps(folder, "read_delimited", first, "convert_column_types: [{columns: a, column_type: string}]")
        assert options.column_types == {"a": "string", "b": "int64", "c": "timestamp[us]"}

    @pytest.mark.parametrize(
        ("steps", "left"),
        [
            (["skip: 3"], range(3, 10)),
            (["take: 3"], range(3)),
            (["skip: 2", "take: 3"], range(2, 5)),
            (["take: 5", "skip: 2"], range(2, 5)),
            (["take: 5", "skip: 9"], range(0)),
            (["skip: 1", "skip: {count: 2}", "take: 4", "take: 3", "skip: 1"], range(4, 6)),
        ],
    )
    def test_rows_skipped_and_taken(self, folder: Path, steps: list[str], left: range) -> None:
        options = _steps(folder, "read_delimited", *steps)
        assert list(range(10)[options.skip :][: options.take]) == list(left)


class TestRefused:
    @pytest.mark.parametrize(
        ("step", "problem"),
        [
            ("read_delimitd", "4: transformations[0].read_delimitd is no transformation that is known; did you mean"),
            ("read_delta_lake: {}", "4: transformations[0].read_delta_lake is not supported; Delta tables are not"),
            ("{read_parquet: , skip: 1}", "4: transformations[0] is a mapping; write one transformation"),
            ("3", "4: transformations[0] is 3; write one transformation"),
            ("read_delimited: {delimter: x}", "4: transformations[0].read_delimited.delimter is no setting that"),
            ("read_delimited: {delimiter: xy}", "4: transformations[0].read_delimited.delimiter is 'xy'; write one"),
            ("read_delimited: {delimiter: '\"'}", "4: transformations[0].read_delimited.delimiter is"),
            ("read_delimited: {header: maybe}", "4: transformations[0].read_delimited.header is 'maybe'"),
            ("read_delimited: {encoding: klingon}", "4: transformations[0].read_delimited.encoding is 'klingon'"),
            ("read_delimited: {empty_as_string: 1}", "4: transformations[0].read_delimited.empty_as_string is 1"),
            ("read_delimited: [a]", "4: transformations[0].read_delimited is a list; write keys below it"),
            ("read_json_lines: {invalid_lines: drop}", "4: transformations[0].read_json_lines.invalid_lines is 'drop'"),
            ("read_parquet: {delimiter: x}", "4: transformations[0].read_parquet.delimiter is no setting that"),
        ],
    )
    def test_ways_to_read(self, folder: Path, step: str, problem: str) -> None:
        told = _told(folder, f"paths:\n  - file: a.csv\ntransformations:\n  - {step}\n")
        assert len(told) == 1 and told[0].startswith(problem), told

    @pytest.mark.parametrize(
        ("steps", "problem"),
        [
            (["filter: col('a') > 1"], "5: transformations[1].filter is not supported; filters of rows"),
            (["take_random_sample: {probability: 0.1}"], "5: transformations[1].take_random_sample is not supported"),
            (["random_split"], "5: transformations[1].random_split is not supported"),
            (["read_parquet"], "5: transformations[1].read_parquet is a second way to read the files"),
            (["keep_columns: []"], "5: transformations[1].keep_columns is a list; write a list of columns"),
            (["drop_columns: 3"], "5: transformations[1].drop_columns is 3; write a list of columns"),
            (["drop_columns: a", "keep_columns: [b, a]"], "6: transformations[2].keep_columns names 'a', which a"),
            (["keep_columns: a", "drop_columns: b"], "6: transformations[2].drop_columns names 'b', which a"),
            (
                ["drop_columns: a", "convert_column_types: [{columns: a, column_type: int}]"],
                "6: transformations[2].convert_column_types[0].columns names 'a', which a",
            ),
            (["convert_column_types: int"], "5: transformations[1].convert_column_types is 'int'; write a list"),
            (
                ["convert_column_types: [{columns: a, column_type: blob}]"],
                "5: transformations[1].convert_column_types[0].column_type is 'blob'; write one of string",
            ),
            (["skip: -1"], "5: transformations[1].skip is -1; write a number of rows"),
            (["take: true"], "5: transformations[1].take is true; write a number of rows"),
            (["extract_columns_from_partition_format: x"], "5: transformations[1].extract_columns_from_partition_form"),
        ],
    )
    def test_transformations(self, folder: Path, steps: list[str], problem: str) -> None:
        body = "".join(f"  - {step}\n" for step in ["read_delimited", *steps])
        told = _told(folder, f"paths:\n  - file: a.csv\ntransformations:\n{body}")
        assert len(told) == 1 and told[0].startswith(problem), told

    @pytest.mark.parametrize("step", ["keep_columns: [a]", "skip: 1", "convert_column_types: []"])
    def test_rows_and_columns_of_a_list_of_files(self, folder: Path, step: str) -> None:
        told = _told(folder, f"paths:\n  - file: a.csv\ntransformations:\n  - {step}\n  - read_delimited\n")
        assert len(told) == 1 and "is for tables, and nothing before it reads the files as one" in told[0]

    def test_keys_with_the_nearest_known(self, folder: Path) -> None:
        told = _told(folder, "paths:\n  - file: a.csv\ntransfomations: []\n")
        assert told == ["3: transfomations is no key of an MLTable file; did you mean `transformations`?"]

    def test_all_at_once(self, folder: Path) -> None:
        told = _told(folder, "pahts: []\ntransformations:\n  - filter: x\n  - read_delimited: {header: x}\n")
        assert [line.split(":")[0] for line in told] == ["1", "1", "3", "4"]

    def test_bytes_that_are_no_text(self, folder: Path) -> None:
        (folder / "MLTable").write_bytes(gzip.compress(b"paths: []"))
        with pytest.raises(SpecInvalid, match="cannot be read"):
            read_mltable(folder / "MLTable")
