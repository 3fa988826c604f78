"""Every verb of `Client.jobs` on jobs that run, here and behind a service alike."""

from __future__ import annotations

import io
import json
import os
import pickle
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from run_kit import FILE, chain, command, connected, load, pipeline, until, wait_for

from runner.client.client import Client
from runner.entity.asset import Asset
from runner.entity.status import JobStatus
from runner.errors import (
    ArgumentInvalid,
    AssetExists,
    AssetNotFound,
    JobException,
    JobNotFound,
    JobStatusConflict,
    OutputMissing,
    PipelineChildJobError,
    SpecInvalid,
)
from runner.spec.command_job import CommandJob
from runner.spec.jobs import Job
from runner.spec.pieces import Output
from runner.spec.pipeline_job import PipelineJob
from runner.store.home import Home

S = JobStatus


@pytest.fixture(params=["embedded", "served"])
def client(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Client]:
    with connected(request.param, Home(tmp_path / "home")) as made:
        yield made


@pytest.fixture
def work(tmp_path: Path) -> Path:
    return tmp_path / "work"


def ended(client: Client, name: str) -> Job:
    return until(lambda: (job := client.jobs.get(name)).status in (S.COMPLETED, S.FAILED, S.CANCELED) and job, name)


def ran(client: Client, job: Job) -> Job:
    made = client.jobs.create_or_update(job)
    assert made.name is not None
    return ended(client, made.name)


def test_a_submitted_job_is_a_new_object_of_its_own_class(client: Client) -> None:
    job = CommandJob(command="echo moored", compute="local", tags={"berth": "7"})
    made = client.jobs.create_or_update(job)
    assert job.name is None and job.status is None
    assert isinstance(made, CommandJob)
    assert made.name is not None and made.display_name == made.name
    assert made.id and made.studio_url and made.creation_context is not None
    done = ended(client, made.name)
    assert done.status is S.COMPLETED and done.tags == {"berth": "7"}
    assert done.log_files is not None and "user_logs/std_log.txt" in done.log_files
    assert done.services is not None and set(done.services) == {"Studio", "Tracking"}
    assert client.jobs.show_services(made.name)["Studio"].endpoint == done.studio_url
    assert isinstance(done, CommandJob) and (done.parameters, done.parent_job_name) == ({}, None)


def test_parameters_that_were_logged_are_those_of_the_job(client: Client) -> None:
    done = ran(client, CommandJob(command="true", compute="local"))
    told = client.jobs.update(str(done.name), properties={"mlflow.parameters.depth": 3, "other": "4"})
    assert isinstance(told, CommandJob) and told.parameters == {"depth": "3"}


def test_what_is_given_goes_before_what_the_job_says(client: Client) -> None:
    job = CommandJob(command="true", compute="cluster", description="mine", tags={"a": "1"}, experiment_name="harbour")
    made = client.jobs.create_or_update(
        job, name="tide", description="yours", compute="local", tags={"b": "2"}, experiment_name="coast"
    )
    assert (made.name, made.description, made.compute) == ("tide", "yours", "local")
    assert (made.tags, made.experiment_name) == ({"b": "2"}, "coast")
    assert (job.description, job.compute, job.tags) == ("mine", "cluster", {"a": "1"})
    ended(client, "tide")


def test_without_an_experiment_the_folder_gives_its_name(
    client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder := tmp_path / "my harbour (2)").mkdir()
    monkeypatch.chdir(folder)
    assert ran(client, CommandJob(command="true", compute="local")).experiment_name == "myharbour2"


def test_an_object_that_came_back_changes_its_job(client: Client) -> None:
    done = ran(client, CommandJob(command="true", compute="local", tags={"a": "1", "b": "2"}))
    done.tags["a"] = "9"
    done.description, done.display_name = "moored", "The tide"
    done.properties["depth"] = 3
    again = client.jobs.create_or_update(done)
    assert (again.name, again.tags, again.description) == (done.name, {"a": "9", "b": "2"}, "moored")
    assert (again.display_name, again.properties) == ("The tide", {"depth": "3"})
    assert client.jobs.create_or_update(again, tags={"b": None}).tags == {"a": "9"}
    assert len(list(client.jobs.list())) == 1
    assert isinstance(again, CommandJob)
    again.command, again.compute = "false", "cluster"
    with pytest.raises(ArgumentInvalid, match=r"command, compute of the job .* cannot be changed"):
        client.jobs.create_or_update(again)
    again.name = "copy"
    again.command, again.compute = "true", "local"
    assert ran(client, again).name == "copy"


def test_an_object_of_a_pipeline_changes_it_too(client: Client, work: Path) -> None:
    made = client.jobs.create_or_update(chain(work))
    ended(client, str(made.name))
    made.tags["a"] = "1"
    again = client.jobs.create_or_update(made)
    assert (again.name, again.tags, again.status) == (made.name, {"a": "1"}, S.COMPLETED)
    assert isinstance(again, PipelineJob)
    again.inputs["depth"] = 1
    with pytest.raises(ArgumentInvalid, match=r"inputs of the job .* cannot be changed"):
        client.jobs.create_or_update(again)


def test_a_job_that_exists_is_updated_by_name(client: Client, work: Path) -> None:
    done = ran(client, pipeline(work, {"a": command("true")}, tags={"keep": "1", "drop": "2"}))
    assert done.name is not None
    told = client.jobs.update(done.name, display_name="D", tags={"drop": None, "new": 3}, properties={"p": "q"})
    assert (told.display_name, told.tags, told.properties) == ("D", {"keep": "1", "new": "3"}, {"p": "q"})
    with pytest.raises(ArgumentInvalid, match="nothing is given"):
        client.jobs.update(done.name)
    with pytest.raises(JobNotFound, match="nobody"):
        client.jobs.update("nobody", description="x")
    [step] = client.jobs.steps(done.name)
    assert client.jobs.update(step.name, description="of a step").description == "of a step"


def test_jobs_are_archived_restored_and_listed_by_view(client: Client, work: Path) -> None:
    for name in ("one", "two"):
        client.jobs.create_or_update(load(work, command("true")), name=name)
        ended(client, name)
    assert [job.name for job in client.jobs.list()] == ["two", "one"]
    client.jobs.archive("one")
    assert [job.name for job in client.jobs.list()] == ["two"]
    assert [job.name for job in client.jobs.list(list_view_type="ARCHIVED_ONLY")] == ["one"]
    assert [job.name for job in client.jobs.list(list_view_type="All")] == ["two", "one"]
    assert client.jobs.get("one").status is S.COMPLETED
    client.jobs.restore("one")
    assert [job.name for job in client.jobs.list()] == ["two", "one"]
    with pytest.raises(ArgumentInvalid, match="list_view_type"):
        client.jobs.list(list_view_type="SOME")


def test_steps_are_listed_as_base_jobs_of_their_parent_and_not_archived(client: Client, work: Path) -> None:
    done = ran(client, chain(work))
    assert isinstance(done, PipelineJob) and done.name is not None
    assert set(done.jobs) == {"sift", "count"}
    children = list(client.jobs.list(parent_job_name=done.name))
    assert [(child.type, child.display_name, child.status) for child in children] == [
        ("base", "count", S.COMPLETED),
        ("base", "sift", S.COMPLETED),
    ]
    assert {child.parent_job_name for child in children} == {done.name}
    assert {child.compute for child in children} == {"local"}
    assert [job.name for job in client.jobs.list()] == [done.name], "steps are in no other list"
    assert [step.step for step in client.jobs.steps(done.name)] == ["sift", "count"]
    for verb in (client.jobs.archive, client.jobs.restore):
        with pytest.raises(PipelineChildJobError, match=done.name):
            verb(str(children[0].name))
    whole = client.jobs.get(str(children[1].name))
    assert isinstance(whole, CommandJob) and whole.parent_job_name == done.name
    again = ran(client, chain(work))
    assert {child.properties["azureml.isreused"] for child in client.jobs.list(parent_job_name=again.name)} == {"true"}


def test_names_that_are_none_are_told(client: Client) -> None:
    for verb in (client.jobs.get, client.jobs.cancel, client.jobs.archive, client.jobs.stream, client.jobs.download):
        with pytest.raises(ArgumentInvalid, match="name: is a int"):
            verb(7)
        with pytest.raises(JobNotFound, match="nobody"):
            verb("nobody")
    with pytest.raises(ArgumentInvalid, match="give a job"):
        client.jobs.create_or_update("job.yml")


def test_a_command_is_streamed_with_both_of_its_streams(client: Client) -> None:
    made = client.jobs.create_or_update(CommandJob(command="echo l1; echo l2", compute="local"))
    told = io.StringIO()
    client.jobs.stream(str(made.name), to=told)
    head = f"RunId: {made.name}\nWeb View: {client.jobs.get(str(made.name)).studio_url}\n\n"
    rule = "=" * len("Streaming user_logs/std_log.txt")
    summary = f"Execution Summary\n=================\n{head}"
    assert told.getvalue() == f"{head}Streaming user_logs/std_log.txt\n{rule}\n\nl1\nl2\n\n{summary}"


def test_the_stream_of_a_job_that_failed_ends_with_why(client: Client) -> None:
    made = client.jobs.create_or_update(CommandJob(command="echo out; echo fog >&2; exit 3", compute="local"))
    told = io.StringIO()
    with pytest.raises(JobException, match="exit code 3"):
        client.jobs.stream(str(made.name), to=told)
    assert "Streaming user_logs/std_log.txt\n" in told.getvalue()
    assert "Streaming user_logs/std_err.txt\n" in told.getvalue()
    assert "fog\n" in told.getvalue()


def test_the_stream_of_a_cancelled_job_ends_quietly(client: Client, tmp_path: Path) -> None:
    made = client.jobs.create_or_update(CommandJob(command=wait_for(tmp_path / "go"), compute="local"))
    client.jobs.begin_cancel(str(made.name)).wait()
    client.jobs.stream(str(made.name), to=io.StringIO())
    assert client.jobs.get(str(made.name)).status is S.CANCELED
    client.jobs.cancel(str(made.name))  # asked once more, it is no error


def test_the_stream_of_a_pipeline_is_what_its_driver_decides(client: Client, work: Path) -> None:
    made = client.jobs.create_or_update(chain(work))
    told = io.StringIO()
    client.jobs.stream(str(made.name), to=told)
    assert "\nStreaming logs/azureml/executionlogs.txt\n" in told.getvalue()
    assert "sifting" not in told.getvalue()
    job = client.jobs.get(str(made.name))
    assert job.log_files is not None and "logs/azureml/executionlogs.txt" in job.log_files
    [sift, _] = client.jobs.steps(str(made.name))
    told = io.StringIO()
    client.jobs.stream(sift.name, to=told)
    assert "\nsifting\n" in told.getvalue() and "\nfog\n" in told.getvalue()


def test_an_interrupt_ends_the_stream_and_not_the_job(client: Client, tmp_path: Path) -> None:
    made = client.jobs.create_or_update(CommandJob(command=wait_for(tmp_path / "go"), compute="local"))
    here = threading.main_thread().ident
    assert here is not None
    interrupt = threading.Timer(0.4, signal.pthread_kill, (here, signal.SIGINT))
    interrupt.start()
    with pytest.raises(JobException, match="still executing"):
        client.jobs.stream(str(made.name), to=io.StringIO())
    interrupt.join()
    (tmp_path / "go").touch()
    assert ended(client, str(made.name)).status is S.COMPLETED


def below(folder: Path) -> dict[str, str]:
    return {
        os.path.relpath(path, folder): path.read_text(errors="replace") for path in folder.rglob("*") if path.is_file()
    }


def test_artifacts_and_named_outputs_are_downloaded_apart(client: Client, tmp_path: Path) -> None:
    text = "echo moored; echo kept > outputs/kept.txt; echo one > ${{outputs.o}}/one.txt; echo two > ${{outputs.f}}"
    outputs = {"o": Output(), "f": Output(type="uri_file"), "empty": Output()}
    done = ran(client, CommandJob(command=text, compute="local", outputs=outputs))
    name = str(done.name)
    client.jobs.download(name, download_path=tmp_path / "plain")
    plain = below(tmp_path / "plain")
    assert plain["artifacts/outputs/kept.txt"] == "kept\n"
    assert plain["artifacts/user_logs/std_log.txt"] == "moored\n"
    assert not any(path.startswith("named-outputs") for path in plain)
    client.jobs.download(name, download_path=tmp_path / "default", output_name="default")
    assert below(tmp_path / "default") == plain
    client.jobs.download(name, download_path=tmp_path / "one", output_name="o")
    assert below(tmp_path / "one") == {"named-outputs/o/one.txt": "one\n"}
    client.jobs.download(name, download_path=tmp_path / "all", all=True)
    everything = below(tmp_path / "all")
    assert everything.keys() == plain.keys() | {"named-outputs/o/one.txt", "named-outputs/f/f"}
    for wrong in ("nothing", "empty"):
        with pytest.raises(OutputMissing, match=r"o.*f.*empty"):
            client.jobs.download(name, download_path=tmp_path / "wrong", output_name=wrong)
    with pytest.raises(ArgumentInvalid, match="together"):
        client.jobs.download(name, output_name="o", all=True)


def test_steps_reused_steps_and_promoted_outputs_are_downloaded(client: Client, work: Path, tmp_path: Path) -> None:
    ran(client, chain(work))
    again = str(ran(client, chain(work)).name)
    client.jobs.download(again, download_path=tmp_path / "pipeline", output_name="report")
    [(_, text)] = below(tmp_path / "pipeline" / "named-outputs" / "report").items()
    assert text == "2\n"
    sift, count = client.jobs.steps(again)
    assert sift.reused_from and count.reused_from
    client.jobs.download(sift.name, download_path=tmp_path / "sift", all=True)
    files = below(tmp_path / "sift")
    assert files["artifacts/user_logs/std_log.txt"] == "sifting\n"
    assert "salt\ntea\n" in files.values()


def test_a_job_that_has_not_ended_is_not_downloaded(client: Client, tmp_path: Path) -> None:
    job = CommandJob(command=wait_for(tmp_path / "go"), compute="local", outputs={"o": Output()})
    made = client.jobs.create_or_update(job)
    for more in ({}, {"output_name": "o"}, {"all": True}):
        with pytest.raises(JobException, match="wait for its end") as refused:
            client.jobs.download(str(made.name), download_path=tmp_path / "down", **more)
        assert isinstance(pickle.loads(pickle.dumps(refused.value)), JobStatusConflict)
    (tmp_path / "go").touch()
    assert ended(client, str(made.name)).status is S.COMPLETED
    with pytest.raises(JobStatusConflict, match="Completed"):
        client.jobs.cancel(str(made.name))


def test_a_validation_tells_everything_and_stores_nothing(client: Client, work: Path) -> None:
    fine = client.jobs.validate(chain(work))
    assert (fine.passed, fine.error_messages, fine._to_dict()["result"]) == (True, {}, "Succeeded")
    job = load(work, command("cat ${{inputs.list}}", inputs={"list": {**FILE, "path": "./nowhere.txt"}}))
    found = client.jobs.validate(job)
    assert not found.passed
    assert any("nowhere.txt" in told for told in found.error_messages.values())
    [error] = found._to_dict()["errors"]
    assert found._to_dict()["result"] == "Failed"
    assert error["location"].startswith(f"{work / 'job.yml'}#line ")
    with pytest.raises(SpecInvalid, match=r"nowhere\.txt"):
        client.jobs.validate(job, raise_on_failure=True)
    assert not list(client.jobs.list())


def test_what_is_wrong_with_a_pipeline_is_told_with_its_files_and_lines(client: Client, work: Path) -> None:
    work.mkdir()
    part = {
        "type": "command",
        "name": "part",
        "command": "cat ${{inputs.list}}",
        "environment": "azureml:e:1",
        "inputs": {"list": FILE},
    }
    (work / "part.yml").write_text(json.dumps(part))
    list_of: dict[str, Any] = {"list": {**FILE, "path": "./nowhere.txt"}}
    step = {"type": "command", "component": "./part.yml", "compute": "local", "inputs": list_of}
    job = pipeline(work, {"read": step})
    with pytest.raises(SpecInvalid, match=r"job\.yml:\d+: .*nowhere\.txt"):
        client.jobs.create_or_update(job)
    assert not list(client.jobs.list())


def test_data_and_components_are_registered_listed_and_never_changed(client: Client, work: Path) -> None:
    work.mkdir()
    (work / "list.txt").write_text("tea\n")
    first = client.data.create_or_update(name="cargo", path=work / "list.txt", tags={"a": "1"})
    assert (first.reference, first.type, first.path) == ("azureml:cargo:1", "uri_file", str(work / "list.txt"))
    second = client.data.create_or_update(name="cargo", path=work)
    assert (second.version, second.type) == ("2", "uri_folder")
    assert client.data.get("cargo").version == client.data.get("cargo", label="latest").version == "2"
    assert client.data.get("cargo", "1").tags == {"a": "1"}
    assert [one.version for one in client.data.list("cargo")] == ["2", "1"]
    with pytest.raises(AssetExists, match="cargo:1"):
        client.data.create_or_update(name="cargo", version=1, path=work)
    with pytest.raises(AssetNotFound, match="nothing"):
        client.data.get("nothing")
    with pytest.raises(ArgumentInvalid, match="path"):
        client.data.create_or_update(name="lost", path=work / "nowhere")
    part = {"type": "command", "name": "part", "version": "3", "command": "true", "environment": "azureml:e:1"}
    kept = client.components.create_or_update(part)
    assert (kept.reference, kept.document["command"]) == ("azureml:part:3", "true")
    assert [one.name for one in client.components.list()] == ["part"]
    (work / "part.yml").write_text(json.dumps({**part, "version": "4", "code": "."}))
    assert client.components.create_or_update(work / "part.yml").version == "4"
    with pytest.raises(SpecInvalid, match=r"nowhere\.yml"):
        client.components.create_or_update(work / "nowhere.yml")
    with pytest.raises(ArgumentInvalid, match="has no name"):
        client.components.create_or_update({"type": "command"})
    with pytest.raises(ArgumentInvalid, match="is data"):
        client.components.create_or_update(Asset(kind="data", name="x", version="", type="uri_file", path="/x"))
    job = load(work, command("cat ${{inputs.l}}", inputs={"l": {**FILE, "path": "azureml:cargo:1"}}))
    assert ran(client, job).status is S.COMPLETED
