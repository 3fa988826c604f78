"""Progress while a command watches: plain lines, or a display that is redrawn in place at a terminal."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Protocol

from runner.cli.pace import Pace, clock
from runner.cli.render import say
from runner.entity.job import JobState
from runner.entity.status import JobStatus

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.live import Live

REDRAW_S = 0.25


class ProgressView(Protocol):
    """Where a watch shows what it sees."""

    def show(self, job: JobState) -> None: ...
    def pause(self) -> None: ...


def is_terminal() -> bool:
    """Whether a person sits there, who sees the display and can answer."""
    return all(stream is not None and not stream.closed and stream.isatty() for stream in (sys.stdin, sys.stderr))


def progress_view() -> ProgressView:
    """The display for where this process talks to."""
    if not is_terminal():
        return PlainProgress()
    from rich.console import Console

    console = Console(stderr=True, highlight=False)
    return PlainProgress() if console.is_dumb_terminal else LiveProgress()


class PlainProgress:
    """One line every five seconds, the first as soon as the totals are known; and each thing the driver says."""

    EVERY_S = 5.0

    def __init__(self) -> None:
        self._last, self._message = -self.EVERY_S, ""

    def show(self, job: JobState) -> None:
        """Show what is new."""
        if job.message and job.message != self._message:
            say(job.message)
            self._message = job.message
        now = time.monotonic()
        if job.progress.mini_batch_count is not None and now - self._last >= self.EVERY_S:
            say(job.progress.line)
            self._last = now

    def pause(self) -> None:
        """Nothing to take off the screen."""


class LiveProgress:
    """Three lines: name, status, bar and time left; the counts; rate and workers. Gone when the watch ends."""

    def __init__(self) -> None:
        from rich.console import Console

        self._console = Console(stderr=True, highlight=False)
        self._live: Live | None = None
        self._pace = Pace()
        self._began = self._drawn = 0.0

    def show(self, job: JobState) -> None:
        """Redraw, a few times a second at most."""
        now = time.monotonic()
        if now - self._drawn < REDRAW_S:
            return
        self._drawn = now
        self._began = self._began or now
        if job.status is JobStatus.RUNNING:
            self._pace.note(now, job.progress)
        try:
            if self._live is None:
                self._live = self._new_live()
                self._live.start()
            self._live.update(self._picture(job, now), refresh=True)
        except OSError:
            pass  # the terminal has gone; SIGHUP tells the watch

    def pause(self) -> None:
        """Take the display off the screen; the next `show` brings it back."""
        self._drawn = 0.0
        live, self._live = self._live, None
        try:
            if live is not None:
                live.stop()
        except OSError:
            pass

    def _new_live(self) -> Live:
        """A fresh one for each stretch: one that is started again erases what was said in between."""
        from rich.live import Live

        # Drawn only by `show`: a thread that draws would stand in the way of the question and of a lost terminal.
        return Live(console=self._console, auto_refresh=False, transient=True, redirect_stdout=False)

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
