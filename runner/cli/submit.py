"""Verbs that change jobs: submit, validate, watch, cancel, resume, delete."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from runner.cli.early import start_early
from runner.cli.options import checking_places, connect, name_argument, output_option, server_option
from runner.cli.render import noticed, say, show_json
from runner.cli.watching import Watch
from runner.entity.job_json import to_json

if TYPE_CHECKING:
    from runner.client.client import Client
    from runner.spec.jobs import Job


@click.command()
@click.argument("job_file", metavar="JOB.yml")
@click.option(
    "--set", "settings", multiple=True, metavar="KEY=VALUE", help="Override a key, e.g. inputs.data.path=./x."
)
@click.option("--name", help="The job's name; generated when it is left out.")
@click.option("--detach", is_flag=True, help="Return as soon as the job is accepted.")
@click.option("--overwrite", is_flag=True, help="Replace an output target that exists, at the very end.")
@server_option
@output_option("json")
def submit(
    job_file: str,
    settings: tuple[str, ...],
    name: str | None,
    detach: bool,
    overwrite: bool,
    server: str | None,
    form: str,
) -> int:
    """Run the job of a YAML file and watch it to its end; the exit code is the job's."""
    with start_early(job_file, settings, name, server) as early:
        from runner.spec.load import load_job, setting_of

        job = load_job(job_file, params_override=[setting_of(setting) for setting in settings])
        client = connect(server, early)
        if name is None and job.name is None and early is not None:
            name = early.name
        return _submit(client, job, name, detach=detach, overwrite=overwrite, form=form)


def _submit(client: Client, job: Job, name: str | None, *, detach: bool, overwrite: bool, form: str) -> int:
    with Watch(client.backend, owns=True) as watch:
        made = client.jobs.create_or_update(job, name=name, overwrite=overwrite)
        assert made.name is not None
        _tell_submitted(client, job, made.name)
        code = 0 if detach else watch.run(made.name)
    if form == "json":
        show_json(to_json(client.backend.get(made.name), client.backend.events(made.name)))
    return code


def _tell_submitted(client: Client, job: Job, name: str) -> None:
    """What stands in for what is not configured, and of a pipeline how a failed step is taken."""
    for line in noticed(client.jobs.validate(job).notices):
        say(line)
    if job.type != "pipeline":
        say(f"submitted {name}")
        return
    graph = client.backend.graph(name)
    count = f"{len(graph.steps)} step{'' if len(graph.steps) == 1 else 's'}"
    goes_on = str(graph.continue_on_step_failure).lower()
    say(f"submitted {name}: {count}, continue_on_step_failure is {goes_on}")


@click.command()
@click.argument("job_file", metavar="JOB.yml")
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Override a key first.")
@server_option
@output_option("json")
def validate(job_file: str, settings: tuple[str, ...], server: str | None, form: str) -> int:
    """Check a job file, its code, its data and its targets; import nothing, store nothing, run nothing."""
    from runner.errors import SpecInvalid
    from runner.spec.load import load_job, setting_of
    from runner.spec.validate import validate as check

    try:
        job = load_job(job_file, params_override=[setting_of(setting) for setting in settings])
        found = check(job, places=checking_places(server))
        problems, notices = found.problems, found.notices
    except SpecInvalid as error:
        problems, notices = error.problems, ()
    if form == "json":
        errors = [
            {"file": p.file, "line": p.line, "path": p.path, "message": p.what, "remedy": p.remedy} for p in problems
        ]
        show_json({"result": "Failed" if problems else "Succeeded", "errors": errors, "warnings": list(notices)})
    else:
        for line in noticed(notices):
            say(line)
        for problem in problems:
            say(str(problem))
        if not problems:
            click.echo(f"{Path(job_file)} is valid")
    return 2 if problems else 0


@click.command()
@name_argument
@server_option
def watch(name: str, server: str | None) -> int:
    """Follow a job to its end; Ctrl-C stops the watching only."""
    client = connect(server)
    client.backend.get(name)
    with Watch(client.backend, owns=False) as following:
        return following.run(name)


@click.command()
@name_argument
@server_option
def cancel(name: str, server: str | None) -> None:
    """Ask a job to end; what it has committed is kept."""
    job = connect(server).backend.cancel(name)
    say(f"{job.name} is {job.status}")


@click.command()
@name_argument
@click.option("--detach", is_flag=True, help="Return as soon as the job goes on.")
@server_option
@output_option("json")
def resume(name: str, detach: bool, server: str | None, form: str) -> int:
    """Go on with a job that failed, was cancelled or lost its driver; what it has committed does not run again."""
    client = connect(server)
    with Watch(client.backend, owns=True) as watch:
        made = client.backend.resume(name)
        say(f"resumed {name}, run {made.run_number}")
        code = 0 if detach else watch.run(name)
    if form == "json":
        show_json(to_json(client.backend.get(name), client.backend.events(name)))
    return code


@click.command()
@name_argument
@server_option
def delete(name: str, server: str | None) -> None:
    """Forget a job that has ended, with its folder; what it published stays."""
    connect(server).backend.delete(name)
    say(f"deleted {name}")
