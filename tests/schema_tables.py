"""The tables of the reference of the job YAML, as the schema has them; run it to write them into the page anew."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from runner.spec import command_schema, data_file, data_shapes, job_schema, pipeline_schema, schema
from runner.spec.shapes import Key

PAGE = Path(__file__).parents[1] / "docs" / "reference" / "job-yaml.md"


def own(keys: Mapping[str, Key]) -> dict[str, Key]:
    """The keys of a kind of job without those that every kind has."""
    return {name: key for name, key in keys.items() if name not in job_schema.BASE and name != "type"}


def without(keys: Mapping[str, Key], *names: str) -> dict[str, Key]:
    return {name: key for name, key in keys.items() if name not in names}


TABLES: dict[str, Mapping[str, Key]] = {
    "Every job": job_schema.BASE,
    "A command": own(command_schema.COMMAND.keys),
    "`limits`": command_schema.LIMITS.keys,
    "`distribution`, type `pytorch` or `mpi`": without(command_schema.DISTRIBUTIONS["pytorch"].keys, "type"),
    "`distribution`, type `tensorflow`": without(command_schema.DISTRIBUTIONS["tensorflow"].keys, "type"),
    "`distribution`, type `ray`": without(command_schema.DISTRIBUTIONS["ray"].keys, "type"),
    "`queue_settings`": command_schema.QUEUE_SETTINGS.keys,
    "`runner` of a command": without(command_schema.RUNNER.keys, *job_schema.PIPELINE_ONLY),
    "A parallel job": own(schema.JOB.keys),
    "`task`": schema.TASK.keys,
    "`retry_settings`": schema.RETRY_SETTINGS.keys,
    "`runner` of a parallel job": without(schema.RUNNER.keys, *schema.LATER, *job_schema.PIPELINE_ONLY),
    "A pipeline": own(pipeline_schema.PIPELINE.keys),
    "`settings`": without(pipeline_schema.SETTINGS_KEYS, "on_init", "on_finalize"),
    "`runner` of a pipeline": pipeline_schema.PIPELINE_RUNNER.keys,
    "A component": pipeline_schema.IDENTITY_KEYS,
    "Inputs that a component declares": pipeline_schema.DECLARED_INPUT.keys,
    "Outputs that a component declares": pipeline_schema.DECLARED_OUTPUT.keys,
    "A file of data": data_file.DATA.keys,
    "`resources`": job_schema.RESOURCES.keys,
    "`inputs`": data_shapes.INPUT.keys,
    "`outputs`": data_shapes.OUTPUT.keys,
}
"""The title of a section, and the keys that its table tells of."""


def rows_of(keys: Mapping[str, Key]) -> list[str]:
    """The lines of a table below its head."""
    return [f"| `{name}` | {key.says} | {key.default} |" for name, key in keys.items()]


def rewritten(page: str) -> str:
    """The page with the rows of every table as the schema has them; its other text is left alone."""
    for title, keys in TABLES.items():
        head = rf"(^## {re.escape(title)}\n(?:(?!^## ).*\n)*?\| key \| means \| default \|\n\|---\|---\|---\|\n)"
        rows = "".join(f"{row}\n" for row in rows_of(keys))
        page, count = re.subn(head + r"(?:\|.*\n)*", lambda m, rows=rows: m[1] + rows, page, flags=re.MULTILINE)  # type: ignore[misc]
        assert count == 1, f"the page has {count} sections {title!r} with a table"
    return page


if __name__ == "__main__":
    PAGE.write_text(rewritten(PAGE.read_text()))
