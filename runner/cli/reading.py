"""Verbs that read: list, show, logs, download."""

from __future__ import annotations

import sys
from itertools import islice
from typing import TYPE_CHECKING

import click

from runner.cli.options import connect, name_argument, output_option, server_option
from runner.cli.portrait import portrait
from runner.cli.render import say, show_json, table, when
from runner.cli.step_tree import first_line
from runner.entity.job import JobState
from runner.entity.job_json import to_json
from runner.entity.status import JobStatus
from runner.errors import ArgumentInvalid, OutputMissing

if TYPE_CHECKING:
    from pathlib import Path

    from runner.client.client import Client


@click.command("list")
@click.option("--status", "statuses", multiple=True, help="Only jobs with this status; may be given several times.")
@click.option("--limit", type=click.IntRange(min=1), help="At most so many.")
@click.option("--parent", default="", metavar="JOB", help="The steps of this pipeline, instead of whole jobs.")
@click.option("--experiment", default="", metavar="NAME", help="Only jobs of this experiment.")
@click.option("--archived", is_flag=True, help="Only archived jobs.")
@click.option("--all", "everything", is_flag=True, help="Archived jobs too.")
@server_option
@output_option("json")
def list_jobs(
    statuses: tuple[str, ...],
    limit: int | None,
    parent: str,
    experiment: str,
    archived: bool,
    everything: bool,
    server: str | None,
    form: str,
) -> None:
    """List the jobs, newest first."""
    if archived and everything:
        raise ArgumentInvalid("--all", "is given together with --archived; leave one of them out")
    from runner.client.listing import states

    view = None if everything else archived
    backend = connect(server).backend
    found = states(backend, _statuses(statuses), parent=parent, archived=view, experiment=experiment)
    jobs = list(islice(found, limit))
    if form == "json":
        show_json([to_json(job) for job in jobs])
    elif jobs:
        rows = [(j.name, j.type, str(j.status), when(j.create_time), _progress(j)) for j in jobs]
        click.echo(table(("NAME", "TYPE", "STATUS", "CREATED (UTC)", "PROGRESS"), rows))
    else:
        is_narrowed = any((statuses, parent, experiment, archived))
        say("no such jobs" if is_narrowed else "no jobs yet; `runner submit JOB.yml` makes one")


def _statuses(words: tuple[str, ...]) -> tuple[JobStatus, ...]:
    for word in words:
        if word not in set(JobStatus):
            raise ArgumentInvalid("--status", f"{word!r} is no status; write one of {', '.join(JobStatus)}")
    return tuple(map(JobStatus, words))


def _progress(job: JobState) -> str:
    """How far a parallel job is; of others what is said of them last."""
    if job.start_time is None:
        return ""
    return job.progress.line if job.type == "parallel" else first_line(job.message, 60)


@click.command()
@name_argument
@server_option
@output_option("json")
def show(name: str, server: str | None, form: str) -> None:
    """Show one job: status, counts, times, outputs, the steps of a pipeline, and why it failed."""
    backend = connect(server).backend
    job, events = backend.get(name), backend.events(name)
    if form == "json":
        show_json(to_json(job, events))
        return
    steps = backend.steps(name) if job.type == "pipeline" else ()
    for line in portrait(job, steps):
        click.echo(line)
    for event in events:
        click.echo(f"  {when(event.time)}  {event.status}{'  ' + event.message if event.message else ''}")


@click.command()
@name_argument
@click.argument("file", required=False, default="")
@click.option("--follow", is_flag=True, help="Go on until the job has ended.")
@click.option("--list", "listing", is_flag=True, help="Name the log files.")
@server_option
@output_option("json")
def logs(name: str, file: str, follow: bool, listing: bool, server: str | None, form: str) -> None:
    """Print what the user's code printed (of a pipeline what its driver decided), or one log file."""
    backend = connect(server).backend
    if listing:
        files = backend.logs(name)
        if form == "json":
            show_json([{"path": f.path, "size_bytes": f.size_bytes} for f in files])
        else:
            click.echo(table(("BYTES", "FILE"), [(str(f.size_bytes), f.path) for f in files]))
        return
    for chunk in backend.read_log(name, file, follow=follow):
        sys.stdout.buffer.write(chunk.data)
        sys.stdout.buffer.flush()


@click.command()
@name_argument
@click.option("--output-name", help="One output, `default` for the artifacts; without it all that have a name.")
@click.option("--all", "everything", is_flag=True, help="All outputs; of commands and pipelines the artifacts too.")
@click.option(
    "--path",
    "folder",
    default=".",
    metavar="DIR",
    help="Where to; files land in DIR/named-outputs/<output>/, artifacts in DIR/artifacts/.",
)
@server_option
def download(name: str, output_name: str | None, everything: bool, folder: str, server: str | None) -> None:
    """Copy the outputs of a job that has ended into a folder."""
    if everything and output_name is not None:
        raise ArgumentInvalid("--all", "is given together with --output-name; leave one of them out")
    client = connect(server)
    if output_name is not None:
        written = client.jobs.download(name, download_path=folder, output_name=output_name)
    elif everything and client.backend.get(name).type != "parallel":
        written = client.jobs.download(name, download_path=folder, all=True)
    else:
        written = _named_outputs(client, name, folder)
    for path in written:
        click.echo(path)


def _named_outputs(client: Client, name: str, folder: str) -> tuple[Path, ...]:
    """Download every output that has a name and holds anything. OutputMissing when none does."""
    written: tuple[Path, ...] = ()
    outputs = [one.name for one in client.backend.outputs(name)]
    for output in outputs:
        try:
            written += client.jobs.download(name, download_path=folder, output_name=output)
        except OutputMissing:
            continue  # a folder that the code may write to, and did not
    if not written:
        raise OutputMissing(name, "that has a name and holds anything", ", ".join([*outputs, "default"]))
    return written
