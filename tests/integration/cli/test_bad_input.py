"""Whatever is wrong with a job, its code or its data: one clear message, an exit code, and nothing written.

What can be told by looking is refused before there is a job. What only planning or a worker can tell leaves a job that
is Failed, with code 2 as long as it was not Running.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from cli_kit import ECHO, TABLES, Bench, Ended

from runner.store.home import Home


def refuse(bench: Bench, *told: str, code: int = 2, own: bool = False, **changes: Any) -> Ended:
    """Submit; the job is refused before it exists, in one line that says everything in `told`."""
    bench.job(**changes)
    with bench.nothing_written():
        done = bench.run("submit", bench.folder / "job.yml")
    check(done, told, code, own)
    assert bench.run("list", "--output", "json").ok().json == []
    assert "submitted" not in done.err
    return done


def fail(bench: Bench, *told: str, code: int = 2, own: bool = False, **changes: Any) -> Ended:
    """Submit; the job is created and fails before or while it runs, saying everything in `told`."""
    bench.job(**changes)
    with bench.nothing_written():
        done = bench.run("submit", bench.folder / "job.yml", "--name", "probe")
    check(done, told, code, own)
    shown = bench.show()
    assert shown["status"] == "Failed"
    assert (shown["start_time"] is None) == (code == 2 or "init()" in done.err)
    return done


def check(done: Ended, told: tuple[str, ...], code: int, own: bool) -> None:
    assert done.code == code, done.err
    assert done.out == ""
    missing = [pattern for pattern in told if not re.search(pattern, done.err)]
    assert not missing, f"{missing} are not in:\n{done.err}"
    assert ("Traceback (most recent call last)" in done.err) == own, done.err
    if own:
        mine = re.findall(r'File "(.*?/runner/[a-z]+/[a-z_]+\.py)"', done.err)
        assert not mine, f"frames of the runner: {mine}"


@pytest.fixture(autouse=True)
def good_job(bench: Bench) -> None:
    """What a test does not spoil is well."""
    bench.script(ECHO)
    bench.files(2)


# ---- the file -----------------------------------------------------------------------------------------------


def test_a_file_that_is_not_there(bench: Bench) -> None:
    with bench.nothing_written():
        done = bench.run("submit", "nowhere.yml")
    check(done, (r"^nowhere\.yml: .*no such file.*", re.escape(str(bench.folder / "nowhere.yml"))), 2, False)
    assert len(done.err.splitlines()) == 1


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", r"job\.yml.*(empty|mapping)"),
        ("just words\n", r"job\.yml:1: .*mapping"),
        ("- a\n- b\n", r"job\.yml:1: .*mapping"),
        ("type: parallel\n  task: {\n", r"job\.yml:2: "),
        ("type: parallel\n\ttask: x\n", r"job\.yml:2: .*tab"),
        ("type: parallel\ntype: command\n", r"job\.yml:2: .*type"),
        ("type: sweep\n", r"job\.yml:1: .*sweep.*parallel"),
        ("task: {}\n", r"job\.yml.*type"),
    ],
)
def test_yaml_that_is_no_job(bench: Bench, text: str, told: str) -> None:
    (bench.folder / "job.yml").write_text(text)
    with bench.nothing_written():
        done = bench.run("submit", "job.yml")
    check(done, (told,), 2, False)


def test_a_file_that_is_no_text(bench: Bench) -> None:
    (bench.folder / "job.yml").write_bytes(b"\xff\xfe\x00broken")
    check(bench.run("submit", "job.yml"), (r"job\.yml: .*UTF-8",), 2, False)
    check(bench.run("submit", "."), (r"folder",), 2, False)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"mini_batch_sizes": "5"}, [r"mini_batch_sizes", r"did you mean `mini_batch_size`\?"]),
        ({"runner": {"column": ["a"]}}, [r"column\b", r"`columns`"]),
        ({"retry_settings": {"max_retry": 1}}, [r"max_retry\b", r"`max_retries`"]),
        ({"task": {"entry_scripts": "x"}}, [r"entry_scripts", r"`entry_script`"]),
        ({"max_concurrency_per_instance": "many"}, [r"max_concurrency_per_instance", r"many", r"number|integer"]),
        ({"max_concurrency_per_instance": 0}, [r"max_concurrency_per_instance", r"\b0\b"]),
        ({"environment_variables": []}, [r"environment_variables", r"mapping"]),
        ({"mini_batch_size": 0}, [r"mini_batch_size", r"\b0\b"]),
        ({"mini_batch_size": "0"}, [r"mini_batch_size", r"'0'"]),
        ({"mini_batch_size": "10 tb"}, [r"mini_batch_size", r"'10 tb'", r"kb.*mb.*gb"]),
        ({"mini_batch_size": "-1"}, [r"mini_batch_size", r"-1"]),
        ({"mini_batch_size": "1000 rows"}, [r"mini_batch_size", r"1000 rows", r"files"]),
        ({"error_threshold": -2}, [r"error_threshold", r"-2", r"-1"]),
        ({"mini_batch_error_threshold": -2}, [r"mini_batch_error_threshold", r"-2", r"-1"]),
        ({"task": {"program_arguments": "--allowed_failed_percent 101"}}, [r"allowed_failed_percent", r"101", r"100"]),
        ({"retry_settings": {"timeout": 0}}, [r"timeout", r"\b0\b", r"259200"]),
        ({"retry_settings": {"max_retries": -1}}, [r"max_retries", r"-1"]),
        ({"logging_level": "info"}, [r"logging_level", r"info", r"INFO"]),
        ({"input_data": "${{inputs.crates}}"}, [r"input_data", r"crates", r"cargo"]),
        ({"input_data": None}, [r"input_data"]),
        ({"task": {"append_row_to": "${{outputs.sores}}"}}, [r"append_row_to", r"sores", r"scores"]),
        ({"task": None}, [r"task"]),
        ({"task": {"entry_script": None}}, [r"entry_script"]),
        ({"task": {"entry_script": "gone.py"}}, [r"entry_script", r"gone\.py"]),
        ({"task": {"code": "nowhere"}}, [r"code", r"nowhere"]),
        ({"inputs": {"cargo": {"type": "uri_folder", "path": "gone"}}}, [r"inputs\.cargo", r"/work/gone", r"nothing"]),
        ({"inputs": {"cargo": {"type": "uri_folder", "path": "job.yml"}}}, [r"inputs\.cargo", r"uri_file"]),
        ({"inputs": {"cargo": {"type": "uri_file", "path": "data"}}}, [r"inputs\.cargo", r"uri_folder"]),
        ({"outputs": {"scores": {"path": "job.yml/below.txt"}}}, [r"outputs\.scores", r"job\.yml"]),
        ({"runner": {"keep_columns": ["path"]}}, [r"keep_columns", r"text"]),
        ({"task": {"program_arguments": "--amlbi_async_mode true"}}, [r"amlbi_async_mode"]),
    ],
)
def test_a_job_that_cannot_be(bench: Bench, changes: dict[str, Any], told: list[str]) -> None:
    done = refuse(bench, *told, **changes)
    assert len(done.err.splitlines()) == 1, done.err
    assert re.match(rf"{re.escape(str(bench.folder / 'job.yml'))}(:\d+)?: .+; .+", done.err), "place, problem, remedy"


def test_all_problems_are_told_at_once(bench: Bench) -> None:
    done = refuse(
        bench,
        r"mini_batch_size",
        r"error_threshold",
        r"timeout",
        r"/work/gone",
        mini_batch_size="0",
        error_threshold=-2,
        retry_settings={"timeout": 0},
        inputs={"cargo": {"type": "uri_folder", "path": "gone"}},
    )
    assert len(done.err.splitlines()) == 4


# ---- the script ---------------------------------------------------------------------------------------------


def test_a_script_without_run(bench: Bench) -> None:
    bench.script("def init(): pass\n\ndef runs(mini_batch): return mini_batch\n")
    refuse(bench, r"score\.py", r"no function run", r"def run\(mini_batch\)")


def test_a_script_with_a_syntax_error(bench: Bench) -> None:
    bench.script("def run(mini_batch):\n    return mini_batch +\n")
    refuse(bench, r"score\.py:2: ", r"syntax")


def test_a_script_whose_import_fails(bench: Bench) -> None:
    bench.script("import no_such_module\n\ndef run(mini_batch): return mini_batch\n")
    done = fail(bench, r"score\.py", r"ModuleNotFoundError: No module named 'no_such_module'", own=True)
    assert re.search(r'File ".*/score\.py", line 1, in <module>', done.err)


def test_a_script_that_ends_while_it_is_imported(bench: Bench) -> None:
    bench.script("import os\nos._exit(7)\n\ndef run(mini_batch): return mini_batch\n")
    fail(bench, r"score\.py", r"exit", r"\b7\b")


def test_a_script_whose_run_appears_only_to_be_there(bench: Bench) -> None:
    bench.script("def run(mini_batch): return mini_batch\ndel run\n")
    fail(bench, r"score\.py", r"run")


def test_an_init_that_fails(bench: Bench) -> None:
    bench.script("def init():\n    raise OSError('no model')\n\ndef run(mini_batch): return mini_batch\n")
    done = fail(bench, r"init\(\) failed: OSError: no model", code=1, own=True)
    assert re.search(r'File ".*/score\.py", line 2, in init', done.err)


# ---- the data -----------------------------------------------------------------------------------------------


def test_an_empty_folder(bench: Bench) -> None:
    for file in bench.data.iterdir():
        file.unlink()
    fail(bench, r"'cargo'", re.escape(str(bench.data)), r"no files")


def test_a_folder_with_nothing_but_hidden_files(bench: Bench) -> None:
    for file in bench.data.iterdir():
        file.rename(file.with_name(f".{file.name}"))
    fail(bench, r"'cargo'", re.escape(str(bench.data)))


def test_tables_without_a_row(bench: Bench) -> None:
    bench.table("a.parquet", {"x": pa.array([], pa.int64())})
    fail(bench, r"'cargo'", r"none of them holds a row", **TABLES)


def test_a_corrupt_parquet_file_is_named(bench: Bench) -> None:
    bench.table("a.parquet", {"x": [1]})
    bad = bench.table("b.parquet", {"x": [1]})
    bad.write_bytes(bad.read_bytes()[:-4] + b"JUNK")
    fail(bench, re.escape(str(bad)), r"Parquet", **TABLES)


def test_an_empty_parquet_file_is_named(bench: Bench) -> None:
    bad = bench.table("a.parquet", {"x": [1]})
    bad.write_bytes(b"")
    fail(bench, re.escape(str(bad)), **TABLES)


def test_schemas_that_do_not_fit_are_both_named(bench: Bench) -> None:
    first = bench.table("a.parquet", {"x": [1], "y": ["a"]})
    second = bench.table("b.parquet", {"x": ["one"], "y": ["a"]})
    fail(bench, re.escape(str(first)), re.escape(str(second)), r"\bx\b", r"int64", r"string", **TABLES)


def test_a_column_that_no_file_has_is_named_with_those_there_are(bench: Bench) -> None:
    bench.table("a.parquet", {"price": [1], "size": [2]})
    fail(bench, r"prize", r"price", **TABLES, runner={"columns": ["prize"]})


# ---- the target ---------------------------------------------------------------------------------------------


def test_a_target_that_exists(bench: Bench) -> None:
    bench.target.parent.mkdir()
    bench.target.write_text("precious")
    refuse(bench, re.escape(str(bench.target)), r"exists", r"--overwrite")


def test_a_target_folder_that_is_not_empty(bench: Bench) -> None:
    (bench.folder / "out").mkdir()
    (bench.folder / "out" / "old.parquet").write_text("precious")
    outputs = {"scores": {"type": "uri_folder", "path": "out"}}
    refuse(bench, r"/work/out\b", r"exists", r"--overwrite", outputs=outputs)


def test_a_target_that_appears_meanwhile_is_not_replaced(bench: Bench) -> None:
    going = bench.began()
    bench.target.write_text("precious")
    bench.give("go")
    ended = going.end()
    assert ended.code == 2 and str(bench.target) in ended.err and "exists" in ended.err
    assert bench.target.read_text() == "precious"
    assert bench.status() == "Failed"


# ---- what cannot be reached ---------------------------------------------------------------------------------


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_an_address_where_no_ray_answers(bench: Bench) -> None:
    port = free_port()
    bench.job(compute=None)
    with bench.nothing_written():
        done = bench.run(
            "submit", bench.folder / "job.yml", "--name", "probe", env={"RAY_ADDRESS": f"127.0.0.1:{port}"}
        )
    check(done, (rf"no Ray cluster at 127\.0\.0\.1:{port}", r"ray start|RAY_ADDRESS"), 3, False)
    assert bench.status() == "Failed"


@pytest.mark.parametrize("address", ["ray://127.0.0.1:10001", "http://127.0.0.1:8265"])
def test_an_address_of_another_kind_names_the_kinds_that_work(bench: Bench, address: str) -> None:
    bench.job(compute=None)
    with bench.nothing_written():
        done = bench.run("submit", bench.folder / "job.yml", env={"RAY_ADDRESS": address})
    assert done.code in (2, 3)
    check(done, (re.escape(address), r"HOST:PORT|host:port"), done.code, False)


VERBS: list[Callable[[Bench], tuple[str | Path, ...]]] = [
    lambda bench: ("submit", bench.job()),
    lambda bench: ("list",),
    lambda bench: ("show", "probe"),
    lambda bench: ("watch", "probe"),
    lambda bench: ("logs", "probe"),
    lambda bench: ("cancel", "probe"),
    lambda bench: ("download", "probe"),
    lambda bench: ("delete", "probe"),
]


@pytest.mark.parametrize("verb", VERBS, ids=["submit", "list", "show", "watch", "logs", "cancel", "download", "delete"])
def test_a_server_that_is_not_there(bench: Bench, verb: Callable[[Bench], tuple[str | Path, ...]]) -> None:
    port = free_port()
    arguments = verb(bench)
    with bench.nothing_written():
        done = bench.run(*arguments, "--server", f"127.0.0.1:{port}", env={"RUNNER_TOKEN": "some"})
    check(done, (rf"no runner service at 127\.0\.0\.1:{port}", r"`runner serve`"), 3, False)
    assert len(done.err.splitlines()) == 1


@pytest.mark.parametrize("address", ["nonsense", "127.0.0.1:port", "127.0.0.1:99999", "http://127.0.0.1:80", ":80"])
def test_an_address_that_is_none(bench: Bench, address: str) -> None:
    done = bench.run("list", "--server", address, env={"RUNNER_TOKEN": "some"})
    assert done.code in (2, 3)
    check(done, (re.escape(address),), done.code, False)
    assert len(done.err.splitlines()) == 1


def test_a_home_that_cannot_be(bench: Bench) -> None:
    bench.home.write_text("a file")
    done = bench.run("submit", bench.job())
    check(done, (re.escape(str(bench.home)), r"RUNNER_HOME"), 1, False)
    bench.home.unlink()


def test_a_configuration_that_is_broken(bench: Bench) -> None:
    Home(bench.home).make().config.write_text("[datastores\n")
    done = bench.run("submit", bench.job())
    check(done, (re.escape(str(bench.home / "config.toml")),), 2, False)
