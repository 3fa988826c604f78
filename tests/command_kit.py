"""A home in which commands are driven by real drivers, without the rooms above `schedule`."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
from cli_kit import until

from runner.entity.command import CommandInput, CommandOutput, CommandSpec
from runner.entity.job import JobState, OutputState
from runner.entity.status import JobStatus
from runner.store.home import Home, JobFolder
from runner.store.store import Store

PATIENCE_S = 60.0


@dataclass
class Done:
    """What a driver left."""

    code: int
    said: str
    job: JobState
    folder: JobFolder

    def ok(self) -> Done:
        assert self.job.status is JobStatus.COMPLETED, (self.job.error, self.said)
        assert self.code == 0
        return self

    def failed(self, reason: str) -> str:
        """The message of the error, whose reason must be this."""
        assert self.job.status is JobStatus.FAILED, (self.job, self.said)
        assert self.job.error is not None
        assert self.job.error.reason == reason, (self.job.error, self.said)
        return self.job.error.message

    @property
    def out(self) -> str:
        return self.log("std_log.txt")

    @property
    def err(self) -> str:
        return self.log("std_err.txt")

    def log(self, name: str) -> str:
        return (self.folder.logs / "user_logs" / name).read_text()


class Commands:
    """Jobs of one home. `root` is a folder for data and targets."""

    def __init__(self, root: Path) -> None:
        self.root = root / "work"
        self.root.mkdir()
        self.home = Home(root / "home")
        self.store = Store(self.home)

    def close(self) -> None:
        self.store.close()

    def write(self, name: str, text: str = "") -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def file(self, name: str, target: str = "") -> CommandOutput:
        """An output that is one file, with a path when it has a target."""
        place = self.root / target if target else self.home.root / "kept" / name
        return CommandOutput(name=name, type="uri_file", target=str(place), is_folder=False, has_path=bool(target))

    def tree(self, name: str, target: str = "") -> CommandOutput:
        """An output that is a folder."""
        place = self.root / target if target else self.home.root / "kept" / name
        return CommandOutput(name=name, type="uri_folder", target=str(place), is_folder=True, has_path=bool(target))

    def data(self, name: str, path: Path, mode: Any = "ro_mount") -> CommandInput:
        kind = "uri_folder" if path.is_dir() else "uri_file"
        return CommandInput(name=name, type=kind, text=str(path), mode=mode)

    def create(self, command: str, name: str = "job", **more: Any) -> JobFolder:
        """What a submission leaves for the driver; with another `root_name`, of a step of that pipeline."""
        folder = self.home.job(name)
        folder.logs.mkdir(parents=True)
        folder.lock.touch()
        settings: dict[str, Any] = {"root_name": name, "code": None, "compute": "local"} | more
        spec = CommandSpec(name=name, command=command, **settings)
        folder.spec.write_bytes(msgspec.json.encode(spec))
        outputs = tuple(OutputState(name=one.name, type=one.type, path=one.target) for one in spec.outputs)
        job = _row(name, "command", outputs=outputs)
        if spec.root_name == name:
            self.store.create(job)
        else:
            self.store.create(_row(spec.root_name, "pipeline"), steps=[job])
        self.store.move(name, JobStatus.STARTING)
        return folder

    def start(self, name: str = "job", env: dict[str, str] | None = None) -> subprocess.Popen[str]:
        """Start a driver as a submission does."""
        environment = {**os.environ, "RUNNER_HOME": str(self.home.root), **(env or {})}
        return subprocess.Popen(
            [sys.executable, "-P", "-m", "runner.compose", "drive", name],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
            start_new_session=True,
        )

    def finish(self, driver: subprocess.Popen[str], name: str = "job") -> Done:
        _, said = driver.communicate(timeout=PATIENCE_S)
        return Done(driver.returncode, said, self.store.get(name), self.home.job(name))

    def drive(self, name: str = "job", env: dict[str, str] | None = None) -> Done:
        return self.finish(self.start(name, env), name)

    def run(self, command: str, name: str = "job", env: dict[str, str] | None = None, **more: Any) -> Done:
        self.create(command, name, **more)
        return self.drive(name, env)

    def resume(self, name: str = "job", env: dict[str, str] | None = None) -> Done:
        self.store.begin_run(name)
        return self.drive(name, env)

    def statuses(self, name: str = "job") -> list[str]:
        return [str(event.status) for event in self.store.events(name)]

    def note(self, name: str) -> Path:
        """A file in which commands leave signs."""
        return self.root / name

    def wait_for(self, what: Callable[[], Any]) -> Any:
        return until(what)

    def pids(self, name: str = "pids", count: int = 1) -> list[int]:
        """Wait for so many lines with process ids in that file."""
        path = self.note(name)
        until(lambda: path.exists() and len(path.read_text().split()) >= count)
        return [int(word) for word in path.read_text().split()]


def is_running(pid: int) -> bool:
    """Whether there is such a process; one that has ended and was not waited for is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0] not in (b"Z", b"X")
    except (FileNotFoundError, ProcessLookupError):
        return False


def _row(name: str, kind: str, outputs: tuple[OutputState, ...] = ()) -> JobState:
    return JobState(name=name, type=kind, status=JobStatus.NOT_STARTED, create_time=time.time(), outputs=outputs)


@contextmanager
def commands_in(root: Path) -> Iterator[Commands]:
    made = Commands(root)
    try:
        yield made
    finally:
        made.close()
