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
from types import FrameType, TracebackType
from typing import Any, Protocol

from runner.cli.render import LiveProgress, PlainProgress, say, summary
from runner.entity.job import JobState
from runner.entity.status import JobStatus
from runner.errors import DriverGone, JobStatusConflict

POLL_S = 0.1
LOOK_S = 1.0
"""How often the driver's lock is looked at."""
Handler = Callable[[int, FrameType | None], Any] | int | None


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
    """Follows one job. `owns` says that an interrupt concerns the job, as for submit, and not only the watching.

    A context: signals are heard from its beginning, so that none between a submission and the watch is lost.
    """

    def __init__(self, jobs: Watched, *, owns: bool) -> None:
        self._jobs, self._owns = jobs, owns
        self._name = ""
        self._terminal = sys.stdin.isatty() and sys.stderr.isatty()
        self._wish = Wish.NOTHING
        self._cancelled = self._asking = False
        self._last_look = 0.0
        self._before: dict[int, Handler] = {}

    def __enter__(self) -> Watch:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            self._before[number] = signal.signal(number, self._heard)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def run(self, name: str) -> int:
        """Watch to the end and return the exit code. Raises DriverGone when the driver dies."""
        self._name = name
        progress = LiveProgress() if self._terminal else PlainProgress()
        try:
            while not (job := self._jobs.get(name)).status.is_terminal:
                progress.show(job)
                if self._wish is not Wish.NOTHING and self._obey(progress.pause):
                    return 0
                self._look()
                time.sleep(POLL_S)
        finally:
            progress.stop()
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

    def _look(self) -> None:
        """Notice a dead driver by its lock, long before its heartbeat is missed."""
        now = time.monotonic()
        if now - self._last_look < LOOK_S:
            return
        self._last_look = now
        if self._jobs.has_driver(self._name) is False and not self._jobs.get(self._name).status.is_terminal:
            raise DriverGone(self._name)


class _Pressed(Exception):
    """A signal came while the question stood."""


def exit_code(job: JobState) -> int:
    """The exit code that a job's end stands for."""
    if job.status is JobStatus.COMPLETED:
        return 0
    if job.status is JobStatus.CANCELED:
        return 130
    return job.error.exit_code if job.error else 1
