"""Verbs about published pipelines: publish keeps that of a job, published lists and submits them."""

from __future__ import annotations

from typing import Any

import click

from runner.cli.options import connect, output_option, server_option
from runner.cli.render import say, show_json, table, when
from runner.cli.watching import Watch
from runner.entity.asset import PublishedState, PublishedStatus
from runner.entity.job_json import iso_time, to_json

id_argument = click.argument("key", metavar="ID")
goes_on_option = click.option(
    "--continue-on-step-failure",
    "goes_on",
    type=bool,
    metavar="BOOL",
    help="Whether steps that do not depend on a failed one still run.",
)


@click.command()
@click.argument("job")
@click.option("--name", required=True, help="What the published pipeline is called.")
@click.option("--description", default="", help="For readers.")
@click.option("--version", default="", help="For readers.")
@goes_on_option
@server_option
@output_option("json")
def publish(
    job: str, name: str, description: str, version: str, goes_on: bool | None, server: str | None, form: str
) -> None:
    """Keep the pipeline of a job with its code, so that it can be submitted again by an id."""
    made = connect(server).backend.publish(
        job, published_name=name, description=description, version=version, continue_on_step_failure=goes_on
    )
    _tell(made, form)


@click.group()
def published() -> None:
    """List, show, submit, enable and disable published pipelines."""


@published.command("list")
@click.option("--all", "everything", is_flag=True, help="Those too that are disabled.")
@server_option
@output_option("json")
def list_published(everything: bool, server: str | None, form: str) -> None:
    """List the published pipelines, newest first."""
    found = connect(server).backend.list_published(active_only=not everything)
    if form == "json":
        show_json([fields(one) for one in found])
    elif found:
        rows = [(one.id, one.name, one.version, str(one.status), one.job, when(one.create_time)) for one in found]
        click.echo(table(("ID", "NAME", "VERSION", "STATUS", "FROM JOB", "CREATED (UTC)"), rows))
    else:
        say("no published pipelines; `runner publish JOB --name NAME` makes one")


@published.command("show")
@id_argument
@server_option
@output_option("json")
def show_published(key: str, server: str | None, form: str) -> None:
    """Show one published pipeline, and the inputs that may be given anew."""
    found = connect(server).backend.published(key)
    if form == "json":
        show_json(fields(found) | {"document": found.document})
        return
    click.echo(f"{found.name} ({found.id}) is {found.status}")
    for label, value in (("version", found.version), ("description", found.description), ("from job", found.job)):
        if value:
            click.echo(f"  {label} {value}")
    inputs: Any = found.document.get("inputs") or {}
    for name, said in inputs.items():
        click.echo(f"  input {name}: {said}")


@published.command("submit")
@id_argument
@click.option("--experiment", default="", metavar="NAME", help="What the job is grouped under.")
@click.option("--set", "settings", multiple=True, metavar="INPUT=VALUE", help="Another value for a literal input.")
@goes_on_option
@click.option("--detach", is_flag=True, help="Return as soon as the job is accepted.")
@server_option
@output_option("json")
def submit_published(
    key: str,
    experiment: str,
    settings: tuple[str, ...],
    goes_on: bool | None,
    detach: bool,
    server: str | None,
    form: str,
) -> int:
    """Submit a published pipeline and watch it to its end; the exit code is the job's."""
    from runner.spec.load import setting_of

    backend = connect(server).backend
    values = {name: value for setting in settings for name, value in setting_of(setting).items()}
    with Watch(backend, owns=True) as watch:
        made = backend.submit_published(
            key, experiment_name=experiment, parameters=values, continue_on_step_failure=goes_on
        )
        say(f"submitted {made.name}")
        code = 0 if detach else watch.run(made.name)
    if form == "json":
        show_json(to_json(backend.get(made.name), backend.events(made.name)))
    return code


@published.command()
@id_argument
@server_option
@output_option("json")
def enable(key: str, server: str | None, form: str) -> None:
    """Let a published pipeline be submitted again."""
    _tell(connect(server).backend.set_published_status(key, PublishedStatus.ACTIVE), form)


@published.command()
@id_argument
@server_option
@output_option("json")
def disable(key: str, server: str | None, form: str) -> None:
    """Let a published pipeline not be submitted any more; jobs that run go on."""
    _tell(connect(server).backend.set_published_status(key, PublishedStatus.DISABLED), form)


def fields(one: PublishedState) -> dict[str, object]:
    """A published pipeline as programs read it."""
    return {
        "id": one.id,
        "name": one.name,
        "version": one.version,
        "description": one.description,
        "status": str(one.status),
        "job": one.job,
        "continue_on_step_failure": one.continue_on_step_failure,
        "create_time": iso_time(one.create_time),
    }


def _tell(one: PublishedState, form: str) -> None:
    if form == "json":
        show_json(fields(one))
    else:
        click.echo(one.id)
        is_active = one.status is PublishedStatus.ACTIVE
        remedy = "submit ID` runs it" if is_active else "enable ID` brings it back"
        say(f"{one.name} is {one.status}; `runner published {remedy}")
