"""Commands, pipelines and their steps on both back ends; by hand, so that every moment can be looked at."""

from __future__ import annotations

import copy
import shutil
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from piped_jobs import Steps, output, records_of, write_command, write_pipeline
from served_jobs import TO_THE_END, Hand, serving, write_job

from runner.client.backend import Backend
from runner.client.remote import Remote
from runner.entity.asset import Asset, PublishedStatus
from runner.entity.job import JobState
from runner.entity.status import JobStatus
from runner.errors import (
    ArgumentInvalid,
    DriverGone,
    JobExists,
    JobInUse,
    JobNotFound,
    JobStatusConflict,
    OutputMissing,
    PipelineChildJobError,
    SpecInvalid,
    TargetExists,
)
from runner.server.jobs import Jobs
from runner.store.home import Home
from runner.store.lock import JobLock

S = JobStatus


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


@pytest.fixture
def launched() -> list[str]:
    return []


@pytest.fixture(params=["embedded", "remote"])
def backend(request: pytest.FixtureRequest, home: Home, launched: list[str]) -> Iterator[Backend]:
    if request.param == "embedded":
        jobs = Jobs(home, launched.append)
        yield jobs
        jobs.close()
        return
    with serving(home, launched) as address:
        remote = Remote(address, home.token())
        yield remote
        remote.close()


@pytest.fixture
def document(tmp_path: Path) -> dict[str, Any]:
    return write_pipeline(tmp_path / "work")


@pytest.fixture
def pipeline(backend: Backend, document: dict[str, Any]) -> JobState:
    return backend.create(document, name="dawn")


@pytest.fixture
def hand(home: Home, pipeline: JobState) -> Iterator[Hand]:
    hand = Hand(home, pipeline.name)
    yield hand
    hand.die()


@pytest.fixture
def steps(home: Home, pipeline: JobState) -> Iterator[Steps]:
    steps = Steps(home, pipeline.name)
    yield steps
    steps.close()


def left(home: Home) -> list[str]:
    return sorted(path.name for path in home.jobs.iterdir()) if home.jobs.is_dir() else []


def trees(home: Home) -> list[Path]:
    return sorted(home.code.iterdir()) if home.code.is_dir() else []


# ---- submission ----------------------------------------------------------------------------------------------------
def test_a_command_is_created_with_its_code_pinned(backend: Backend, home: Home, tmp_path: Path) -> None:
    document = write_command(tmp_path / "work")
    made = backend.create(document, name="sift")
    assert (made.type, made.status) == ("command", S.STARTING)
    assert output(made, "line").path == document["outputs"]["line"]["path"]
    (tree,) = trees(home)
    assert (tree / "sift.sh").read_text() == "sort\n"
    assert str(tree) in home.job("sift").spec.read_text()


def test_all_steps_of_a_pipeline_are_jobs_from_the_beginning(
    backend: Backend, pipeline: JobState, home: Home, launched: list[str]
) -> None:
    assert (pipeline.type, pipeline.status, launched) == ("pipeline", S.STARTING, ["dawn"])
    found = backend.steps("dawn")
    assert [(step.name, step.step, step.parent) for step in found] == [
        ("dawn--sift", "sift", "dawn"),
        ("dawn--count", "count", "dawn"),
    ]
    assert {step.status for step in found} == {S.NOT_STARTED}
    assert backend.get("dawn--count") == found[1]
    assert [job.name for job in backend.list().jobs] == ["dawn"]
    assert [job.name for job in backend.list(parent="dawn").jobs] == ["dawn--count", "dawn--sift"]
    assert backend.steps("dawn--sift") == ()
    assert left(home) == ["dawn"]
    with pytest.raises(JobNotFound):
        backend.list(parent="dusk")


def test_the_graph_of_a_pipeline_says_what_its_steps_are(backend: Backend, pipeline: JobState, home: Home) -> None:
    graph = backend.graph("dawn")
    assert [step.key for step in graph.steps] == ["sift", "count"]
    assert [(one.input, one.step, one.output) for one in graph.step("count").sources] == [("i", "sift", "o")]
    assert [(one.name, one.step, one.output) for one in graph.outputs] == [("report", "count", "n")]
    (tree,) = trees(home)
    assert {step.code for step in graph.steps} == {str(tree)}
    with pytest.raises(ArgumentInvalid, match="no steps"):
        backend.graph("dawn--sift")


def test_the_same_code_submitted_twice_at_once_is_kept_once(
    backend: Backend, document: dict[str, Any], tmp_path: Path, home: Home
) -> None:
    for number in range(30):
        (tmp_path / "work" / "code" / f"more{number}.sh").write_text(f"{number}\n" * 1000)
    start = threading.Barrier(4)

    def submit(number: int) -> str:
        start.wait()
        return backend.create(document, name=f"dawn{number}").name

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(submit, range(4))) == ["dawn0", "dawn1", "dawn2", "dawn3"]
    (tree,) = trees(home)
    assert len(list(tree.iterdir())) == 31
    assert {step.code for n in range(4) for step in backend.graph(f"dawn{n}").steps} == {str(tree)}


def test_names_of_steps_are_kept_for_steps(backend: Backend, document: dict[str, Any], home: Home) -> None:
    with pytest.raises(ArgumentInvalid, match="only names of steps"):
        backend.create(document, name="dawn--sift")
    name = "d" * 128
    backend.create(document, name=name)
    found = [step.name for step in backend.steps(name)]
    assert all(len(step) == 128 and step.startswith("ddd") for step in found)
    assert len(set(found)) == 2


def test_a_target_of_a_step_without_producers_is_refused_before_anything_is_stored(
    backend: Backend, document: dict[str, Any], home: Home, tmp_path: Path, launched: list[str]
) -> None:
    target = tmp_path / "work" / "o.txt"
    target.write_text("keep")
    document["jobs"]["sift"]["outputs"]["o"]["path"] = str(target)
    with pytest.raises(TargetExists, match=r"o\.txt"):
        backend.create(document, name="dawn")
    assert (left(home), launched) == ([], [])
    assert backend.create(document, name="dawn", overwrite=True).status is S.STARTING
    assert target.read_text() == "keep"


def test_a_target_that_an_earlier_job_left_may_be_that_of_a_reused_step(
    backend: Backend, document: dict[str, Any], home: Home, tmp_path: Path
) -> None:
    target = tmp_path / "work" / "out" / "line.txt"
    made = backend.create(write_command(tmp_path / "work"), name="earlier")
    hand = Hand(home, "earlier")
    hand.publish("made")
    hand.move(*TO_THE_END[:-1])
    hand.store.move("earlier", S.COMPLETED, records=records_of(made))
    hand.die()
    document["jobs"]["sift"]["outputs"]["o"]["path"] = str(target)
    assert backend.create(document, name="dawn").status is S.STARTING
    with pytest.raises(TargetExists):
        backend.create(document | {"settings": {"force_rerun": True}}, name="dusk")


def test_a_target_of_a_step_with_producers_is_looked_at_before_it_runs(
    backend: Backend, document: dict[str, Any], tmp_path: Path
) -> None:
    (tmp_path / "work" / "out").mkdir()
    (tmp_path / "work" / "out" / "report.txt").write_text("keep")
    assert backend.create(document, name="dawn").status is S.STARTING


def test_a_command_does_not_replace_what_is_there(backend: Backend, home: Home, tmp_path: Path) -> None:
    document = write_command(tmp_path / "work")
    target = Path(document["outputs"]["line"]["path"])
    target.parent.mkdir()
    target.write_text("keep")
    with pytest.raises(TargetExists, match=r"line\.txt"):
        backend.create(document, name="sift")
    assert left(home) == []
    backend.create(document, name="sift", overwrite=True)


def test_everything_that_is_wrong_with_a_pipeline_is_told_at_once(
    backend: Backend, document: dict[str, Any], home: Home
) -> None:
    document["jobs"]["count"]["inputs"]["i"] = "${{parent.jobs.shift.outputs.o}}"
    document["jobs"]["sift"]["inputs"]["depth"] = "${{parent.inputs.dept}}"
    with pytest.raises(SpecInvalid) as caught:
        backend.create(document, name="dawn")
    said = str(caught.value)
    assert "shift" in said
    assert "dept" in said
    assert left(home) == []


# ---- registered names ----------------------------------------------------------------------------------------------
def test_a_version_that_is_registered_already_is_refused(
    backend: Backend, document: dict[str, Any], home: Home, tmp_path: Path
) -> None:
    backend.create_asset(Asset(kind="data", name="cargo", version="2", type="uri_folder", path=str(tmp_path)))
    document["outputs"]["report"] |= {"name": "cargo", "version": "2"}
    with pytest.raises(SpecInvalid, match="cargo:2 is registered already"):
        backend.create(document, name="dawn")
    command = write_command(tmp_path / "work")
    command["outputs"]["line"] |= {"name": "cargo", "version": "2"}
    with pytest.raises(SpecInvalid, match="cargo:2 is registered already"):
        backend.create(command, name="sift")
    command["outputs"]["line"]["version"] = "3"
    twice = command | {"outputs": {"a": {"name": "cargo", "version": "3"}, "line": command["outputs"]["line"]}}
    with pytest.raises(SpecInvalid, match="cargo:3"):
        backend.create(twice, name="sift")
    document["outputs"]["report"]["version"] = "3"
    document["jobs"]["sift"]["outputs"]["o"] |= {"name": "cargo", "version": "3"}
    with pytest.raises(SpecInvalid, match="cargo:3"):
        backend.create(document, name="dawn")
    assert left(home) == []
    backend.create(command, name="sift")


def test_what_is_registered_later_does_not_change_a_submitted_job(
    backend: Backend, document: dict[str, Any], tmp_path: Path
) -> None:
    for number in (1, 2):
        (tmp_path / f"data{number}").mkdir()
    register: dict[str, Any] = {"kind": "data", "name": "cargo", "type": "uri_folder", "version": ""}
    backend.create_asset(Asset(**register, path=str(tmp_path / "data1")))
    document["jobs"]["sift"]["inputs"]["cargo"] = {"type": "uri_folder", "path": "azureml:cargo@latest"}
    backend.create(document, name="dawn")
    command = write_command(tmp_path / "work", inputs={"cargo": {"type": "uri_folder", "path": "azureml:cargo"}})
    backend.create(command, name="sift")
    assert backend.create_asset(Asset(**register, path=str(tmp_path / "data2"))).version == "2"
    assert "azureml:cargo:1" in str(backend.get("dawn").document)
    assert "azureml:cargo:1" in str(backend.graph("dawn").step("sift").document)
    assert "azureml:cargo:1" in str(backend.get("sift").document)


def test_a_component_of_the_registry_is_pinned(backend: Backend, document: dict[str, Any], tmp_path: Path) -> None:
    step = {key: value for key, value in document["jobs"]["sift"].items() if key not in ("compute", "inputs")}
    step |= {"name": "sifter", "inputs": {"depth": {"type": "integer"}}}
    register: dict[str, Any] = {"kind": "component", "name": "sifter", "type": "command", "version": ""}
    backend.create_asset(Asset(**register, document=step))
    node = {"type": "command", "compute": "local", "inputs": {"depth": 3}, "component": "azureml:sifter@latest"}
    document["jobs"]["sift"] = node
    backend.create(document, name="dawn")
    backend.create_asset(Asset(**register, document=step | {"command": "false"}))
    graph = backend.graph("dawn")
    assert "echo" in str(graph.step("sift").document["command"])
    assert graph.step("sift").component == "sifter:1"
    assert "sifter@latest" not in str(backend.get("dawn").document)


def test_a_name_that_leads_nowhere_is_told(backend: Backend, document: dict[str, Any], home: Home) -> None:
    document["jobs"]["sift"]["inputs"]["cargo"] = {"type": "uri_folder", "path": "azureml:cargo@latest"}
    document["jobs"]["count"]["component"] = "azureml:counter:4"
    with pytest.raises(SpecInvalid) as caught:
        backend.create(document, name="dawn")
    assert "cargo" in str(caught.value)
    assert "counter" in str(caught.value)
    assert left(home) == []


def test_an_output_of_a_completed_job_is_an_input_elsewhere(backend: Backend, home: Home, tmp_path: Path) -> None:
    made = backend.create(write_command(tmp_path / "work"), name="sift")
    inputs = {"line": {"type": "uri_file", "path": "azureml:jobs/sift/outputs/line"}}
    later = {"type": "command", "compute": "local", "command": "cat ${{inputs.line}}", "inputs": inputs}
    with pytest.raises((SpecInvalid, JobStatusConflict), match="sift"):
        backend.create(later, name="later")
    hand = Hand(home, "sift")
    hand.complete("wool\n")
    backend.create(later, name="later")
    assert output(made, "line").path in home.job("later").spec.read_text()


# ---- words, lists --------------------------------------------------------------------------------------------------
def test_only_words_about_a_job_can_change(backend: Backend, pipeline: JobState, document: dict[str, Any]) -> None:
    assert pipeline.tags == {}
    backend.update("dawn", tags={"a": "1", "b": "2"}, properties={"p": "q"}, description="first light")
    changed = backend.update("dawn", tags={"a": None, "c": "3"}, display_name="Dawn")
    assert (changed.tags, changed.properties) == ({"b": "2", "c": "3"}, {"p": "q"})
    assert (changed.display_name, changed.description) == ("Dawn", "first light")
    assert backend.update("dawn--sift", tags={"a": "1"}).tags == {"a": "1"}
    with pytest.raises(ArgumentInvalid, match="nothing is given"):
        backend.update("dawn")
    with pytest.raises(ArgumentInvalid, match="nothing is given"):
        backend.update("dawn", tags={})
    with pytest.raises(JobNotFound):
        backend.update("dusk", description="x")


def test_a_document_that_differs_in_words_only_changes_them(
    backend: Backend, pipeline: JobState, document: dict[str, Any], launched: list[str]
) -> None:
    changed = backend.create(document | {"tags": {"a": "1"}, "description": "light"}, name="dawn")
    assert (changed.tags, changed.description, changed.run_number) == ({"a": "1"}, "light", 1)
    assert launched == ["dawn"]
    with pytest.raises(JobExists, match="only display_name, description, tags"):
        backend.create(document | {"tags": {"a": "2"}, "inputs": {"depth": 4}}, name="dawn")
    assert backend.get("dawn").tags == {"a": "1"}


def test_what_is_archived_is_listed_only_when_asked_for(backend: Backend, document: dict[str, Any]) -> None:
    for name in ("dawn", "dusk"):
        backend.create(document | {"experiment_name": f"{name}_watch"}, name=name)
    assert backend.update("dawn", is_archived=True).is_archived
    assert [job.name for job in backend.list().jobs] == ["dusk"]
    assert [job.name for job in backend.list(archived=True).jobs] == ["dawn"]
    assert [job.name for job in backend.list(archived=None).jobs] == ["dusk", "dawn"]
    assert [job.name for job in backend.list(experiment="dusk_watch").jobs] == ["dusk"]
    assert not backend.update("dawn", is_archived=False).is_archived
    for archived in (True, False):
        with pytest.raises(PipelineChildJobError, match="dusk"):
            backend.update("dusk--sift", is_archived=archived)


# ---- what steps leave to their pipeline ----------------------------------------------------------------------------
def test_a_step_is_resumed_and_deleted_by_its_pipeline_alone(backend: Backend, hand: Hand, steps: Steps) -> None:
    step = steps.begin("sift")
    step.move(S.FAILED)
    step.die()
    with pytest.raises(PipelineChildJobError, match="'dawn'"):
        backend.resume("dawn--sift")
    with pytest.raises(PipelineChildJobError, match="'dawn'"):
        backend.delete("dawn--sift")
    with pytest.raises(JobStatusConflict, match="only parallel jobs"):
        backend.redrive("dawn--sift")


def test_a_pipeline_that_failed_is_resumed(backend: Backend, hand: Hand, launched: list[str]) -> None:
    hand.move(S.PREPARING, S.FAILED)
    hand.die()
    assert backend.resume("dawn").run_number == 2
    assert launched == ["dawn", "dawn"]


def test_a_step_that_was_cancelled_before_it_began_is_canceled(backend: Backend, hand: Hand) -> None:
    assert backend.cancel("dawn--count").status is S.CANCELED
    assert backend.get("dawn").status is S.STARTING


# ---- cancel without a driver ---------------------------------------------------------------------------------------
def test_a_pipeline_that_lost_all_its_drivers_is_ended_by_whoever_cancels(
    backend: Backend, hand: Hand, steps: Steps
) -> None:
    steps.begin("sift").die()
    hand.die()
    assert backend.cancel("dawn").status is S.CANCELED
    assert [step.status for step in backend.steps("dawn")] == [S.CANCELED, S.NOT_STARTED]


def test_a_pipeline_without_a_driver_waits_for_the_steps_that_have_one(
    backend: Backend, hand: Hand, steps: Steps
) -> None:
    step = steps.begin("sift")
    hand.die()
    assert backend.cancel("dawn").status is S.CANCEL_REQUESTED
    assert backend.get("dawn--sift").status is S.CANCEL_REQUESTED
    step.move(S.CANCELED)
    step.die()
    assert backend.get("dawn").status is S.CANCELED


def test_a_step_that_lost_its_driver_too_late_for_a_cancel_has_failed(
    backend: Backend, hand: Hand, steps: Steps
) -> None:
    step = steps.begin("sift")
    step.move(*TO_THE_END[:-1])
    step.die()
    hand.die()
    assert backend.cancel("dawn").status is S.CANCELED
    assert backend.get("dawn--sift").status is S.FAILED


# ---- watching ------------------------------------------------------------------------------------------------------
def test_a_watch_of_a_pipeline_tells_changes_of_its_steps(backend: Backend, hand: Hand, steps: Steps) -> None:
    watch = backend.watch("dawn")
    first = next(watch)
    assert first.job is not None
    step = steps.begin("sift")
    later = next(one for one in watch if one.job is not None)
    assert later.job is not None
    assert later.job.status is first.job.status
    assert later.job.revision > first.job.revision
    step.die()


def test_a_watch_of_a_step_that_never_starts_ends_with_its_pipeline(backend: Backend, hand: Hand) -> None:
    told: list[JobStatus] = []

    def watch() -> None:
        told.extend(one.job.status for one in backend.watch("dawn--count") if one.job is not None)

    thread = threading.Thread(target=watch)
    thread.start()
    hand.move(S.PREPARING, S.FAILED)
    hand.die()
    thread.join(20)
    assert not thread.is_alive()
    assert set(told) == {S.NOT_STARTED}


def test_a_step_that_lost_its_driver_is_waited_for_while_its_pipeline_has_one(
    backend: Backend, hand: Hand, steps: Steps
) -> None:
    steps.begin("sift").die()
    watch = backend.watch("dawn--sift")
    seen = next(watch)
    assert seen.job is not None
    assert seen.job.status is S.STARTING
    again = JobLock.take(steps.home.job("dawn--sift").lock)
    assert again is not None
    with again:
        steps.store.move("dawn--sift", S.FAILED)
    assert [one.job.status for one in watch if one.job is not None] == [S.FAILED]
    hand.die()
    with pytest.raises(DriverGone, match="'dawn'"):
        list(backend.watch("dawn--count"))


# ---- reuse, deletion -----------------------------------------------------------------------------------------------
@pytest.fixture
def reused(backend: Backend, document: dict[str, Any], home: Home, hand: Hand, steps: Steps) -> Iterator[Steps]:
    """`dusk`, whose `sift` is that of `dawn`; both have ended."""
    step = steps.begin("sift")
    log = step.folder.logs / "user_logs" / "std_log.txt"
    log.parent.mkdir()
    log.write_text("moored\n")
    (step.folder.artifacts / "outputs").mkdir(parents=True)
    (step.folder.artifacts / "outputs" / "note.txt").write_text("fog")
    step.complete("wool\n")
    hand.move(*TO_THE_END)
    hand.die()
    document["outputs"]["report"]["path"] += ".2"
    backend.create(document, name="dusk")
    dusk = Hand(home, "dusk")
    later = Steps(home, "dusk")
    later.reuse("sift", "dawn--sift")
    dusk.move(*TO_THE_END)
    dusk.die()
    yield later
    later.close()


def test_a_reused_step_shows_what_its_source_left(backend: Backend, reused: Steps) -> None:
    step = backend.get("dusk--sift")
    assert (step.status, step.reused_from, step.reuse_reason) == (S.COMPLETED, "dawn--sift", "reused")
    assert [log.path for log in backend.logs("dusk--sift")] == ["user_logs/std_log.txt"]
    assert b"".join(one.data for one in backend.read_log("dusk--sift")) == b"moored\n"
    assert b"".join(one.data for one in backend.read_output("dusk--sift", "o")) == b"wool\n"
    artifacts = {one.path: one.data for one in backend.read_output("dusk--sift", "default")}
    assert artifacts == {"outputs/note.txt": b"fog", "user_logs/std_log.txt": b"moored\n"}
    with pytest.raises(OutputMissing, match=r"'p'.*: o"):
        list(backend.read_output("dusk--sift", "p"))


def test_the_log_of_a_step_is_followed_from_before_it_is_known_to_be_reused(
    backend: Backend, reused: Steps, document: dict[str, Any], home: Home
) -> None:
    document["outputs"]["report"]["path"] += ".3"
    backend.create(document, name="night")
    hand, steps = Hand(home, "night"), Steps(home, "night")
    told: list[bytes] = []
    begun = threading.Event()

    def follow() -> None:
        chunks = backend.read_log("night--sift", follow=True)
        begun.set()
        told.extend(one.data for one in chunks)

    thread = threading.Thread(target=follow)
    thread.start()
    begun.wait()
    steps.reuse("sift", "dawn--sift")
    thread.join(20)
    assert not thread.is_alive()
    assert b"".join(told) == b"moored\n"
    hand.die()
    steps.close()


def test_the_log_of_a_step_without_a_driver_is_followed_while_its_pipeline_has_one(
    backend: Backend, hand: Hand, steps: Steps
) -> None:
    step = steps.begin("sift")
    log = step.folder.logs / "user_logs" / "std_log.txt"
    log.parent.mkdir()
    log.write_text("first ")
    step.die()
    chunks = backend.read_log("dawn--sift", follow=True)
    assert next(chunks).data == b"first "
    with open(log, "a") as file:
        file.write("second")
    assert next(chunks).data == b"second"
    steps.store.move("dawn--sift", S.FAILED)
    assert list(chunks) == []


def test_what_a_reused_step_shows_is_not_deleted(backend: Backend, reused: Steps, home: Home) -> None:
    with pytest.raises(JobInUse, match="the pipeline dusk, by its reused step dusk--sift, refers"):
        backend.delete("dawn")
    assert backend.steps("dawn")
    backend.delete("dusk")
    kept = Path(output(backend.get("dawn--sift"), "o").path)
    backend.delete("dawn")
    assert left(home) == []
    assert kept.read_text() == "wool\n"
    with pytest.raises(JobNotFound):
        backend.get("dawn--sift")


def test_a_pipeline_of_which_a_step_is_in_progress_again_is_not_deleted(
    backend: Backend, reused: Steps, home: Home
) -> None:
    backend.delete("dusk")
    store = reused.store
    store.begin_run("dawn--sift", "a redrive")
    with pytest.raises(JobStatusConflict, match=r"dawn--sift.*runner cancel dawn--sift"):
        backend.delete("dawn")
    assert left(home) == ["dawn", "dawn--sift"]
    store.move("dawn--sift", S.FAILED)
    lock = JobLock.take(home.job("dawn--sift").lock)
    assert lock is not None
    threading.Timer(0.3, lock.release).start()
    backend.delete("dawn")
    assert left(home) == []


def test_a_pipeline_of_a_thousand_steps_is_deleted_whole(backend: Backend, home: Home) -> None:
    step = {"type": "command", "compute": "local", "command": "true"}
    backend.create({"type": "pipeline", "jobs": {f"s{number}": step for number in range(1000)}}, name="dawn")
    for made in backend.steps("dawn"):
        home.job(made.name).root.mkdir()
    hand = Hand(home, "dawn")
    hand.move(S.PREPARING, S.FAILED)
    hand.die()
    backend.delete("dawn")
    assert left(home) == []


def test_nothing_is_taken_over_from_a_job_whose_deletion_was_cut_off(
    backend: Backend, document: dict[str, Any], home: Home
) -> None:
    home.make()
    for name in ("dawn", "dawn--sift"):
        (home.job(name).root / "attempts").mkdir(parents=True)
    backend.create(document, name="dawn")
    assert left(home) == ["dawn"]
    assert not home.job("dawn").attempts.exists()


def test_what_an_asset_or_a_published_pipeline_refers_to_is_not_deleted(
    backend: Backend, reused: Steps, home: Home, tmp_path: Path
) -> None:
    backend.delete("dusk")
    backend.publish("dawn", published_name="daybreak")
    with pytest.raises(JobInUse, match="the published pipeline"):
        backend.delete("dawn")
    made = backend.create(write_command(tmp_path / "more"), name="sift")
    hand = Hand(home, "sift")
    hand.publish("wool\n")
    hand.move(*TO_THE_END[:-1])
    asset = Asset(kind="data", name="cargo", version="", type="uri_file", path=output(made, "line").path, job="sift")
    hand.store.move("sift", S.COMPLETED, assets=(asset,))
    hand.die()
    with pytest.raises(JobInUse, match="the data asset cargo:1"):
        backend.delete("sift")


def test_a_deleted_command_leaves_no_attempts_beside_its_target(backend: Backend, home: Home, tmp_path: Path) -> None:
    made = backend.create(write_command(tmp_path / "work"), name="sift")
    target = Path(output(made, "line").path)
    hand = Hand(home, "sift")
    hand.complete("wool\n")
    attempts = [target.with_name(f".{target.name}.{name}~{n}.staging") for name in ("sift", "sift.er") for n in (1, 2)]
    for attempt in attempts:
        attempt.mkdir()
    backend.delete("sift")
    assert [attempt.exists() for attempt in attempts] == [False, False, True, True]
    assert target.read_text() == "wool\n"


# ---- published pipelines -------------------------------------------------------------------------------------------
def test_a_published_pipeline_runs_with_the_code_that_it_had(
    backend: Backend, pipeline: JobState, tmp_path: Path, home: Home
) -> None:
    published = backend.publish("dawn", published_name="daybreak", description="each day", version="1.0")
    assert backend.published(published.id) == published
    shutil.rmtree(tmp_path / "work" / "code")
    made = backend.submit_published(published.id, experiment_name="days", parameters={"depth": 7})
    assert (made.type, made.experiment_name) == ("pipeline", "days")
    graph = backend.graph(made.name)
    assert {step.code for step in graph.steps} == {str(tree) for tree in trees(home)}
    assert len(trees(home)) == 1
    assert graph.literals == {"depth": 7}
    assert backend.graph("dawn").literals == {"depth": 3}


def test_code_of_every_form_is_published(
    backend: Backend, document: dict[str, Any], tmp_path: Path, home: Home
) -> None:
    work = tmp_path / "work"
    score = write_job(work)
    shared = {"type": "command", "compute": "local", "command": "true", "additional_includes": [str(work / "data")]}
    alone = copy.deepcopy(score)
    alone["task"] |= {"entry_script": str(work / "code" / "score.py")}
    del alone["task"]["code"]
    inside = copy.deepcopy(score)
    inside["task"]["entry_script"] = str(work / "code" / "score.py")
    jobs = {"score": score, "shared": shared, "alone": alone, "inside": inside}
    for name, job in jobs.items():
        if "scores" in job.get("outputs", {}):
            job["outputs"] = {"scores": {"type": "uri_file", "path": str(work / "out" / name)}}
    jobs["sub"] = {"type": "pipeline", "component": {"type": "pipeline", "jobs": {"sift": document["jobs"]["sift"]}}}
    del jobs["sub"]["component"]["jobs"]["sift"]["inputs"]
    jobs["sub"]["component"]["jobs"]["sift"]["command"] = "true"
    backend.create({"type": "pipeline", "jobs": jobs}, name="dawn")
    codes = {step.key: step.code for step in backend.graph("dawn").steps}
    assert all(codes.values())
    key = backend.publish("dawn", published_name="daybreak").id
    shutil.rmtree(work / "code")
    (work / "data" / "a.txt").write_text("changed since")
    made = backend.submit_published(key)
    assert {step.key: step.code for step in backend.graph(made.name).steps} == codes


def test_code_of_a_registered_component_is_kept_as_it_was(
    backend: Backend, document: dict[str, Any], tmp_path: Path, home: Home
) -> None:
    step = {key: value for key, value in document["jobs"]["sift"].items() if key != "compute"}
    step |= {"name": "sifter", "inputs": {"depth": {"type": "integer"}}}
    backend.create_asset(Asset(kind="component", name="sifter", version="", type="command", document=step))
    (tree,) = trees(home)
    shutil.rmtree(tmp_path / "work" / "code")
    node = {"type": "command", "compute": "local", "inputs": {"depth": 3}, "component": "azureml:sifter:1"}
    backend.create({"type": "pipeline", "jobs": {"sift": node}}, name="dawn")
    assert backend.graph("dawn").step("sift").code == str(tree)
    with pytest.raises(SpecInvalid, match="code"):
        backend.create_asset(Asset(kind="component", name="sifter", version="", type="command", document=step))


def test_values_for_a_published_pipeline_are_checked(backend: Backend, pipeline: JobState) -> None:
    key = backend.publish("dawn", published_name="daybreak").id
    with pytest.raises(ArgumentInvalid, match=r"'dept' is no literal input.*depth"):
        backend.submit_published(key, parameters={"dept": 1})
    for wrong in ("deep", 1.5, True, None):
        with pytest.raises(ArgumentInvalid, match="of the type integer"):
            backend.submit_published(key, parameters={"depth": wrong})
    made = backend.submit_published(key, parameters={"depth": "12"}, continue_on_step_failure=False)
    assert backend.graph(made.name).literals == {"depth": 12}
    assert not backend.graph(made.name).continue_on_step_failure


def test_literals_of_every_type_can_be_given_to_a_published_pipeline(
    backend: Backend, document: dict[str, Any]
) -> None:
    document["inputs"] |= {
        "count": {"type": "integer", "default": 3, "max": 9},
        "rate": {"type": "number", "default": 1},
        "memo": {"type": "string", "optional": True},
        "open": True,
        "raw": {"type": "uri_folder", "path": document["jobs"]["sift"]["code"]},
    }
    names = ("count", "rate", "memo", "open")
    document["jobs"]["sift"]["inputs"] |= {name: f"${{{{parent.inputs.{name}}}}}" for name in (*names, "raw")}
    backend.create(document, name="dawn")
    key = backend.publish("dawn", published_name="daybreak").id
    given: dict[str, object] = {"count": "4", "rate": 2, "memo": "", "open": "false"}
    made = backend.submit_published(key, parameters=given)
    literals = backend.graph(made.name).literals
    assert {name: literals[name] for name in names} == {"count": 4, "rate": 2.0, "memo": "", "open": False}
    with pytest.raises(SpecInvalid, match="count"):
        backend.submit_published(key, parameters={"count": 10})
    with pytest.raises(ArgumentInvalid, match="'raw' is no literal input"):
        backend.submit_published(key, parameters={"raw": "/elsewhere"})


def test_a_disabled_pipeline_is_not_submitted(backend: Backend, pipeline: JobState) -> None:
    key = backend.publish("dawn", published_name="daybreak").id
    assert [one.id for one in backend.list_published()] == [key]
    assert backend.set_published_status(key, PublishedStatus.DISABLED).status is PublishedStatus.DISABLED
    with pytest.raises(ArgumentInvalid, match="Disabled"):
        backend.submit_published(key)
    assert backend.list_published() == ()
    assert [one.id for one in backend.list_published(active_only=False)] == [key]
    backend.set_published_status(key, PublishedStatus.ACTIVE)
    assert backend.submit_published(key).status is S.STARTING
    with pytest.raises(ArgumentInvalid, match="no steps"):
        backend.publish("dawn--sift", published_name="x")
