"""One suite for both back ends: whatever the embedded one promises, a service keeps too."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from served_jobs import TO_RUNNING, Hand, serving, write_job

from runner.client.backend import Backend
from runner.client.client import Client
from runner.client.remote import Remote
from runner.entity.job import JobError, Progress
from runner.entity.job_json import to_json
from runner.entity.page import Sighting
from runner.entity.status import JobStatus
from runner.errors import (
    ArgumentInvalid,
    CursorExpired,
    DriverGone,
    JobException,
    JobExists,
    JobNotFound,
    JobStatusConflict,
    LogMissing,
    OutputMissing,
    SpecInvalid,
    TargetExists,
)
from runner.server.jobs import Jobs
from runner.spec.jobs import ParallelJob
from runner.spec.load import load_job
from runner.spec.pieces import Input, Output, RunFunction
from runner.store.holder import Holder
from runner.store.home import Home

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
    return write_job(tmp_path / "work")


@pytest.fixture
def client(backend: Backend, home: Home) -> Client:
    return Client(backend, home)


def test_a_job_is_created_started_and_told(
    backend: Backend, document: dict[str, Any], home: Home, launched: list[str]
) -> None:
    made = backend.create(document | {"tags": {"team": "blue", "size": 3}}, name="sift")
    assert (made.name, made.type, made.status) == ("sift", "parallel", S.STARTING)
    assert (made.display_name, made.tags) == ("sift", {"team": "blue", "size": "3"})
    assert [one.path for one in made.outputs] == [document["outputs"]["scores"]["path"]]
    assert made.studio_url == home.job("sift").root.as_uri()
    assert launched == ["sift"]
    assert backend.get("sift") == made
    assert [event.status for event in backend.events("sift")] == [S.NOT_STARTED, S.STARTING]
    folder = home.job("sift")
    assert (folder.code / "score.py").is_file()
    assert folder.spec.is_file()
    assert folder.document.is_file()


def test_a_name_is_made_when_none_is_given(backend: Backend, document: dict[str, Any]) -> None:
    names = {backend.create(document).name for _ in range(3)}
    assert len(names) == 3
    for name in names:
        adjective, noun, tail = name.split("_")
        assert adjective
        assert noun
        assert len(tail) == 10


def test_a_request_that_is_repeated_creates_one_job(
    backend: Backend, document: dict[str, Any], launched: list[str]
) -> None:
    first = backend.create(document, request_id="r-1")
    assert backend.create(document, request_id="r-1").name == first.name
    assert launched == [first.name]


def left(home: Home) -> list[str]:
    return sorted(path.name for path in home.jobs.iterdir()) if home.jobs.is_dir() else []


@pytest.mark.parametrize("name", ["../etc", "a/b", "", ".hidden", "a--b", "x" * 129, "a b"])
def test_a_name_that_could_be_a_path_is_refused(
    backend: Backend, document: dict[str, Any], home: Home, launched: list[str], name: str
) -> None:
    if name == "" and isinstance(backend, Remote):
        return  # on the wire an empty id asks for a generated one
    with pytest.raises(ArgumentInvalid):
        backend.create(document, name=name)
    assert (left(home), launched) == ([], [])


def test_a_name_that_is_taken_is_refused(backend: Backend, document: dict[str, Any], launched: list[str]) -> None:
    backend.create(document, name="sift")
    with pytest.raises(JobExists, match="sift"):
        backend.create(document, name="sift")
    assert launched == ["sift"]


def test_a_target_that_exists_is_refused_before_anything_is_stored(
    backend: Backend, document: dict[str, Any], home: Home, launched: list[str]
) -> None:
    target = Path(document["outputs"]["scores"]["path"])
    target.parent.mkdir()
    target.write_text("keep")
    for name in ("sift", None):
        with pytest.raises(TargetExists, match=r"scores\.txt"):
            backend.create(document, name=name)
    assert (left(home), launched, target.read_text()) == ([], [], "keep")
    backend.create(document, name="sift", overwrite=True)
    assert launched == ["sift"]


def test_an_empty_folder_is_no_existing_target(backend: Backend, document: dict[str, Any], tmp_path: Path) -> None:
    target = tmp_path / "parts"
    target.mkdir()
    document["outputs"]["scores"] = {"type": "uri_folder", "path": str(target)}
    backend.create(document, name="sift")
    (target / "part").write_text("")
    with pytest.raises(TargetExists, match="parts"):
        backend.create(document, name="again")


def test_everything_wrong_with_a_job_is_told_at_once_and_nothing_stays(
    backend: Backend, document: dict[str, Any], home: Home, launched: list[str]
) -> None:
    document["inputs"]["cargo"]["path"] = "/nowhere/at/all"
    document["error_threshold"] = -2
    with pytest.raises(SpecInvalid) as caught:
        backend.create(document, name="sift")
    told = str(caught.value)
    assert "/nowhere/at/all" in told or "error_threshold" in told
    assert (left(home), launched) == ([], [])
    with pytest.raises(JobNotFound):
        backend.get("sift")


def test_jobs_are_listed_newest_first_page_by_page(backend: Backend, document: dict[str, Any]) -> None:
    for number in range(5):
        backend.create(document, name=f"job{number}")
    pages, token = [], ""
    while not pages or token:
        page = backend.list(page_size=2, page_token=token)
        pages.append([job.name for job in page.jobs])
        token = page.next_page_token
    assert pages == [["job4", "job3"], ["job2", "job1"], ["job0"]]
    assert not backend.list(statuses=[S.RUNNING]).jobs
    assert len(backend.list(statuses=[S.STARTING, S.RUNNING]).jobs) == 5


def test_a_page_token_of_other_arguments_is_refused(backend: Backend, document: dict[str, Any]) -> None:
    for _ in range(3):
        backend.create(document)
    token = backend.list(page_size=1).next_page_token
    for wrong in (token + "x", "nonsense", "\u00e9"):
        with pytest.raises(ArgumentInvalid, match="page_token"):
            backend.list(page_token=wrong)
    with pytest.raises(ArgumentInvalid, match="other arguments"):
        backend.list(page_token=token, statuses=[S.STARTING])
    with pytest.raises(ArgumentInvalid, match="page_size"):
        backend.list(page_size=-1)
    assert len(backend.list(page_token=token, page_size=5000).jobs) == 2


def test_a_cancel_reaches_the_driver_and_may_be_asked_twice(
    backend: Backend, document: dict[str, Any], home: Home
) -> None:
    backend.create(document, name="sift")
    hand = Hand(home, "sift")
    hand.move(*TO_RUNNING)
    assert backend.cancel("sift").status == S.CANCEL_REQUESTED
    assert backend.cancel("sift").status == S.CANCEL_REQUESTED
    hand.move(S.CANCELED)
    hand.die()
    assert backend.cancel("sift").status == S.CANCELED


def test_a_cancel_without_a_driver_is_ended_by_who_sees_it(
    backend: Backend, document: dict[str, Any], home: Home
) -> None:
    backend.create(document, name="sift")
    assert backend.cancel("sift").status == S.CANCELED
    backend.create(document, name="sieve")
    hand = Hand(home, "sieve")
    hand.move(*TO_RUNNING)
    assert backend.cancel("sieve").status == S.CANCEL_REQUESTED
    hand.die()
    assert backend.get("sieve").status == S.CANCELED


def test_a_cancel_of_what_has_ended_is_refused(backend: Backend, document: dict[str, Any], home: Home) -> None:
    backend.create(document, name="sift")
    Hand(home, "sift").complete()
    with pytest.raises(JobStatusConflict, match="Completed"):
        backend.cancel("sift")


def test_a_job_is_deleted_with_its_folder_but_not_its_output(
    backend: Backend, document: dict[str, Any], home: Home
) -> None:
    backend.create(document, name="sift")
    with pytest.raises(JobStatusConflict, match="cancel it first"):
        backend.delete("sift")
    Hand(home, "sift").complete()
    target = Path(document["outputs"]["scores"]["path"])
    staging = target.with_name(".scores.txt.sift.staging")
    staging.mkdir()
    backend.delete("sift")
    assert left(home) == []
    assert not staging.exists()
    assert target.is_file()
    with pytest.raises(JobNotFound):
        backend.get("sift")
    backend.create(document, name="sift", overwrite=True)


@pytest.mark.parametrize("ask", ["get", "cancel", "delete", "events", "logs", "outputs", "has_driver"])
def test_an_unknown_job_is_told_by_name(backend: Backend, ask: str) -> None:
    with pytest.raises(JobNotFound, match="nobody"):
        getattr(backend, ask)("nobody")
    for stream in (backend.watch("nobody"), backend.read_log("nobody")):
        with pytest.raises(JobNotFound, match="nobody"):
            next(stream)
    with pytest.raises(JobNotFound):
        next(backend.read_output("nobody", "scores"))


def test_a_driver_is_seen_by_its_lock(backend: Backend, document: dict[str, Any], home: Home) -> None:
    backend.create(document, name="sift")
    assert backend.has_driver("sift") is None, "it may still be starting"
    hand = Hand(home, "sift")
    assert backend.has_driver("sift") is True
    hand.die()
    while backend.has_driver("sift"):
        pass  # a service may answer from what it saw a moment ago
    assert backend.has_driver("sift") is False


def test_a_watch_begins_with_a_snapshot_and_ends_with_the_job(
    backend: Backend, document: dict[str, Any], home: Home
) -> None:
    backend.create(document, name="sift")
    hand = Hand(home, "sift")
    watching = backend.watch("sift")
    first = next(watching)
    assert first.job == backend.get("sift")
    hand.move(S.PREPARING)
    second = next(watching)
    assert second.job is not None
    assert second.job.status == S.PREPARING
    hand.store.beat("sift", Progress(item_count=9, done_item_count=3))
    third = next(watching)
    assert third.job is not None
    assert third.job.progress.done_item_count == 3
    hand.move(S.FAILED, error=JobError(reason="INIT_FAILED", message="no model", traceback="tb"))
    hand.die()
    last = [sighting for sighting in watching if sighting.job is not None][-1].job
    assert last is not None
    assert (last.status, last.error) == (S.FAILED, JobError(reason="INIT_FAILED", message="no model", traceback="tb"))


def test_a_watch_goes_on_from_its_cursor(backend: Backend, document: dict[str, Any], home: Home) -> None:
    backend.create(document, name="sift")
    cursor = next(backend.watch("sift")).cursor
    hand = Hand(home, "sift")
    hand.complete()
    again = [sighting.job.status for sighting in backend.watch("sift", cursor) if sighting.job is not None]
    assert again == [S.COMPLETED], "the newest state only"
    last = str(backend.get("sift").revision)
    assert not list(backend.watch("sift", last)), "there is nothing more to tell"
    with pytest.raises(CursorExpired):
        next(backend.watch("sift", str(10**9)))
    with pytest.raises(ArgumentInvalid, match="cursor"):
        next(backend.watch("sift", "yesterday"))


def test_a_watch_notices_a_dead_driver_by_its_lock(backend: Backend, document: dict[str, Any], home: Home) -> None:
    backend.create(document, name="sift")
    hand = Hand(home, "sift")
    hand.move(*TO_RUNNING)
    watching = backend.watch("sift")
    assert next(watching).job is not None
    hand.die()
    with pytest.raises(DriverGone, match="resume sift"):
        next(watching)


def lost(backend: Backend, document: dict[str, Any], home: Home) -> None:
    """A job, sift, whose driver has died in mid-run."""
    backend.create(document, name="sift")
    hand = Hand(home, "sift")
    hand.move(*TO_RUNNING)
    hand.die()


def test_a_job_without_its_driver_is_resumed_and_watched_anew(
    backend: Backend, client: Client, document: dict[str, Any], home: Home, launched: list[str]
) -> None:
    lost(backend, document, home)
    assert client.jobs.resume("sift").status == S.STARTING
    assert launched == ["sift", "sift"]
    assert [event.status for event in backend.events("sift")][-2:] == [S.NOT_RESPONDING, S.STARTING]
    with pytest.raises(JobStatusConflict, match="just starting"):
        backend.resume("sift")
    Hand(home, "sift").complete()
    *_, last = backend.watch("sift")
    assert last.job is not None
    assert (last.job.status, last.job.run_number) == (S.COMPLETED, 2)
    with pytest.raises(JobStatusConflict, match="Completed and cannot be resumed"):
        backend.resume("sift")
    assert launched == ["sift", "sift"]


@pytest.mark.parametrize("end", [S.FAILED, S.CANCELED])
def test_a_job_that_failed_or_was_cancelled_is_resumed(
    backend: Backend, document: dict[str, Any], home: Home, launched: list[str], end: JobStatus
) -> None:
    backend.create(document, name="sift")
    hand = Hand(home, "sift")
    hand.move(*TO_RUNNING)
    if end is S.CANCELED:
        backend.cancel("sift")
    hand.move(end, error=JobError(reason="STORAGE_FAILED", message="disk full") if end is S.FAILED else None)
    hand.die()
    resumed = backend.resume("sift")
    assert (resumed.status, resumed.run_number, resumed.error) == (S.STARTING, 2, None)
    assert launched == ["sift", "sift"]


def test_a_cancel_that_nobody_answers_does_not_keep_a_job_from_being_resumed(
    backend: Backend, document: dict[str, Any], home: Home
) -> None:
    lost(backend, document, home)
    backend.cancel("sift")
    assert backend.resume("sift").status == S.STARTING
    assert [event.status for event in backend.events("sift")][-2:] == [S.CANCELED, S.STARTING]


def test_a_job_whose_driver_lives_or_is_elsewhere_is_not_resumed(
    backend: Backend, document: dict[str, Any], home: Home, launched: list[str]
) -> None:
    with pytest.raises(JobNotFound):
        backend.resume("sift")
    backend.create(document, name="sift")
    with pytest.raises(JobStatusConflict, match="just starting"):
        backend.resume("sift")
    hand = Hand(home, "sift")
    hand.move(*TO_RUNNING)
    with pytest.raises(JobStatusConflict, match=r"process 4242 on here.*runner watch sift"):
        backend.resume("sift")
    elsewhere = Holder(host="far", pid=77, start_ticks=1, ids="another boot")
    hand.folder.lock.write_bytes(msgspec.json.encode(elsewhere))
    hand.move(S.NOT_RESPONDING)
    with pytest.raises(JobStatusConflict, match=r"process 77 on far\) is silent but alive"):
        backend.resume("sift")
    assert backend.get("sift").status == S.NOT_RESPONDING
    assert launched == ["sift"]
    hand.die()


def test_a_driver_that_cannot_be_started_leaves_a_failed_job(document: dict[str, Any], home: Home) -> None:
    def broken(name: str) -> None:
        raise OSError("no more processes")

    first, jobs = Jobs(home, lambda name: None), Jobs(home, broken)
    lost(first, document, home)
    with pytest.raises(OSError, match="no more processes"):
        jobs.resume("sift")
    job = first.get("sift")
    assert (job.status, job.run_number) == (S.FAILED, 2)
    assert job.error is not None
    assert "could not be started: no more processes" in job.error.message
    assert first.resume("sift").run_number == 3
    first.close()
    jobs.close()


def test_logs_are_listed_and_read_by_name(backend: Backend, document: dict[str, Any], home: Home) -> None:
    backend.create(document, name="sift")
    hand = Hand(home, "sift")
    hand.print("one\n")
    hand.print("two\n", worker="process001")
    (hand.folder.logs / "job_result.txt").write_text("fine")
    assert [log.path for log in backend.logs("sift")] == [
        "job_result.txt",
        "user/stdout/node0/process000.stdout.txt",
        "user/stdout/node0/process001.stdout.txt",
    ]
    assert b"".join(chunk.data for chunk in backend.read_log("sift")) == b"one\ntwo\n"
    assert b"".join(chunk.data for chunk in backend.read_log("sift", "job_result.txt")) == b"fine"
    for wrong in ("nothing.txt", "../spec.json", "../../../home/token"):
        with pytest.raises(LogMissing):
            next(backend.read_log("sift", wrong))
    hand.die()


def test_a_log_is_followed_until_the_job_has_ended(backend: Backend, document: dict[str, Any], home: Home) -> None:
    backend.create(document, name="sift")
    hand = Hand(home, "sift")
    hand.print("one\n")
    following = backend.read_log("sift", follow=True)
    assert next(following).data == b"one\n"
    hand.print("two\n", worker="process001")
    assert next(following).data == b"two\n"
    hand.print("three\n")
    hand.complete()
    assert b"".join(chunk.data for chunk in following) == b"three\n"


def test_an_output_is_read_once_the_job_has_ended(
    backend: Backend, document: dict[str, Any], home: Home, tmp_path: Path
) -> None:
    document["outputs"]["notes"] = {"type": "uri_folder", "path": str(tmp_path / "notes")}
    backend.create(document, name="sift")
    with pytest.raises(JobStatusConflict, match="wait for its end"):
        next(backend.read_output("sift", "scores"))
    big = "x" * 2_500_000
    Hand(home, "sift").complete(big)
    assert [one.name for one in backend.outputs("sift")] == ["notes", "scores"] or [
        one.name for one in backend.outputs("sift")
    ] == ["scores", "notes"]
    chunks = list(backend.read_output("sift", "scores"))
    assert {chunk.path for chunk in chunks} == {"scores.txt"}
    assert len(chunks) == 3
    assert b"".join(chunk.data for chunk in chunks) == big.encode()
    with pytest.raises(OutputMissing, match="scores"):
        next(backend.read_output("sift", "nothing"))
    with pytest.raises(OutputMissing, match="notes"):
        next(backend.read_output("sift", "notes"))


# ---- the same through the client's own objects ----------------------------------------------------------


def a_job(folder: Path) -> ParallelJob:
    write_job(folder)
    return ParallelJob(
        compute="local",
        inputs={"cargo": Input(type="uri_folder", path=str(folder / "data"))},
        outputs={"scores": Output(type="uri_file", path=str(folder / "out" / "scores.txt"))},
        input_data="${{inputs.cargo}}",
        mini_batch_size="1",
        task=RunFunction(
            code=str(folder / "code"),
            entry_script="score.py",
            environment="azureml:some@latest",
            append_row_to="${{outputs.scores}}",
        ),
    )


def test_submitting_leaves_the_argument_alone_and_returns_a_job_with_everything(
    client: Client, home: Home, tmp_path: Path
) -> None:
    job = a_job(tmp_path / "work")
    made = client.jobs.create_or_update(job, name="sift", tags={"a": "b"}, description="why")
    assert (job.name, job.status, job.id, job.tags) == (None, None, None, {})
    assert (made.name, made.status, made.tags, made.description) == ("sift", S.STARTING, {"a": "b"}, "why")
    assert made.id == "jobs/sift"
    assert made.studio_url == home.job("sift").root.as_uri()
    assert made.creation_context is not None
    assert made.creation_context.created_by
    assert made.log_files == {}
    hand = Hand(home, "sift")
    hand.print("hello")
    hand.store.beat("sift", Progress(item_count=4, mini_batch_count=2, done_mini_batch_count=1))
    hand.complete()
    got = client.jobs.get("sift")
    assert isinstance(got, ParallelJob)
    counts = (got.item_count, got.failed_item_count, got.mini_batch_count, got.done_mini_batch_count)
    assert (*counts, got.failed_mini_batch_count) == (4, 0, 2, 1, 0)
    log = "user/stdout/node0/process000.stdout.txt"
    assert got.log_files == {log: f"{made.studio_url}/logs/{log}"}
    assert str(got.status) == "Completed"
    assert [event.status for event in got.events][-1] == S.COMPLETED
    assert [job.name for job in client.jobs.list()] == ["sift"]


def test_problems_of_a_job_from_a_file_are_told_with_its_lines(client: Client, tmp_path: Path, home: Home) -> None:
    write_job(tmp_path)
    job_file = tmp_path / "job.yml"
    job_file.write_text(
        "type: parallel\n"
        "inputs:\n"
        "  cargo:\n"
        "    type: uri_folder\n"
        "    path: ./missing\n"
        "input_data: ${{inputs.cargo}}\n"
        "task: {type: run_function, code: ./code, entry_script: score.py, environment: 'azureml:e@latest'}\n"
    )
    with pytest.raises(SpecInvalid) as caught:
        client.jobs.create_or_update(load_job(job_file))
    (problem,) = caught.value.problems
    assert (problem.file, problem.line) == (str(job_file), 5)
    assert str(tmp_path / "missing") in problem.what
    assert left(home) == []


def test_stream_prints_the_log_and_how_it_ended(client: Client, home: Home, tmp_path: Path) -> None:
    name = client.jobs.create_or_update(a_job(tmp_path / "work")).name
    assert name is not None
    hand = Hand(home, name)
    hand.print("l1\nl2\n")
    hand.complete()
    said = io.StringIO()
    client.jobs.stream(name, to=said)
    view = f"RunId: {name}\nWeb View: {home.job(name).root.as_uri()}\n\n"
    log = "logs/user/stdout/node0/process000.stdout.txt"
    rule = "=" * (len(log) + 10)
    summary = "\nExecution Summary\n=================\n"
    assert said.getvalue() == f"{view}Streaming {log}\n{rule}\n\nl1\nl2\n{summary}{view}"


def test_stream_of_a_failed_job_raises_what_the_job_says(client: Client, home: Home, tmp_path: Path) -> None:
    name = client.jobs.create_or_update(a_job(tmp_path / "work")).name
    assert name is not None
    hand = Hand(home, name)
    hand.move(S.FAILED, error=JobError(reason="INIT_FAILED", message="init() failed: no model"))
    hand.die()
    with pytest.raises(JobException, match="no model"):
        client.jobs.stream(name, to=io.StringIO())


def test_download_writes_named_outputs_and_tells_what_there_is(client: Client, home: Home, tmp_path: Path) -> None:
    job = a_job(tmp_path / "work")
    job.outputs["parts"] = Output(type="uri_folder", path=str(tmp_path / "parts"))
    client.jobs.create_or_update(job, name="sift")
    deep = tmp_path / "parts" / "deep"
    deep.mkdir(parents=True)
    (deep / "b.bin").write_bytes(b"")
    (deep.parent / "a.bin").write_bytes(b"a")
    Hand(home, "sift").complete("scored\n")
    down = tmp_path / "down"
    written = client.jobs.download("sift", download_path=down)
    root = down / "named-outputs"
    assert sorted(written) == sorted(path for path in down.rglob("*") if path.is_file())
    assert {str(path.relative_to(root)) for path in written} == {"scores/scores.txt", "parts/a.bin", "parts/deep/b.bin"}
    assert (root / "scores" / "scores.txt").read_text() == "scored\n"
    with pytest.raises(OutputMissing, match=r"parts.*scores|scores.*parts"):
        client.jobs.download("sift", download_path=down, output_name="nothing")


def test_begin_cancel_returns_a_poller_that_waits_for_the_end(client: Client, home: Home, tmp_path: Path) -> None:
    client.jobs.create_or_update(a_job(tmp_path / "work"), name="sift")
    hand = Hand(home, "sift")
    poller = client.jobs.begin_cancel("sift")
    assert not poller.done()
    with pytest.raises(TimeoutError, match="CancelRequested"):
        poller.result(timeout=0)
    waiter = threading.Thread(target=poller.wait)
    waiter.start()
    hand.move(S.CANCELED)
    hand.die()
    waiter.join(timeout=20)
    assert poller.done()
    assert poller.status() == "Canceled"


def test_the_json_of_a_job_is_flat_and_complete(backend: Backend, document: dict[str, Any], home: Home) -> None:
    backend.create(document, name="sift")
    Hand(home, "sift").complete()
    said = to_json(backend.get("sift"), backend.events("sift"))
    assert [*said] == [
        *("name", "type", "status", "create_time", "start_time", "end_time", "events"),
        *("item_count", "failed_item_count", "mini_batch_count", "done_mini_batch_count", "failed_mini_batch_count"),
    ]
    assert (said["item_count"], said["failed_item_count"]) == (None, 0)
    assert str(said["end_time"]).endswith("Z")
    events = said["events"]
    assert isinstance(events, list)
    assert {"status": "Completed", "time": said["end_time"]} in events


def test_every_sighting_is_newer_than_the_one_before(backend: Backend, document: dict[str, Any], home: Home) -> None:
    backend.create(document, name="sift")
    hand = Hand(home, "sift")
    seen: list[Sighting] = []
    reader = threading.Thread(target=lambda: seen.extend(backend.watch("sift")))
    reader.start()
    for count in range(200):
        hand.store.beat("sift", Progress(done_item_count=count))
    hand.complete()
    reader.join(timeout=30)
    cursors = [int(sighting.cursor) for sighting in seen if sighting.job is not None]
    assert cursors == sorted(set(cursors))
    assert seen[-1].job == backend.get("sift")
