"""Pipelines and commands as a user has them on disk; their steps note that they ran, and may wait for a word."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from cli_kit import Bench, Ended, Going, until

FILE = {"type": "uri_file"}
FUNCTIONS = """\
note() { echo "$1" >> "$SIGNS/notes"; }
held() { note "$1"; while [ ! -e "$SIGNS/go" ] && [ ! -e "$SIGNS/go-$1" ]; do sleep 0.01; done; }
"""
"""For commands: `note NAME` tells the test that it runs, `held NAME` waits for the signs `go` or `go-NAME` too."""


def command(bench: Bench, text: str, **top: Any) -> dict[str, Any]:
    """A command job, or an inline step."""
    document = {
        "type": "command",
        "command": FUNCTIONS + text,
        "environment_variables": {"SIGNS": str(bench.signs)},
        "compute": "local",
    }
    return {**document, **top}


def write(bench: Bench, document: Mapping[str, Any], name: str = "job.yml") -> Path:
    """Write a job file."""
    path = bench.folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(dict(document), sort_keys=False))
    return path


def pipeline(bench: Bench, jobs: Mapping[str, Any], **top: Any) -> Path:
    """Write a pipeline as pipeline.yml."""
    return write(bench, {"type": "pipeline", "jobs": dict(jobs), **top}, "pipeline.yml")


def chain(bench: Bench, **settings: Any) -> Path:
    """`sift` sorts a file, `count` counts its lines into the output `report` of the pipeline."""
    (bench.data / "ore.txt").write_text("tin\niron\ncopper\n")
    jobs = {
        "sift": command(
            bench,
            "note sift; sort ${{inputs.raw}} > ${{outputs.o}}; echo sifted; echo dust >&2",
            inputs={"raw": "${{parent.inputs.raw}}"},
            outputs={"o": FILE},
        ),
        "count": command(
            bench,
            "note count; grep -c . ${{inputs.i}} > ${{outputs.n}}",
            inputs={"i": "${{parent.jobs.sift.outputs.o}}"},
            outputs={"n": "${{parent.outputs.report}}"},
        ),
    }
    top: dict[str, Any] = {"inputs": {"raw": {**FILE, "path": "data/ore.txt"}}, "outputs": {"report": FILE}}
    return pipeline(bench, jobs, **top, **({"settings": settings} if settings else {}))


def submit(bench: Bench, path: Path, name: str = "probe", *more: str) -> Ended:
    """Submit to the end."""
    return bench.run("submit", path, "--name", name, *more)


def held(bench: Bench, path: Path, *steps: str, name: str = "probe") -> Going:
    """Submit, and return once all these steps have noted that they run."""
    going = bench.start("submit", path, "--name", name)
    until(lambda: set(steps) <= set(bench.notes("notes")) or going.process.poll() is not None, what=f"{steps}")
    assert going.process.poll() is None, going.err
    return going


def steps_of(bench: Bench, name: str = "probe", *more: str) -> dict[str, dict[str, Any]]:
    """The steps by their keys."""
    listed: list[dict[str, Any]] = bench.run("steps", name, "--output", "json", *more).ok().json
    return {step["name"]: step for step in listed}
