"""Commands from the command line: what is told while they run and at the end, their logs and what they leave."""

from __future__ import annotations

import re
import signal

import pytest
from cli_kit import Bench
from cli_pipelines import FILE, command, held, submit, write


def test_a_watch_says_what_runs_and_where_its_logs_are(bench: Bench) -> None:
    path = write(bench, {**command(bench, ""), "command": 'echo tin; touch "$SIGNS/began"; echo done'})
    done = submit(bench, path).ok()
    assert done.out == ""
    assert "submitted probe" in done.err and "probe is Completed" in done.err
    assert "`runner logs probe` shows what it printed" in done.err
    assert bench.run("logs", "probe").ok().out == "tin\ndone\n"


def test_while_a_command_runs_it_is_told_and_logs_follow_it(bench: Bench) -> None:
    path = write(bench, {**command(bench, ""), "command": FIRST})
    going = held(bench, path, "dig")
    going.says("running echo before")
    going.says("`runner logs probe --follow`")
    following = bench.start("logs", "probe", "--follow")
    following.says("before")
    bench.give("go")
    assert going.end().code == 0 and following.end().out == "before\nafter\n"


FIRST = """\
echo before; echo dig >> "$SIGNS/notes"
while [ ! -e "$SIGNS/go" ]; do sleep 0.01; done
echo after"""


def test_a_failed_command_ends_with_its_reason_and_the_end_of_its_stderr(bench: Bench) -> None:
    done = submit(bench, write(bench, command(bench, "echo out; echo no ore >&2; exit 7")))
    assert done.code == 1
    said = done.err[done.err.index("probe is Failed") :].splitlines()
    assert "7" in said[1]
    assert said[-1] == "  | no ore" and "user_logs/std_err.txt" in said[-2]
    assert "no ore" not in bench.run("logs", "probe").ok().out


def test_of_several_processes_the_end_of_the_one_that_failed_is_told(bench: Bench) -> None:
    job = command(bench, "echo out $RANK; echo err $RANK >&2; exit $RANK")
    job["distribution"] = {"type": "pytorch", "process_count_per_instance": 2}
    done = submit(bench, write(bench, job))
    assert done.code == 1 and "  | err 1" in done.err and "std_err_process_1.txt" in done.err
    assert sorted(bench.run("logs", "probe").ok().out.splitlines()) == ["out 0", "out 1"]


def test_a_command_that_is_not_there_is_told(bench: Bench) -> None:
    done = submit(bench, write(bench, command(bench, "no-such-tool --x")))
    assert done.code == 1 and "no-such-tool" in done.err and "127" in done.err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_cancels_and_the_processes_are_told_of_their_grace(bench: Bench, number: signal.Signals) -> None:
    going = held(bench, write(bench, command(bench, "held dig")), "dig")
    going.send(number)
    ended = going.end()
    assert ended.code == 130 and "cancelling probe; its processes have 30 s to end" in ended.err
    assert bench.status() == "Canceled"


def test_sighup_leaves_it_running(bench: Bench) -> None:
    going = held(bench, write(bench, command(bench, "held dig")), "dig")
    going.send(signal.SIGHUP)
    assert going.end().code == 0 and bench.status() == "Running"
    bench.give("go")
    assert bench.run("watch", "probe").code == 0


def test_set_changes_a_command_before_it_is_checked(bench: Bench) -> None:
    path = write(bench, command(bench, "echo ${{inputs.n}}", inputs={"n": 1}))
    submit(bench, path, "probe", "--set", "inputs.n=7").ok()
    assert bench.run("logs", "probe").ok().out == "7\n"


def test_a_file_without_a_type_is_a_command_and_its_problems_have_lines(bench: Bench) -> None:
    path = bench.folder / "job.yml"
    path.write_text("command: echo ${{inputs.depht}}\ninputs:\n  depth: 3\nlimits:\n  timout: 5\n")
    with bench.nothing_written():
        refused = submit(bench, path)
    assert refused.code == 2 and not (bench.home / "jobs" / "probe").exists()
    said = refused.err.splitlines()
    assert any(re.match(r".*job\.yml:1: .*depht.*depth", line) for line in said)
    assert any(re.match(r".*job\.yml:5: .*timout.*timeout", line) for line in said)


def test_named_outputs_and_artifacts_are_downloaded_apart(bench: Bench) -> None:
    text = "echo made > ${{outputs.o}}; echo plot > outputs/plot.txt"
    submit(bench, write(bench, command(bench, text, outputs={"o": FILE}))).ok()
    bench.run("download", "probe", "--path", "named").ok()
    assert [p.read_text() for p in (bench.folder / "named").rglob("*") if p.is_file()] == ["made\n"]
    bench.run("download", "probe", "--output-name", "default", "--path", "rest").ok()
    artifacts = bench.folder / "rest" / "artifacts"
    assert (artifacts / "outputs" / "plot.txt").read_text() == "plot\n"
    assert not (bench.folder / "rest" / "named-outputs").exists()
    bench.run("download", "probe", "--all", "--path", "both").ok()
    assert {p.name for p in (bench.folder / "both").iterdir()} == {"artifacts", "named-outputs"}
    missing = bench.run("download", "probe", "--output-name", "p")
    assert missing.code == 2 and "'p'" in missing.err and "it has: o" in missing.err


def test_a_command_without_named_outputs_has_none_to_download_but_artifacts(bench: Bench) -> None:
    submit(bench, write(bench, command(bench, "true"))).ok()
    missing = bench.run("download", "probe", "--path", "down")
    assert missing.code == 2 and "default" in missing.err and not (bench.folder / "down").exists()


def test_show_has_the_command_the_experiment_and_the_tags(bench: Bench) -> None:
    job = command(bench, "true", experiment_name="lode", display_name="First dig", tags={"team": "salt"})
    submit(bench, write(bench, {**job, "command": "echo one\necho two"})).ok()
    shown = bench.run("show", "probe").ok().out
    assert "command: echo one …" in shown and "display name First dig, experiment lode" in shown
    assert "tags team=salt" in shown
