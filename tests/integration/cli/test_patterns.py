"""Patterns as paths of inputs that are cut, and the modes that such inputs may have."""

from __future__ import annotations

from typing import Any

import pytest
from cli_kit import ECHO, TABLES, Bench


def _input(pattern: str, **more: Any) -> dict[str, Any]:
    return {"cargo": {"type": "uri_folder", "path": pattern, **more}}


def _tree(bench: Bench, *names: str) -> None:
    for name in names:
        path = bench.data / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("data/*.txt", ["a b.txt", "b.txt", "é.txt"]),
        ("data/**/*.txt", ["a b.txt", "x.txt", "b.txt", "y.txt", "é.txt"]),
        ("data/b*/[xyz].txt", ["x.txt", "y.txt"]),
        ("data/b?c/*", ["x.txt", "z.jpg"]),
    ],
)
def test_a_pattern_gives_its_files_in_the_byte_order_of_their_paths(
    bench: Bench, pattern: str, expected: list[str]
) -> None:
    _tree(bench, "é.txt", "b.txt", "a b.txt", "b/y.txt", "b-c/x.txt", "b-c/z.jpg", ".hidden.txt")
    bench.script(ECHO)
    bench.submit(inputs=_input(pattern)).ok()
    assert bench.target.read_text().splitlines() == expected


def test_a_file_whose_name_holds_such_signs_is_itself(bench: Bench) -> None:
    _tree(bench, "a[1]*.txt", "a1.txt")
    bench.script(ECHO)
    bench.submit(inputs=_input("data/a[1]*.txt", type="uri_file")).ok()
    assert bench.target.read_text() == "a[1]*.txt\n"


def test_a_pattern_without_a_match_is_told_with_its_line(bench: Bench) -> None:
    bench.script(ECHO)
    done = bench.submit(inputs=_input("data/*.jpeg"))
    assert done.code == 2 and "data/*.jpeg, and nothing matches it" in done.err and "job.yml:" in done.err


def test_tables_by_pattern_keep_the_columns_of_their_folders(bench: Bench) -> None:
    bench.script("def run(frame):\n    return [f'{s}|{x}' for s, x in zip(frame['s'], frame['x'])]\n")
    for store in ("u", "v"):
        (bench.folder / "tables" / f"s={store}").mkdir(parents=True)
        bench.table(f"s={store}/a.parquet", {"x": [1, 2]})
        bench.table(f"s={store}/b.parquet", {"x": [3]})
    inputs = {"cargo": {**TABLES["inputs"]["cargo"], "path": "tables/*/a.parquet"}}
    bench.submit(**TABLES | {"inputs": inputs}).ok()
    assert bench.target.read_text().splitlines() == ["u|1", "u|2", "v|1", "v|2"]


@pytest.mark.parametrize("mode", ["ro_mount", "download", "direct"])
def test_files_are_read_where_they_are_in_every_mode(bench: Bench, mode: str) -> None:
    _tree(bench, "a.txt")
    bench.script("def run(paths): return paths\n")
    bench.submit(inputs=_input("data", mode=mode)).ok()
    assert bench.target.read_text() == f"{bench.data / 'a.txt'}\n"


@pytest.mark.parametrize("mode", ["eval_mount", "eval_download"])
def test_an_mltable_that_is_to_be_evaluated_is_a_list_of_files(bench: Bench, mode: str) -> None:
    _tree(bench, "a.txt", "b.txt")
    bench.script(ECHO)
    bench.submit(inputs=_input("data", type="mltable", mode=mode)).ok()
    assert bench.target.read_text() == "a.txt\nb.txt\n"
