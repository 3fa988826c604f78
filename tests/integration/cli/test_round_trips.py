"""Each verb does what its page says, for a job that runs and one that has ended."""

from __future__ import annotations

import os
import re
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cli_kit import ECHO, RUNNER, Bench, until

FIELDS = [
    "name",
    "type",
    "status",
    "create_time",
    "start_time",
    "end_time",
    "events",
    "item_count",
    "failed_item_count",
    "mini_batch_count",
    "done_mini_batch_count",
    "failed_mini_batch_count",
]
JOURNEY = ["NotStarted", "Starting", "Preparing", "Queued", "Running", "Finalizing", "Completed"]


def test_submit_watches_to_the_end_and_names_the_output(bench: Bench) -> None:
    bench.script(ECHO)
    names = bench.files(3)
    done = bench.submit().ok()
    assert bench.target.read_text().splitlines() == names
    assert done.out == "", "talk goes to stderr"
    assert "submitted probe" in done.err and "probe is Completed" in done.err
    assert f"output scores: {bench.target}" in done.err
    assert [path.name for path in bench.target.parent.iterdir()] == ["scores.txt"], "staging goes when it is done"


def test_the_json_of_a_job_is_flat_and_whole_and_the_same_from_submit_show_and_list(bench: Bench) -> None:
    bench.script(ECHO)
    bench.files(5)
    submitted = bench.submit("--output", "json").ok().json
    shown = bench.show()
    assert list(submitted) == FIELDS
    assert submitted == shown
    assert [event["status"] for event in shown["events"]] == JOURNEY
    times = [datetime.fromisoformat(event["time"]) for event in shown["events"]]
    assert times == sorted(times) and times[0].tzinfo == UTC
    assert shown["start_time"] == shown["events"][4]["time"], "start is the move to Running"
    assert shown["create_time"] <= shown["start_time"] <= shown["end_time"]
    counts = {key: value for key, value in shown.items() if key.endswith("_count")}
    assert counts == {
        "item_count": 5,
        "failed_item_count": 0,
        "mini_batch_count": 5,
        "done_mini_batch_count": 5,
        "failed_mini_batch_count": 0,
    }
    (listed,) = bench.run("list", "--output", "json").ok().json
    assert listed | {"events": shown["events"]} == shown


def test_a_detached_job_goes_on_and_is_seen_from_elsewhere(bench: Bench) -> None:
    bench.files(2)
    detached = bench.began("--detach")
    assert detached.end().code == 0
    assert bench.run("list").ok().out.splitlines()[1].split()[:3] == ["probe", "parallel", "Running"]
    watch = bench.start("watch", "probe")
    watch.says("0/2 mini-batches")
    follow = bench.start("logs", "probe", "--follow")
    bench.give("go")
    assert watch.end().code == 0
    assert follow.end().code == 0
    assert "2/2 mini-batches, 2/2 items, 0 failed" in watch.err
    assert bench.target.exists()


def test_detach_with_json_tells_the_job_as_it_stands(bench: Bench) -> None:
    bench.files(1)
    going = bench.began("--detach", "--output", "json")
    told = going.end().ok().json
    assert told["name"] == "probe" and told["status"] in JOURNEY[1:5]
    bench.give("go")
    assert bench.run("watch", "probe").code == 0


def test_the_script_s_words_are_in_logs_and_one_file_can_be_asked_for(bench: Bench) -> None:
    bench.script(
        "import logging, sys\n"
        "def init():\n    print('ready')\n    print('oh', file=sys.stderr)\n    logging.warning('mind this')\n"
        "def run(mini_batch):\n    print('at', len(mini_batch))\n    return mini_batch\n"
    )
    bench.files(2)
    bench.submit().ok()
    said = bench.run("logs", "probe").ok()
    assert "ready" in said.out.splitlines() and said.out.splitlines().count("at 1") == 2
    assert "mind this" in said.out and "oh" not in said.out.splitlines()
    listed = bench.run("logs", "probe", "--list", "--output", "json").ok().json
    paths = [file["path"] for file in listed]
    assert paths == sorted(paths) and all(file["size_bytes"] >= 0 for file in listed)
    assert {"job_result.txt", "readme.txt", "sys/job_report/processed_mini-batches.csv"} <= set(paths)
    plain = bench.run("logs", "probe", "--list").ok().out
    assert all(path in plain for path in paths)
    errors = "user/stderr/node-000/process000.stderr.txt"
    assert "oh\n" in bench.run("logs", "probe", errors).ok().out
    missing = bench.run("logs", "probe", "../runner.db")
    assert missing.code == 2 and "no log file ../runner.db" in missing.err and "--list" in missing.err


def test_logs_follow_shows_words_before_the_job_ends(bench: Bench) -> None:
    bench.files(1)
    bench.script("import signs\ndef init():\n    print('first words')\n    signs.wait('go')\ndef run(b): return b\n")
    going = bench.start("submit", bench.job(), "--name", "probe", "--detach")
    assert going.end().code == 0
    follow = bench.start("logs", "probe", "--follow")
    follow.says("first words")
    assert follow.process.poll() is None
    bench.give("go")
    assert follow.end().code == 0
    assert bench.status() == "Completed"


def test_cancel_ends_a_job_and_nothing_is_at_the_target(bench: Bench) -> None:
    bench.files(3)
    going = bench.began()
    cancelled = bench.run("cancel", "probe").ok()
    assert "probe is CancelRequested" in cancelled.err
    bench.give("go")
    ended = going.end()
    assert ended.code == 130
    assert "probe is Canceled" in ended.err
    assert bench.status() == "Canceled"
    assert not bench.target.exists()
    assert "probe is Canceled" in bench.run("cancel", "probe").ok().err, "once more does no harm"


def test_a_job_that_has_ended_cannot_be_cancelled(bench: Bench) -> None:
    bench.script(ECHO)
    bench.files(1)
    bench.submit().ok()
    late = bench.run("cancel", "probe")
    assert late.code == 2 and late.err == "job 'probe' is Completed and cannot be cancelled; it has ended\n"


def test_download_copies_outputs_by_name_or_all(bench: Bench, tmp_path: Path) -> None:
    bench.script(
        "import os, sys\n"
        "def run(mini_batch):\n"
        "    open(os.path.join(sys.argv[-1], 'side.txt'), 'w').write('aside')\n"
        "    return mini_batch\n"
    )
    bench.files(1)
    outputs = {
        "scores": {"type": "uri_file", "path": "out/scores.txt"},
        "aside": {"type": "uri_folder", "path": "out/aside"},
    }
    bench.submit(outputs=outputs, task={"program_arguments": "--to ${{outputs.aside}}"}).ok()
    whole = bench.run("download", "probe", "--path", tmp_path / "a").ok()
    assert sorted(whole.out.split()) == [
        str(tmp_path / "a" / "named-outputs" / "aside" / "side.txt"),
        str(tmp_path / "a" / "named-outputs" / "scores" / "scores.txt"),
    ]
    bench.run("download", "probe", "--output-name", "aside", "--path", tmp_path / "b").ok()
    assert [p.name for p in (tmp_path / "b").rglob("*.txt")] == ["side.txt"]
    bench.run("download", "probe", "--all", "--path", tmp_path / "c").ok()
    assert (tmp_path / "c" / "named-outputs" / "scores" / "scores.txt").read_bytes() == bench.target.read_bytes()
    missing = bench.run("download", "probe", "--output-name", "nothing", "--path", tmp_path / "d")
    assert missing.code == 2 and "'nothing'" in missing.err and "scores" in missing.err
    assert not (tmp_path / "d").exists()
    both = bench.run("download", "probe", "--all", "--output-name", "scores")
    assert both.code == 2 and "--all" in both.err


def test_download_of_a_running_job_is_refused(bench: Bench) -> None:
    bench.files(1)
    going = bench.began()
    refused = bench.run("download", "probe")
    assert refused.code == 2 and "Running" in refused.err
    bench.give("go")
    assert going.end().code == 0


def test_delete_forgets_the_job_and_keeps_its_output(bench: Bench) -> None:
    bench.files(1)
    going = bench.began()
    early = bench.run("delete", "probe")
    assert early.code == 2 and "Running" in early.err and "cancel" in early.err
    bench.give("go")
    assert going.end().code == 0
    bench.run("delete", "probe").ok()
    assert bench.run("show", "probe").code == 2
    assert not (bench.home / "jobs" / "probe").exists()
    assert bench.target.exists()


def test_list_is_newest_first_and_filtered_and_limited(bench: Bench) -> None:
    bench.files(1)
    bench.script(ECHO)
    for name in ("first", "second"):
        bench.run("submit", bench.job(outputs={"scores": {"path": f"out/{name}"}}), "--name", name).ok()
    bench.script("def run(mini_batch):\n    1 / 0\n")
    assert bench.run("submit", bench.job(outputs={"scores": {"path": "out/third"}}), "--name", "third").code == 1

    def names(*options: str) -> list[str]:
        return [job["name"] for job in bench.run("list", "--output", "json", *options).ok().json]

    assert names() == ["third", "second", "first"]
    assert names("--limit", "2") == ["third", "second"]
    assert names("--status", "Completed") == ["second", "first"]
    assert names("--status", "Failed", "--status", "Canceled") == ["third"]
    wrong = bench.run("list", "--status", "Done")
    assert wrong.code == 2 and "'Done'" in wrong.err and "Completed" in wrong.err
    heads, *rows = bench.run("list").ok().out.splitlines()
    assert heads.split()[:3] == ["NAME", "TYPE", "STATUS"]
    assert [row.split()[0] for row in rows] == ["third", "second", "first"]


def test_an_empty_home_lists_nothing_and_is_not_made_by_looking(bench: Bench) -> None:
    listed = bench.run("list", "--output", "json").ok()
    assert listed.json == []
    assert "no jobs yet" in bench.run("list").ok().err


def test_set_changes_the_job_before_it_is_checked(bench: Bench) -> None:
    bench.script("import os\ndef run(b): return [os.environ['SHADE']]\n")
    bench.files(4)
    settings = ("--set", "mini_batch_size=2", "--set", "environment_variables.SHADE=teal")
    bench.submit(*settings, "--set", "outputs.scores.path=out/elsewhere.txt").ok()
    assert (bench.folder / "out" / "elsewhere.txt").read_text() == "teal\nteal\n"
    assert bench.show()["mini_batch_count"] == 2
    for wrong in ("nothing", "=3", "mini_batch_size.deep=3"):
        refused = bench.run("submit", bench.job(), "--set", wrong)
        assert refused.code == 2 and wrong.split("=")[0] in refused.err, refused


def test_a_name_that_is_taken_or_illegal_is_refused_and_a_missing_one_is_made(bench: Bench) -> None:
    bench.script(ECHO)
    bench.files(1)
    bench.submit().ok()
    taken = bench.run("submit", bench.job(outputs={"scores": {"path": "out/b"}}), "--name", "probe")
    assert taken.code == 2 and "'probe' exists already" in taken.err
    for wrong in ("", "../up", "a/b", "two--dashes", "-rf", "x" * 129):
        refused = bench.run("submit", bench.job(outputs={"scores": {"path": "out/b"}}), f"--name={wrong}")
        assert refused.code == 2 and len(refused.err.splitlines()) == 1, refused
    made = bench.run("submit", bench.job(outputs={"scores": {"path": "out/b"}}), "--output", "json").ok().json
    assert re.fullmatch(r"[a-z]+_[a-z]+_[a-z0-9]{10}", made["name"])
    assert len(bench.run("list", "--output", "json").json) == 2


def test_an_existing_target_is_refused_before_work_unless_told(bench: Bench) -> None:
    bench.script(ECHO)
    bench.files(1)
    bench.target.parent.mkdir()
    bench.target.write_text("precious")
    with bench.nothing_written():
        refused = bench.submit()
    assert refused.code == 2 and str(bench.target) in refused.err and "--overwrite" in refused.err
    assert bench.run("list", "--output", "json").json == []
    going = bench.began("--overwrite")
    assert bench.target.read_text() == "precious", "the old output stays until the new one is whole"
    bench.give("go")
    assert going.end().code == 0
    assert bench.target.read_text() == "000.txt\n"


@pytest.mark.parametrize("verb", ["show", "watch", "logs", "cancel", "download", "delete"])
def test_a_job_that_is_not_there_is_told_by_every_verb(bench: Bench, verb: str) -> None:
    gone = bench.run(verb, "nobody")
    assert gone.code == 2
    assert gone.err == "there is no job 'nobody'; `runner list` shows the jobs there are\n"
    assert gone.out == ""


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "Verbs"),
        (["frobnicate"], "frobnicate"),
        (["submit"], "JOB.yml"),
        (["submit", "job.yml", "--nonsense"], "--nonsense"),
        (["list", "--limit", "0"], "--limit"),
        (["list", "--output", "xml"], "xml"),
        (["show"], "NAME"),
    ],
)
def test_a_wrong_command_line_is_told_and_ends_with_2(bench: Bench, arguments: list[str], told: str) -> None:
    done = bench.run(*arguments)
    assert done.code == 2
    assert told in done.err + done.out
    assert "Traceback" not in done.err


def test_help_and_version_are_quick_to_say_and_end_with_0(bench: Bench) -> None:
    assert "submit" in bench.run("--help").ok().out
    assert re.fullmatch(r"runner, version \S+\n", bench.run("--version").ok().out)
    assert "--detach" in bench.run("submit", "-h").ok().out
    assert not bench.home.exists()


def test_validate_tells_everything_and_touches_nothing(bench: Bench) -> None:
    (bench.code / "score.py").write_text("raise SystemExit('imported')\ndef run(b): return b\n")
    bench.files(1)
    with bench.nothing_written():
        good = bench.run("validate", bench.job()).ok()
        bad = bench.run("validate", bench.job(mini_batch_size="0", error_threshold=-2, flavour="mint"))
        told = bench.run("validate", bench.folder / "job.yml", "--output", "json")
    assert good.out == f"{bench.folder / 'job.yml'} is valid\n"
    assert bad.code == told.code == 2
    assert len(bad.err.splitlines()) == 3
    assert all(re.match(rf"{re.escape(str(bench.folder))}/job\.yml:\d+: .+; .+", line) for line in bad.err.splitlines())
    assert told.json["result"] == "Failed" and {error["path"] for error in told.json["errors"]} == {
        "mini_batch_size",
        "error_threshold",
        "flavour",
    }
    assert not (bench.home / "jobs").exists()


def test_a_closed_pipe_is_no_reason_for_a_traceback(bench: Bench) -> None:
    bench.script(ECHO)
    bench.files(1)
    bench.submit().ok()
    reading, writing = os.pipe()
    os.close(reading)
    command = [*RUNNER, "show", "probe", "--output", "json"]
    done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writing)
    assert done.returncode == 1 and done.stderr == ""


def test_a_watch_of_a_job_that_has_ended_has_its_exit_code(bench: Bench) -> None:
    bench.script("def run(mini_batch):\n    1 / 0\n")
    bench.files(1)
    assert bench.submit().code == 1
    seen = bench.run("watch", "probe")
    assert seen.code == 1 and "probe is Failed" in seen.err and "ZeroDivisionError" in seen.err
    shown = bench.run("show", "probe").ok().out
    assert "the only mini-batch failed: mini-batch 0: ZeroDivisionError" in shown and "NotStarted" in shown


def test_folders_and_files_may_have_any_name(tmp_path: Path) -> None:
    bench = Bench(tmp_path / "wörk [1] $HOME", tmp_path / "höme dir")
    bench.script(ECHO)
    names = ["a b.txt", "ä%20.txt", "{x}.txt", "- dash.txt", "new\nline.txt"]
    for name in names:
        (bench.data / name).write_text("x")
    (bench.data / os.fsdecode(b"caf\xe9.txt")).write_text("x")
    bench.script("import os\ndef run(b): return [os.fsencode(os.path.basename(path)) for path in b]\n")
    target = "out put/scöres.txt"
    done = bench.submit(outputs={"scores": {"type": "uri_file", "path": target}})
    assert done.code == 0, done.err
    lines = (bench.folder / target).read_text().splitlines()
    assert lines == [str(name) for name in sorted([b"caf\xe9.txt", *(name.encode() for name in names)])]
    bench.close()


def test_a_job_is_told_while_it_is_planned_too(bench: Bench) -> None:
    bench.files(1)
    bench.script("import signs\ndef init(): signs.wait('go')\ndef run(b): return b\n")
    bench.run("submit", bench.job(), "--name", "probe", "--detach").ok()
    until(lambda: bench.status() == "Queued", what="Queued")
    shown = bench.show()
    assert shown["start_time"] is None and shown["end_time"] is None
    assert shown["mini_batch_count"] == 1 and shown["done_mini_batch_count"] == 0
    bench.give("go")
    assert bench.run("watch", "probe").code == 0
