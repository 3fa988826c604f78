"""Verbs that change what is said of a job that exists: update, archive, restore."""

from __future__ import annotations

import click

from runner.cli.options import connect, name_argument, output_option, server_option
from runner.cli.render import say, show_json
from runner.entity.job_json import to_json
from runner.errors import ArgumentInvalid

PLAIN = ("description", "display_name")
GROUPED = ("tags", "properties")


@click.command()
@name_argument
@click.option(
    "--set",
    "settings",
    multiple=True,
    required=True,
    metavar="KEY=VALUE",
    help="description, display_name, tags.KEY or properties.KEY; a tag or property with nothing after = is removed.",
)
@server_option
@output_option("json")
def update(name: str, settings: tuple[str, ...], server: str | None, form: str) -> None:
    """Change the description, the display name, tags or properties of a job; nothing else of it ever changes."""
    plain, tags, properties = changes_of(settings)
    backend = connect(server).backend
    job = backend.update(
        name,
        display_name=plain.get("display_name"),
        description=plain.get("description"),
        tags=tags,
        properties=properties,
    )
    if form == "json":
        show_json(to_json(job, backend.events(name)) | {"tags": job.tags, "properties": job.properties})
    else:
        say(f"updated {name}")


def changes_of(settings: tuple[str, ...]) -> tuple[dict[str, str], dict[str, str | None], dict[str, str | None]]:
    """The plain values, the tags and the properties that `--set KEY=VALUE` asks for; None removes one."""
    plain: dict[str, str] = {}
    groups: dict[str, dict[str, str | None]] = {group: {} for group in GROUPED}
    for setting in settings:
        key, equals, value = setting.partition("=")
        group, dot, inner = key.strip().partition(".")
        if not equals or not group:
            raise ArgumentInvalid("--set", f"{setting!r} is no setting; write --set KEY=VALUE, such as tags.team=salt")
        if group in PLAIN and not dot:
            plain[group] = value
        elif group in GROUPED and inner:
            groups[group][inner] = value or None
        else:
            known = ", ".join([*PLAIN, *(f"{group}.KEY" for group in GROUPED)])
            raise ArgumentInvalid("--set", f"{key.strip()} of a job cannot be changed; what can is {known}")
    return plain, groups["tags"], groups["properties"]


@click.command()
@name_argument
@server_option
def archive(name: str, server: str | None) -> None:
    """Leave a job out of `runner list`; everything of it stays."""
    connect(server).jobs.archive(name)
    say(f"archived {name}; `runner list --archived` shows it, `runner restore {name}` brings it back")


@click.command()
@name_argument
@server_option
def restore(name: str, server: str | None) -> None:
    """Bring an archived job back into `runner list`."""
    connect(server).jobs.restore(name)
    say(f"restored {name}")
