"""Pipelines of real commands: what runs after what, what is handed on, what is left out, and how it ends."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from pipeline_kit import Pipelines, source

from runner.entity.pipeline import PromotedOutput
from runner.entity.status import JobStatus

S = JobStatus


@pytest.fixture
def bench(tmp_path: Path, home: Path) -> Iterator[Pipelines]:
    made = Pipelines(tmp_path / "work", home)
    yield made
    made.close()


def test_a_step_gets_what_its_producer_has_made(bench: Pipelines) -> None:
    bench.make(
        bench.step("a", "note a; echo tea > ${{outputs.o}}"),
        bench.step("b", "note b; tr a-z A-Z < ${{inputs.a}} > ${{outputs.o}}", source("a")),
        promoted=[PromotedOutput(name="report", type="uri_file", step="b", output="o")],
    )
    bench.start()
    state = bench.completed()
    assert bench.notes() == ["a", "b"]
    assert bench.text("b") == "TEA\n"
    assert bench.events() == [
        "NotStarted",
        "Starting",
        "Preparing",
        "Queued",
        "Running",
        "Finalizing",
        "Completed",
    ]
    assert [(one.name, Path(one.path).read_text()) for one in state.outputs] == [("report", "TEA\n")]
    (record,) = bench.store.reuse.records("probe")
    assert (record.name, record.path) == ("report", state.outputs[0].path)
