"""What `run` returns becomes exactly these bytes and these columns, whatever the workers, retries and crashes."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from cli_kit import TABLES, Bench

FOLDER = {"scores": {"type": "uri_folder", "path": "out/scores"}}


def test_lists_become_lines_by_str(bench: Bench) -> None:
    bench.script("def run(mini_batch):\n    return ['a b', 1, 2.5, None, True, ('x', 1), {'k': 'v'}, 'é', [1, 'z']]\n")
    bench.files(1)
    bench.submit().ok()
    expected = ["a b", "1", "2.5", "None", "True", "('x', 1)", "{'k': 'v'}", "é", "[1, 'z']"]
    assert bench.target.read_text(encoding="utf-8") == "\n".join(expected) + "\n"


def test_frames_are_separated_by_spaces_without_header_or_index(bench: Bench) -> None:
    bench.script(
        "import pandas as pd\n"
        "def run(mini_batch):\n"
        "    return pd.DataFrame({'n': [1, 2], 't': ['x y', 'plain'], 'f': [0.5, None]}, index=[7, 8])\n"
    )
    bench.files(2)
    bench.submit().ok()
    assert bench.target.read_text() == '1 "x y" 0.5\n2 plain ""\n' * 2 or bench.target.read_text() == (
        '1 "x y" 0.5\n2 plain \n' * 2
    )


def test_the_settings_file_and_the_header_argument_shape_frames(bench: Bench) -> None:
    settings = {"append_row": {"pandas.DataFrame.to_csv": {"sep": ",", "index": True}}}
    (bench.code / "parallel_run_step.settings.json").write_text(json.dumps(settings))
    bench.script(
        "import pandas as pd\n"
        "def run(mini_batch):\n"
        "    return [] if '000' in mini_batch[0] else pd.DataFrame({'n': [1], 't': ['x,y']})\n"
    )
    bench.files(3)
    bench.submit().ok()
    assert bench.target.read_text() == '0,1,"x,y"\n' * 2
    bench.run("delete", "probe").ok()
    bench.submit("--overwrite", task={"program_arguments": "--append_row_dataframe_header True"}).ok()
    assert bench.target.read_text() == ",n,t\n" + '0,1,"x,y"\n' * 2


def test_a_frame_with_other_columns_under_a_header_fails_the_job_and_names_both(bench: Bench) -> None:
    bench.script(
        "import pandas as pd\n"
        "def run(mini_batch):\n    return pd.DataFrame({'n' if '000' in mini_batch[0] else 'm': [1]})\n"
    )
    bench.files(2)
    done = bench.submit(task={"program_arguments": "--append_row_dataframe_header True"})
    assert done.code == 1
    assert all(word in done.err for word in ("mini-batch 0", "mini-batch 1", "columns n ", "columns m,")), done.err
    assert not bench.target.exists()


@pytest.mark.parametrize("setting", [{"mode": "a"}, {"header": True}, {"path_or_buf": "x"}, {"compression": "gzip"}])
def test_settings_that_the_runner_decides_are_refused(bench: Bench, setting: dict[str, Any]) -> None:
    settings = {"append_row": {"pandas.DataFrame.to_csv": setting}}
    (bench.code / "parallel_run_step.settings.json").write_text(json.dumps(settings))
    bench.script("def run(mini_batch): return mini_batch\n")
    bench.files(1)
    done = bench.submit()
    assert done.code == 2 and "settings.json" in done.err and next(iter(setting)) in done.err


def test_a_folder_gets_one_file_of_the_known_name_or_the_one_asked_for(bench: Bench) -> None:
    bench.script("def run(mini_batch): return ['line']\n")
    bench.files(2)
    bench.submit(outputs=FOLDER).ok()
    assert [path.name for path in (bench.folder / "out" / "scores").iterdir()] == ["parallel_run_step.txt"]
    bench.run("delete", "probe").ok()
    task = {"program_arguments": "--append_row_file_name all.csv"}
    bench.submit(outputs={"scores": {"type": "uri_folder", "path": "out/named"}}, task=task).ok()
    assert [path.name for path in (bench.folder / "out" / "named").iterdir()] == ["all.csv"]


TYPED = """\
import datetime
import numpy as np
import pandas as pd

def run(frame):
    return pd.DataFrame({
        "id": frame["id"],
        "half": frame["id"].astype("float32") / 2,
        "even": frame["id"] % 2 == 0,
        "name": ["n%d" % n for n in frame["id"]],
        "when": pd.Timestamp("2026-01-02T03:04:05"),
        "many": [[n, n] for n in frame["id"]],
    })
"""


def test_parquet_keeps_types_and_order_and_has_a_true_manifest(bench: Bench) -> None:
    bench.script(TYPED)
    bench.table("a.parquet", {"id": list(range(105))})
    bench.submit(**TABLES, outputs=FOLDER, runner={"output_format": "parquet"}).ok()
    folder = bench.folder / "out" / "scores"
    manifest = json.loads((folder / "_manifest.json").read_text())
    assert manifest["version"] == 1
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        ["_manifest.json", *(part["file"] for part in manifest["parts"])]
    )
    for part in manifest["parts"]:
        data = (folder / part["file"]).read_bytes()
        assert (len(data), hashlib.sha256(data).hexdigest()) == (part["bytes"], part["sha256"])
        assert pq.read_metadata(folder / part["file"]).num_rows == part["rows"]
    table = whole(folder)
    assert table.column("id").to_pylist() == list(range(105))
    kinds = {field.name: field.type for field in table.schema}
    assert kinds["id"] == pa.int64() and kinds["half"] == pa.float32() and kinds["even"] == pa.bool_()
    assert pa.types.is_timestamp(kinds["when"]) and pa.types.is_list(kinds["many"])
    assert table.column("many").to_pylist()[3] == [3, 3]


def whole(folder: Path) -> pa.Table:
    """All parts in the order of the manifest."""
    manifest = json.loads((folder / "_manifest.json").read_text())
    return pa.concat_tables([pq.read_table(folder / part["file"]) for part in manifest["parts"]])


@pytest.mark.parametrize(
    ("returned", "columns"),
    [
        ("[1.5, 2.5]", {"value": [1.5, 2.5]}),
        ("[{'a': 1, 'b': 'x'}, {'a': 2}]", {"a": [1, 2], "b": ["x", None]}),
        ("np.array([[1, 2], [3, 4]])", {"0": [1, 3], "1": [2, 4]}),
        ("pa.table({'q': [1, 2]})", {"q": [1, 2]}),
        ("np.array([1, 2], dtype='int16')", {"value": [1, 2]}),
    ],
)
def test_other_returns_become_columns(bench: Bench, returned: str, columns: dict[str, Any]) -> None:
    bench.script(f"import numpy as np, pyarrow as pa\ndef run(frame): return {returned}\n")
    bench.table("a.parquet", {"id": [1, 2]})
    bench.submit(**TABLES, outputs=FOLDER, runner={"output_format": "parquet"}).ok()
    assert whole(bench.folder / "out" / "scores").to_pydict() == columns


def test_types_that_do_not_fit_fail_the_job_and_name_two_mini_batches(bench: Bench) -> None:
    bench.script("def run(frame): return [{'a': 'text' if frame['id'][0] >= 10 else 1.5}] * len(frame)\n")
    bench.table("a.parquet", {"id": list(range(20))})
    done = bench.submit(**TABLES, outputs=FOLDER, runner={"output_format": "parquet"})
    assert done.code == 1
    assert all(word in done.err for word in ("mini-batch 0", "mini-batch 1", "'a'")), done.err
    assert not list((bench.folder / "out").glob("scores/*.parquet"))


def test_kept_columns_come_first_and_need_as_many_rows(bench: Bench) -> None:
    bench.script("def run(frame): return [{'score': x * 2} for x in frame['x']]\n")
    bench.table("a.parquet", {"id": ["a", "b", "c"], "x": [1, 2, 3], "waste": [0, 0, 0]})
    runner = {"output_format": "parquet", "columns": ["x"], "keep_columns": ["id"]}
    bench.submit(**TABLES, outputs=FOLDER, runner=runner).ok()
    assert whole(bench.folder / "out" / "scores").to_pydict() == {"id": ["a", "b", "c"], "score": [2, 4, 6]}
    bench.run("delete", "probe").ok()
    bench.script("def run(frame): return [{'score': 1}]\n")
    outputs = {"scores": {"type": "uri_folder", "path": "out/short"}}
    done = bench.submit(**TABLES, outputs=outputs, runner=runner)
    assert done.code == 1 and "3" in done.err and "keep_columns" in done.err, done.err


def test_a_kept_column_that_is_returned_too_fails_the_job_and_is_named(bench: Bench) -> None:
    bench.script("def run(frame): return [{'id': 1} for x in frame['x']]\n")
    bench.table("a.parquet", {"id": ["a"], "x": [1]})
    runner = {"output_format": "parquet", "keep_columns": ["id"]}
    done = bench.submit(**TABLES, outputs=FOLDER, runner=runner)
    assert done.code == 1 and "'id'" in done.err, done.err


def test_part_size_says_how_large_files_get(bench: Bench) -> None:
    bench.script(
        "import numpy as np\n"
        "def run(frame): return np.random.default_rng(int(frame['id'][0])).random((len(frame), 4))\n"
    )
    bench.table("a.parquet", {"id": list(range(40_000))})
    changes = TABLES | {"mini_batch_size": "1000 rows"}
    bench.submit(**changes, outputs=FOLDER, runner={"output_format": "parquet", "part_size": "300kb"}).ok()
    folder = bench.folder / "out" / "scores"
    sizes = [path.stat().st_size for path in sorted(folder.glob("*.parquet"))]
    assert len(sizes) >= 3 and all(size < 700_000 for size in sizes)
    assert [path.name for path in sorted(folder.glob("*.parquet"))][:2] == ["part-00000.parquet", "part-00001.parquet"]
    bench.run("delete", "probe").ok()
    outputs = {"scores": {"type": "uri_folder", "path": "out/whole"}}
    bench.submit(**changes, outputs=outputs, runner={"output_format": "parquet"}).ok()
    assert len(list((bench.folder / "out" / "whole").glob("*.parquet"))) == 1
    assert whole(bench.folder / "out" / "whole").equals(whole(folder))


UNSTEADY = """\
import os, signal
import pandas as pd
import signs

def run(frame, context):
    first = int(frame["id"].iloc[0])
    if first % 130 == 0 and context.retry_count == 0:
        raise ValueError("try again")
    if first in (250, 640) and signs.give(f"killed-{first}"):
        os.kill(os.getpid(), signal.SIGKILL)
    if first % 390 == 10:
        raise KeyError(first)
    if first % 170 == 20:
        return []
    return pd.DataFrame({"id": frame["id"], "score": frame["id"] * 0.1, "text": frame["id"].map("row {}".format)})
"""


@pytest.mark.parametrize("form", ["text", "csv", "jsonl", "parquet"])
def test_workers_retries_and_deaths_do_not_show_in_the_output(bench: Bench, form: str) -> None:
    bench.script(UNSTEADY)
    bench.table("a.parquet", {"id": list(range(700))}, row_group_size=150)
    bench.table("b.parquet", {"id": list(range(700, 1000))})
    suffix = {"text": "txt"}.get(form, form)
    results = []
    for workers in (1, 2, 4):
        for sign in bench.signs.glob("killed-*"):
            sign.unlink()
        changes: dict[str, Any] = TABLES | {
            "outputs": {"scores": {"type": "uri_file", "path": f"out/scores-{workers}.{suffix}"}},
            "runner": {"output_format": form},
            "max_concurrency_per_instance": workers,
            "retry_settings": {"max_retries": 1},
        }
        bench.run("submit", bench.job(**changes), "--name", f"with-{workers}").ok()
        shown = bench.show(f"with-{workers}")
        assert (shown["item_count"], shown["failed_mini_batch_count"]) == (1000, 3)
        path = bench.folder / "out" / f"scores-{workers}.{suffix}"
        results.append(pq.read_table(path).to_pylist() if form == "parquet" else path.read_bytes())
        assert bench.is_given("killed-250") and bench.is_given("killed-640")
    assert results[0] == results[1] == results[2]
    assert len(results[0] if form == "parquet" else results[0].splitlines()) > 800
