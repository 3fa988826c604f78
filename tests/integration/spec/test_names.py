"""Registered names and outputs of finished jobs as inputs."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest

from runner.entity.asset import Asset
from runner.entity.job import JobState, OutputState
from runner.entity.status import JobStatus
from runner.server.catalog import StoreCatalog
from runner.spec.command_job import CommandJob
from runner.spec.jobs import Job, ParallelJob
from runner.spec.load import load_job
from runner.spec.pieces import Input, Output, RunFunction
from runner.spec.places import Places
from runner.spec.resolve import resolve
from runner.spec.resolve_command import resolve_command
from runner.spec.targets import names_no_version
from runner.spec.validate import validate
from runner.store.home import Home
from runner.store.store import Store


@pytest.fixture
def store(home: Path) -> Iterator[Store]:
    opened = Store(Home(home).make())
    yield opened
    opened.close()


@pytest.fixture
def places(home: Path, store: Store, tmp_path: Path) -> Places:
    """Two versions of one asset, and two jobs of which one has completed."""
    for version in ("1", "2"):
        (tmp_path / f"tides{version}").mkdir()
        (tmp_path / f"tides{version}/low.txt").write_text(version)
        path = str(tmp_path / f"tides{version}")
        store.assets.create(Asset(kind="data", name="tides", version="", type="uri_folder", path=path))
    outputs = (OutputState(name="made", type="uri_folder", path=str(tmp_path / "tides1")),)
    for name in ("done", "going"):
        job = JobState(name=name, type="command", status=JobStatus.NOT_STARTED, create_time=0.0, outputs=outputs)
        store.create(job)
    steps = (JobStatus.STARTING, JobStatus.QUEUED, JobStatus.RUNNING, JobStatus.FINALIZING, JobStatus.COMPLETED)
    for status in steps:
        store.move("done", status)
    return dataclasses.replace(Places.read(home, {}), catalog=StoreCatalog(store))


def job_of(path: str, kind: str = "uri_folder") -> CommandJob:
    return CommandJob(command="cat ${{inputs.a}}", compute="local", inputs={"a": Input(type=kind, path=path)})


def told(job: Job, places: Places) -> list[str]:
    return [f"{problem.what}; {problem.remedy}" for problem in validate(job, places=places).problems]


@pytest.mark.parametrize(
    ("path", "leads_to"),
    [
        ("azureml:tides:1", "tides1"),
        ("azureml:tides:2", "tides2"),
        ("azureml:tides@latest", "tides2"),
        ("azureml:tides", "tides2"),
        ("azureml:jobs/done/outputs/made", "tides1"),
        ("azureml://jobs/done/outputs/made", "tides1"),
        ("azureml://jobs/done/outputs/made/", "tides1"),
        ("azureml://jobs/done/outputs/made/paths/", "tides1"),
    ],
)
def test_a_name_leads_to_what_was_registered_or_made(path: str, leads_to: str, places: Places, tmp_path: Path) -> None:
    job = job_of(path)
    found = validate(job, places=places)
    assert found.problems == ()
    assert [notice for notice in found.notices if "newest version" in notice] == (
        ["CommandJob: inputs.a.path is 'azureml:tides': the newest version when the job is submitted is taken"]
        if path == "azureml:tides"
        else []
    )
    (given,) = resolve_command(job, name="n", places=places, code=None).spec.inputs
    assert given.text == str(tmp_path / leads_to)


@pytest.mark.parametrize("joint", ["/", "/paths/"])
def test_a_path_goes_on_below_an_output(joint: str, places: Places, tmp_path: Path) -> None:
    job = job_of(f"azureml://jobs/done/outputs/made{joint}low.txt", "uri_file")
    assert told(job, places) == []
    (given,) = resolve_command(job, name="n", places=places, code=None).spec.inputs
    assert given.text == str(tmp_path / "tides1/low.txt")


@pytest.mark.parametrize(
    ("path", "says"),
    [
        (
            "azureml:tides:3",
            "is 'azureml:tides:3', and no version 3 of that data asset is registered; the newest is azureml:tides:2",
        ),
        (
            "azureml:tide",
            "is 'azureml:tide', and no data asset of that name is registered; "
            "register it, or write a path (./tide for one beside the file)",
        ),
        ("azureml:a/b", "is 'azureml:a/b', which is no name of an asset; write azureml:<name>:<version>, "),
        (
            "azureml:jobs/dome/outputs/made",
            "is 'azureml:jobs/dome/outputs/made', and there is no job 'dome'; `runner list` shows the jobs there are",
        ),
        (
            "azureml:jobs/done/outputs/mode",
            "is 'azureml:jobs/done/outputs/mode', and the job 'done' has no output 'mode'; did you mean `made`?",
        ),
        (
            "azureml:jobs/done/outputs/made/../x",
            "is 'azureml:jobs/done/outputs/made/../x', which leads out of that out",
        ),
        ("azureml:jobs/done/outputs/made/x", "leads to "),
        (
            "azureml:jobs/going/outputs/made",
            "is 'azureml:jobs/going/outputs/made', and cannot be looked up: job 'going' is NotStarted and cannot",
        ),
    ],
)
def test_a_name_that_leads_nowhere_is_told_with_what_there_is(path: str, says: str, places: Places) -> None:
    (problem,) = told(job_of(path), places)
    assert problem.startswith(f"inputs.a.path {says}")


def test_the_type_is_that_of_what_the_name_leads_to(places: Places) -> None:
    (problem,) = told(job_of("azureml:tides:1", "uri_file"), places)
    assert "leads to the folder" in problem


def test_nothing_is_looked_up_where_nothing_is_registered(tmp_path: Path, places: Places) -> None:
    (tmp_path / "job.yml").write_text("command: cat ${{inputs.a}}\ninputs: {a: {path: 'azureml:nothing:1'}}\n")
    job = load_job(tmp_path / "job.yml")
    alone = dataclasses.replace(places, catalog=None)
    assert validate(job, places=alone).problems == ()
    assert isinstance(job, CommandJob)
    with pytest.raises(Exception, match="names something registered, and nothing is looked up here"):
        resolve_command(job, name="n", places=alone, code=None)


def test_a_parallel_job_takes_names_too(places: Places, tmp_path: Path) -> None:
    (tmp_path / "score.py").write_text("def run(mini_batch):\n    return mini_batch\n")
    job = ParallelJob(
        inputs={"a": Input(path="azureml:tides:1"), "b": Input(path="azureml:jobs/done/outputs/made")},
        outputs={"o": Output(type="uri_file", path=str(tmp_path / "o.txt"))},
        input_data="${{inputs.a}}",
        task=RunFunction(
            code=str(tmp_path),
            entry_script="score.py",
            append_row_to="${{outputs.o}}",
            program_arguments="${{inputs.b}}",
        ),
    )
    assert told(job, places) == []
    spec = resolve(job, name="n", places=places, code=tmp_path).spec
    assert [given.path for given in spec.inputs] == [str(tmp_path / "tides1")]
    assert spec.argv == (str(tmp_path / "tides1"),)


def test_an_output_cannot_become_a_version_that_is_there(places: Places) -> None:
    def outputs(version: str | None) -> list[str]:
        return told(CommandJob(command="x", outputs={"o": Output(name="tides", version=version)}), places)

    assert outputs(None) == []
    assert outputs("3") == []
    assert outputs("2") == [
        "outputs.o.version is '2', and the data asset tides:2 is registered already; "
        "write another version, or leave it out for the next one"
    ]


def test_only_a_name_alone_has_no_version() -> None:
    assert names_no_version("azureml:tides")
    for path in ("azureml:tides:1", "azureml:tides@latest", "azureml:jobs/a/outputs/b", "tides", "azureml:./tides"):
        assert not names_no_version(path)
