"""How jobs look on a terminal and in plain lines. Data goes to stdout, talk to stderr."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime

from runner.entity.job import JobState, Progress


def say(text: str) -> None:
    """Talk, for a person."""
    print(text, file=sys.stderr, flush=True)


def show_json(value: object) -> None:
    """Data, for a program."""
    print(json.dumps(value, indent=2, ensure_ascii=False), flush=True)


def summary(job: JobState) -> list[str]:
    """What became of a job: status, counts, one line per class of failure, outputs or the reason."""
    lines = [f"{job.name} is {job.status}{_lasted(job)}"]
    if job.progress.mini_batch_count is not None:
        lines.append(f"  {job.progress.line}")
        lines += [
            f"  {cls}: {count} mini-batches failed" for cls, count in job.progress.failed_by_class.items() if count
        ]
        if job.progress.failed_item_count:
            lines.append(f"  {job.progress.failed_item_count} items failed")
    if job.error is not None:
        lines.append(job.error.message)
        lines += job.error.traceback.rstrip().splitlines()
    elif job.status == "Completed":
        lines += [f"  output {output.name}: {output.path}" for output in job.outputs]
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


class PlainProgress:
    """One line every five seconds, the first as soon as the totals are known; and each thing the driver says."""

    EVERY_S = 5.0

    def __init__(self) -> None:
        self._last, self._message = -self.EVERY_S, ""

    def show(self, job: JobState) -> None:
        """Show what is new."""
        if job.message and job.message != self._message and not job.status.is_terminal:
            say(job.message)
            self._message = job.message
        now = time.monotonic()
        if (
            job.progress.mini_batch_count is not None
            and not job.status.is_terminal
            and now - self._last >= self.EVERY_S
        ):
            say(job.progress.line)
            self._last = now

    def pause(self) -> None:
        """Nothing to take off the screen."""

    def stop(self) -> None:
        """Nothing to take off the screen."""


class LiveProgress:
    """A bar with mini-batches, items, failures by class, rate, time left and workers, redrawn in place."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bars

        self._bars = Bars(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[counts]}"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
        )
        self._task = self._bars.add_task("Starting", total=None, counts="")
        self._began: float | None = None
        self._first_items = 0
        self._bars.start()

    def show(self, job: JobState) -> None:
        """Redraw."""
        self._bars.start()
        progress = job.progress
        if progress.mini_batch_count is None:
            self._bars.update(self._task, description=str(job.status), counts=job.message)
            return
        if self._began is None and progress.done_item_count:
            self._began, self._first_items = time.monotonic(), progress.done_item_count
        counts = f"{progress.line}{self._rate(progress)}, {progress.worker_count} workers"
        self._bars.update(
            self._task,
            description=str(job.status),
            total=progress.mini_batch_count,
            completed=progress.done_mini_batch_count,
            counts=counts if job.status == "Running" else f"{progress.line}  {job.message}",
        )

    def _rate(self, progress: Progress) -> str:
        elapsed = 0.0 if self._began is None else time.monotonic() - self._began
        if elapsed < 0.5:
            return ""
        return f", {(progress.done_item_count - self._first_items) / elapsed:,.0f} items/s"

    def pause(self) -> None:
        """Take the bar off the screen while something else is asked; the next `show` brings it back."""
        self._bars.stop()

    def stop(self) -> None:
        """Take the bar off the screen."""
        self._bars.stop()
