"""A pipeline as its driver is given it: rows of the store and a folder, without a submission; and what became of it.

Commands get two shell functions: `note` tells the test that a step runs, `held` waits for the test's word.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from runner.compose.launch import launch_driver
from runner.entity.job import JobState, OutputState
from runner.entity.pipeline import PipelineSpec, PromotedOutput, StepSource, StepSpec
from runner.entity.status import JobStatus
from runner.store.holder import read_holder
from runner.store.home import Home
from runner.store.lock import is_held
from runner.store.store import Store

PATIENCE_S = 60.0
S = JobStatus
T = TypeVar("T")

FUNCTIONS = """\
note() { echo "$1" >> "$SIGNS/notes"; }
held() { note "$1"; while [ ! -e "$SIGNS/go" ] && [ ! -e "$SIGNS/go-$1" ]; do sleep 0.01; done; note "$1 went on"; }
"""


def until(condition: Callable[[], T], what: str, within: float = PATIENCE_S) -> T:
    """Wait until the condition holds and return what it gave."""
    end = time.monotonic() + within
    while not (value := condition()):
        assert time.monotonic() < end, f"waited {within:g} s in vain for {what}"
        time.sleep(0.01)
    return value


def source(step: str, output: str = "o", name: str = "", *, optional: bool = False) -> StepSource:
    """An input named like the step it comes from."""
    return StepSource(input=name or step, step=step, output=output, is_optional=optional)


class Pipelines:
    """One home with pipelines in it."""

    def __init__(self, folder: Path, home: Path) -> None:
        self.folder = folder
        self.signs = folder / "signs"
        self.signs.mkdir(parents=True)
        self.home = Home(home)
        self.store = Store(self.home)

    def close(self) -> None:
        """Let everything end that is still there."""
        self.give("go")
        for state in self.store.list(archived=None).jobs:
            for one in (state, *self.store.steps(state.name)):
                if is_held(self.home.job(one.name).lock) and (holder := read_holder(self.home.job(one.name).lock)):
                    holder.kill()
        self.store.close()

    # ---- making -----------------------------------------------------------------------------------------
    def step(
        self,
        key: str,
        command: str = "true",
        *sources: StepSource,
        pipeline: str = "probe",
        after: Iterable[str] = (),
        path: Mapping[str, str] | None = None,
        kind: str = "uri_file",
        **document: Any,
    ) -> StepSpec:
        """A command step; its outputs are files, its inputs those files of its producers."""
        job = f"{pipeline}--{key.replace('/', '--')}"
        return StepSpec(
            key=key,
            job=job,
            type="command",
            sources=sources,
            depends_on=tuple(after),
            document={
                "type": "command",
                "name": job,
                "compute": "local",
                "command": FUNCTIONS + command,
                "inputs": {
                    one.input: {"type": "uri_file", "path": f"${{{{steps.{one.step}.outputs.{one.output}}}}}"}
                    | ({"optional": True} if one.is_optional else {})
                    for one in sources
                },
                "outputs": {
                    name: {"type": kind} | ({"path": path[name]} if path and name in path else {})
                    for name in ("o",)
                    if "outputs.o" in command
                },
                "environment_variables": {"SIGNS": str(self.signs)},
                **document,
            },
        )

    def make(self, *steps: StepSpec, name: str = "probe", promoted: Iterable[PromotedOutput] = (), **more: Any) -> None:
        """A pipeline with these steps in the store, not started."""
        spec = PipelineSpec(name=name, steps=steps, outputs=tuple(promoted), **more)
        now = self.store.now()
        folder = self.home.job(name)
        folder.logs.mkdir(parents=True)
        folder.lock.touch(mode=0o600)
        folder.spec.write_bytes(msgspec.json.encode(spec))
        above = JobState(
            name=name,
            type="pipeline",
            status=S.NOT_STARTED,
            create_time=now,
            outputs=tuple(OutputState(name=one.name, type=one.type, path="") for one in spec.outputs),
        )
        below = [
            JobState(
                name=step.job,
                type=step.type,
                status=S.NOT_STARTED,
                create_time=now,
                parent=name,
                step=step.key,
                document=step.document,
            )
            for step in steps
        ]
        self.store.create(above, steps=below)

    def start(self, name: str = "probe") -> None:
        """Start the driver of a new pipeline."""
        self.store.move(name, S.STARTING)
        launch_driver(self.home, name)

    def resume(self, name: str = "probe") -> None:
        """Begin a new run of a pipeline that has no driver any more, as the service does."""
        until(lambda: not is_held(self.home.job(name).lock), "the end of the driver")
        self.store.begin_run(name, "resumed")
        launch_driver(self.home, name)

    # ---- asking -----------------------------------------------------------------------------------------
    def state(self, key: str = "", name: str = "probe") -> JobState:
        """The pipeline, or the job of one of its steps."""
        return self.store.get(f"{name}--{key.replace('/', '--')}" if key else name)

    def ended(self, name: str = "probe", within: float = PATIENCE_S) -> JobState:
        """The pipeline when it has ended, and its driver too."""
        until(lambda: self.store.get(name).status.is_terminal, f"the end of {name}", within)
        until(lambda: not is_held(self.home.job(name).lock), f"the end of the driver of {name}")
        return self.store.get(name)

    def completed(self, name: str = "probe", within: float = PATIENCE_S) -> JobState:
        state = self.ended(name, within)
        assert state.status is S.COMPLETED, f"{state.status}: {state.error}\n{self.log(name)}"
        return state

    def statuses(self, name: str = "probe") -> dict[str, JobStatus]:
        """The status of each step."""
        return {state.step: state.status for state in self.store.steps(name)}

    def text(self, key: str, output: str = "o", name: str = "probe") -> str:
        """What is in an output of a step."""
        return next(Path(one.path) for one in self.state(key, name).outputs if one.name == output).read_text()

    def log(self, name: str = "probe") -> str:
        return (self.home.job(name).logs / "azureml" / "executionlogs.txt").read_text()

    def events(self, key: str = "", name: str = "probe") -> list[str]:
        return [str(event.status) for event in self.store.events(self.state(key, name).name)]

    # ---- signs ------------------------------------------------------------------------------------------
    def give(self, sign: str) -> None:
        (self.signs / sign).touch()

    def notes(self) -> list[str]:
        """What commands have noted."""
        path = self.signs / "notes"
        return path.read_text().splitlines() if path.exists() else []

    def noted(self, *notes: str, name: str = "probe") -> None:
        """Wait until all of these are noted."""

        def seen() -> bool:
            has_ended = self.state(name=name).status.is_terminal
            if set(notes) <= set(self.notes()):
                return True
            assert not has_ended, f"it ended before {notes}:\n{self.log(name)}"
            return False

        until(seen, f"{notes}")

    # ---- processes --------------------------------------------------------------------------------------
    def driver(self, key: str = "", name: str = "probe") -> int:
        """The process that drives the pipeline, or one of its steps."""
        lock = self.home.job(self.state(key, name).name).lock
        until(lambda: is_held(lock) and read_holder(lock), f"a driver of {key or name}")
        holder = read_holder(lock)
        assert holder is not None
        return holder.pid

    def driver_or_none(self, name: str = "probe") -> int:
        """The process that drives the pipeline; 0 when there is none now."""
        lock = self.home.job(name).lock
        holder = read_holder(lock)
        return holder.pid if is_held(lock) and holder is not None else 0

    def kill_step(self, key: str, name: str = "probe") -> None:
        """Kill the driver of a step, and wait until its warden has ended what the command has started."""
        self.kill(self.driver(key, name))
        self.quiet(key, name)

    def quiet(self, key: str, name: str = "probe") -> None:
        """Wait until nothing works in the folder of a step."""
        folder = f"{self.home.job(self.state(key, name).name).root}/"
        until(lambda: not any(place.startswith(folder) for place in _working_folders()), f"the end of {key}")

    def drive_by_hand(self, key: str, name: str = "probe") -> None:
        """Begin a new run of one step, as a driver of the pipeline does."""
        job = self.state(key, name).name
        until(lambda: not is_held(self.home.job(job).lock), "the end of the driver")
        self.store.begin_run(job)
        launch_driver(self.home, job)

    def nursery(self, name: str = "probe") -> int:
        """The process that forks the drivers of steps."""

        def found() -> int:
            for entry in Path("/proc").iterdir():
                if entry.name.isdecimal():
                    try:
                        words = (entry / "cmdline").read_bytes().split(b"\0")
                        parent = int((entry / "stat").read_bytes().rpartition(b")")[2].split()[1])
                    except OSError:
                        continue
                    if words[-5:-2] == [b"runner.compose", b"nurse", name.encode()] and parent == self.driver("", name):
                        return int(entry.name)
            return 0

        return until(found, "the nursery")

    def processes(self) -> dict[int, list[str]]:
        """The drivers and nurseries of this home that live, and their command lines."""
        found = {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdecimal():
                try:
                    words = (entry / "cmdline").read_bytes().rstrip(b"\0").decode().split("\0")
                    environment = (entry / "environ").read_bytes().split(b"\0")
                except OSError:
                    continue
                own = b"RUNNER_HOME=" + os.fsencode(self.home.root)
                if own in environment and "runner.compose" in words and _is_alive(int(entry.name)):
                    found[int(entry.name)] = words
        return found

    def kill(self, pid: int) -> None:
        """Kill a process and wait until it is gone."""
        try:
            descriptor = os.pidfd_open(pid)
        except ProcessLookupError:
            return
        try:
            signal.pidfd_send_signal(descriptor, signal.SIGKILL)
            until(lambda: not _is_alive(pid), f"the end of {pid}")
        finally:
            os.close(descriptor)


def _working_folders() -> Iterator[str]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                yield os.readlink(entry / "cwd")
            except OSError:
                continue


def _is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0] not in (b"Z", b"X")
    except OSError:
        return False
