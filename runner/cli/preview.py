"""The verb that shows how a job would begin: the first mini-batch and the first cuts. It runs and stores nothing."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from runner.cli.options import checking_places, output_option, server_option
from runner.cli.render import noticed, say, show_json, table

if TYPE_CHECKING:
    from runner.plan.preview import Preview

CELL = 40


@click.command()
@click.argument("job_file", metavar="JOB.yml")
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Override a key first.")
@server_option
@output_option("json")
def preview(job_file: str, settings: tuple[str, ...], server: str | None, form: str) -> None:
    """Show the first mini-batch as run() would get it, with its types, and how the input is cut."""
    from runner.plan.preview import preview as look
    from runner.spec.load import load_job, setting_of
    from runner.spec.resolve import preview_spec

    job = load_job(job_file, params_override=[setting_of(setting) for setting in settings])
    spec = preview_spec(job, checking_places(server))
    for line in noticed(spec.notices):
        say(line)
    seen = look(spec)
    if form == "json":
        show_json(_as_json(seen))
    else:
        click.echo(_as_text(seen))


def _as_json(seen: Preview) -> dict[str, Any]:
    first = seen.first
    columns = [{"name": name, "type": kind, "seen_as": seen_as} for name, kind, seen_as in first.columns]
    return {
        "input_count": seen.input_count,
        "file_count": seen.file_count,
        "unit_count": seen.unit_count,
        "mini_batch_count": seen.mini_batch_count,
        "item_count": seen.item_count,
        "mini_batches": [asdict(cut) for cut in seen.cuts],
        "first": {
            "type": first.type,
            "item_count": first.item_count,
            "columns": columns,
            "items": [list(item) for item in first.items],
        },
    }


def _as_text(seen: Preview) -> str:
    first = seen.first
    lines = [
        f"{_of(seen.item_count, 'item')} in {_of(seen.mini_batch_count, 'mini-batch')} and "
        f"{_of(seen.unit_count, 'unit')}, from {_of(seen.file_count, 'file')}",
        "",
        _cuts(seen),
    ]
    if len(seen.cuts) < seen.mini_batch_count:
        lines.append("...")
    lines += ["", f"mini-batch 0: {first.type}, {_of(first.item_count, 'item')}"]
    if first.columns:
        lines += ["", table(("COLUMN", "TYPE", "AS RUN() SEES IT"), first.columns)]
    headers = tuple(name for name, _, _ in first.columns) or ("PATH",)
    is_table = bool(first.columns)
    lines += ["", table(headers, [tuple(_cell(value, cut=is_table) for value in item) for item in first.items])]
    if len(first.items) < first.item_count:
        lines.append("...")
    return "\n".join(lines)


def _cuts(seen: Preview) -> str:
    rows = [
        (str(cut.mini_batch), str(cut.unit), cut.key or cut.file or "-", _or_dash(cut.row), str(cut.item_count))
        for cut in seen.cuts
    ]
    what = "KEY" if seen.cuts and seen.cuts[0].key is not None else "FILE"
    return table(("MINI-BATCH", "UNIT", what, "ROW", "ITEMS"), rows)


def _of(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 'es' if what.endswith('ch') else 's'}"


def _or_dash(value: int | None) -> str:
    return "-" if value is None else str(value)


def _cell(value: Any, *, cut: bool) -> str:
    text = "null" if value is None else str(value).encode("unicode_escape", "backslashreplace").decode()
    return text if len(text) <= CELL or not cut else f"{text[: CELL - 1]}…"
