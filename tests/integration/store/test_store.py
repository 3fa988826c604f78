"""What the store promises: legal moves with their events, silence, cancels, pages, and one truth for many writers."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from runner.entity.job import JobError, JobState, OutputState, Progress
from runner.entity.status import TERMINAL, TRANSITIONS, JobStatus
from runner.errors import IllegalTransition, JobExists, JobNotFound, JobStatusConflict, StorageFailed, StoreBusy
from runner.store.home import Home
from runner.store.orphans import Orphan
from runner.store.store import Store

S = JobStatus
TO_RUNNING = (S.STARTING, S.PREPARING, S.QUEUED, S.RUNNING)
ROUTES: dict[JobStatus, tuple[JobStatus, ...]] = {
    S.NOT_STARTED: (),
    S.STARTING: (S.STARTING,),
    S.PROVISIONING: (S.STARTING, S.PROVISIONING),
    S.PREPARING: (S.STARTING, S.PREPARING),
    S.QUEUED: (S.STARTING, S.QUEUED),
    S.RUNNING: TO_RUNNING,
    S.FINALIZING: (*TO_RUNNING, S.FINALIZING),
    S.CANCEL_REQUESTED: (S.STARTING, S.CANCEL_REQUESTED),
    S.COMPLETED: (*TO_RUNNING, S.FINALIZING, S.COMPLETED),
    S.FAILED: (S.STARTING, S.FAILED),
    S.CANCELED: (S.STARTING, S.CANCEL_REQUESTED, S.CANCELED),
}


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(tmp_path: Path, clock: Clock) -> Iterator[Store]:
    opened = Store(Home(tmp_path / "home"), clock=clock)
    yield opened
    opened.close()


def add(store: Store, name: str = "sift", *to: JobStatus, request_id: str = "") -> JobState:
    job = JobState(name=name, type="parallel", status=S.NOT_STARTED, create_time=1_000.0)
    made = store.create(job, request_id=request_id)
    for status in to:
        made = store.move(name, status)
    return made


def test_a_job_comes_back_as_it_was_written(store: Store) -> None:
    job = JobState(
        name="sift",
        type="parallel",
        status=S.NOT_STARTED,
        display_name="Sift",
        tags={"a": "1"},
        properties={"p": "é"},
        document={"type": "parallel", "inputs": {"x": {"path": "/d", "n": None}}},
        create_time=12.5,
        created_by="me",
        outputs=(OutputState(name="scores", type="uri_file", path="/out"),),
    )
    made = store.create(job)
    assert made == store.get("sift")
    assert (made.tags, made.document, made.outputs, made.create_time) == (job.tags, job.document, job.outputs, 12.5)
    assert [event.status for event in store.events("sift")] == [S.NOT_STARTED]


def test_a_second_job_of_that_name_is_refused_and_changes_nothing(store: Store) -> None:
    first = add(store)
    with pytest.raises(JobExists, match="sift"):
        add(store)
    assert store.get("sift") == first


def test_a_request_asked_twice_makes_one_job(store: Store) -> None:
    first = add(store, "one", request_id="r1")
    assert add(store, "two", request_id="r1") == first
    assert store.list().jobs == (first,)


def test_when_installing_fails_there_is_no_job(store: Store) -> None:
    def fail() -> None:
        raise RuntimeError("no space")

    job = JobState(name="sift", type="parallel", status=S.NOT_STARTED, create_time=1.0)
    with pytest.raises(RuntimeError):
        store.create(job, install=fail)
    with pytest.raises(JobNotFound, match="sift"):
        store.get("sift")


@pytest.mark.parametrize("new", list(JobStatus))
@pytest.mark.parametrize("old", list(ROUTES))
def test_moves_follow_the_table_and_an_illegal_one_changes_nothing(
    store: Store, old: JobStatus, new: JobStatus
) -> None:
    before = add(store, "sift", *ROUTES[old])
    events = store.events("sift")
    if new in TRANSITIONS[old]:
        assert store.move("sift", new, "why").status == new
        assert store.events("sift")[-1].status == new
        assert len(store.events("sift")) == len(events) + 1
    else:
        with pytest.raises(IllegalTransition):
            store.move("sift", new)
        assert store.get("sift") == before
        assert store.events("sift") == events


def test_times_are_those_of_running_and_of_the_end(store: Store, clock: Clock) -> None:
    add(store, "sift", S.STARTING, S.QUEUED)
    clock.now = 1_010.0
    assert store.move("sift", S.RUNNING).start_time == 1_010.0
    clock.now = 1_020.0
    error = JobError(reason="INIT_FAILED", message="no model", traceback="...")
    ended = store.move("sift", S.FAILED, error=error)
    assert (ended.start_time, ended.end_time, ended.error) == (1_010.0, 1_020.0, error)
    again = store.move("sift", S.STARTING)
    assert (again.run_number, again.start_time, again.end_time, again.error) == (2, None, None, None)


def test_a_beat_carries_progress_and_tells_the_status(store: Store, clock: Clock) -> None:
    add(store, "sift", *TO_RUNNING)
    progress = Progress(item_count=40, mini_batch_count=4, failed_by_class={"crash": 1})
    assert store.beat("sift", progress, "scoring", host="here", driver_pid=7) == S.RUNNING
    first = store.get("sift")
    assert (first.progress, first.message, first.host, first.driver_pid) == (progress, "scoring", "here", 7)
    clock.now += 5
    store.beat("sift", progress, "scoring", host="here", driver_pid=7)
    same = store.get("sift")
    assert same.heartbeat_time == clock.now
    assert same.revision == first.revision, "nothing a watcher sees has changed"
    store.request_cancel("sift")
    assert store.beat("sift") == S.CANCEL_REQUESTED


def test_a_beat_after_the_end_changes_nothing(store: Store) -> None:
    ended = add(store, "sift", *ROUTES[S.CANCELED])
    assert store.beat("sift", Progress(item_count=1)) == S.CANCELED
    assert store.get("sift") == ended


@pytest.mark.parametrize("status", [s for s in JobStatus if s not in TERMINAL | {S.NOT_STARTED, S.NOT_RESPONDING}])
def test_silence_is_recorded_by_a_reader_and_taken_back_by_the_next_beat(
    store: Store, clock: Clock, status: JobStatus
) -> None:
    add(store, "sift", *ROUTES[status])
    clock.now += 29
    assert store.get("sift").status == status
    clock.now += 2
    assert store.list().jobs[0].status == S.NOT_RESPONDING
    assert store.get("sift").status == S.NOT_RESPONDING
    assert store.beat("sift") == status
    assert store.get("sift").status == status
    assert [event.status for event in store.events("sift")][-3:] == [status, S.NOT_RESPONDING, status]


def test_a_move_of_a_silent_job_goes_on_from_where_it_was(store: Store, clock: Clock) -> None:
    add(store, "sift", *TO_RUNNING)
    clock.now += 31
    assert store.get("sift").status == S.NOT_RESPONDING
    with pytest.raises(IllegalTransition):
        store.move("sift", S.COMPLETED)
    assert store.get("sift").status == S.NOT_RESPONDING
    assert store.move("sift", S.FINALIZING).status == S.FINALIZING
    assert [event.status for event in store.events("sift")][-3:] == [S.NOT_RESPONDING, S.RUNNING, S.FINALIZING]


def test_a_silent_job_can_be_resumed_or_ended_by_others(store: Store, clock: Clock) -> None:
    for name in ("one", "two"):
        add(store, name, *TO_RUNNING)
    clock.now += 31
    store.list()
    resumed = store.move("one", S.STARTING)
    assert (resumed.status, resumed.run_number) == (S.STARTING, 2)
    assert store.move("two", S.CANCELED).status == S.CANCELED


@pytest.mark.parametrize("status", [S.NOT_STARTED, S.STARTING, S.PROVISIONING, S.PREPARING, S.QUEUED, S.RUNNING])
def test_a_cancel_is_taken_until_publication_and_may_be_asked_twice(store: Store, status: JobStatus) -> None:
    add(store, "sift", *ROUTES[status])
    asked = store.request_cancel("sift")
    assert asked.status == S.CANCEL_REQUESTED
    assert store.request_cancel("sift") == asked
    store.move("sift", S.CANCELED)
    assert store.request_cancel("sift").status == S.CANCELED


@pytest.mark.parametrize("status", [S.FINALIZING, S.COMPLETED, S.FAILED])
def test_a_cancel_from_publication_on_is_refused(store: Store, status: JobStatus) -> None:
    before = add(store, "sift", *ROUTES[status])
    with pytest.raises(JobStatusConflict, match=str(status)):
        store.request_cancel("sift")
    assert store.get("sift") == before


def test_a_cancel_of_a_silent_job_is_seen_by_its_driver(store: Store, clock: Clock) -> None:
    add(store, "sift", *TO_RUNNING)
    clock.now += 31
    assert store.get("sift").status == S.NOT_RESPONDING
    assert store.request_cancel("sift").status == S.CANCEL_REQUESTED
    assert store.get("sift").status == S.NOT_RESPONDING, "it is still silent"
    assert store.request_cancel("sift").status == S.NOT_RESPONDING, "and was asked already"
    assert store.beat("sift") == S.CANCEL_REQUESTED


def test_a_silent_publication_cannot_be_cancelled(store: Store, clock: Clock) -> None:
    add(store, "sift", *ROUTES[S.FINALIZING])
    clock.now += 31
    store.get("sift")
    with pytest.raises(JobStatusConflict, match="Finalizing"):
        store.request_cancel("sift")


def test_pages_are_newest_first_and_hold_while_jobs_come_and_go(store: Store) -> None:
    for number in range(7):
        add(store, f"job{number}")
    jobs, key = store.list(limit=3)
    assert [job.name for job in jobs] == ["job6", "job5", "job4"]
    add(store, "late")
    store.move("job3", S.CANCELED)
    store.delete("job3")
    jobs, key = store.list(limit=3, after=key)
    assert [job.name for job in jobs] == ["job2", "job1", "job0"]
    assert key is None


def test_pages_can_be_filtered_by_status(store: Store) -> None:
    for number in range(6):
        add(store, f"job{number}", *([S.STARTING] if number % 2 else []))
    assert [job.name for job in store.list(statuses=[S.STARTING]).jobs] == ["job5", "job3", "job1"]
    assert not store.list(statuses=[S.FAILED, S.COMPLETED]).jobs


@pytest.mark.parametrize("status", list(ROUTES))
def test_only_what_has_ended_can_be_deleted(store: Store, status: JobStatus) -> None:
    add(store, "sift", *ROUTES[status])
    if status in TERMINAL:
        store.delete("sift")
        for ask in (store.get, store.events, store.delete, store.request_cancel):
            with pytest.raises(JobNotFound):
                ask("sift")
    else:
        with pytest.raises(JobStatusConflict, match="cancel it first"):
            store.delete("sift")


def test_every_visible_change_has_a_new_revision_even_after_a_deletion(store: Store) -> None:
    seen = [add(store, "a").revision]
    seen.append(store.move("a", S.CANCELED).revision)
    store.delete("a")
    seen.append(add(store, "a").revision)
    assert seen == sorted(set(seen))
    assert store.revision() == seen[-1]
    assert store.revisions(["a", "nobody"]) == {"a": seen[-1]}


def test_what_another_process_wrote_is_noticed_cheaply(store: Store) -> None:
    _, seen = store.has_changed(0)
    assert store.has_changed(seen) == (False, seen)
    other = Store(store.home)
    add(other, "sift")
    other.close()
    changed, newer = store.has_changed(seen)
    assert changed
    assert store.has_changed(newer) == (False, newer)


WRITE_MANY = """
import sys
from runner.entity.job import JobState
from runner.entity.status import JobStatus
from runner.store.home import Home
from runner.store.store import Store

store = Store(Home(sys.argv[1]))
for number in range(20):
    name = f"job-{sys.argv[2]}-{number}"
    store.create(JobState(name=name, type="parallel", status=JobStatus.NOT_STARTED, create_time=1.0))
    for status in (JobStatus.STARTING, JobStatus.QUEUED, JobStatus.FAILED):
        store.move(name, status)
"""


def test_several_processes_open_a_new_store_and_write_at_once(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    writers = [subprocess.Popen([sys.executable, "-c", WRITE_MANY, str(home.root), str(who)]) for who in range(4)]
    assert [writer.wait() for writer in writers] == [0, 0, 0, 0]
    store = Store(home)
    jobs = store.list(limit=1000).jobs
    store.close()
    assert len(jobs) == 80
    assert len({job.revision for job in jobs}) == 80


def test_a_store_that_stays_locked_is_told_as_busy(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    store = Store(home, busy_s=0.05)
    other = sqlite3.connect(home.database, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreBusy, match=r"runner\.db"):
        add(store)
    other.execute("ROLLBACK")
    other.close()
    add(store)
    store.close()


def test_a_file_that_is_no_store_is_told_with_its_path(tmp_path: Path) -> None:
    home = Home(tmp_path / "home").make()
    home.database.write_bytes(b"not a database" * 100)
    with pytest.raises(StorageFailed, match=r"runner\.db"):
        Store(home)


@pytest.mark.parametrize("status", [S.COMPLETED, S.FAILED, S.CANCELED])
def test_a_job_that_ended_begins_a_new_run_and_keeps_its_counters(store: Store, status: JobStatus) -> None:
    add(store, "sift", *ROUTES[status])
    before = store.get("sift")
    begun = store.begin_run("sift", "once more")
    assert (begun.status, begun.run_number, begun.message) == (S.STARTING, 2, "once more")
    assert (begun.start_time, begun.end_time, begun.error, begun.driver_pid) == (None, None, None, 0)
    assert begun.progress == before.progress
    assert begun.revision > before.revision
    assert [event.status for event in store.events("sift")][-2:] == [status, S.STARTING]


@pytest.mark.parametrize("status", [S.STARTING, S.PREPARING, S.RUNNING, S.FINALIZING, S.CANCEL_REQUESTED])
def test_a_job_in_progress_is_not_responding_before_it_begins_a_new_run(store: Store, status: JobStatus) -> None:
    add(store, "sift", *ROUTES[status])
    assert store.begin_run("sift").run_number == 2
    assert [event.status for event in store.events("sift")][-3:] == [status, S.NOT_RESPONDING, S.STARTING]
    assert store.move("sift", S.PREPARING).status == S.PREPARING, "what was silent before is forgotten"


def test_a_job_that_never_had_a_driver_begins_no_new_run(store: Store) -> None:
    before = add(store, "sift", *ROUTES[S.NOT_STARTED])
    with pytest.raises(IllegalTransition):
        store.begin_run("sift")
    assert store.get("sift") == before


ROUTES_TO_SILENCE = (*TO_RUNNING, S.NOT_RESPONDING)


def test_jobs_that_have_not_ended_are_told_oldest_first(store: Store) -> None:
    for status, route in ROUTES.items():
        add(store, str(status), *route)
    assert [job.status for job in store.unended()] == [status for status in ROUTES if not status.is_terminal]


def test_what_a_service_counts_lasts_until_somebody_else_begins_a_run(store: Store) -> None:
    add(store, "sift", *ROUTES[S.RUNNING])
    assert store.orphans.get("sift") == Orphan(0, 0)
    store.begin_run("sift", orphan=Orphan(1, 7))
    assert store.orphans.get("sift") == Orphan(1, 7)
    store.move("sift", S.PREPARING)
    store.begin_run("sift", orphan=Orphan(2, 7))
    assert store.orphans.get("sift") == Orphan(2, 7)
    store.begin_run("sift")
    assert store.orphans.get("sift") == Orphan(0, 0)


@pytest.mark.parametrize("status", [S.RUNNING, S.NOT_RESPONDING])
def test_a_job_that_is_let_go_stays_not_responding_and_says_why(store: Store, status: JobStatus) -> None:
    add(store, "sift", *(ROUTES_TO_SILENCE if status is S.NOT_RESPONDING else ROUTES[status]))
    revision = store.get("sift").revision
    store.let_go("sift", "three times in vain", Orphan(4, 0))
    job = store.get("sift")
    assert (job.status, job.message) == (S.NOT_RESPONDING, "three times in vain")
    assert job.revision > revision
    assert (store.events("sift")[-1].status, store.events("sift")[-1].message) == (job.status, job.message)
    assert store.orphans.get("sift") == Orphan(4, 0)


def test_the_last_cancel_of_this_run_is_known(store: Store, clock: Clock) -> None:
    add(store, "sift", *ROUTES[S.RUNNING])
    assert store.cancel_time("sift") is None
    store.request_cancel("sift")
    assert store.cancel_time("sift") == clock.now
    store.move("sift", S.CANCELED)
    store.begin_run("sift")
    assert store.cancel_time("sift") is None
