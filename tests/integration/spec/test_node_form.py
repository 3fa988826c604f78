"""A job in the form of a step, as the public SDK dumps a command it has loaded, is read as the job written flat."""

from __future__ import annotations

from pathlib import Path

import pytest

from runner.errors import SpecInvalid
from runner.spec.command_job import CommandJob
from runner.spec.load import job_of_document, load_job
from runner.spec.places import Places
from runner.spec.validate import validate

NODE = """\
component:
  code: ./code
  command: echo ${{inputs.n}} ${{inputs.d}} ${{inputs.t}} ${{outputs.o}}
  environment: azureml:e:1
  environment_variables: {A: a, B: b}
  inputs:
    d: {type: uri_file}
    n: {default: '3', type: integer}
    t: {default: 'True', type: boolean}
  is_deterministic: true
  name: azureml_anonymous
  outputs:
    o: {type: uri_folder}
  tags: {x: y}
  type: command
  version: '1'
compute: azureml:cpu
environment_variables: {A: mine}
inputs:
  d: {path: 'azureml:./data.txt', type: uri_file}
  t: 1
name: loaded
type: command
"""
FLAT = """\
type: command
name: loaded
code: ./code
command: echo ${{inputs.n}} ${{inputs.d}} ${{inputs.t}} ${{outputs.o}}
environment: azureml:e:1
environment_variables: {A: mine, B: b}
inputs: {d: {type: uri_file, path: ./data.txt}, n: 3, t: true}
outputs: {o: {type: uri_folder}}
is_deterministic: true
compute: cpu
tags: {x: y}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "code").mkdir()
    (tmp_path / "data.txt").write_text("x")
    (tmp_path / "node.yml").write_text(NODE)
    (tmp_path / "flat.yml").write_text(FLAT)
    return tmp_path


def refusal(folder: Path, old: str, new: str) -> list[str]:
    assert old in NODE
    (folder / "node.yml").write_text(NODE.replace(old, new, 1))
    with pytest.raises(SpecInvalid) as caught:
        load_job(folder / "node.yml")
    return [str(problem) for problem in caught.value.problems]


def test_it_is_the_job_written_flat(folder: Path, home: Path) -> None:
    job = load_job(folder / "node.yml")
    assert isinstance(job, CommandJob) and job == load_job(folder / "flat.yml")
    assert validate(job, places=Places.read(home, {})).problems == ()
    assert job_of_document(job.absolute_document()) == job
    job.dump(folder / "dumped.yml")
    assert "component" not in (folder / "dumped.yml").read_text() and load_job(folder / "dumped.yml") == job


def test_its_component_may_be_a_file(folder: Path) -> None:
    lines = NODE.splitlines(keepends=True)
    (folder / "parts").mkdir()
    (folder / "parts/c.yml").write_text("".join(line[2:] for line in lines[1:16]).replace("./code", "../code"))
    (folder / "node.yml").write_text("component: ./parts/c.yml\ntags: {x: y}\n" + "".join(lines[16:]))
    assert load_job(folder / "node.yml") == load_job(folder / "flat.yml")


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("t: 1", "t: maybe", "node.yml:21: inputs.t is 'maybe', and the input takes a value of type boolean"),
        ("inputs.n}}", "inputs.m}}", "node.yml:3: component.command names ${{inputs.m}}, and there is no such input"),
        ("./code", "./cod", "node.yml:2: component.code leads to"),
        ("{path: 'azureml:./data.txt', type: uri_file}", "", "node.yml:20: inputs.d is not given"),
        ("name: loaded", "name: a--b", "node.yml:22: name is 'a--b', which cannot name a job"),
        (
            "  type: command",
            "  type: pipeline",
            "node.yml:23: type is 'command', and its component is of",
        ),
        ("  type: command", "  type: sweep", "node.yml:15: component.type is 'sweep', a kind of component"),
    ],
)
def test_what_is_wrong_is_told_where_it_is_written(folder: Path, old: str, new: str, says: str) -> None:
    assert any(says in problem for problem in refusal(folder, old, new))


@pytest.mark.parametrize(
    ("component", "says"),
    [("azureml:crane:1", "only steps of pipelines are made from registered"), ("./no.yml", "there is nothing")],
)
def test_a_component_that_is_not_there_is_told(folder: Path, component: str, says: str) -> None:
    (folder / "node.yml").write_text(f"type: command\ncomponent: {component}\n")
    with pytest.raises(SpecInvalid, match=says):
        load_job(folder / "node.yml")
