"""The handles of SDK v1 on experiments, pipelines and their steps, here and behind a service alike."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from run_kit import FILE, chain, command, connected, pipeline, until, wait_for

from runner.client.client import Client
from runner.client.experiment import Experiment
from runner.client.ports import PortDataReference, StepRunOutput
from runner.client.published import PublishedPipeline
from runner.client.run import Run
from runner.client.runs import PipelineRun
from runner.client.steps import StepRun
from runner.errors import ArgumentInvalid, JobNotFound, JobStatusConflict, PublishedNotFound
from runner.spec.command_job import CommandJob
from runner.spec.load import load_job
from runner.store.home import Home


@pytest.fixture(params=["embedded", "served"])
def client(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Client]:
    with connected(request.param, Home(tmp_path / "home")) as made:
        yield made


@pytest.fixture
def harbour(client: Client) -> Experiment:
    return Experiment(client, "harbour")


@pytest.fixture
def work(tmp_path: Path) -> Path:
    return tmp_path / "work"


def ran(harbour: Experiment, work: Path, **more: object) -> PipelineRun:
    run = harbour.submit(chain(work), **more)
    assert run.wait_for_completion(show_output=False) == "Finished"
    return run


def test_an_experiment_is_made_tagged_archived_and_brought_back(client: Client) -> None:
    made = Experiment(client, "harbour")
    assert (made.name, made.workspace, made.archived_time, made.tags) == ("harbour", client, None, {})
    made.tag("berth", 7)
    made.set_tags({"tide": "low", "fog": None})
    made.remove_tags(["fog", "nothing"])
    assert Experiment(client, "harbour").tags == {"berth": "7", "tide": "low"}
    Experiment(client, "coast")
    assert {one.name for one in Experiment.list(client)} == {"harbour", "coast"}
    assert [one.name for one in Experiment.list(client, tags={"berth": "7"})] == ["harbour"]
    made.archive()
    assert made.archived_time is not None
    assert Experiment(client, "harbour").archived_time is not None, "looking at it changes nothing"
    assert [one.name for one in Experiment.list(client)] == ["coast"]
    assert [one.name for one in Experiment.list(client, view_type="ArchivedOnly")] == ["harbour"]
    with pytest.raises(ArgumentInvalid, match="renamed"):
        made.reactivate("port")
    made.reactivate()
    assert made.archived_time is None


@pytest.mark.parametrize("name", ["", "ab", "x" * 37, "_abc", "a b c", "a.b.c", None, 123])
def test_a_name_that_no_experiment_can_have_is_refused(tmp_path: Path, name: Any) -> None:
    with connected("embedded", Home(tmp_path / "home")) as client:
        with pytest.raises(ArgumentInvalid, match="3 to 36"):
            Experiment(client, name)
        assert not Experiment.list(client, view_type="All")
    with pytest.raises(ArgumentInvalid, match=r"runner\.Client"):
        Experiment("harbour", "harbour")


def test_what_is_submitted_is_a_run_of_its_kind(
    client: Client, harbour: Experiment, work: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = harbour.submit(chain(work), tags={"berth": 7})
    told = capsys.readouterr().out
    assert told.splitlines()[0] == f"Submitted PipelineRun {run.id}"
    assert run.get_portal_url() in told
    assert (type(run), run.tags, run.experiment.name) == (PipelineRun, {"berth": "7"}, "harbour")
    other = harbour.submit(CommandJob(command="echo moored", compute="local"))
    assert type(other) is Run
    details = other.wait_for_completion()
    assert (details["runId"], details["status"]) == (other.id, "Completed")
    run.wait_for_completion(show_output=False)
    assert [one.id for one in harbour.get_runs()] == [other.id, run.id]
    assert [one.id for one in harbour.get_runs(type="pipeline")] == [run.id]
    assert [one.id for one in harbour.get_runs(tags="berth")] == [run.id]
    everything = [type(one).__name__ for one in harbour.get_runs(include_children=True)]
    assert everything == ["Run", "PipelineRun", "StepRun", "StepRun"]
    assert (run.number, other.number) == (1, 2)
    for wrong in ({"colour": 1}, {"pipeline_parameters": {"raw": 1}}, {"pipeline_parameters": {"dept": 1}}):
        with pytest.raises(ArgumentInvalid):
            harbour.submit(chain(work), **wrong)
    with pytest.raises(ArgumentInvalid, match="for pipelines"):
        harbour.submit(CommandJob(command="true", compute="local"), regenerate_outputs=True)
    with pytest.raises(ArgumentInvalid, match="give a job"):
        harbour.submit("pipeline.yml")


def test_by_this_door_a_pipeline_ends_with_its_first_failure_unless_it_says_otherwise(
    client: Client, harbour: Experiment, work: Path
) -> None:
    def goes_on(run: PipelineRun) -> bool:
        run.wait_for_completion(show_output=False)
        return client.backend.graph(run.id).continue_on_step_failure

    job = pipeline(work, {"a": command("true")})
    assert goes_on(harbour.submit(job)) is False
    assert goes_on(harbour.submit(job, continue_on_step_failure=True)) is True
    said = pipeline(work, {"a": command("true")}, settings={"continue_on_step_failure": True})
    assert goes_on(harbour.submit(said)) is True
    assert goes_on(harbour.submit(said, continue_on_step_failure=False)) is False
    assert job.settings.continue_on_step_failure is None, "the argument is left as it is"


def test_parameters_and_fresh_outputs_are_asked_for_at_submission(harbour: Experiment, work: Path) -> None:
    ran(harbour, work)
    assert all(step.is_reused for step in ran(harbour, work).get_steps())
    assert not any(step.is_reused for step in ran(harbour, work, regenerate_outputs=True).get_steps())
    run = ran(harbour, work, pipeline_parameters={"depth": 1})
    assert run.get_graph().params == {"depth": 1}
    [sift] = run.find_step_run("sift")
    assert not sift.is_reused


def test_a_run_that_is_not_what_its_handle_says_is_named(client: Client, harbour: Experiment, work: Path) -> None:
    run = ran(harbour, work)
    other = harbour.submit(CommandJob(command="true", compute="local"))
    other.wait_for_completion()
    coast = Experiment(client, "coast")
    for make in (lambda: PipelineRun(harbour, "nobody"), lambda: PipelineRun.get(client, "nobody")):
        with pytest.raises(JobNotFound, match="nobody"):
            make()
    for make in (lambda: PipelineRun(harbour, other.id), lambda: PipelineRun.get(client, other.id)):
        with pytest.raises(ArgumentInvalid, match=rf"{other.id}' is a command job and no pipeline"):
            make()
    with pytest.raises(ArgumentInvalid, match=rf"{run.id}' belongs to the experiment 'harbour', not 'coast'"):
        PipelineRun(coast, run.id)
    step = next(run.get_steps())
    assert StepRun(harbour, step.id, run.id, step.node_id).name == step.name
    with pytest.raises(ArgumentInvalid, match="belongs to the experiment"):
        StepRun(coast, step.id, run.id, step.node_id)
    with pytest.raises(ArgumentInvalid, match=rf"{other.id}' is no step of the pipeline '{run.id}'"):
        StepRun(harbour, other.id, run.id, "x")
    with pytest.raises(ArgumentInvalid, match="has no steps"):
        StepRun(harbour, step.id, other.id, "x")
    with pytest.raises(JobNotFound, match="nobody"):
        StepRun(harbour, "nobody", run.id, "x")
    for name, kind in ((run.id, PipelineRun), (step.id, StepRun), (other.id, Run)):
        found = Run.get(client, name)
        assert (found.id, type(found), found.experiment.name) == (name, kind, "harbour")
    found = PipelineRun.get(client, run.id)
    assert (found.id, found.experiment.name, type(found.experiment)) == (run.id, "harbour", Experiment)
    with pytest.raises(ArgumentInvalid, match=r"runner\.Client"):
        PipelineRun.get("harbour", run.id)


def test_another_service_can_be_asked_in_place_of_the_clients(tmp_path: Path, work: Path) -> None:
    home = Home(tmp_path / "home")
    with connected("served", home) as served, connected("embedded", Home(tmp_path / "empty")) as client:
        run = ran(Experiment(served, "harbour"), work)
        address = served.backend.address
        mine = Experiment(client, "harbour")
        with pytest.raises(JobNotFound, match=run.id):
            PipelineRun(mine, run.id)
        token = tmp_path / "empty" / "token"
        token.write_text(home.token())
        there = PipelineRun(mine, run.id, _service_endpoint=address)
        assert there.get_status() == "Finished"
        assert [step.get_status() for step in there.get_steps()] == ["Finished", "Finished"]
        assert PipelineRun.get(client, run.id, _service_endpoint=address).id == run.id


def test_tags_change_and_properties_do_not(harbour: Experiment, work: Path) -> None:
    run = ran(harbour, work)
    assert run.get_tags() == {}
    run.tag("berth")
    run.set_tags({"tide": 3, "fog": "thick"})
    run.remove_tags(["fog", "nothing"])
    assert run.get_tags() == run.tags == {"berth": "", "tide": "3"}
    run.add_properties({"depth": 3})
    run.add_properties({"depth": "3", "width": "9"})
    with pytest.raises(ArgumentInvalid, match="depth"):
        run.add_properties({"depth": "4", "length": "1"})
    assert run.properties == {"depth": "3", "width": "9"}
    run.display_name, run.description = "The tide", "of the day"
    assert (run.display_name, run.description) == ("The tide", "of the day")


def test_what_runs_of_jobs_cannot_do_is_said(harbour: Experiment, work: Path) -> None:
    run = ran(harbour, work)
    for handle, kind in ((run, "Pipeline"), (next(run.get_steps()), "Step")):
        for verb, word in ((handle.child_run, "Child run"), (handle.complete, "Complete"), (handle.fail, "Fail")):
            with pytest.raises(NotImplementedError, match=f"{word} is unsupported for {kind} run"):
                verb()


def test_steps_are_those_that_were_started_the_last_first(harbour: Experiment, work: Path, tmp_path: Path) -> None:
    first = command(wait_for(tmp_path / "go"), outputs={"o": FILE})
    first["command"] += "; echo 1 > ${{outputs.o}}"
    second = command("cat ${{inputs.i}}", inputs={"i": "${{parent.jobs.first.outputs.o}}"})
    run = harbour.submit(pipeline(work, {"first": first, "second": second}))
    until(lambda: [step.name for step in run.get_steps()] == ["first"])
    assert run.get_status() == "Running"
    assert run.status not in ("Completed", "Failed", "Canceled")
    assert "endTimeUtc" not in run.get_details()
    (tmp_path / "go").touch()
    run.wait_for_completion(show_output=False)
    steps = run.get_steps()
    assert not hasattr(steps, "__getitem__")
    assert [step.name for step in steps] == ["second", "first"]
    assert [step.name for step in run.find_step_run("first")] == ["first"]
    assert run.find_step_run("third") == []
    assert [step.name for step in run.get_children(status="Completed")] == ["second", "first"]
    assert list(run.get_children(status="Failed")) == []


def test_a_step_that_never_ran_is_left_out(harbour: Experiment, work: Path) -> None:
    first = command("exit 3", outputs={"o": FILE})
    second = command("cat ${{inputs.i}}", inputs={"i": "${{parent.jobs.first.outputs.o}}"})
    run = harbour.submit(pipeline(work, {"first": first, "second": second}))
    assert run.wait_for_completion(show_output=False, raise_on_error=False) == "Failed"
    assert [(step.name, step.get_status()) for step in run.get_steps()] == [("first", "Failed")]
    assert "error" in run.get_details()


def test_three_vocabularies_tell_of_one_run(harbour: Experiment, work: Path) -> None:
    run = ran(harbour, work)
    step = next(run.get_steps())
    for handle in (run, step):
        assert handle.get_status() == "Finished"
        assert handle.status == handle.get_details()["status"] == "Completed"
        assert Run.get_status(handle) == "Completed"
        assert type(handle.get_details()["status"]) is str


def test_the_details_of_a_step_hold_its_logs(harbour: Experiment, work: Path) -> None:
    run = ran(harbour, work)
    [sift] = run.find_step_run("sift")
    details = sift.get_details()
    assert {"runId", "target", "status", "startTimeUtc", "endTimeUtc", "properties", "submittedBy"} <= details.keys()
    assert {"inputDatasets", "outputDatasets", "runDefinition", "logFiles"} <= details.keys()
    assert details["properties"]["azureml.pipelinerunid"] == run.id
    assert details["logFiles"]["user_logs/std_log.txt"].startswith("file://")
    [count] = run.find_step_run("count")
    [given] = count.get_details()["inputDatasets"]
    assert (given["inputName"], given["path"]) == ("lines", sift.get_output("sorted").step_output.path)
    with_logs = sift.get_details_with_logs()
    assert with_logs.keys() == details.keys()
    files = with_logs["logFiles"]
    assert (files["STDOUT"], files["STDERR"]) == ("sifting\n", "fog\n")
    assert files["user_logs/std_log.txt"] == "sifting\n"
    assert files["JOBLOG"] == sift.get_job_log()
    assert (sift.get_stdout_log(), sift.get_stderr_log()) == ("sifting\n", "fog\n")
    assert "logs/azureml/executionlogs.txt" in run.get_details_with_logs()["logFiles"]


def test_the_files_of_a_run_are_listed_and_downloaded(harbour: Experiment, tmp_path: Path) -> None:
    run = harbour.submit(CommandJob(command="echo moored; echo kept > outputs/kept.txt", compute="local"))
    run.wait_for_completion()
    names = run.get_file_names()
    assert {"outputs/kept.txt", "user_logs/std_log.txt"} <= set(names)
    run.download_file("outputs/kept.txt", tmp_path / "one.txt")
    assert (tmp_path / "one.txt").read_text() == "kept\n"
    run.download_file("user_logs/std_err.txt", tmp_path / "empty.txt")
    assert (tmp_path / "empty.txt").read_text() == ""
    with pytest.raises(ArgumentInvalid, match=r"no file 'nothing'.*outputs/kept\.txt"):
        run.download_file("nothing", tmp_path / "nothing")
    run.download_files(output_directory=tmp_path / "all")
    found = {os.path.relpath(path, tmp_path / "all") for path in (tmp_path / "all").rglob("*") if path.is_file()}
    assert found == set(names)
    run.download_files(prefix="outputs", output_directory=tmp_path / "short", append_prefix=False)
    assert [path.name for path in (tmp_path / "short").iterdir()] == ["kept.txt"]
    assert run.get_metrics() == {}


def test_an_output_is_downloaded_once_below_its_whole_path(harbour: Experiment, work: Path, tmp_path: Path) -> None:
    two = "echo one > ${{outputs.o}}/one.txt; mkdir ${{outputs.o}}/in; echo two > ${{outputs.o}}/in/two.txt"
    run = harbour.submit(pipeline(work, {"a": command(two, outputs={"o": {}, "empty": {}})}))
    run.wait_for_completion(show_output=False)
    step = next(run.get_steps())
    assert list(step.get_outputs()) == ["o", "empty"]
    output = step.get_output("o")
    assert isinstance(output, StepRunOutput)
    assert (output.name, output.step_run, output.pipeline_run_id, output.step_output.name) == ("o", step, run.id, "o")
    with pytest.raises(KeyError, match="no output 'zz'; it has: o, empty"):
        step.get_output("zz")
    data = step.get_output_data("o")
    assert isinstance(data, PortDataReference)
    assert (data.name, data.pipeline_run_id, str(data)) == ("o", run.id, "$AZUREML_DATAREFERENCE_o")
    assert data.datastore_name == "workspaceblobstore"
    folder = tmp_path / "down" / data.path_on_datastore
    assert data.download(tmp_path / "down") == 2
    assert (folder / "in" / "two.txt").read_text() == "two\n"
    (folder / "one.txt").write_text("mine")
    assert data.download(tmp_path / "down") == 0
    assert (folder / "one.txt").read_text() == "mine"
    assert data.download(tmp_path / "down", overwrite=True) == 2
    assert (folder / "one.txt").read_text() == "one\n"
    assert step.get_output_data("empty").download(tmp_path / "nothing") == 0
    assert (tmp_path / "nothing").is_dir()
    assert (data.as_mount().mode, data.as_download().mode) == ("ro_mount", "download")
    with pytest.raises(ValueError, match="upload"):
        data.create_input_binding("upload")
    read = command("cat ${{inputs.i}}/one.txt", inputs={"i": "${{parent.inputs.i}}"})
    job = pipeline(work, {"read": read}, inputs={"i": {"type": "uri_folder", "path": "."}})
    job.inputs["i"] = data.as_mount()
    again = harbour.submit(job)
    again.wait_for_completion(show_output=False)
    assert next(again.get_steps()).get_stdout_log() == "one\n"


def test_an_output_with_a_path_of_its_own_is_on_no_datastore(harbour: Experiment, work: Path, tmp_path: Path) -> None:
    target = tmp_path / "out" / "report.txt"
    run = harbour.submit(chain(work, report={**FILE, "path": str(target)}))
    run.wait_for_completion(show_output=False)
    data = run.get_pipeline_output("report")
    assert (data.datastore_name, data.path_on_datastore) == (None, str(target).lstrip("/"))
    assert data.download(tmp_path / "down") == 1
    assert (tmp_path / "down" / str(target).lstrip("/")).read_text() == "2\n"
    with pytest.raises(KeyError, match="no output 'zz'; it has: report"):
        run.get_pipeline_output("zz")


def test_outputs_of_a_run_that_goes_on_are_not_there_yet(harbour: Experiment, work: Path, tmp_path: Path) -> None:
    run = harbour.submit(pipeline(work, {"a": command(wait_for(tmp_path / "go"), outputs={"o": {}})}))
    step = until(lambda: next(run.get_steps(), None))
    with pytest.raises(JobStatusConflict, match="wait for its end"):
        step.get_output_data("o").download(tmp_path / "down")
    run.cancel()
    assert run.wait_for_completion(show_output=False) == "Canceled"


def test_a_reused_step_shows_what_stands_in_for_it(harbour: Experiment, client: Client, work: Path) -> None:
    coast = Experiment(client, "coast")
    first = ran(coast, work)
    second = ran(harbour, work)
    [old], [new] = first.find_step_run("sift"), second.find_step_run("sift")
    assert (old.is_reused, new.is_reused) == (False, True)
    assert (new.id, new.pipeline_run_id) == (old.id, second.id)
    assert new.experiment.name == "coast"
    assert new.node_id != old.node_id
    assert new.properties["azureml.isreused"] == "true"
    assert new.properties["azureml.reusedrunid"] == old.id
    assert new.properties["azureml.reusedpipeline"] == first.id
    assert new.properties["azureml.reusednodeid"] == old.node_id
    assert new.get_stdout_log() == "sifting\n"
    assert list(new.get_outputs()) == ["sorted"]
    assert new.get_output_data("sorted").pipeline_run_id == second.id
    for experiment in (harbour, new.experiment):
        again = StepRun(experiment, new.id, second.id, new.node_id)
        assert (again.job, again.id) == (new.job, old.id)
    told = StepRun(harbour, new.job, second.id, new.node_id, None, True, "current", "run", "node", "pipeline")
    assert (told.node_id, told.id) == ("current", "run")
    assert told.properties["azureml.reusednodeid"] == "node"
    assert StepRun(harbour, new.job, second.id, new.node_id, _is_reused=False).id == new.job


def test_a_saved_pipeline_is_read_back_to_the_same_graph(
    harbour: Experiment, work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = ran(harbour, work)
    (tmp_path / "saved").mkdir()
    monkeypatch.chdir(tmp_path / "saved")
    run.save()
    run.save(tmp_path / "saved")
    run.save(tmp_path / "other.yml")
    assert sorted(path.name for path in (tmp_path / "saved").iterdir()) == ["pipeline.yml"]
    assert (tmp_path / "other.yml").read_text() == (tmp_path / "saved" / "pipeline.yml").read_text()
    again = harbour.submit(load_job(tmp_path / "saved" / "pipeline.yml"))
    again.wait_for_completion(show_output=False)

    def shape(one: PipelineRun) -> object:
        graph = one.get_graph()
        return [edge.name for edge in graph.edges], [node.name for node in graph.nodes], graph.params

    assert shape(again) == shape(run)
    assert all(step.is_reused for step in again.get_steps())
    graph = run.get_graph()
    assert graph is run.get_graph()
    assert [node.name for node in graph.module_nodes] == ["sift", "count"]
    assert {step.node_id for step in run.get_steps()} == {node.node_id for node in graph.module_nodes}


def test_a_published_pipeline_is_submitted_by_its_id(
    harbour: Experiment, client: Client, work: Path, tmp_path: Path
) -> None:
    run = ran(harbour, work)
    with pytest.raises(ValueError, match=r"parameter foo is not recognized for method PipelineRun\.publish_pipeline $"):
        run.publish_pipeline("sifter", "sifts", "1", foo=1)
    made = run.publish_pipeline("sifter", "sifts", "1", enable_email_notification=True)
    assert (made.name, made.description, made.version, made.status) == ("sifter", "sifts", "1", "Active")
    assert made.endpoint.endswith(f"/published/{made.id}")
    assert (made.total_run_steps, made.get_step_names()) == (2, ["sift", "count"])
    assert [edge.name for edge in made.get_graph().edges] == [edge.name for edge in run.get_graph().edges]
    assert made.continue_on_step_failure is False
    found = PublishedPipeline.get(client, made.id)
    assert (found.id, found.graph_id) == (made.id, run.id)
    again = found.submit(client, "coast", {"depth": 1})
    assert again.wait_for_completion(show_output=False) == "Finished"
    assert (again.experiment.name, again.get_graph().params) == ("coast", {"depth": 1})
    other = harbour.submit(found, tags={"from": "published"})
    other.wait_for_completion(show_output=False)
    assert other.tags == {"from": "published"}
    assert [one.id for one in PipelineRun.get_pipeline_runs(client, made.id)] == [other.id, again.id]
    with pytest.raises(ArgumentInvalid, match="dept"):
        found.submit(client, "coast", {"dept": 1})
    made.disable()
    assert found.status == "Disabled"
    assert PublishedPipeline.list(client) == []
    assert [one.id for one in PublishedPipeline.list(client, active_only=False)] == [made.id]
    with pytest.raises(ArgumentInvalid, match="Disabled"):
        found.submit(client, "coast")
    made.enable()
    assert [one.id for one in PublishedPipeline.list(client)] == [made.id]
    made.save(tmp_path)
    assert load_job(tmp_path / "sifter.yml").type == "pipeline"
    for ask in (PublishedPipeline.get, PipelineRun.get_pipeline_runs):
        with pytest.raises(PublishedNotFound, match="nothing"):
            ask(client, "nothing")
