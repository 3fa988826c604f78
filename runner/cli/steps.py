"""Verbs about the steps of a pipeline: steps lists them, graph draws how they hang together."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from runner.cli.options import checking_places, connect, output_option, server_option
from runner.cli.render import noticed, say, show_json, table
from runner.cli.step_tree import branches_of, ends_line, lasted, why
from runner.entity.job import JobState
from runner.entity.job_json import step_json
from runner.entity.status import JobStatus
from runner.errors import ArgumentInvalid

if TYPE_CHECKING:
    from runner.cli.drawing import Drawing

HEADERS = ("STEP", "STATUS", "TIME", "REUSED", "JOB", "WHY")


@click.command()
@click.argument("name", metavar="JOB")
@server_option
@output_option("json")
def steps(name: str, server: str | None, form: str) -> None:
    """List the steps of a pipeline: status, time, and for each whether it was reused and why."""
    backend = connect(server).backend
    job, found = backend.get(name), backend.steps(name)
    if form == "json":
        show_json([step_json(step) for step in found])
    elif found:
        click.echo(steps_table(job, found))
        click.echo(f"{name} is {job.status}; {ends_line(found) if job.status.is_terminal else ''}".rstrip("; "))
    else:
        say(f"{name} is a {job.type} job and has no steps")


def steps_table(pipeline: JobState, found: Sequence[JobState]) -> str:
    """The tree of the steps, a line for each."""
    by_key = {step.step: step for step in found}
    rows = []
    for line in branches_of(by_key):
        step = by_key.get(line.key or "")
        rows.append((line.text, *([""] * 5)) if step is None else (line.text, *_cells(pipeline, step)))
    return table(HEADERS, rows)


def _cells(pipeline: JobState, step: JobState) -> tuple[str, ...]:
    is_left_out = step.status is JobStatus.NOT_STARTED and pipeline.status.is_terminal
    reason = why(step) or ("not run" if is_left_out else "")
    decided = bool(step.reuse_reason or step.reused_from)
    reused = ("yes" if step.reused_from else "no") if decided else "-"
    return str(step.status), lasted(step), reused, step.name, reason


@click.command()
@click.argument("name", metavar="JOB")
@click.option(
    "--format",
    "drawn",
    type=click.Choice(["text", "mermaid", "svg"]),
    default="text",
    help="A tree, a Mermaid flowchart, or an SVG picture.",
)
@server_option
@output_option("json")
def graph(name: str, drawn: str, server: str | None, form: str) -> None:
    """Draw a pipeline: one that was submitted, or a YAML file that is checked and not run."""
    is_file = name.endswith((".yml", ".yaml")) or Path(name).is_file()
    drawing = _of_file(name, server) if is_file else _of_job(name, server)
    if form == "json":
        show_json(drawing.as_dict())
        return
    if drawn == "svg":
        from runner.cli.draw_svg import svg

        click.echo(svg(drawing))
        return
    from runner.cli.draw_text import mermaid, tree

    click.echo(mermaid(drawing) if drawn == "mermaid" else tree(drawing))


def _of_job(name: str, server: str | None) -> Drawing:
    from runner.cli.drawing import drawing_of

    backend = connect(server).backend
    return drawing_of(backend.graph(name), backend.steps(name))


def _of_file(file: str, server: str | None) -> Drawing:
    from runner.cli.drawing import drawing_of
    from runner.spec.flatten import flatten
    from runner.spec.load import load_job
    from runner.spec.pipeline_job import PipelineJob
    from runner.spec.validate import validate

    job = load_job(file)
    if not isinstance(job, PipelineJob):
        raise ArgumentInvalid("JOB", f"{file} is a {job.type} job and has no steps; give the file of a pipeline")
    places = checking_places(server)
    found = validate(job, places=places)
    for line in noticed(found.notices):
        say(line)
    found.raise_if_any()
    return drawing_of(flatten(job, name=job.name or Path(file).stem, places=places).spec)
