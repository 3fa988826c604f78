"""The layers of the rooms, the one room of each large library, and light imports."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HEAVY = ("ray", "pyarrow", "pandas", "numpy", "grpc", "polars", "yaml", "sqlite3", "google.protobuf")
DRIVING = "import runner.compose.driver, runner.pipeline.driver, runner.pipeline.nursery, runner.schedule.command"
SUBMITTING = "import runner.cli.submit, runner.compose.client, runner.server.jobs, runner.spec.load"
HELP = "import sys; sys.argv = ['runner', '--help']; from runner.cli.main import main; main()"


def loaded_by(code: str) -> set[str]:
    """Every module that a fresh interpreter loads when it runs `code`."""
    command = [sys.executable, "-X", "importtime", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if line.startswith("import time:")}


def test_rooms_import_only_rooms_below_them() -> None:
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-logo", "--no-cache"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("code", ["import runner", HELP], ids=["import", "help"])
def test_nothing_heavy_is_imported_before_it_is_needed(code: str) -> None:
    assert loaded_by(code).isdisjoint(HEAVY)


def test_whoever_submits_a_job_loads_nothing_of_those_who_run_it() -> None:
    assert loaded_by(SUBMITTING).isdisjoint({*HEAVY} - {"yaml", "sqlite3"})


def test_drivers_of_pipelines_and_commands_load_nothing_large() -> None:
    assert loaded_by(DRIVING).isdisjoint({*HEAVY} - {"yaml", "sqlite3"})


def test_each_room_says_what_it_does_and_what_it_refuses_to_know() -> None:
    for room in sorted(path.parent for path in (ROOT / "runner").glob("*/__init__.py")):
        said = (room / "__init__.py").read_text()
        assert said.startswith('"""'), f"{room.name} has no docstring"
        sentences = [sentence for sentence in said.split('"""')[1].split(".") if sentence.strip()]
        assert len(sentences) >= 2, f"{room.name}/__init__.py says only: {sentences}"
