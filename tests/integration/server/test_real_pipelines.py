"""Submissions whose drivers really run: what is refused before anything runs, resumed, redriven, published."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from piped_jobs import output
from run_kit import FILE, Launches, command
from served_jobs import write_job

from runner.entity.job import JobState
from runner.entity.status import JobStatus
from runner.errors import JobStatusConflict
from runner.server.jobs import Jobs
from runner.store.home import Home

S = JobStatus


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.setenv("RUNNER_HOME", str(tmp_path / "home"))
    return Home()


@pytest.fixture
def jobs(home: Home) -> Iterator[Jobs]:
    jobs = Jobs(home, Launches(home).append)
    yield jobs
    jobs.close()


def ended(jobs: Jobs, job: JobState | str) -> JobState:
    """The job at its end."""
    name = job if isinstance(job, str) else job.name
    states = [one.job for one in jobs.watch(name) if one.job is not None]
    return states[-1] if states else jobs.get(name)


def pipeline(*, target: Path | None = None, text: str = "wool") -> dict[str, Any]:
    """`note`, which leaves its mark in the folder of the test, and `sift`, whose output is that of the pipeline."""
    report = FILE | ({"path": str(target)} if target else {})
    sift = command(f"echo {text} > ${{{{outputs.o}}}}", outputs={"o": "${{parent.outputs.report}}"})
    return {"type": "pipeline", "outputs": {"report": report}, "jobs": {"note": command("true"), "sift": sift}}


def test_a_target_is_kept_and_nothing_runs_unless_the_step_that_left_it_is_reused(jobs: Jobs, tmp_path: Path) -> None:
    target = tmp_path / "out" / "report.txt"
    assert ended(jobs, jobs.create(pipeline(target=target), name="dawn")).status is S.COMPLETED
    again = ended(jobs, jobs.create(pipeline(target=target), name="noon"))
    assert again.status is S.COMPLETED
    assert [step.reused_from for step in jobs.steps("noon")] == ["dawn--note", "dawn--sift"]
    refused = ended(jobs, jobs.create(pipeline(target=target, text="tea"), name="dusk"))
    assert refused.status is S.FAILED
    assert refused.error is not None
    assert (refused.error.reason, refused.error.exit_code) == ("TARGET_EXISTS", 2)
    assert {step.status for step in jobs.steps("dusk")} == {S.NOT_STARTED}
    assert target.read_text() == "wool\n"
    replaced = ended(jobs, jobs.create(pipeline(target=target, text="tea"), name="night", overwrite=True))
    assert replaced.status is S.COMPLETED
    assert target.read_text() == "tea\n"


def test_a_resumed_pipeline_runs_only_what_did_not_complete(jobs: Jobs, tmp_path: Path) -> None:
    ran, gate = tmp_path / "ran", tmp_path / "gate"
    first = command(f"echo first >> {ran}; echo wool > ${{{{outputs.o}}}}", outputs={"o": FILE})
    second = command(
        f"echo second >> {ran}; [ -e {gate} ] && cat ${{{{inputs.i}}}}",
        inputs={"i": "${{parent.jobs.first.outputs.o}}"},
    )
    made = jobs.create({"type": "pipeline", "jobs": {"first": first, "second": second}}, name="dawn")
    assert ended(jobs, made).status is S.FAILED
    gate.touch()
    again = jobs.resume("dawn")
    assert again.run_number == 2
    assert ended(jobs, again).status is S.COMPLETED
    assert ran.read_text().split() == ["first", "second", "second"]
    with pytest.raises(JobStatusConflict, match="nothing left to do"):
        jobs.resume("dawn")


def test_a_redriven_step_names_what_was_made_from_what_it_had(jobs: Jobs, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    score = write_job(tmp_path / "work")
    (tmp_path / "work" / "data" / "b.txt").write_text("b")
    (tmp_path / "work" / "code" / "score.py").write_text(
        "import os\ndef run(mini_batch):\n"
        f"    assert mini_batch[0].endswith('a.txt') or os.path.exists({str(gate)!r})\n    return mini_batch\n"
    )
    score |= {"outputs": {"scores": FILE}, "mini_batch_error_threshold": -1, "error_threshold": -1}
    tally = command("cat ${{inputs.i}}", inputs={"i": "${{parent.jobs.score.outputs.scores}}"})
    made = jobs.create({"type": "pipeline", "jobs": {"score": score, "tally": tally}}, name="dawn")
    assert ended(jobs, made).status is S.COMPLETED, jobs.get("dawn").error
    assert len(jobs.failures("dawn--score").failures) == 1
    with pytest.raises(JobStatusConflict, match="only parallel jobs"):
        jobs.redrive("dawn--tally")
    gate.touch()
    again = jobs.redrive("dawn--score")
    assert "dawn--tally" in again.message
    assert ended(jobs, again).status is S.COMPLETED
    assert jobs.failures("dawn--score").failures == ()
    assert len(Path(output(jobs.get("dawn--score"), "scores").path).read_text().split()) == 2


def test_a_published_pipeline_needs_nothing_of_where_it_came_from(jobs: Jobs, tmp_path: Path) -> None:
    code = tmp_path / "code"
    code.mkdir()
    (code / "say.sh").write_text('echo "$1" > "$2"\n')
    say = command(
        "sh say.sh ${{inputs.what}} ${{outputs.o}}",
        code=str(code),
        inputs={"what": "${{parent.inputs.what}}"},
        outputs={"o": "${{parent.outputs.said}}"},
    )
    document = {"type": "pipeline", "inputs": {"what": "tea"}, "outputs": {"said": FILE}, "jobs": {"say": say}}
    assert ended(jobs, jobs.create(document, name="dawn")).status is S.COMPLETED
    key = jobs.publish("dawn", published_name="daybreak").id
    shutil.rmtree(code)
    same = ended(jobs, jobs.submit_published(key))
    assert [step.reused_from for step in jobs.steps(same.name)] == ["dawn--say"]
    other = ended(jobs, jobs.submit_published(key, parameters={"what": "salt"}))
    assert other.status is S.COMPLETED, other.error
    assert Path(output(other, "said").path).read_text() == "salt\n"
