"""What a job's driver begins with: a command shares the code that is kept, a parallel job has a copy of its own."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from runner.entity.command import CommandSpec
from runner.entity.parallel import ParallelSpec
from runner.errors import TargetExists
from runner.schedule.prepare import prepare
from runner.spec.code_trees import pin_code
from runner.spec.jobs import Job
from runner.spec.load import job_of_document
from runner.spec.places import Places
from runner.store.home import Home, JobFolder

COMMAND = {"type": "command", "command": "true", "compute": "local", "outputs": {"o": {"type": "uri_file"}}}


@pytest.fixture
def store_home(home: Path) -> Home:
    return Home(home).make()


@pytest.fixture
def pinned(tmp_path: Path, store_home: Home) -> Path:
    (tmp_path / "code/deep").mkdir(parents=True)
    (tmp_path / "code/score.py").write_text("def run(mini_batch):\n    return mini_batch\n")
    (tmp_path / "code/deep/more.txt").write_text("more")
    return pin_code(tmp_path / "code", store_home.code, home=store_home.root).path


def parallel(tmp_path: Path) -> Job:
    (tmp_path / "data").mkdir(exist_ok=True)
    return job_of_document(
        {
            "type": "parallel",
            "compute": "local",
            "inputs": {"d": {"type": "uri_folder", "path": str(tmp_path / "data")}},
            "outputs": {"o": {"type": "uri_file", "path": str(tmp_path / "o.txt")}},
            "input_data": "${{inputs.d}}",
            "task": {"code": str(tmp_path / "code"), "entry_script": "score.py", "append_row_to": "${{outputs.o}}"},
        }
    )


def prepared(job: Job, home: Home, code: Path) -> JobFolder:
    folder = home.job("calm--step")
    places = Places.read(home.root, {})
    prepare(job, name="calm--step", root_name="calm", places=places, code=code, folder=folder, final=folder)
    return folder


def test_a_command_is_given_the_kept_tree_itself(store_home: Home, pinned: Path) -> None:
    folder = prepared(job_of_document(COMMAND), store_home, pinned)
    spec = msgspec.json.decode(folder.spec.read_bytes(), type=CommandSpec)
    assert (spec.name, spec.root_name, spec.code) == ("calm--step", "calm", str(pinned))
    assert not folder.code.exists()


def test_a_parallel_job_may_write_beside_its_script(store_home: Home, pinned: Path, tmp_path: Path) -> None:
    job = parallel(tmp_path)
    torn = store_home.job("calm--step").root / ".code.new/deep"
    torn.mkdir(parents=True)
    (torn / "half.txt").write_text("left by a driver that was killed")
    folder = prepared(job, store_home, pinned)
    spec = msgspec.json.decode(folder.spec.read_bytes(), type=ParallelSpec)
    assert spec.code == str(folder.code)
    assert sorted(path.relative_to(folder.code).as_posix() for path in folder.code.rglob("*")) == [
        "deep",
        "deep/more.txt",
        "score.py",
    ]
    assert folder.code.stat().st_mode & 0o200
    (folder.code / "deep/mine.txt").write_text("written while it ran")
    assert prepared(job, store_home, pinned) == folder
    assert (folder.code / "deep/mine.txt").exists(), "code that is there is left as it is"
    assert not (pinned / "deep/mine.txt").exists()
    assert not torn.exists()


def test_a_target_that_exists_is_refused(store_home: Home, pinned: Path, tmp_path: Path) -> None:
    (tmp_path / "o.txt").write_text("mine")
    with pytest.raises(TargetExists, match=r"o\.txt"):
        prepared(parallel(tmp_path), store_home, pinned)
    assert (tmp_path / "o.txt").read_text() == "mine"
