"""Pipelines of commands to submit, and a hand that does for their steps what the driver of a pipeline does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from served_jobs import Hand

from runner.entity.asset import Content, OutputRecord
from runner.entity.job import JobState, OutputState
from runner.entity.status import JobStatus
from runner.server.specs import read_pipeline
from runner.store.home import Home
from runner.store.store import Store

CONTENT = Content(digest="d", stamp="s", file_count=1, size_bytes=1)


def write_command(folder: Path, **more: Any) -> dict[str, Any]:
    """Code in `folder`, and the document of a command that writes `folder/out/line.txt`."""
    (folder / "code").mkdir(parents=True, exist_ok=True)
    (folder / "code" / "sift.sh").write_text("sort\n")
    document: dict[str, Any] = {
        "type": "command",
        "compute": "local",
        "code": str(folder / "code"),
        "command": "sh sift.sh > ${{outputs.line}}",
        "outputs": {"line": {"type": "uri_file", "path": str(folder / "out" / "line.txt")}},
    }
    return document | more


def write_pipeline(folder: Path, **more: Any) -> dict[str, Any]:
    """Code in `folder`, and the document of `sift` and of `count`, which needs it; both have the same code."""
    (folder / "code").mkdir(parents=True, exist_ok=True)
    (folder / "code" / "sift.sh").write_text("sort\n")
    step = {"type": "command", "compute": "local", "code": str(folder / "code")}
    document: dict[str, Any] = {
        "type": "pipeline",
        "inputs": {"depth": 3},
        "outputs": {"report": {"type": "uri_file", "path": str(folder / "out" / "report.txt")}},
        "jobs": {
            "sift": step
            | {
                "command": "echo ${{inputs.depth}} > ${{outputs.o}}",
                "inputs": {"depth": "${{parent.inputs.depth}}"},
                "outputs": {"o": {"type": "uri_file"}},
            },
            "count": step
            | {
                "command": "wc ${{inputs.i}} > ${{outputs.n}}",
                "inputs": {"i": "${{parent.jobs.sift.outputs.o}}"},
                "outputs": {"n": "${{parent.outputs.report}}"},
            },
        },
    }
    return document | more


class Steps:
    """Begins and ends the steps of one pipeline by hand, as its driver and theirs do."""

    def __init__(self, home: Home, pipeline: str) -> None:
        self.home, self.pipeline = home, pipeline
        self.store = Store(home)
        self._spec = read_pipeline(home.job(pipeline))

    def begin(self, key: str) -> Hand:
        """The step is Starting, and has a driver."""
        job = self._spec.step(key).job
        folder = self.home.job(job)
        folder.logs.mkdir(parents=True)
        folder.spec.write_text("{}")
        self.store.move(job, JobStatus.STARTING)
        return Hand(self.home, job)

    def reuse(self, key: str, source: str) -> None:
        """The results of another job stand in for those of a step."""
        done = self.store.get(source)
        self.store.complete_reused(self._spec.step(key).job, source, "reused", done.outputs, records_of(done))

    def close(self) -> None:
        self.store.close()


def records_of(job: JobState) -> tuple[OutputRecord, ...]:
    """What a driver records of the outputs of a job that it completes."""
    return tuple(OutputRecord(name=o.name, type=o.type, path=o.path, content=CONTENT) for o in job.outputs)


def output(job: JobState, name: str) -> OutputState:
    """One output of a job."""
    return next(one for one in job.outputs if one.name == name)
