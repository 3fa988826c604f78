"""Verbs about what is registered: `runner data ...` and `runner component ...`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from runner.cli.options import connect, output_option, server_option
from runner.cli.render import say, show_json, table, when
from runner.entity.asset import Asset, AssetKind
from runner.entity.job_json import iso_time
from runner.errors import ArgumentInvalid

if TYPE_CHECKING:
    from runner.client.backend import Backend

reference_argument = click.argument("reference", metavar="NAME[:VERSION]")


@click.group()
def data() -> None:
    """List, show and register data that `azureml:NAME:VERSION` in a job file leads to."""


@data.command("list")
@click.argument("name", required=False, default="")
@server_option
@output_option("json")
def list_data(name: str, server: str | None, form: str) -> None:
    """List registered data, newest first; of one name, its versions."""
    _list(connect(server).backend, "data", name, form)


@data.command("show")
@reference_argument
@server_option
@output_option("json")
def show_data(reference: str, server: str | None, form: str) -> None:
    """Show one version, the newest unless another is named: where it is, and the job that made it."""
    _show(connect(server).backend, "data", reference, form)


@data.command("create")
@click.argument("name", required=False)
@click.option("--path", metavar="PATH", help="A file or a folder; it is referred to and not copied.")
@click.option("-f", "--file", metavar="FILE", help="A YAML file with name, path and the rest, in place of the options.")
@click.option("--type", "kind", help="uri_file, uri_folder or mltable; by default what the path is.")
@click.option("--version", help="By default the next one.")
@click.option("--description", help="For readers.")
@server_option
@output_option("json")
def create_data(
    name: str | None,
    path: str | None,
    file: str | None,
    kind: str | None,
    version: str | None,
    description: str | None,
    server: str | None,
    form: str,
) -> None:
    """Register data that is there under a name and a version, which never change afterwards."""
    given = {"name": name, "path": path, "type": kind, "version": version, "description": description}
    said: dict[str, Any] = {key: value for key, value in given.items() if value is not None}
    if file is not None:
        from runner.spec.data_file import load_data

        said = load_data(file) | said
    for key, remedy in (("name", "write it first"), ("path", "write --path PATH, or --file FILE")):
        if key not in said:
            raise ArgumentInvalid(key, f"is missing; {remedy}")
    _tell(connect(server).data.create_or_update(**said), form)


@click.group()
def component() -> None:
    """List, show and register components that `component: azureml:NAME:VERSION` in a step leads to."""


@component.command("list")
@click.argument("name", required=False, default="")
@server_option
@output_option("json")
def list_components(name: str, server: str | None, form: str) -> None:
    """List registered components, newest first; of one name, its versions."""
    _list(connect(server).backend, "component", name, form)


@component.command("show")
@reference_argument
@server_option
@output_option("json")
def show_component(reference: str, server: str | None, form: str) -> None:
    """Show one version, the newest unless another is named: what its file says."""
    _show(connect(server).backend, "component", reference, form)


@component.command("create")
@click.option("-f", "--file", required=True, metavar="FILE", help="The component's YAML file.")
@click.option("--version", help="In place of the one in the file; by default the next one.")
@server_option
@output_option("json")
def create_component(file: str, version: str | None, server: str | None, form: str) -> None:
    """Check a component file and register what it says under its name and a version."""
    from runner.spec.component_file import load_component

    document = load_component(file)
    _tell(connect(server).components.create_or_update(document, version=version), form)


def split(reference: str) -> tuple[str, str]:
    """Name and version of `NAME`, `NAME:VERSION` and `NAME@latest`, with or without `azureml:` in front."""
    name, mark, version = reference.removeprefix("azureml:").partition("@" if "@" in reference else ":")
    if not name or (mark and not version):
        raise ArgumentInvalid("NAME[:VERSION]", f"{reference!r} names nothing; write a name, or name:version")
    return name, version or "latest"


def fields(asset: Asset) -> dict[str, object]:
    """An asset as programs read it."""
    said: dict[str, object] = {
        "name": asset.name,
        "version": asset.version,
        "type": asset.type,
        "description": asset.description,
        "tags": asset.tags,
        "job": asset.job,
        "create_time": iso_time(asset.create_time),
    }
    return said | ({"path": asset.path} if asset.kind == "data" else {"document": asset.document})


def _list(backend: Backend, kind: AssetKind, name: str, form: str) -> None:
    found = backend.assets(kind, name)
    if form == "json":
        show_json([fields(one) for one in found])
    elif found:
        last = "PATH" if kind == "data" else "DESCRIPTION"
        rows = [
            (one.name, one.version, one.type, one.job or "-", when(one.create_time), one.path or one.description)
            for one in found
        ]
        click.echo(table(("NAME", "VERSION", "TYPE", "FROM JOB", "CREATED (UTC)", last), rows))
    else:
        what = f"no registered {kind} is called {name!r}" if name else f"no registered {kind} yet"
        say(f"{what}; `runner {kind} create` registers some")


def _show(backend: Backend, kind: AssetKind, reference: str, form: str) -> None:
    asset = backend.asset(kind, *split(reference))
    if form == "json":
        show_json(fields(asset))
        return
    click.echo(f"{asset.reference} ({asset.type})")
    told = {"path": asset.path, "from job": asset.job, "description": asset.description}
    told |= {f"tag {key}": value for key, value in asset.tags.items()}
    for label, value in told.items():
        if value:
            click.echo(f"  {label} {value}")
    click.echo(f"  registered {when(asset.create_time)} (UTC)")
    if asset.document:
        from runner.spec.document import write_yaml

        click.echo(write_yaml(dict(asset.document)).rstrip())


def _tell(asset: Asset, form: str) -> None:
    if form == "json":
        show_json(fields(asset))
    else:
        click.echo(asset.reference)
        say(f"registered {asset.kind} {asset.name}, version {asset.version}")
