"""How jobs look on a terminal and in plain lines. Data goes to stdout, talk to stderr."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from runner.entity.job import JobState

COMMAND_WIDTH = 120
_PLACE = re.compile(r"^\S+?(:\d+)?: (\S+\.)?")
"""What a notice begins with: file and line, and the keys around the one that it is about."""


def say(text: str) -> None:
    """Talk, for a person; in vain when nobody listens any more, which ends nothing."""
    try:
        print(text, file=sys.stderr, flush=True)
    except OSError:  # a closed pipe, or a terminal that has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())


def show_json(value: object) -> None:
    """Data, for a program."""
    print(json.dumps(value, indent=2, ensure_ascii=False), flush=True)


def noticed(notices: Iterable[str]) -> list[str]:
    """The notices as lines; one that many steps share is told once, with how many more there are."""
    alike: dict[str, list[str]] = {}
    for notice in notices:
        alike.setdefault(_PLACE.sub("", notice), []).append(notice)
    return [
        f"notice: {first}" + (f" (and {len(others)} more like this)" if others else "")
        for first, *others in alike.values()
    ]


def summary(job: JobState) -> list[str]:
    """What became of a job: status, counts, one line per class of failure, outputs or the reason."""
    lines = [f"{job.name} is {job.status}{_lasted(job)}"]
    if job.progress.mini_batch_count is not None:
        lines.append(f"  {job.progress.line}")
        lines += _failures(job)
        extensions = job.document.get("runner")
        if isinstance(extensions, dict) and (limit := extensions.get("limit")):
            lines.append(f"  a trial: no mini-batches but the first {limit} (runner.limit)")
    if job.error is not None:
        lines.append(job.error.message)
        lines += job.error.traceback.rstrip().splitlines()
    elif job.status == "Completed":
        lines += [f"  output {output.name}: {output.path}" for output in job.outputs]
        if job.message and not job.reused_from:
            lines.append(f"  {job.message}")
    return lines


def command_line(job: JobState) -> str:
    """What a command job runs, in one line."""
    lines = str(job.document.get("command", "")).strip().splitlines() or [""]
    line = lines[0] if len(lines) == 1 else f"{lines[0]} …"
    return line if len(line) <= COMMAND_WIDTH else f"{line[: COMMAND_WIDTH - 1]}…"


def _failures(job: JobState) -> list[str]:
    """One line for each class of failure, with its first, unless the reason of the job's failure tells that one."""
    progress = job.progress
    told = job.error.message if job.error else ""
    lines = []
    for cls, count in progress.failed_by_class.items():
        if count:
            first = progress.first_failures.get(cls, "")
            lines.append(f"  {count} × {cls}" + (f", first in {first}" if first and first not in told else ""))
    if progress.failed_item_count:
        lines.append(f"  {progress.failed_item_count} of {progress.done_item_count} items failed")
    return lines


def _lasted(job: JobState) -> str:
    if job.end_time is None:
        return ""
    return f" after {job.end_time - job.create_time:.1f} s"


def when(time_s: float | None) -> str:
    """A time as people here write it, in UTC."""
    return "-" if time_s is None else datetime.fromtimestamp(time_s, UTC).strftime("%Y-%m-%d %H:%M:%S")


def table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns as wide as their widest cell."""
    widths = [max(len(row[i]) for row in [headers, *rows]) for i in range(len(headers))]
    return "\n".join(
        "  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in [headers, *rows]
    )
