"""Pipelines and commands that cannot run are refused before anything does: exit code 2, a clear message, no traces."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from cli_kit import Bench
from cli_pipelines import FILE, command, pipeline, steps_of, submit, write

Jobs = dict[str, Any]


def step(bench: Bench, **top: Any) -> dict[str, Any]:
    return command(bench, "note ran", **top)


def needs(other: str, output: str = "o") -> dict[str, str]:
    return {"i": f"${{{{parent.jobs.{other}.outputs.{output}}}}}"}


BAD: dict[str, tuple[Callable[[Bench], Jobs], tuple[str, ...]]] = {
    "a cycle": (
        lambda b: {
            "dig": step(b, inputs=needs("haul"), outputs={"o": FILE}),
            "haul": step(b, inputs=needs("dig"), outputs={"o": FILE}),
        },
        ("dig", "haul"),
    ),
    "a step that needs itself": (lambda b: {"dig": step(b, inputs=needs("dig"), outputs={"o": FILE})}, ("dig",)),
    "a binding to no step": (
        lambda b: {"dig": step(b, outputs={"o": FILE}), "haul": step(b, inputs=needs("digg"))},
        ("digg", "`dig`"),
    ),
    "a binding to no output": (
        lambda b: {"dig": step(b, outputs={"ore": FILE}), "haul": step(b, inputs=needs("dig", "oer"))},
        ("oer", "ore"),
    ),
    "a binding of no known form": (lambda b: {"dig": step(b, inputs={"i": "${{parents.inputs.x}}"})}, ("parents",)),
    "an input of the pipeline that is not there": (
        lambda b: {"dig": step(b, inputs={"i": "${{parent.inputs.depth}}"})},
        ("depth",),
    ),
    "a missing component": (lambda b: {"dig": {"component": "./nowhere.yml"}}, ("nowhere.yml",)),
    "two steps that write one path": (
        lambda b: {
            "dig": step(b, outputs={"o": {**FILE, "path": "out/x"}}),
            "haul": step(b, outputs={"o": {**FILE, "path": "out/x"}}),
        },
        ("dig", "haul", "out/x"),
    ),
    "an unknown kind": (lambda b: {"dig": {"type": "sweep"}}, ("sweep",)),
    "a control node": (lambda b: {"dig": {"type": "do_while"}}, ("do_while",)),
    "a name that is no identifier": (lambda b: {"dig-deep": step(b)}, ("dig-deep", "identifier")),
    "an unknown key": (lambda b: {"dig": step(b, comand="x")}, ("comand", "command")),
    "data that is not there": (
        lambda b: {"dig": step(b, inputs={"i": {**FILE, "path": "./nowhere.txt"}})},
        ("nowhere.txt",),
    ),
}


@pytest.mark.parametrize("what", BAD)
def test_a_pipeline_that_cannot_run_is_refused_before_anything_does(bench: Bench, what: str) -> None:
    jobs, told = BAD[what]
    path = pipeline(bench, jobs(bench))
    for verb in (("validate", path), ("submit", path, "--name", "probe")):
        with bench.nothing_written():
            refused = bench.run(*verb)
        assert refused.code == 2, refused.err
        assert "pipeline.yml:" in refused.err and "Traceback" not in refused.err
        missing = [word for word in told if word not in refused.err]
        assert not missing, f"{missing} not in:\n{refused.err}"
    assert bench.run("show", "probe").code == 2 and not bench.notes("notes")


def test_an_output_that_nobody_makes_is_told(bench: Bench) -> None:
    path = pipeline(bench, {"dig": step(bench)}, outputs={"report": {**FILE, "path": "out/report"}})
    refused = bench.run("validate", path)
    assert refused.code == 2 and "report" in refused.err


def test_problems_in_a_component_file_have_its_name_and_line(bench: Bench) -> None:
    part = bench.folder / "parts" / "dig.yml"
    part.parent.mkdir()
    part.write_text("name: dig\ntype: command\ncommand: echo ${{inputs.dept}}\ninputs:\n  depth: {type: integer}\n")
    path = pipeline(bench, {"dig": {"component": "./parts/dig.yml", "inputs": {"depth": "deep"}}})
    refused = bench.run("validate", path)
    assert refused.code == 2
    assert "parts/dig.yml:3: " in refused.err and "dept" in refused.err
    assert "pipeline.yml:" in refused.err and "deep" in refused.err and "integer" in refused.err


def test_an_unknown_setting_is_a_notice_and_stops_nothing(bench: Bench) -> None:
    path = pipeline(bench, {"dig": step(bench)}, settings={"default_datestore": "x"})
    said = submit(bench, path).ok()
    assert "notice: " in said.err and "default_datestore" in said.err and "default_datastore" in said.err


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("kill -9 $$", "SIGKILL"),
        ("no-such-tool", "127"),
        ("true", "'o'"),
    ],
    ids=["killed", "not found", "no output"],
)
def test_a_step_that_fails_while_it_runs_has_its_reason_and_its_consumers_do_not_run(
    bench: Bench, text: str, told: str
) -> None:
    jobs = {
        "dig": command(bench, text, outputs={"o": FILE}),
        "haul": command(bench, "note haul", inputs=needs("dig")),
    }
    done = submit(bench, pipeline(bench, jobs))
    assert done.code == 1 and told in done.err, done.err
    assert {n: s["status"] for n, s in steps_of(bench).items()} == {"dig": "Failed", "haul": "NotStarted"}
    assert not bench.notes("notes")


def test_a_target_that_is_there_is_refused_and_replaced_only_when_asked(bench: Bench) -> None:
    path = write(bench, command(bench, "echo new > ${{outputs.o}}", outputs={"o": {**FILE, "path": "out.txt"}}))
    (bench.folder / "out.txt").write_text("old")
    refused = submit(bench, path)
    assert refused.code == 2 and "out.txt" in refused.err and "--overwrite" in refused.err
    assert (bench.folder / "out.txt").read_text() == "old"
    submit(bench, path, "other", "--overwrite").ok()
    assert (bench.folder / "out.txt").read_text() == "new\n"
