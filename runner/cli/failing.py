"""Verbs about what a job has set aside: failures lists it, redrive tries it again."""

from __future__ import annotations

import csv
import json
import os
import sys
import textwrap
from collections.abc import Iterable, Iterator
from itertools import chain, islice
from typing import Any

import click

from runner.cli.options import connect, name_argument, output_option, server_option
from runner.cli.render import say, show_json
from runner.cli.watching import Watch
from runner.entity.failure import FAILURE_COLUMNS, FailureRow
from runner.entity.job_json import iso_time, to_json
from runner.entity.status import FailureClass, JobStatus
from runner.errors import ArgumentInvalid

HEADERS = ("MINI-BATCH", "ITEMS", "CLASS", "TRIES", "PLACE", "WHY")
WHY_WIDTH = 160
_AT_ONCE = 1000


@click.command()
@name_argument
@click.option(
    "--class",
    "classes",
    multiple=True,
    type=click.Choice([str(cls) for cls in FailureClass]),
    help="Only failures of this class; may be given several times.",
)
@click.option("--all", "history", is_flag=True, help="Those too that were tried again since.")
@click.option("--limit", type=click.IntRange(min=1), help="At most so many; by default all.")
@server_option
@output_option("json", "csv", "parquet")
def failures(
    name: str, classes: tuple[str, ...], history: bool, limit: int | None, server: str | None, form: str
) -> None:
    """List what a job has set aside, by mini-batch; while it runs, what is committed."""
    if form == "parquet" and sys.stdout.isatty():
        what = "parquet is binary, and standard output is a terminal"
        raise ArgumentInvalid("--output", f"{what}; write it to a file: `... --output parquet > failures.parquet`")
    rows = connect(server).jobs.failures(name, classes=classes, include_history=history)
    rows = islice(rows, limit)
    first = list(islice(rows, 1))  # an unknown job is told before anything is written
    rows = chain(first, rows)
    if form == "json":
        _write_json(rows)
    elif form == "csv":
        _write_csv(rows)
    elif form == "parquet":
        from runner.dataset.failures import stream_failures

        stream_failures(sys.stdout.buffer, rows)
    elif first:
        _write_table(rows, history)
    else:
        say(f"{name} has set nothing aside" if history else f"nothing that {name} has set aside is open")


@click.command()
@name_argument
@click.option("--code", metavar="DIR", help="The corrected code; by default that of the run before.")
@click.option("--detach", is_flag=True, help="Return as soon as the redrive goes on.")
@server_option
@output_option("json")
def redrive(name: str, code: str | None, detach: bool, server: str | None, form: str) -> int:
    """Try again what a completed job has set aside, merge what succeeds into its outputs; 0 when nothing is open."""
    client = connect(server)
    with Watch(client.backend, owns=True) as watch:
        made = client.backend.redrive(name, "" if code is None else os.path.abspath(code))
        say(f"redriving {name}, run {made.run_number}")
        if made.parent and made.message:
            say(made.message)  # of a step: what was made from its output, and is stale now
        ended = 0 if detach else watch.run(name)
    job = client.backend.get(name)
    if form == "json":
        show_json(to_json(job, client.backend.events(name)))
    if ended or detach or job.status is not JobStatus.COMPLETED:
        return ended
    if not client.backend.failures(name, page_size=1).failures:
        return 0
    say(f"some of it failed again; `runner failures {name}` lists what is open")
    return 1


def fields(row: FailureRow) -> dict[str, Any]:
    """A failure as programs read it."""
    said = row.as_dict()
    said["time"] = iso_time(row.time)
    return said


def _write_json(rows: Iterable[FailureRow]) -> None:
    """One list, written as it comes."""
    separator = "["
    for row in rows:
        said = fields(row)
        if row.key is not None:
            said["key"] = json.loads(row.key)
        sys.stdout.write(f"{separator}\n{textwrap.indent(json.dumps(said, indent=2, ensure_ascii=False), '  ')}")
        separator = ","
    sys.stdout.write("[]\n" if separator == "[" else "\n]\n")
    sys.stdout.flush()


def _write_csv(rows: Iterable[FailureRow]) -> None:
    writer = csv.DictWriter(sys.stdout, FAILURE_COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(map(fields, rows))
    sys.stdout.flush()


def _write_table(rows: Iterator[FailureRow], history: bool) -> None:
    """Columns as wide as they have had to be so far; only some rows are held at once."""
    headers = (*HEADERS[:-1], "STATE", HEADERS[-1]) if history else HEADERS
    widths = [len(header) for header in headers]
    lines: list[tuple[str, ...]] = [headers]
    while cells := [_cells(row, history) for row in islice(rows, _AT_ONCE)]:
        lines += cells
        widths = [max(width, *(len(line[i]) for line in lines)) for i, width in enumerate(widths)]
        for line in lines:
            click.echo("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
        lines = []


def _cells(row: FailureRow, history: bool) -> tuple[str, ...]:
    place = row.key or (row.file if row.row is None else f"{row.file}:{row.row}")
    state = ("open" if row.is_open else "tried again",) if history else ()
    told = ": ".join(part for part in (row.exception_type, row.message.strip()) if part)
    why = told.partition("\n")[0]
    if len(why) > WHY_WIDTH:
        why = f"{why[: WHY_WIDTH - 3]}..."
    return (str(row.mini_batch), str(row.item_count), str(row.cls), str(row.attempts), place, *state, why)
