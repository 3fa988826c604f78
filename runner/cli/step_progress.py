"""Progress of a pipeline: its steps as a tree that is redrawn at a terminal, or plain lines."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from runner.cli.live import Display
from runner.cli.pace import clock
from runner.cli.progress import EVERY_S
from runner.cli.render import say
from runner.cli.step_tree import Branch, branches_of, counts_line, first_line, is_live, lasted, why
from runner.entity.job import JobState
from runner.entity.status import JobStatus

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.text import Text

BAR_WIDTH = 20
NAME_WIDTH = 32
"""Cells of a step's name, with its branch, that are shown however narrow the terminal is."""
AROUND = 4
"""Lines of the terminal that are left to the head, to what is left out, and to the prompt."""
COLOURS = {
    JobStatus.COMPLETED: "green",
    JobStatus.FAILED: "red",
    JobStatus.CANCELED: "yellow",
    JobStatus.CANCEL_REQUESTED: "yellow",
    JobStatus.NOT_RESPONDING: "yellow",
    JobStatus.NOT_STARTED: "dim",
}


class PlainSteps:
    """A line when a step begins, ends or is reused; the counts every five seconds, the first at once."""

    def __init__(self, *, is_new: bool) -> None:
        """`is_new`: what has begun or ended before the first look is told too."""
        self._is_quiet = not is_new
        self._begun: dict[str, int] = {}
        """By step, the run in which it was told to have begun."""
        self._ended: set[str] = set()
        self._last, self._message = -EVERY_S, ""

    def show(self, job: JobState, steps: Sequence[JobState]) -> None:
        """Show what is new."""
        if job.message and job.message != self._message and not steps:
            say(job.message)
            self._message = job.message
        self._tell(steps)
        now = time.monotonic()
        if steps and now - self._last >= EVERY_S:
            say(counts_line(steps))
            self._last = now

    def end(self, job: JobState, steps: Sequence[JobState]) -> None:
        """Tell what came after the last look."""
        self._tell(steps)

    def pause(self) -> None:
        """Nothing to take off the screen."""

    def _tell(self, steps: Sequence[JobState]) -> None:
        for step in steps:
            lines = []
            if is_live(step):
                self._ended.discard(step.step)  # a new run of it
                before = self._begun.setdefault(step.step, 0)
                if before < step.run_number:
                    lines.append(_began(step) if not before else _goes_on(step))
                self._begun[step.step] = step.run_number
            elif step.status.is_terminal:
                if step.step not in self._ended:
                    lines.append(_ended(step))
                self._ended.add(step.step)
                self._begun.pop(step.step, None)
            for line in () if self._is_quiet else lines:
                say(line)
        self._is_quiet = self._is_quiet and not steps


def _began(step: JobState) -> str:
    reason = first_line(step.reuse_reason.removeprefix("ran: "))
    return f"{step.step} began" + (f" ({reason})" if reason else "")


def _goes_on(step: JobState) -> str:
    """A step that had begun, and has lost its driver meanwhile."""
    return f"{step.step} goes on, run {step.run_number}" + (f": {first_line(step.message)}" if step.message else "")


def _ended(step: JobState) -> str:
    if step.reused_from:
        reason = first_line(step.reuse_reason)
        return f"{step.step}: {reason}" if reason.startswith("reused") else f"{step.step} reused: {reason}"
    after = "" if step.start_time is None else f" after {lasted(step)}"
    told = f": {first_line(step.error.message)}" if step.error else ""
    return f"{step.step} {step.status}{after}{told}"


class LiveSteps:
    """The steps as a tree, each with its state, its time and, where it has mini-batches, a bar."""

    def __init__(self) -> None:
        self._display = Display()
        self._began = time.monotonic()

    def show(self, job: JobState, steps: Sequence[JobState]) -> None:
        """Redraw, a few times a second at most."""
        if self._display.is_due():
            self._display.draw(picture(job, steps, self._display.height - AROUND, time.monotonic() - self._began))

    def end(self, job: JobState, steps: Sequence[JobState]) -> None:
        """The summary says it all."""

    def pause(self) -> None:
        """Take the display off the screen; the next `show` brings it back."""
        self._display.pause()


def picture(job: JobState, steps: Sequence[JobState], room: int, elapsed_s: float) -> RenderableType:
    """The head and as many lines of the tree as there is room for."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    head = Text.assemble((job.name, "bold"), "  ", (str(job.status), "cyan"), f"  {clock(elapsed_s)}  ", no_wrap=True)
    head.append(counts_line(steps) if steps else job.message)
    by_key = {step.step: step for step in steps}
    lines = branches_of(by_key)
    shown = chosen(lines, by_key, max(room, 1))
    rows = [_cells(line, by_key) for line in shown]
    # Where the terminal is narrow, what is told beside a step gives way: neither its name, its status nor its time.
    names, statuses, times = (max((row[i].cell_len for row in rows if i < len(row)), default=0) for i in range(3))
    grid = Table.grid(padding=(0, 2))
    grid.add_column(no_wrap=True, min_width=min(names, NAME_WIDTH))
    grid.add_column(no_wrap=True, min_width=statuses)
    grid.add_column(no_wrap=True, min_width=times, justify="right")
    grid.add_column(no_wrap=True, overflow="ellipsis")
    for line, row in zip(shown, rows, strict=True):
        grid.add_row(*row, *_details(line, by_key))
    left_out = len(lines) - len(shown)
    more = [Text(f"… {left_out} more", "dim")] if left_out else []
    return Group(head, grid, *more)


def chosen(lines: Sequence[Branch], steps: dict[str, JobState], room: int) -> list[Branch]:
    """The lines to show where there is not room for all: what runs and what failed before what waits or is done."""
    if len(lines) <= room:
        return list(lines)

    def rank(number: int) -> tuple[int, int]:
        key = lines[number].key
        if key is None:
            return 3, number
        step = steps[key]
        if is_live(step):
            return 0, number
        return {JobStatus.FAILED: 1, JobStatus.NOT_STARTED: 2}.get(step.status, 4), number

    return [lines[number] for number in sorted(sorted(range(len(lines)), key=rank)[:room])]


def _cells(line: Branch, steps: dict[str, JobState]) -> list[Text]:
    """Name, status and time."""
    from rich.text import Text

    if line.key is None:
        return [Text(line.text, "bold")]
    step = steps[line.key]
    status = "reused" if step.reused_from else str(step.status)
    return [Text(line.text), Text(status, COLOURS.get(step.status, "cyan")), Text(lasted(step))]


def _details(line: Branch, steps: dict[str, JobState]) -> list[RenderableType]:
    """What is told beside a step."""
    return [] if line.key is None else [_detail(steps[line.key])]


def _detail(step: JobState) -> RenderableType:
    """A bar for what has mini-batches, else what is worth knowing."""
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    progress = step.progress
    if not is_live(step) or progress.mini_batch_count is None:
        return Text(why(step), "red" if step.error else "dim")
    row = Table.grid(padding=(0, 1))
    total, done = max(progress.mini_batch_count, 1), progress.done_mini_batch_count
    row.add_row(ProgressBar(total=total, completed=done, width=BAR_WIDTH), Text(progress.line, no_wrap=True))
    return row
