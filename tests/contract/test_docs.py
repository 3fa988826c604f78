"""The documents say what the program says (keys, statuses, errors, verbs, options), and their links lead somewhere."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
import schema_tables

import runner
from runner.cli.main import cli
from runner.client.client import JobOperations
from runner.entity.status import TRANSITIONS, JobStatus
from runner.errors import MEANINGS
from runner.spec import command_schema, pipeline_schema, schema
from runner.spec.arguments import RUNTIME_ARGUMENTS

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = [*DOCS.rglob("*.md"), *ROOT.glob("*.md"), *ROOT.glob("examples/**/*.md"), ROOT / "benchmarks" / "README.md"]


def section(page: Path, title: str) -> str:
    """What stands below a second-level heading, up to the next one."""
    found = re.search(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", page.read_text(), re.DOTALL | re.MULTILINE)
    assert found, f"{page.name} has no section {title}"
    return found[1]


def cells(text: str) -> list[list[str]]:
    """The rows of the tables in a text, without their heads."""
    rows = [re.split(r"(?<!\\)\|", line)[1:-1] for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row] for row in rows if not row[0].strip().startswith("---")][1:]


def commands_of(group: click.Group) -> Iterator[click.Command]:
    """Every command, those of groups within the group too."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        yield command
        if isinstance(command, click.Group):
            yield from commands_of(command)


def test_the_keys_of_a_job_are_those_of_the_schema() -> None:
    page = schema_tables.PAGE.read_text()
    assert page == schema_tables.rewritten(page), "`make docs` writes the tables anew"


def test_every_key_of_the_schema_is_told_on_the_page() -> None:
    told = {name for keys in schema_tables.TABLES.values() for name in keys}
    tables = (command_schema.COMMAND, schema.JOB, schema.TASK, pipeline_schema.PIPELINE, command_schema.RUNNER)
    assert {name for table in (*tables, schema.RUNNER) for name in table.keys} - {*schema.LATER} <= told


def test_the_arguments_that_the_runner_reads_are_all_told() -> None:
    text = section(DOCS / "reference" / "job-yaml.md", "Program arguments that the runner reads")
    assert set(re.findall(r"`--(\w+)", text)) == set(RUNTIME_ARGUMENTS)


def test_the_moves_between_statuses_are_those_of_the_table() -> None:
    rows = cells(section(DOCS / "reference" / "statuses-and-errors.md", "Statuses of a job"))
    told = {row[0].strip("`"): set(re.findall(r"`(\w+)`", row[2])) for row in rows}
    assert told == {str(status): {str(to) for to in TRANSITIONS[status]} for status in JobStatus}


def test_the_errors_are_those_of_the_table() -> None:
    rows = cells(section(DOCS / "reference" / "statuses-and-errors.md", "Errors"))
    told = {row[0].strip("`"): (row[1].strip("`"), int(row[2])) for row in rows}
    assert told == {reason: (meaning.code, meaning.exit_code) for reason, meaning in MEANINGS.items()}


def test_the_page_of_the_command_line_names_every_verb_and_option() -> None:
    text = (DOCS / "reference" / "cli.md").read_text()
    context = click.Context(cli)
    verbs = {name: cli.get_command(context, name) for name in cli.list_commands(context)}
    rows = dict(re.findall(r"^\| `runner ([a-z]+)(.*?) \|", text, re.MULTILINE))
    assert set(rows) == set(verbs)
    for name, verb in verbs.items():
        if isinstance(verb, click.Group):
            assert set(re.findall(r"[a-z]+", rows[name])) == set(verb.commands), f"the row of `runner {name}`"
    options = {option for verb in commands_of(cli) for p in verb.params for option in p.opts if option.startswith("--")}
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", text)) - {"--help"} == options - {"--help"}


def test_the_page_of_python_names_every_operation_on_jobs() -> None:
    rows = cells(section(DOCS / "reference" / "python.md", "`client.jobs`"))
    told = {name for row in rows for name in re.findall(r"`(\w+)\(", row[0])}
    assert told == {name for name in vars(JobOperations) if not name.startswith("_")}


def test_the_page_of_python_names_every_public_name() -> None:
    rows = cells(section(DOCS / "reference" / "python.md", "All names"))
    told = {name for row in rows for name in re.findall(r"`(\w+)`", " ".join(row))}
    assert set(runner.__all__) - {"__version__"} <= told
    assert {name for row in rows for name in re.findall(r"`(\w+)`", row[0])} <= set(runner.__all__)


def test_the_page_of_grpc_names_only_calls_that_there_are() -> None:
    proto = (ROOT / "protos" / "runner" / "api" / "v1" / "job_service.proto").read_text()
    calls = set(re.findall(r"^  rpc (\w+)\(", proto, re.MULTILINE))
    verbs = "Create|Get|List|Update|Delete|Cancel|Resume|Redrive|Watch|Read|Publish|Submit"
    told = set(re.findall(rf"`((?:{verbs})[A-Z]\w+)`", (DOCS / "reference" / "grpc.md").read_text()))
    assert told <= calls and {"WatchJob", "ListSteps", "CreateAsset", "SubmitPublishedPipeline"} <= told


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_what_is_imported_from_runner_on_a_page_is_there(page: Path) -> None:
    for code in re.findall(r"^```python\n(.*?)^```$", page.read_text(), re.DOTALL | re.MULTILINE):
        for node in ast.walk(ast.parse(code)):
            if isinstance(node, ast.ImportFrom) and node.module == "runner":
                assert {alias.name for alias in node.names} <= set(runner.__all__)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)):
        if target.startswith(("http://", "https://")):
            continue
        path, _, anchor = target.partition("#")
        other = (page.parent / path).resolve() if path else page
        assert other.exists(), f"{page.name} links to {target}"
        if anchor:
            heads = re.findall(r"^#+ (.*)$", other.read_text(), re.MULTILINE)
            assert anchor in {re.sub(r"[^\w -]", "", head.lower()).replace(" ", "-") for head in heads}, target
