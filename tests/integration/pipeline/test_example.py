"""The pipeline of the examples: it learns, a second run reuses everything, and a change runs what it concerns."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from runner.store.home import Home
from runner.store.store import Store

EXAMPLES = Path(__file__).parents[3] / "examples"
STEPS = ["prepare", "train", "score", "evaluate"]
AGAIN_S = 3.0


@pytest.fixture
def example(tmp_path: Path) -> Path:
    """A copy with its data, so that no test writes into the checkout."""
    ignored = shutil.ignore_patterns("data", "__pycache__")
    folder = Path(shutil.copytree(EXAMPLES / "pipeline", tmp_path / "pipeline", ignore=ignored))
    execute(sys.executable, "make_data.py", cwd=folder)
    return folder


def execute(*command: str, cwd: Path) -> str:
    """Run a command with this environment's programs first on the path."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        command, cwd=cwd, env=os.environ | {"PATH": path}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-6000:]
    return done.stdout


class Run:
    """A submission that has completed, as the store has it."""

    def __init__(self, example: Path, home: Path, name: str) -> None:
        began = time.monotonic()
        execute("runner", "submit", "pipeline.yml", "--name", name, cwd=example)
        self.seconds = time.monotonic() - began
        store = Store(Home(home))
        self.steps = {step.step: step for step in store.steps(name)}
        (self.report,) = store.get(name).outputs
        store.close()

    @property
    def reused(self) -> list[str]:
        return [key for key, step in self.steps.items() if step.reused_from]

    @property
    def reasons(self) -> dict[str, str]:
        return {key: step.reuse_reason for key, step in self.steps.items()}

    @property
    def result(self) -> Any:
        return json.loads(Path(self.report.path).read_text())


@pytest.mark.slow
def test_the_pipeline_example_reuses_what_has_not_changed(example: Path, home: Path) -> None:
    first = Run(example, home, "first")
    assert list(first.steps) == STEPS and first.reused == []
    assert set(first.reasons.values()) == {"ran: no earlier step of this kind has completed"}
    assert first.result["wines"] == 71 and first.result["accuracy"] > 0.9

    second = Run(example, home, "second")
    assert second.reused == STEPS and second.result == first.result
    told = {key: f"reused from first--{key}: nothing that counts has changed" for key in STEPS}
    assert second.reasons == told
    assert second.seconds <= max(AGAIN_S, first.seconds / 2), "a busy machine may be slow, but not to do nothing"

    # A change that changes nothing of what is made runs its step, and no consumer.
    with open(example / "prepare" / "prepare.py", "a") as file:
        file.write("# words\n")
    third = Run(example, home, "third")
    assert third.reused == STEPS[1:]
    assert third.reasons["prepare"] == "ran: code (prepare.py) differs from first--prepare"

    # One that changes the model runs what comes after it; the data are as they were.
    script = example / "train" / "train.py"
    script.write_text(script.read_text().replace("max_depth=6", "max_depth=1"))
    fourth = Run(example, home, "fourth")
    assert fourth.reused == ["prepare"]
    assert fourth.reasons["train"] == "ran: code (train.py) differs from first--train"
    assert fourth.reasons["score"] == "ran: the content of input model (made by train) differs from first--score"
    assert fourth.reasons["evaluate"] == "ran: the content of input scores (made by score) differs from first--evaluate"
    assert fourth.result["least_sure"] != first.result["least_sure"]
