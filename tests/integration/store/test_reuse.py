"""What the store keeps for reuse: keys, records of outputs, digests of trees, and what is one transaction."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from runner.entity.asset import Asset, Content, OutputRecord, ReuseKey
from runner.entity.job import JobState, OutputState
from runner.entity.status import JobStatus
from runner.errors import AssetExists, IllegalTransition, JobNotFound
from runner.store.home import Home
from runner.store.store import Store

S = JobStatus
TO_THE_END = (S.STARTING, S.PREPARING, S.RUNNING, S.FINALIZING)
KEY = ReuseKey(key="k1", family="train", parts={"code": "12", "input a": "int 1"})


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = Store(Home(tmp_path / "home"))
    yield made
    made.close()


def record(name: str = "model", digest: str = "d1") -> OutputRecord:
    content = Content(digest=digest, stamp="s", file_count=2, size_bytes=3)
    return OutputRecord(name=name, type="uri_folder", path=f"/made/{name}", content=content)


def state(name: str, step: str = "") -> JobState:
    return JobState(name=name, type="command", status=S.NOT_STARTED, create_time=1.0, step=step)


def pipeline(store: Store, name: str, *steps: str) -> list[str]:
    """A pipeline with steps; the names of their jobs."""
    jobs = [f"{name}--{step}" for step in steps]
    store.create(state(name), steps=[state(job, step) for job, step in zip(jobs, steps, strict=True)])
    return jobs


def completed(store: Store, job: str, key: ReuseKey = KEY, *, is_source: bool = True) -> str:
    store.set_reuse(job, key, is_source=False, reason="ran: because")
    for status in TO_THE_END:
        store.move(job, status)
    store.move(job, S.COMPLETED, records=[record()])
    if is_source:
        store.set_reuse(job, key, is_source=True, reason="ran: because")
    return job


def test_sources_are_completed_steps_with_the_key_the_newest_first(store: Store) -> None:
    names = [completed(store, pipeline(store, f"p{number}", "train")[0]) for number in range(3)]
    (other,) = pipeline(store, "p3", "train")
    completed(store, other, ReuseKey(key="k2", family="train", parts={}))
    assert [entry.job for entry in store.reuse.sources("k1")] == names[::-1]
    newest = store.reuse.sources("k1")[0]
    assert newest.key == KEY and newest.records == (record(),) and newest.is_source
    assert [entry.job for entry in store.reuse.relatives("train")] == [other, *names[::-1]]
    assert store.reuse.relatives("other") == () == store.reuse.sources("k3")


def test_steps_of_the_asking_pipeline_are_no_sources(store: Store) -> None:
    first, second = pipeline(store, "p0", "one", "two")
    completed(store, first)
    completed(store, second)
    (elsewhere,) = pipeline(store, "p1", "one")
    completed(store, elsewhere)
    assert [entry.job for entry in store.reuse.sources("k1", outside="p0")] == [elsewhere]
    assert [entry.job for entry in store.reuse.sources("k1", outside="p1")] == [second, first]


def test_what_is_no_source_is_told_apart(store: Store) -> None:
    (barred,) = pipeline(store, "p0", "train")
    completed(store, barred, is_source=False)
    assert store.reuse.sources("k1") == () == store.reuse.relatives("train")
    assert store.reuse.barred("k1") == (barred,)
    (used,) = pipeline(store, "p1", "train")
    completed(store, used)
    assert store.reuse.barred("k1") == (barred,)
    assert store.reuse.key_of(barred) == KEY and store.reuse.key_of("p0") is None


def test_a_new_run_is_no_source_while_it_goes_on(store: Store) -> None:
    (job,) = pipeline(store, "p0", "train")
    completed(store, job)
    store.begin_run(job)
    assert store.reuse.sources("k1") == ()


def test_a_step_that_is_reused_goes_to_completed_with_its_source_s_outputs(store: Store) -> None:
    (source,) = pipeline(store, "p0", "train")
    completed(store, source)
    (job,) = pipeline(store, "p1", "train")
    outputs = (OutputState(name="model", type="uri_folder", path="/made/model"),)
    before = store.get("p1").revision
    made = store.complete_reused(job, source, "reused from p0--train", outputs, [record()])
    assert (made.status, made.reused_from, made.outputs) == (S.COMPLETED, source, outputs)
    assert made.reuse_reason == "reused from p0--train"
    assert [event.status for event in store.events(job)] == [S.NOT_STARTED, S.STARTING, S.COMPLETED]
    assert store.reuse.records(job) == (record(),)
    assert store.reuse.users(source) == (job,)
    assert [entry.job for entry in store.reuse.sources("k1")] == [source], "what was reused is no source itself"
    assert store.get("p1").revision > before, "whoever watches the pipeline hears of it"


def test_a_step_that_was_cancelled_is_not_reused_over_that(store: Store) -> None:
    source = completed(store, *pipeline(store, "p0", "train"))
    (job,) = pipeline(store, "p1", "train")
    store.request_cancel(job)
    with pytest.raises(IllegalTransition):
        store.complete_reused(job, source, "reused", (), [record()])
    assert store.reuse.records(job) == () and store.get(job).reused_from == ""


def test_a_source_that_was_deleted_meanwhile_is_not_used(store: Store) -> None:
    (job,) = pipeline(store, "p1", "train")
    with pytest.raises(JobNotFound, match="p0--train"):
        store.complete_reused(job, "p0--train", "reused", (), [record()])
    assert store.get(job).status is S.NOT_STARTED and store.reuse.records(job) == ()


def test_completed_records_and_assets_are_one_transaction(store: Store) -> None:
    (job,) = pipeline(store, "p0", "train")
    for status in TO_THE_END:
        store.move(job, status)
    store.assets.create(Asset(kind="data", name="model", version="1", type="uri_folder", path="/a"))
    free = Asset(kind="data", name="scores", version="", type="uri_folder", path="/b", job=job)
    taken = Asset(kind="data", name="model", version="1", type="uri_folder", path="/b", job=job)
    with pytest.raises(AssetExists, match="'model:1'"):
        store.move(job, S.COMPLETED, records=[record()], assets=[free, taken])
    assert store.get(job).status is S.FINALIZING
    assert store.reuse.records(job) == () and store.assets.of_job(job) == ()
    store.move(job, S.COMPLETED, records=[record()], assets=[free])
    assert [asset.reference for asset in store.assets.of_job(job)] == ["azureml:scores:1"]


def test_a_later_run_replaces_keys_and_records(store: Store) -> None:
    (job,) = pipeline(store, "p0", "train")
    completed(store, job)
    store.begin_run(job)
    other = ReuseKey(key="k2", family="train", parts={})
    store.set_reuse(job, other, is_source=False, reason="ran: again")
    for status in TO_THE_END[1:]:
        store.move(job, status)
    store.move(job, S.COMPLETED, records=[record(digest="d2"), record("log")])
    assert store.reuse.key_of(job) == other
    assert {one.name: one.content.digest for one in store.reuse.records(job)} == {"model": "d2", "log": "d1"}


def test_contents_are_known_by_place_and_stamp(store: Store) -> None:
    first = Content(digest="d1", stamp="s1", file_count=1, size_bytes=2)
    store.reuse.keep_content("/a", first)
    assert store.reuse.known_content("/a", "s1") == first
    assert store.reuse.known_content("/a", "s2") is None is store.reuse.known_content("/b", "s1")
    second = Content(digest="d2", stamp="s2", file_count=1, size_bytes=2)
    store.reuse.keep_content("/a", second)
    assert store.reuse.known_content("/a", "s1") is None
    assert store.reuse.known_content("/a", "s2") == second


def test_what_is_kept_of_a_job_goes_with_it(store: Store) -> None:
    (job,) = pipeline(store, "p0", "train")
    completed(store, job)
    assert store.reuse.makers("/made/model") == (job,)
    for status in (S.STARTING, S.CANCEL_REQUESTED, S.CANCELED):
        store.move("p0", status)
    store.delete("p0")
    assert store.reuse.sources("k1") == () == store.reuse.makers("/made/model")
