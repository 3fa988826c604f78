"""What a parallel job leaves in the store when it completes: the assets that it registers, and no record for itself."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from cli_kit import ECHO, Bench

from runner.entity.asset import Asset
from runner.store.home import Home
from runner.store.store import Store

NAMED = {"outputs": {"scores": {"type": "uri_file", "path": "out/scores.txt", "name": "wine-scores"}}}


@pytest.fixture
def store(home: Path) -> Iterator[Store]:
    made = Store(Home(home))
    yield made
    made.close()


def test_an_output_with_a_name_is_registered_when_the_job_completes(bench: Bench, store: Store) -> None:
    bench.script(ECHO)
    bench.files(2)
    bench.submit(**NAMED).ok()
    (asset,) = store.assets.of_job("probe")
    assert (asset.reference, asset.type, asset.path) == ("azureml:wine-scores:1", "uri_file", str(bench.target))
    assert store.reuse.records("probe") == (), "nobody reuses a job that is no step"


def test_a_job_that_fails_registers_nothing(bench: Bench, store: Store) -> None:
    bench.script("def run(mini_batch): raise ValueError\n")
    bench.files(2)
    assert bench.submit(**NAMED, error_threshold=0).code == 1
    assert store.assets.list("data") == ()


def test_a_version_that_was_taken_meanwhile_fails_the_job_and_is_named(bench: Bench, store: Store) -> None:
    bench.files(1)
    named = {"outputs": {"scores": {**NAMED["outputs"]["scores"], "version": "7"}}}
    going = bench.began(**named)
    store.assets.create(Asset(kind="data", name="wine-scores", version="7", type="uri_file", path="/elsewhere"))
    bench.give("go")
    ended = going.end()
    assert ended.code != 0
    assert "'wine-scores:7' is registered already" in ended.err
    assert bench.status() == "Failed"
    assert store.assets.get("data", "wine-scores").path == "/elsewhere"
