"""Steps of a pipeline on the embedded Ray: it is started once, stays between them, and ends with the pipeline."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from pipeline_kit import Pipelines, source, until

from runner.cluster.folder import KeeperFolder
from runner.entity.pipeline import StepSource, StepSpec


@pytest.fixture
def bench(tmp_path: Path, home: Path) -> Iterator[Pipelines]:
    made = Pipelines(tmp_path / "work", home)
    yield made
    made.close()


def scoring(key: str, code: Path, cargo: StepSource) -> StepSpec:
    """A parallel step that puts every line of a file into capital letters, one line a mini-batch."""
    return StepSpec(
        key=key,
        job=f"probe--{key}",
        type="parallel",
        code=str(code),
        sources=(cargo,),
        document={
            "type": "parallel",
            "max_concurrency_per_instance": 1,
            "inputs": {"cargo": {"type": "uri_folder", "path": f"${{{{steps.{cargo.step}.outputs.o}}}}"}},
            "outputs": {"o": {"type": "uri_file"}},
            "input_data": "${{inputs.cargo}}",
            "mini_batch_size": "1",
            "task": {
                "type": "run_function",
                "code": str(code),
                "entry_script": "score.py",
                "append_row_to": "${{outputs.o}}",
            },
        },
    )


def test_ray_stays_from_the_first_step_there_to_the_end_of_the_pipeline(bench: Pipelines, tmp_path: Path) -> None:
    code = tmp_path / "code"
    code.mkdir()
    (code / "score.py").write_text(
        "def run(mini_batch):\n    return [open(one).read().strip() for one in mini_batch]\n"
    )
    fill = "for i in 1 2 3; do echo crate $i > ${{outputs.o}}/c$i.txt; done"
    bench.make(
        bench.step("load", fill, kind="uri_folder"),
        scoring("score", code, source("load", name="cargo")),
        bench.step("between", f"held between; {fill}", kind="uri_folder", after=["score"]),
        scoring("again", code, source("between", name="cargo")),
    )
    bench.start()
    bench.noted("between")
    folder = KeeperFolder(bench.home.ray)
    until(lambda: not Path(f"/proc/{bench.state('score').driver_pid}").exists(), "the end of the first step's driver")
    first = folder.read_record()
    assert first is not None
    assert first.is_alive
    bench.give("go")
    bench.completed(within=120.0)
    assert bench.text("again").splitlines() == ["crate 1", "crate 2", "crate 3"]
    last = folder.read_record()
    assert last is None or last.pid == first.pid, "Ray was started once"
    until(lambda: not first.is_alive, "the end of Ray")
