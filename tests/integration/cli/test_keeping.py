"""What outlives a run: tags and archives, registered data and components, published pipelines."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from cli_kit import Bench
from cli_pipelines import FILE, chain, command, pipeline, steps_of, submit, write


@pytest.fixture
def done(bench: Bench) -> Bench:
    """A bench with a command that has completed, `probe`."""
    submit(bench, write(bench, command(bench, "true", tags={"team": "salt", "old": "1"}))).ok()
    return bench


def test_update_sets_and_removes_tags_and_changes_the_description(done: Bench) -> None:
    sets = ("tags.team=tin", "tags.new=2", "tags.old=", "description=deep down", "properties.lode=7")
    changed = done.run("update", "probe", *(word for one in sets for word in ("--set", one)), "--output", "json").ok()
    assert changed.json["tags"] == {"team": "tin", "new": "2"} and changed.json["properties"]["lode"] == "7"
    shown = done.run("show", "probe").ok().out
    assert "deep down" in shown and "team=tin" in shown and "old" not in shown
    refused = done.run("update", "probe", "--set", "compute=local")
    assert refused.code == 2 and "compute" in refused.err and "description" in refused.err
    assert done.run("update", "nobody", "--set", "tags.x=1").code == 2
    assert done.run("update", "probe").code == 2


def test_an_archived_job_is_left_out_of_the_list_until_it_is_restored(done: Bench) -> None:
    def listed(*more: str) -> list[str]:
        return [job["name"] for job in done.run("list", *more, "--output", "json").ok().json]

    done.run("archive", "probe").ok()
    assert (listed(), listed("--archived"), listed("--all")) == ([], ["probe"], ["probe"])
    assert "archived" in done.run("show", "probe").ok().out
    done.run("restore", "probe").ok()
    assert (listed(), listed("--archived")) == (["probe"], [])
    both = done.run("list", "--all", "--archived")
    assert both.code == 2 and "--archived" in both.err


def test_list_by_experiment(done: Bench) -> None:
    submit(done, write(done, command(done, "true", experiment_name="lode")), "other").ok()
    assert [j["name"] for j in done.run("list", "--experiment", "lode", "--output", "json").ok().json] == ["other"]
    none = done.run("list", "--experiment", "nowhere").ok()
    assert none.out == "" and "no such jobs" in none.err


def test_a_step_cannot_be_archived_deleted_or_resumed_by_itself(bench: Bench) -> None:
    submit(bench, chain(bench)).ok()
    for verb in ("archive", "delete", "resume"):
        refused = bench.run(verb, "probe--sift")
        assert refused.code == 2 and "'probe'" in refused.err, verb
    bench.run("update", "probe--sift", "--set", "tags.kept=1").ok()


def test_data_is_registered_listed_shown_and_used(bench: Bench) -> None:
    (bench.data / "ore.txt").write_text("tin\n")
    first = bench.run("data", "create", "ore", "--path", "data").ok()
    assert first.out == "azureml:ore:1\n"
    second = bench.run("data", "create", "ore", "--path", "data/ore.txt", "--output", "json").ok().json
    assert (second["version"], second["type"]) == ("2", "uri_file") and second["path"] == str(bench.data / "ore.txt")
    listed = bench.run("data", "list", "--output", "json").ok().json
    assert [(one["name"], one["version"]) for one in listed] == [("ore", "2"), ("ore", "1")]
    assert str(bench.data) in bench.run("data", "show", "ore:1").ok().out
    assert bench.run("data", "show", "azureml:ore@latest", "--output", "json").ok().json == second
    job = command(bench, "cat ${{inputs.i}}", inputs={"i": {**FILE, "path": "azureml:ore@latest"}})
    submit(bench, write(bench, job)).ok()
    assert bench.run("logs", "probe").ok().out == "tin\n"
    again = bench.run("data", "create", "ore", "--path", "data", "--version", "2")
    assert again.code == 2 and "'ore:2'" in again.err
    assert bench.run("data", "create", "ore", "--path", "nowhere").code == 2
    assert bench.run("data", "show", "salt").code == 2


def test_data_is_registered_from_a_file(bench: Bench) -> None:
    (bench.data / "ore.txt").write_text("tin\n")
    path = bench.folder / "parts" / "ore.yml"
    path.parent.mkdir()
    path.write_text("$schema: x\nname: ore\nversion: 7\ntype: uri_file\npath: ../data/ore.txt\ntags: {team: salt}\n")
    made = bench.run("data", "create", "-f", path, "--output", "json").ok().json
    assert (made["name"], made["version"], made["type"], made["tags"]) == ("ore", "7", "uri_file", {"team": "salt"})
    assert made["path"] == str(bench.data / "ore.txt")
    assert bench.run("data", "create", "-f", path, "--version", "8").ok().out == "azureml:ore:8\n"
    path.write_text("nme: ore\ntype: uri_fil\n")
    refused = bench.run("data", "create", "-f", path)
    assert refused.code == 2
    assert {int(line) for line in re.findall(r"ore\.yml:(\d+): ", refused.err)} == {1, 2} and "`name`" in refused.err
    for arguments in (("-f", "nowhere.yml"), (), ("ore",), ("--path", "data")):
        missing = bench.run("data", "create", *arguments)
        assert missing.code == 2 and "Traceback" not in missing.err


def test_an_output_with_a_name_is_registered_by_the_job_that_makes_it(bench: Bench) -> None:
    job = command(bench, "echo tin > ${{outputs.o}}", outputs={"o": {**FILE, "name": "ingots"}})
    submit(bench, write(bench, job)).ok()
    (made,) = bench.run("data", "list", "ingots", "--output", "json").ok().json
    assert (made["version"], made["job"], made["type"]) == ("1", "probe", "uri_file")
    refused = bench.run("delete", "probe")
    assert refused.code == 2 and "ingots" in refused.err


COMPONENT = {
    "type": "command",
    "name": "smelt",
    "version": "3",
    "inputs": {"ore": {"type": "string"}, "heat": {"type": "integer", "default": 5, "min": 1}},
    "outputs": {"metal": FILE},
    "command": "sh smelt.sh ${{inputs.ore}} ${{inputs.heat}} > ${{outputs.metal}}",
    "code": "./src",
}


def test_a_component_is_checked_registered_and_used(bench: Bench) -> None:
    path = write(bench, COMPONENT, "parts/smelt.yml")
    (path.parent / "src").mkdir()
    (path.parent / "src" / "smelt.sh").write_text("echo $1 at $2\n")
    assert bench.run("component", "create", "-f", path).ok().out == "azureml:smelt:3\n"
    shown = bench.run("component", "show", "smelt", "--output", "json").ok().json
    assert shown["type"] == "command"
    assert (Path(shown["document"]["code"]) / "smelt.sh").read_text() == "echo $1 at $2\n"
    (path.parent / "src" / "smelt.sh").write_text("echo something else\n")  # a registered component never changes
    assert "smelt.sh" in bench.run("component", "show", "smelt:3").ok().out
    step = {"type": "command", "component": "azureml:smelt@latest", "inputs": {"ore": "tin"}, "compute": "local"}
    job = pipeline(bench, {"smelt": {**step, "outputs": {"metal": "${{parent.outputs.m}}"}}}, outputs={"m": FILE})
    assert "smelt" in bench.run("graph", job).ok().out
    submit(bench, job).ok()
    bench.run("download", "probe", "--path", "down").ok()
    assert [p.read_text() for p in (bench.folder / "down").rglob("*") if p.is_file()] == ["tin at 5\n"]
    again = bench.run("component", "create", "-f", path)
    assert again.code == 2 and "'smelt:3'" in again.err
    assert bench.run("component", "create", "-f", path, "--version", "4").ok().out == "azureml:smelt:4\n"


def test_what_is_wrong_with_a_component_is_told_with_its_lines_and_nothing_is_registered(bench: Bench) -> None:
    path = bench.folder / "bad.yml"
    path.write_text("name: smelt\ncomand: x\ncommand: echo ${{inputs.ore}}\ninputs:\n  heat: {type: integr}\n")
    refused = bench.run("component", "create", "-f", path)
    assert refused.code == 2
    assert {int(line) for line in re.findall(r"bad\.yml:(\d+): ", refused.err)} == {2, 3, 5}
    path.write_text("command: echo\n")
    nameless = bench.run("component", "create", "-f", path)
    assert nameless.code == 2 and "name" in nameless.err
    assert bench.run("component", "create", "-f", "nowhere.yml").code == 2
    assert bench.run("component", "list", "--output", "json").ok().json == []


def test_a_pipeline_is_published_submitted_with_another_literal_and_disabled(bench: Bench) -> None:
    step = command(bench, "note dug-${{inputs.n}}", inputs={"n": "${{parent.inputs.n}}"})
    submit(bench, pipeline(bench, {"dig": step}, inputs={"n": 1})).ok()
    key = bench.run("publish", "probe", "--name", "weekly", "--description", "d", "--version", "1").ok().out.strip()
    (listed,) = bench.run("published", "list", "--output", "json").ok().json
    assert (listed["id"], listed["name"], listed["status"], listed["job"]) == (key, "weekly", "Active", "probe")
    assert "weekly" in bench.run("published", "show", key).ok().out
    done = bench.run("published", "submit", key, "--set", "n=2", "--experiment", "lode", "--output", "json").ok()
    assert bench.notes("notes") == ["dug-1", "dug-2"]
    assert done.json["status"] == "Completed" and set(steps_of(bench, done.json["name"])) == {"dig"}
    wrong = bench.run("published", "submit", key, "--set", "depth=2")
    assert wrong.code == 2 and "depth" in wrong.err and "n" in wrong.err
    bench.run("published", "disable", key).ok()
    refused = bench.run("published", "submit", key)
    assert refused.code == 2 and "Disabled" in refused.err
    assert bench.run("published", "list", "--output", "json").ok().json == []
    assert len(bench.run("published", "list", "--all", "--output", "json").ok().json) == 1
    assert bench.run("published", "enable", key, "--output", "json").ok().json["status"] == "Active"
    assert bench.run("published", "show", "nothing").code == 2


def test_only_pipelines_can_be_published(done: Bench) -> None:
    refused = done.run("publish", "probe", "--name", "x")
    assert refused.code == 2 and "Traceback" not in refused.err
