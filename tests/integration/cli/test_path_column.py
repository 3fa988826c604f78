"""`runner: {path_column: NAME}` tells the file of each row, for tables of every format."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from cli_kit import TABLES, Bench

SCRIPT = "def run(frame):\n    return [f'{p}|{x:g}' for p, x in zip(frame['source'], frame['x'])]\n"
COLUMN = {"path_column": "source"}


def _write(path: Path, values: list[int]) -> None:
    path.parent.mkdir(exist_ok=True)
    if path.suffix == ".csv":
        path.write_text("x\n" + "".join(f"{value}\n" for value in values))
    elif path.suffix == ".jsonl":
        path.write_text("".join(f'{{"x": {value}}}\n' for value in values))
    else:
        table = pa.table({"x": values})
        with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
            writer.write_table(table)


@pytest.mark.parametrize("extension", ["parquet", "arrow", "csv", "jsonl"])
def test_every_row_has_the_path_of_its_file(bench: Bench, extension: str) -> None:
    bench.script(SCRIPT)
    for name, values in (("a", [1, 2]), ("b c", [3])):
        if extension == "parquet":
            bench.table(f"{name}.parquet", {"x": values})
        else:
            _write(bench.folder / "tables" / f"{name}.{extension}", values)
    bench.submit(**TABLES, runner=COLUMN).ok()
    folder = bench.folder / "tables"
    expected = [f"{folder / name}.{extension}|{x}" for name, x in (("a", 1), ("a", 2), ("b c", 3))]
    assert bench.target.read_text().splitlines() == expected


def test_it_stands_beside_what_an_mltable_keeps(bench: Bench) -> None:
    bench.script(SCRIPT)
    bench.table("a.parquet", {"x": [1], "y": [2]})
    said = "paths: [{file: a.parquet}]\ntransformations: [read_parquet, {keep_columns: [x]}]\n"
    (bench.folder / "tables" / "MLTable").write_text(said)
    bench.submit(**TABLES, runner=COLUMN).ok()
    assert bench.target.read_text() == f"{bench.folder / 'tables' / 'a.parquet'}|1\n"


def test_files_have_no_columns(bench: Bench) -> None:
    bench.script("def run(paths): return paths\n")
    bench.files(1)
    changes: dict[str, Any] = {"runner": COLUMN}
    done = bench.submit(**changes)
    assert done.code == 2 and "runner.path_column is for tables" in done.err, done.err
