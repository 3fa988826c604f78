"""Pipelines from the command line: watched, listed, drawn, cancelled step by step, and ended with a reason."""

from __future__ import annotations

import os
import re
import signal
import xml.etree.ElementTree as ElementTree

import pytest
from cli_kit import Bench, until
from cli_pipelines import FILE, chain, command, held, pipeline, steps_of, submit, write

KEYS = ["name", "job", "status", "reused", "reuse_reason", "start_time", "end_time"]


def test_a_watch_tells_when_steps_begin_and_end_and_sums_up(bench: Bench) -> None:
    done = submit(bench, chain(bench)).ok()
    assert done.out == "", "talk goes to stderr"
    said = done.err.splitlines()
    assert "submitted probe: 2 steps, continue_on_step_failure is true" in said
    told = [re.sub(r"\d+\.\d s", "N s", line) for line in said if line.startswith(("sift", "count"))]
    assert [line for line in told if " began" not in line] == ["sift Completed after N s", "count Completed after N s"]
    summary = said[next(i for i, line in enumerate(said) if line.startswith("probe is Completed")) :]
    assert summary[1] == "  2 steps: 2 completed"
    assert summary[2].startswith("  output report: ")
    assert bench.show()["type"] == "pipeline" and bench.show()["status"] == "Completed"


def test_plain_progress_counts_the_steps_and_names_those_that_run(bench: Bench) -> None:
    jobs = {name: command(bench, f"held {name}") for name in ("dig", "haul")}
    going = held(bench, pipeline(bench, jobs, runner={"max_concurrent_steps": 2}), "dig", "haul")
    going.says("0/2 steps done")
    going.says("dig began")
    bench.give("go")
    ended = going.end().ok()
    assert re.search(r"^0/2 steps done, (0|1|2) running.*, 0 failed$", ended.err, re.MULTILINE)
    assert "  2 steps: 2 completed" in ended.err


def test_the_second_run_reuses_and_says_why_in_progress_summary_and_steps(bench: Bench) -> None:
    path = chain(bench)
    submit(bench, path, "first").ok()
    second = submit(bench, path, "second").ok()
    assert bench.notes("notes") == ["sift", "count"]
    assert "sift: reused from first--sift" in second.err and "  2 steps: 2 completed (2 reused)" in second.err
    steps = steps_of(bench, "second")
    assert list(steps) == ["sift", "count"] and list(steps["sift"]) == KEYS
    assert all(step["reused"] is True and "first--" in step["reuse_reason"] for step in steps.values())
    assert not any(step["reused"] for step in steps_of(bench, "first").values())
    table = bench.run("steps", "second").ok().out
    assert re.search(r"^├─ sift +Completed +- +yes +second--sift +reused from first--sift", table, re.MULTILINE), table
    assert "second is Completed; 2 steps: 2 completed (2 reused)" in table
    assert bench.run("logs", "second--sift").ok().out == "sifted\n", "the logs are those of the step that ran"


def test_a_step_that_ran_again_says_what_differs(bench: Bench) -> None:
    path = chain(bench)
    submit(bench, path, "first").ok()
    (bench.data / "ore.txt").write_text("tin\niron\ncopper\nzinc\n")
    second = submit(bench, path, "second").ok()
    reason = steps_of(bench, "second")["sift"]["reuse_reason"]
    assert "raw" in reason and "first--sift" in reason
    assert re.search(r"^sift began \(.*raw.*\)$", second.err, re.MULTILINE), second.err


def test_show_has_the_tree_of_the_steps(bench: Bench) -> None:
    submit(bench, chain(bench)).ok()
    shown = bench.run("show", "probe").ok().out
    assert re.search(r"^  ├─ sift +Completed", shown, re.MULTILINE)
    assert re.search(r"^  └─ count +Completed", shown, re.MULTILINE)
    step = bench.run("show", "probe--count").ok().out
    assert step.startswith("probe--count is Completed") and "step count of probe" in step


def test_steps_of_sub_pipelines_are_told_below_them(bench: Bench) -> None:
    inner = {
        "type": "pipeline",
        "name": "mill",
        "outputs": {"sand": FILE},
        "jobs": {
            "crush": command(bench, "note crush; echo rock > ${{outputs.o}}", outputs={"o": FILE}),
            "sieve": command(
                bench,
                "note sieve; cp ${{inputs.i}} ${{outputs.o}}",
                inputs={"i": "${{parent.jobs.crush.outputs.o}}"},
                outputs={"o": "${{parent.outputs.sand}}"},
            ),
        },
    }
    write(bench, inner, "parts/mill.yml")
    jobs = {"mill": {"type": "pipeline", "component": "./parts/mill.yml"}, "ship": command(bench, "note ship")}
    submit(bench, pipeline(bench, jobs)).ok()
    assert list(steps_of(bench)) == ["mill/crush", "mill/sieve", "ship"]
    assert steps_of(bench)["mill/sieve"]["job"] == "probe--mill--sieve"
    lines = bench.run("steps", "probe").ok().out.splitlines()
    assert [line.split("  ")[0] for line in lines[1:5]] == ["├─ mill", "│", "│", "└─ ship"]


def test_a_failed_step_is_told_with_its_reason_and_the_end_of_its_stderr(bench: Bench) -> None:
    jobs = {
        "dig": command(bench, "for i in $(seq 40); do echo line $i >&2; done; exit 3", outputs={"o": FILE}),
        "ship": command(bench, "note ship", inputs={"i": "${{parent.jobs.dig.outputs.o}}"}),
    }
    done = submit(bench, pipeline(bench, jobs))
    assert done.code == 1 and bench.status() == "Failed" and not bench.notes("notes")
    said = done.err[done.err.index("probe is Failed") :]
    assert "  2 steps: 0 completed, 1 failed, 1 not run" in said
    assert "3" in said and "dig" in said
    assert "  | line 40\n" in said and "  | line 26\n" in said and "  | line 25\n" not in said
    assert "`runner logs probe--dig user_logs/std_err.txt`" in said
    assert bench.run("logs", "probe--dig", "user_logs/std_err.txt").ok().out.count("\n") == 40
    assert steps_of(bench)["ship"]["status"] == "NotStarted"
    assert re.search(r"^└─ ship +NotStarted.*not run$", bench.run("steps", "probe").ok().out, re.MULTILINE)


def test_cancel_ends_a_pipeline_and_all_that_runs(bench: Bench) -> None:
    jobs = {"dig": command(bench, "held dig"), "haul": command(bench, "held haul")}
    going = held(bench, pipeline(bench, jobs), "dig", "haul")
    bench.run("cancel", "probe").ok()
    ended = going.end()
    assert ended.code == 130 and "probe is Canceled" in ended.err
    assert {step["status"] for step in steps_of(bench).values()} == {"Canceled"}


def test_one_step_can_be_cancelled_and_counts_as_failed(bench: Bench) -> None:
    jobs = {"dig": command(bench, "held dig"), "haul": command(bench, "held haul")}
    going = held(bench, pipeline(bench, jobs), "dig", "haul")
    bench.run("cancel", "probe--dig").ok()
    going.says("dig Canceled")
    bench.give("go-haul")
    ended = going.end()
    assert ended.code == 1
    assert {name: step["status"] for name, step in steps_of(bench).items()} == {"dig": "Canceled", "haul": "Completed"}


def test_a_signal_off_a_terminal_cancels_the_pipeline(bench: Bench) -> None:
    going = held(bench, pipeline(bench, {"dig": command(bench, "held dig")}), "dig")
    going.send(signal.SIGTERM)
    assert going.end().code == 130
    assert bench.status() == "Canceled"


def test_resume_runs_what_failed_and_keeps_what_is_done(bench: Bench) -> None:
    jobs = {
        "dig": command(bench, "note dig; echo ore > ${{outputs.o}}", outputs={"o": FILE}),
        "ship": command(
            bench,
            'note ship; [ -e "$SIGNS/go" ] && cp ${{inputs.i}} ${{outputs.o}}',
            inputs={"i": "${{parent.jobs.dig.outputs.o}}"},
            outputs={"o": FILE},
        ),
    }
    assert submit(bench, pipeline(bench, jobs)).code == 1
    bench.give("go")
    resumed = bench.run("resume", "probe").ok()
    assert bench.notes("notes") == ["dig", "ship", "ship"]
    assert "dig Completed" not in resumed.err and re.search(r"^ship Completed after", resumed.err, re.MULTILINE)


def test_a_pipeline_detached_can_be_watched_to_its_end(bench: Bench) -> None:
    path = pipeline(bench, {"dig": command(bench, "held dig")})
    submit(bench, path, "probe", "--detach").ok()
    watching = bench.start("watch", "probe")
    until(lambda: bench.notes("notes"), what="the step")
    watching.says("steps done")
    bench.give("go")
    assert watching.end().code == 0


def test_the_log_of_a_pipeline_is_what_its_driver_decided(bench: Bench) -> None:
    submit(bench, chain(bench)).ok()
    said = bench.run("logs", "probe").ok().out
    assert "sift" in said and "count" in said
    listed = {file["path"] for file in bench.run("logs", "probe", "--list", "--output", "json").ok().json}
    assert {"azureml/executionlogs.txt", "sys/driver.txt"} <= listed


def test_steps_of_what_is_no_pipeline(bench: Bench) -> None:
    submit(bench, write(bench, command(bench, "true"))).ok()
    told = bench.run("steps", "probe").ok()
    assert told.out == "" and "probe is a command job and has no steps" in told.err
    assert bench.run("steps", "probe", "--output", "json").ok().json == []
    assert bench.run("steps", "nobody").code == 2
    drawn = bench.run("graph", "probe")
    assert drawn.code == 2 and "no steps" in drawn.err


@pytest.mark.parametrize("target", ["probe", "pipeline.yml"])
def test_a_graph_is_drawn_of_a_job_and_of_a_file(bench: Bench, target: str) -> None:
    path = chain(bench)
    if target == "probe":
        submit(bench, path).ok()
    text = bench.run("graph", target).ok().out
    assert re.search(r"^└─ count +command.* ← sift\.o$", text, re.MULTILINE) and "output report ← count.n" in text
    assert ("Completed" in text) == (target == "probe")
    assert 's0 -->|"o"| s1' in bench.run("graph", target, "--format", "mermaid").ok().out
    picture = ElementTree.fromstring(bench.run("graph", target, "--format", "svg").ok().out)
    words = {element.text for element in picture.iter("{http://www.w3.org/2000/svg}text")}
    assert {"sift", "count", "report"} <= words


def test_the_graph_of_a_file_runs_and_stores_nothing(bench: Bench) -> None:
    path = chain(bench)
    bench.run("graph", path).ok()
    assert not (bench.home / "jobs").exists() and not (bench.home / "runner.db").exists()
    bad = pipeline(bench, {"dig": command(bench, "true", inputs={"i": "${{parent.jobs.digg.outputs.o}}"})})
    refused = bench.run("graph", bad)
    assert refused.code == 2 and "pipeline.yml:" in refused.err and "digg" in refused.err
    assert "Traceback" not in refused.err
    assert bench.run("graph", write(bench, command(bench, "true"))).code == 2
    assert bench.run("graph", "nothing.yml").code == 2


def test_list_has_whole_jobs_and_with_a_parent_its_steps(bench: Bench) -> None:
    submit(bench, chain(bench)).ok()
    assert [job["name"] for job in bench.run("list", "--output", "json").ok().json] == ["probe"]
    below = bench.run("list", "--parent", "probe", "--output", "json").ok().json
    assert {job["name"] for job in below} == {"probe--sift", "probe--count"}
    assert bench.run("list", "--parent", "nobody").code == 2


def test_validate_and_set_reach_into_steps(bench: Bench) -> None:
    path = chain(bench)
    assert bench.run("validate", path).ok().out == f"{path} is valid\n"
    said = bench.run("validate", path, "--set", "jobs.count.inputs.i=${{parent.jobs.sieve.outputs.o}}")
    assert said.code == 2 and "sieve" in said.err and "sift" in said.err
    path.write_text(path.read_text().replace("grep -c", "echo ${{inputs.what}}; grep -c"))
    found = bench.run("validate", path, "--output", "json")
    assert found.code == 2
    (error,) = found.json["errors"]
    assert error["file"] == str(path) and error["line"] > 0 and "what" in error["message"]


def test_download_of_a_pipeline_has_promoted_outputs_and_of_a_step_its_own(bench: Bench) -> None:
    submit(bench, chain(bench)).ok()
    bench.run("download", "probe", "--path", "a").ok()
    files = {str(p.relative_to(bench.folder / "a")) for p in (bench.folder / "a").rglob("*") if p.is_file()}
    assert files == {os.path.join("named-outputs", "report", name.rsplit("/", 1)[1]) for name in files}
    assert len(files) == 1
    bench.run("download", "probe--sift", "--output-name", "o", "--path", "b").ok()
    (made,) = [p for p in (bench.folder / "b").rglob("*") if p.is_file()]
    assert made.read_text() == "copper\niron\ntin\n"


def test_a_step_can_be_watched_by_itself_and_one_that_never_runs_ends_with_its_pipeline(bench: Bench) -> None:
    jobs = {
        "dig": command(bench, "held dig; exit 3", outputs={"o": FILE}),
        "ship": command(bench, "note ship", inputs={"i": "${{parent.jobs.dig.outputs.o}}"}),
    }
    going = held(bench, pipeline(bench, jobs), "dig")
    first, second = bench.start("watch", "probe--dig"), bench.start("watch", "probe--ship")
    first.says("running ")
    bench.give("go")
    assert going.end().code == 1
    ended = first.end()
    assert ended.code == 1 and "probe--dig is Failed" in ended.err
    left_out = second.end()
    assert left_out.code == 1 and "probe--ship is NotStarted" in left_out.err


def test_a_killed_driver_of_the_pipeline_is_noticed_and_resume_goes_on(bench: Bench) -> None:
    going = held(bench, pipeline(bench, {"dig": command(bench, "held dig")}), "dig")
    following = bench.start("watch", "probe--dig")
    following.says("running ")
    os.kill(bench.driver_pid(), signal.SIGKILL)
    for watcher in (going, following):
        gone = watcher.end(within=10)
        assert gone.code == 3 and "`runner resume probe`" in gone.err
    bench.give("go")
    bench.run("resume", "probe").ok()
    assert bench.notes("notes") == ["dig"], "the step went on meanwhile"


def test_redrive_of_a_parallel_step_names_what_is_stale(bench: Bench) -> None:
    bench.script(
        "import os\ndef run(b):\n    if '001' in b[0]: raise ValueError(b)\n    return [os.path.basename(b[0])]\n"
    )
    bench.files(3)
    score = bench.document(outputs={"scores": FILE})
    score["inputs"]["cargo"]["path"] = str(bench.data)
    jobs = {
        "score": score,
        "tally": command(bench, "note tally; cat ${{inputs.s}}", inputs={"s": "${{parent.jobs.score.outputs.scores}}"}),
    }
    submit(bench, pipeline(bench, jobs)).ok()
    assert bench.run("logs", "probe--tally").ok().out == "000.txt\n002.txt\n"
    listed = bench.run("failures", "probe--score", "--output", "json").ok().json
    assert [row["mini_batch"] for row in listed] == [1]
    fixed = bench.folder / "fixed"
    fixed.mkdir()
    (fixed / "score.py").write_text("import os\ndef run(b): return [os.path.basename(b[0])]\n")
    redriven = bench.run("redrive", "probe--score", "--code", fixed).ok()
    assert "stale" in redriven.err and "tally" in redriven.err
    bench.run("download", "probe--score", "--path", "down").ok()
    (made,) = [one for one in (bench.folder / "down").rglob("*") if one.is_file()]
    assert made.read_text() == "000.txt\n001.txt\n002.txt\n"
    refused = bench.run("redrive", "probe")
    assert refused.code == 2 and "Traceback" not in refused.err
