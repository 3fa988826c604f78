"""Progress while a command watches: plain lines, or a display that is redrawn in place at a terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from runner.cli.live import Display
from runner.cli.pace import Pace, clock
from runner.cli.render import command_line, say
from runner.entity.job import JobState
from runner.entity.status import JobStatus

if TYPE_CHECKING:
    from rich.console import RenderableType

EVERY_S = 5.0
"""Between two plain lines."""


class ProgressView(Protocol):
    """Where a watch shows what it sees: a job, and the steps of a pipeline."""

    def show(self, job: JobState, steps: Sequence[JobState]) -> None: ...
    def end(self, job: JobState, steps: Sequence[JobState]) -> None:
        """The last state has come: say what only plain lines would miss."""

    def pause(self) -> None: ...


def is_terminal() -> bool:
    """Whether a person sits there, who sees the display and can answer."""
    return all(stream is not None and not stream.closed and stream.isatty() for stream in (sys.stdin, sys.stderr))


def progress_view(job: JobState, *, is_new: bool) -> ProgressView:
    """The display for a job, and for where this process talks to. `is_new`: nothing of it was told before."""
    is_live = is_terminal()
    if is_live:
        from rich.console import Console

        is_live = not Console(stderr=True, highlight=False).is_dumb_terminal
    if job.type == "pipeline":
        from runner.cli.step_progress import LiveSteps, PlainSteps

        return LiveSteps() if is_live else PlainSteps(is_new=is_new)
    if job.type == "command":
        return LiveCommand() if is_live else PlainCommand()
    return LiveProgress() if is_live else PlainProgress()


class PlainProgress:
    """One line every five seconds, the first as soon as the totals are known; and each thing the driver says."""

    def __init__(self) -> None:
        self._last, self._message = -EVERY_S, ""

    def show(self, job: JobState, steps: Sequence[JobState] = ()) -> None:
        """Show what is new."""
        if job.message and job.message != self._message:
            say(job.message)
            self._message = job.message
        now = time.monotonic()
        if job.progress.mini_batch_count is not None and now - self._last >= EVERY_S:
            say(job.progress.line)
            self._last = now

    def end(self, job: JobState, steps: Sequence[JobState] = ()) -> None:
        """The summary says it all."""

    def pause(self) -> None:
        """Nothing to take off the screen."""


class PlainCommand(PlainProgress):
    """What the driver says; once the command runs, what it does and where to read on."""

    _is_told = False

    def show(self, job: JobState, steps: Sequence[JobState] = ()) -> None:
        """Show what is new."""
        super().show(job)
        if job.status is JobStatus.RUNNING and not self._is_told:
            self._is_told = True
            say(f"running {command_line(job)}")
            say(f"`runner logs {job.name} --follow` shows what it prints")


class LiveCommand:
    """Two lines: name, status and time; what the command does, or what the driver says."""

    def __init__(self) -> None:
        self._display = Display()
        self._began = time.monotonic()

    def show(self, job: JobState, steps: Sequence[JobState] = ()) -> None:
        """Redraw, a few times a second at most."""
        if self._display.is_due():
            self._display.draw(self._picture(job))

    def end(self, job: JobState, steps: Sequence[JobState] = ()) -> None:
        """The summary says it all."""

    def pause(self) -> None:
        """Take the display off the screen; the next `show` brings it back."""
        self._display.pause()

    def _picture(self, job: JobState) -> RenderableType:
        from rich.console import Group
        from rich.text import Text

        head = Text.assemble((job.name, "bold"), "  ", (str(job.status), "cyan"), "  ")
        head.append(clock(time.monotonic() - self._began))
        running = job.status is JobStatus.RUNNING
        lines = [command_line(job), f"`runner logs {job.name} --follow` shows what it prints"] if running else []
        lines = [job.message, *lines] if job.message else lines
        return Group(head, *(Text(f"  {line}", no_wrap=True, overflow="ellipsis") for line in lines))


class LiveProgress:
    """Three lines: name, status, bar and time left; the counts; rate and workers. Gone when the watch ends."""

    def __init__(self) -> None:
        self._display = Display()
        self._pace = Pace()
        self._began = 0.0

    def show(self, job: JobState, steps: Sequence[JobState] = ()) -> None:
        """Redraw, a few times a second at most."""
        if not self._display.is_due():
            return
        now = time.monotonic()
        self._began = self._began or now
        if job.status is JobStatus.RUNNING:
            self._pace.note(now, job.progress)
        self._display.draw(self._picture(job, now))

    def end(self, job: JobState, steps: Sequence[JobState] = ()) -> None:
        """The summary says it all."""

    def pause(self) -> None:
        """Take the display off the screen; the next `show` brings it back."""
        self._display.pause()

    def _picture(self, job: JobState, now: float) -> RenderableType:
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        progress = job.progress
        head = Table.grid(padding=(0, 2))
        cells: list[RenderableType] = [Text(job.name, "bold"), Text(str(job.status), "cyan")]
        if progress.mini_batch_count is None:
            cells.append(Text(clock(now - self._began)))
            lines = [job.message]
        else:
            share = progress.done_mini_batch_count / max(progress.mini_batch_count, 1)
            total, done = progress.mini_batch_count, progress.done_mini_batch_count
            cells += [ProgressBar(total=max(total, 1), completed=done, width=40), Text(f"{share:.0%}")]
            lines = [progress.line, self._speed(job)]
        head.add_row(*cells)
        return Group(head, *(Text(f"  {line}", no_wrap=True, overflow="ellipsis") for line in lines if line))

    def _speed(self, job: JobState) -> str:
        """Rate, time left and who works; outside of Running, what the driver says instead."""
        if job.status is not JobStatus.RUNNING:
            return job.message
        progress = job.progress
        said = []
        if (rate := self._pace.items_per_s) is not None:
            said.append(f"{rate:,.0f} items/s" if rate >= 10 else f"{rate:.2g} items/s")
        if (left := self._pace.left_s(progress)) is not None:
            said.append(f"{clock(left)} left")
        workers = f"{progress.worker_count} worker{'' if progress.worker_count == 1 else 's'}"
        if progress.instance_count > 1:
            workers += f" on {progress.instance_count} instances"
        return ", ".join([*said, workers])
