"""Verbs that read: list, show, logs, download."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING

import click

from runner.cli.options import connect, name_argument, output_option, server_option
from runner.cli.render import say, show_json, summary, table, when
from runner.entity.job import JobState
from runner.entity.job_json import to_json
from runner.entity.status import JobStatus
from runner.errors import ArgumentInvalid

if TYPE_CHECKING:
    from runner.client.backend import Backend


@click.command("list")
@click.option("--status", "statuses", multiple=True, help="Only jobs with this status; may be given several times.")
@click.option("--limit", type=click.IntRange(min=1), help="At most so many.")
@server_option
@output_option("json")
def list_jobs(statuses: tuple[str, ...], limit: int | None, server: str | None, form: str) -> None:
    """List the jobs, newest first."""
    wanted = []
    for status in statuses:
        if status not in set(JobStatus):
            raise ArgumentInvalid("--status", f"{status!r} is no status; write one of {', '.join(JobStatus)}")
        wanted.append(JobStatus(status))
    jobs = list(islice(states(connect(server).backend, wanted), limit))
    if form == "json":
        show_json([to_json(job) for job in jobs])
    elif jobs:
        rows = [
            (j.name, j.type, str(j.status), when(j.create_time), j.progress.line if j.start_time else "") for j in jobs
        ]
        click.echo(table(("NAME", "TYPE", "STATUS", "CREATED (UTC)", "PROGRESS"), rows))
    else:
        say("no jobs yet; `runner submit JOB.yml` makes one")


def states(backend: Backend, statuses: Sequence[JobStatus]) -> Iterator[JobState]:
    """All jobs, newest first, page by page."""
    token = ""
    while True:
        page = backend.list(page_token=token, statuses=statuses)
        yield from page.jobs
        if not (token := page.next_page_token):
            return


@click.command()
@name_argument
@server_option
@output_option("json")
def show(name: str, server: str | None, form: str) -> None:
    """Show one job: status, counts, times, outputs, and why it failed."""
    backend = connect(server).backend
    job, events = backend.get(name), backend.events(name)
    if form == "json":
        show_json(to_json(job, events))
        return
    for line in summary(job):
        click.echo(line)
    if job.status != "Completed":
        for output in job.outputs:
            click.echo(f"  output {output.name} (not published): {output.path}")
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
    """Print the standard output of all workers, or one log file."""
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
@click.option("--output-name", help="One output; by default all that have a name.")
@click.option("--all", "everything", is_flag=True, help="All outputs.")
@click.option(
    "--path", "folder", default=".", metavar="DIR", help="Where to; files land in DIR/named-outputs/<output>/."
)
@server_option
def download(name: str, output_name: str | None, everything: bool, folder: str, server: str | None) -> None:
    """Copy the outputs of a job that has ended into a folder."""
    if everything and output_name is not None:
        raise ArgumentInvalid("--all", "is given together with --output-name; leave one of them out")
    written = connect(server).jobs.download(
        name, download_path=folder, output_name=output_name, all=output_name is None
    )
    for path in written:
        click.echo(path)
