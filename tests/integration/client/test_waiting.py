"""What waits for runs print and return, line by line, and when they raise."""

from __future__ import annotations

import re
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from run_kit import FILE, command, connected, pipeline, until, wait_for

from runner.client.client import Client
from runner.client.experiment import Experiment
from runner.client.runs import PipelineRun
from runner.client.steps import StepRun
from runner.errors import ActivityFailedException, ExperimentExecutionException
from runner.spec.command_job import CommandJob
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


def head(run: PipelineRun | StepRun) -> list[str]:
    kind = type(run).__name__
    return [f"{kind}Id: {run.id}", f"Link to Azure Machine Learning Portal: {run.get_portal_url()}"]


def said(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """What was printed since the last look; details of runs as their first key."""
    lines = capsys.readouterr().out.splitlines()
    return [re.sub(r"^\{'runId': ('[^']+'),.*'status': ('\w+').*\}$", r"{\1 \2}", line) for line in lines]


def test_a_pipeline_is_shown_with_its_steps_one_after_the_other(
    harbour: Experiment, work: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    held = command(f"echo l1; {wait_for(tmp_path / 'go')}; printf l2")
    run = harbour.submit(pipeline(work, {"a": held}))
    step = until(lambda: next((one for one in run.get_steps() if one.get_status() == "Running"), None))
    until(lambda: step.get_stdout_log() == "l1\n")
    capsys.readouterr()
    release = threading.Timer(0.5, (tmp_path / "go").touch)
    release.start()
    assert run.wait_for_completion() == "Finished"
    release.join()
    lines = said(capsys)
    assert lines == [
        *head(run),
        "PipelineRun Status: Running",
        "",
        "",
        *head(step),
        "StepRun( a ) Status: Running",
        "",
        "Streaming user_logs/std_log.txt",
        "=" * 31,
        "l1",
        "l2",
        "",
        "StepRun(a) Execution Summary",
        "=============================",
        "StepRun( a ) Status: Finished",
        f"{{'{step.id}' 'Completed'}}",
        "",
        "",
        "",
        "PipelineRun Execution Summary",
        "==============================",
        "PipelineRun Status: Finished",
        f"{{'{run.id}' 'Completed'}}",
        "",
    ]
    assert len("\nPipelineRun Execution Summary") == 30 == len(lines[-4])


def test_a_step_is_waited_for_alone(harbour: Experiment, work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = harbour.submit(pipeline(work, {"a": command("true")}))
    run.wait_for_completion(show_output=False)
    step = next(run.get_steps())
    capsys.readouterr()
    assert step.wait_for_completion(show_output=False) == "Finished"
    assert said(capsys) == head(step)
    assert step.wait_for_completion() == "Finished"
    lines = said(capsys)
    assert lines[:2] == head(step)
    assert lines[-5:] == [
        "StepRun(a) Execution Summary",
        "=" * 29,
        "StepRun( a ) Status: Finished",
        f"{{'{step.id}' 'Completed'}}",
        "",
    ]


def test_a_quiet_wait_prints_two_lines(harbour: Experiment, work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = harbour.submit(pipeline(work, {"a": command("echo l1")}))
    capsys.readouterr()
    assert run.wait_for_completion(show_output=False) == "Finished"
    assert said(capsys) == head(run)


@pytest.mark.parametrize("show_output", [True, False])
def test_a_wait_ends_with_its_time_and_the_run_goes_on(
    harbour: Experiment, work: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], show_output: bool
) -> None:
    run = harbour.submit(pipeline(work, {"a": command(wait_for(tmp_path / "go"))}))
    step = until(lambda: next((one for one in run.get_steps() if one.get_status() == "Running"), None))
    for handle in (step, run):
        capsys.readouterr()
        assert handle.wait_for_completion(show_output, timeout_seconds=0.3) == "Running"
        lines = said(capsys)
        assert any(re.fullmatch(r"Timed out of waiting. Elapsed time: \d+\.\d+", line) for line in lines)
        if show_output:
            assert lines[-3].endswith("Status: Running") and lines[-2] == f"{{'{handle.id}' 'Running'}}"
    (tmp_path / "go").touch()
    assert run.wait_for_completion(show_output, timeout_seconds=None) == "Finished"


def failing(harbour: Experiment, work: Path, tmp_path: Path) -> PipelineRun:
    """A pipeline of which a step fails while another one that does not need it goes on until the sign `go`."""
    jobs = {"bad": command("echo before; exit 3"), "good": command(wait_for(tmp_path / "go"))}
    return harbour.submit(pipeline(work, jobs), continue_on_step_failure=True)


def test_a_failed_step_is_raised_from_its_own_wait(
    harbour: Experiment, work: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = failing(harbour, work, tmp_path)
    [bad] = until(lambda: [one for one in run.find_step_run("bad") if one.get_status() == "Failed"])
    capsys.readouterr()
    with pytest.raises(ActivityFailedException, match=r"Activity Failed:\n\{\n    \"error\": \{[^}]*exit code 3"):
        bad.wait_for_completion()
    lines = said(capsys)
    assert lines[-1] == "StepRun( bad ) Status: Failed", "raised before the details are printed"
    assert bad.wait_for_completion(raise_on_error=False) == "Failed"
    lines = said(capsys)
    assert lines[lines.index("Error:") - 1 : lines.index("Error:") + 2] == ["", "Error:", "{"]
    assert lines[-2:] == [f"{{'{bad.id}' 'Failed'}}", ""]
    (tmp_path / "go").touch()
    with pytest.raises(ActivityFailedException, match="exit code 3"):
        run.wait_for_completion()
    assert "PipelineRun Execution Summary" not in said(capsys)
    assert run.wait_for_completion(raise_on_error=False) == "Failed"
    assert "PipelineRun Status: Failed" in said(capsys)
    with pytest.raises(ActivityFailedException, match="bad"):
        run.wait_for_completion(show_output=False)
    assert run.wait_for_completion(show_output=False, raise_on_error=False) == "Failed"


def test_a_cancelled_run_raises_nothing(harbour: Experiment, work: Path, tmp_path: Path) -> None:
    jobs = {
        "a": command(wait_for(tmp_path / "go"), outputs={"o": FILE}),
        "b": command("cat ${{inputs.i}}", inputs={"i": "${{parent.jobs.a.outputs.o}}"}),
    }
    run = harbour.submit(pipeline(work, jobs))
    until(lambda: any(one.get_status() == "Running" for one in run.get_steps()))
    assert run.cancel() is None
    assert run.wait_for_completion() == "Canceled"
    assert [(step.name, step.wait_for_completion()) for step in run.get_steps()] == [("a", "Canceled")]


def test_a_step_that_never_starts_is_waited_for_until_its_pipeline_has_ended(
    harbour: Experiment, client: Client, work: Path, tmp_path: Path
) -> None:
    first = command(f"{wait_for(tmp_path / 'go')}; exit 3", outputs={"o": FILE})
    second = command("cat ${{inputs.i}}", inputs={"i": "${{parent.jobs.first.outputs.o}}"})
    run = harbour.submit(pipeline(work, {"first": first, "second": second}))
    _, later = client.jobs.steps(run.id)
    node = run.get_graph().node_name_dict["second"][0]
    step = StepRun(harbour, later.name, run.id, node.node_id)
    assert step.wait_for_completion(show_output=False, timeout_seconds=0.2) == "NotStarted"
    (tmp_path / "go").touch()
    assert step.wait_for_completion(show_output=False) == step.wait_for_completion() == "NotStarted"
    assert run.get_status() == "Failed"


@pytest.mark.parametrize("kind", ["pipeline", "step", "run"])
def test_an_interrupt_ends_the_wait_and_not_the_run(harbour: Experiment, work: Path, tmp_path: Path, kind: str) -> None:
    hold = command(wait_for(tmp_path / "go"))
    if kind == "run":
        handle = harbour.submit(CommandJob(command=hold["command"], compute="local"))
    else:
        handle = run = harbour.submit(pipeline(work, {"a": hold}))
        step = until(lambda: next(run.get_steps(), None))
        handle = step if kind == "step" else run
    here = threading.main_thread().ident
    assert here is not None
    interrupt = threading.Timer(0.4, signal.pthread_kill, (here, signal.SIGINT))
    interrupt.start()
    with pytest.raises(ExperimentExecutionException, match=f"runner cancel {handle.id}"):
        handle.wait_for_completion(show_output=True)
    interrupt.join()
    (tmp_path / "go").touch()
    handle.wait_for_completion(show_output=False)
    assert handle.status == "Completed"


def test_the_wait_for_any_other_run_gives_its_details(harbour: Experiment, capsys: pytest.CaptureFixture[str]) -> None:
    run = harbour.submit(CommandJob(command="echo l1; exit 3", compute="local"))
    with pytest.raises(ActivityFailedException, match="exit code 3"):
        run.wait_for_completion()
    assert capsys.readouterr().out == "", "it is quiet unless it is asked to talk"
    details = run.wait_for_completion(show_output=True, raise_on_error=False)
    assert (details["runId"], details["status"]) == (run.id, "Failed")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"RunId: {run.id}"
    assert {"l1", "Streaming user_logs/std_log.txt", "Execution Summary"} <= set(lines)
