"""Clients over both back ends whose jobs are driven by real drivers, and pipelines of commands for them to run.

A command can wait for the test's word: `wait_for(path)` is a line of bash that ends once the file is there.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from served_jobs import serving

from runner.client.client import Client
from runner.client.remote import Remote
from runner.compose.launch import launch_driver
from runner.server.jobs import Jobs
from runner.spec.jobs import Job
from runner.spec.load import load_job
from runner.store.home import Home

FILE = {"type": "uri_file"}
PATIENCE_S = 60.0

T = TypeVar("T")


class Launches(list[str]):
    """Starts the driver of every job that it is told of."""

    def __init__(self, home: Home) -> None:
        super().__init__()
        self._home = home

    def append(self, name: str) -> None:
        super().append(name)
        launch_driver(self._home, name)


@contextmanager
def connected(kind: str, home: Home) -> Iterator[Client]:
    """A client of the embedded back end, or of a service over the same home."""
    launches = Launches(home)
    if kind == "embedded":
        with Client(Jobs(home, launches.append), home) as client:
            yield client
        return
    with serving(home, launches) as address, Client(Remote(address, home.token()), home) as client:
        yield client


def until(condition: Callable[[], T], what: str = "") -> T:
    """Wait until the condition holds and return what it gave."""
    end = time.monotonic() + PATIENCE_S
    while not (value := condition()):
        assert time.monotonic() < end, f"waited in vain for {what or condition}"
        time.sleep(0.01)
    return value


def wait_for(path: Path) -> str:
    return f"until [ -e '{path}' ]; do sleep 0.02; done"


def command(text: str, **more: Any) -> dict[str, Any]:
    """A command that needs no Ray."""
    return {"type": "command", "compute": "local", "command": text, **more}


def pipeline(folder: Path, jobs: dict[str, Any], **top: Any) -> Job:
    """The pipeline of a file in `folder`, with its steps."""
    return load(folder, {"type": "pipeline", "jobs": jobs, **top})


def load(folder: Path, document: dict[str, Any]) -> Job:
    """The job of a file in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "job.yml"
    file.write_text(json.dumps(document, indent=1))  # which is YAML, in the order of the mapping
    return load_job(file)


def chain(folder: Path, *, report: dict[str, Any] | None = None, **top: Any) -> Job:
    """`sift` sorts what it is given, `count` counts its lines; the count is the output `report` of the pipeline."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "manifest.txt").write_text("wool\ntea\nsalt\n")
    sift = command(
        "echo sifting; echo fog >&2; sort ${{inputs.raw}} | head -n ${{inputs.depth}} > ${{outputs.sorted}}",
        inputs={"raw": "${{parent.inputs.raw}}", "depth": "${{parent.inputs.depth}}"},
        outputs={"sorted": FILE},
    )
    count = command(
        "echo counting; grep -c . ${{inputs.lines}} > ${{outputs.number}}",
        inputs={"lines": "${{parent.jobs.sift.outputs.sorted}}"},
        outputs={"number": "${{parent.outputs.report}}"},
    )
    return pipeline(
        folder,
        {"sift": sift, "count": count},
        inputs={"raw": {**FILE, "path": "./manifest.txt"}, "depth": 2},
        outputs={"report": report or FILE},
        **top,
    )
