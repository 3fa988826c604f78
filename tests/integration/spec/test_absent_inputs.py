"""An optional input of a step that another step makes is absent when that one fails: it has to stand in a group."""

from __future__ import annotations

from pathlib import Path

import pytest

from runner.errors import SpecInvalid
from runner.spec.load import load_job
from runner.spec.places import Places
from runner.spec.validate import validate

COMMAND = """\
type: command
name: part
environment: azureml:x@latest
inputs:
  maybe: {{type: {kind}, optional: true}}
environment_variables: {{X: "{variable}"}}
command: cat {command}
"""
PIPELINE = """\
type: pipeline
compute: local
jobs:
  first: {command: "x > ${{outputs.o}}", outputs: {o: {type: uri_file}}}
  second:
    type: command
    component: ./part.yml
    inputs: {maybe: "%s"}
"""
BARE, GROUPED = "${{inputs.maybe}}", "$[[${{inputs.maybe}}]]"
OTHER = "${{parent.jobs.first.outputs.o}}"


def problems(
    folder: Path, places: Places, bound: str, command: str, variable: str, kind: str = "uri_file"
) -> list[str]:
    (folder / "part.yml").write_text(COMMAND.format(kind=kind, command=command, variable=variable))
    (folder / "pipeline.yml").write_text(PIPELINE % bound)
    try:
        found = validate(load_job(folder / "pipeline.yml"), places=places)
    except SpecInvalid as invalid:
        return [f"{Path(problem.file).name}:{problem.line}: {problem.what}" for problem in invalid.problems]
    return [str(problem) for problem in found.problems]


@pytest.fixture
def places(home: Path) -> Places:
    return Places.read(home, {})


def test_outside_a_group_it_is_refused_where_it_stands(tmp_path: Path, places: Places) -> None:
    says = "uses ${{inputs.maybe}}, an optional input that may have no value"
    assert problems(tmp_path, places, OTHER, BARE, "") == [f"part.yml:7: command {says}"]
    assert problems(tmp_path, places, OTHER, GROUPED, BARE) == [f"part.yml:6: environment_variables.X {says}"]


def test_in_a_group_it_is_sound(tmp_path: Path, places: Places) -> None:
    assert problems(tmp_path, places, OTHER, GROUPED, GROUPED) == []


def test_a_value_that_is_there_may_stand_anywhere(tmp_path: Path, places: Places) -> None:
    assert problems(tmp_path, places, "tide", BARE, BARE, "string") == []


def test_an_optional_split_input_is_left_to_the_run(tmp_path: Path, places: Places) -> None:
    (tmp_path / "score.py").write_text("def run(mini_batch):\n    return mini_batch\n")
    (tmp_path / "part.yml").write_text(
        "type: parallel\nname: part\ninputs:\n  maybe: {type: uri_folder, optional: true}\n"
        "outputs:\n  rows: {type: uri_file}\ninput_data: ${{inputs.maybe}}\n"
        "task: {type: run_function, entry_script: ./score.py, append_row_to: '${{outputs.rows}}', "
        "environment: azureml:x@latest}\n"
    )
    text = PIPELINE.replace("type: uri_file", "type: uri_folder").replace(
        "type: command\n    comp", "type: parallel\n    comp"
    )
    (tmp_path / "pipeline.yml").write_text(text % OTHER)
    assert validate(load_job(tmp_path / "pipeline.yml"), places=places).problems == ()
