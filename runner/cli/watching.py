"""Watching a job until its end: progress, signals, and a driver that dies.

Off a terminal SIGINT and SIGTERM cancel; at a terminal Ctrl-C asks, and a second press cancels; SIGHUP detaches.
The job runs in processes of its own, so whatever happens to the watcher, it goes on unless it was cancelled.
"""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable
from enum import Enum
from types import FrameType
from typing import Protocol

from runner.cli.render import LiveProgress, PlainProgress, say, summary
from runner.entity.job import JobState
from runner.entity.status import JobStatus
from runner.errors import DriverGone, JobStatusConflict

POLL_S = 0.1
LOOK_S = 1.0
"""How often the driver's lock is looked at."""
START_S = 15.0
"""A driver that has not taken its lock by then never started."""


class Watched(Protocol):
    """What a watch needs of a client."""

    def get(self, name: str) -> JobState: ...
    def cancel(self, name: str) -> JobState: ...
    def has_driver(self, name: str) -> bool | None: ...


class Wish(Enum):
    """What a signal asked for."""

    NOTHING = 0
    ASK = 1
    CANCEL = 2
    DETACH = 3


class Watch:
    """Follows one job. `owns` says that an interrupt concerns the job, as for submit, and not only the watching."""

    def __init__(self, jobs: Watched, name: str, *, owns: bool) -> None:
        self._jobs, self._name, self._owns = jobs, name, owns
        self._terminal = sys.stdin.isatty() and sys.stderr.isatty()
        self._wish = Wish.NOTHING
        self._cancelled = self._asking = False
        self._began = time.monotonic()
        self._had_driver, self._last_look = False, 0.0

    def run(self) -> int:
        """Watch to the end and return the exit code. Raises DriverGone when the driver dies."""
        progress = LiveProgress() if self._terminal else PlainProgress()
        before = {
            number: signal.signal(number, self._heard) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        }
        try:
            while True:
                job = self._jobs.get(self._name)
                if job.status.is_terminal:
                    break
                progress.show(job)
                if self._wish is not Wish.NOTHING and self._obey(progress.pause):
                    return 0
                self._look(job)
                time.sleep(POLL_S)
        finally:
            progress.stop()
            for number, handler in before.items():
                signal.signal(number, handler)
        for line in summary(job):
            say(line)
        return exit_code(job)

    def _heard(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGHUP or not self._owns:
            self._wish = Wish.DETACH
        elif number == signal.SIGTERM or not self._terminal or self._wish is Wish.ASK:
            self._wish = Wish.CANCEL
        else:
            self._wish = Wish.ASK
        if self._asking:
            raise _Pressed  # leaves the read of the answer

    def _ask(self) -> Wish:
        """What a press of Ctrl-C at the terminal was meant for."""
        self._asking = True
        try:
            print(
                f"\n{self._name} is still running. [g]o on, [d]etach or [c]ancel? ", end="", file=sys.stderr, flush=True
            )
            answer = sys.stdin.readline().strip().lower()
        except _Pressed:
            return Wish.DETACH if self._wish is Wish.DETACH else Wish.CANCEL
        finally:
            self._asking = False
        if answer.startswith("c"):
            return Wish.CANCEL
        return Wish.DETACH if answer.startswith("d") else Wish.NOTHING

    def _obey(self, pause: Callable[[], None]) -> bool:
        """Do what a signal asked; True when the watch is over."""
        wish, self._wish = self._wish, Wish.NOTHING
        if wish is Wish.ASK:
            pause()
            wish, self._wish = self._ask(), Wish.NOTHING
        if wish is Wish.DETACH:
            pause()
            say(f"{self._name} goes on; `runner watch {self._name}` follows it")
            return True
        if wish is Wish.CANCEL and not self._cancelled:
            self._cancelled = True
            say(f"cancelling {self._name} ...")
            try:
                self._jobs.cancel(self._name)
            except JobStatusConflict as conflict:
                say(str(conflict))
        return False

    def _look(self, job: JobState) -> None:
        """Notice a dead driver by its lock, long before its heartbeat is missed."""
        now = time.monotonic()
        if now - self._last_look < LOOK_S:
            return
        self._last_look = now
        alive = self._jobs.has_driver(self._name)
        if alive is None:
            return
        late = now - self._began > START_S
        if not alive and (self._had_driver or late) and not self._jobs.get(self._name).status.is_terminal:
            raise DriverGone(self._name)
        self._had_driver = self._had_driver or alive


class _Pressed(Exception):
    """A signal came while the question stood."""


def exit_code(job: JobState) -> int:
    """The exit code that a job's end stands for."""
    if job.status is JobStatus.COMPLETED:
        return 0
    if job.status is JobStatus.CANCELED:
        return 130
    return job.error.exit_code if job.error else 1
