"""Watching a job until its end: progress, signals, and a driver that dies.

Off a terminal SIGINT and SIGTERM cancel; at a terminal Ctrl-C asks, and a second press cancels; SIGHUP detaches.
The job runs in processes of its own, so whatever happens to the watcher, it goes on unless it was cancelled.
"""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable, Iterator
from enum import Enum
from types import FrameType, TracebackType
from typing import Any, Protocol

from runner.cli.ending import ending
from runner.cli.progress import ProgressView, is_terminal, progress_view
from runner.cli.render import say
from runner.entity.job import JobState
from runner.entity.page import Chunk, LogFile
from runner.entity.parallel import CANCEL_GRACE_S
from runner.entity.status import JobStatus
from runner.errors import DriverGone, JobStatusConflict

POLL_S = 0.1
LOOK_S = 1.0
"""How often the driver's lock is looked at."""
STEPS_SHARE = 0.1
"""At most so much of the time goes into asking for the steps of a pipeline."""
UNDER_WAY = {"parallel": "calls of run() that are under way have", "command": "its processes have"}
Handler = Callable[[int, FrameType | None], Any] | int | None


class Watched(Protocol):
    """What a watch needs of a client."""

    def get(self, name: str) -> JobState: ...
    def cancel(self, name: str) -> JobState: ...
    def has_driver(self, name: str) -> bool | None: ...
    def steps(self, name: str) -> tuple[JobState, ...]: ...
    def logs(self, name: str) -> tuple[LogFile, ...]: ...
    def read_log(self, name: str, file: str = "", *, follow: bool = False) -> Iterator[Chunk]: ...


class Wish(Enum):
    """What a signal asked for."""

    NOTHING = 0
    ASK = 1
    CANCEL = 2
    DETACH = 3


ANSWERS = {
    "": Wish.NOTHING,
    "g": Wish.NOTHING,
    "go on": Wish.NOTHING,
    "d": Wish.DETACH,
    "detach": Wish.DETACH,
    "c": Wish.CANCEL,
    "cancel": Wish.CANCEL,
}


class Watch:
    """Follows one job. `owns` says that an interrupt concerns the job, as for submit, and not only the watching.

    A context: signals are heard from its beginning, so that none between a submission and the watch is lost.
    """

    def __init__(self, jobs: Watched, *, owns: bool) -> None:
        self._jobs, self._owns = jobs, owns
        self._name = self._type = self._parent = ""
        self._steps = Steps(jobs)
        self._terminal = is_terminal()
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
        job = self._jobs.get(name)
        self._name, self._type, self._parent = name, job.type, job.parent
        view = progress_view(job, is_new=self._owns and job.run_number == 1)
        try:
            if not self._follow(job, view):
                return 130 if self._cancelled else 0
        finally:
            view.pause()
        job = self._jobs.get(name)
        steps = self._steps.last(job)
        view.end(job, steps)
        for line in ending(self._jobs, job, steps):
            say(line)
        return exit_code(job)

    def _follow(self, job: JobState, view: ProgressView) -> bool:
        """Show the job until it has ended; False when the watch was over before."""
        while not self._is_over(job):
            if self._wish is not Wish.NOTHING:
                view.pause()
                if self._obey():
                    return False
            view.show(job, self._steps.of(job))
            self._look()
            time.sleep(POLL_S)
            job = self._jobs.get(self._name)
        return True

    def _is_over(self, job: JobState) -> bool:
        """Whether it has ended; a step that never began has with its pipeline."""
        if job.status is JobStatus.NOT_STARTED and job.parent:
            return self._jobs.get(job.parent).status.is_terminal
        return job.status.is_terminal

    def _heard(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGHUP or not self._owns:
            self._wish = Wish.DETACH
        elif number == signal.SIGTERM or not self._terminal or self._wish is Wish.ASK:
            self._wish = Wish.CANCEL
        elif self._cancelled:
            self._wish = Wish.DETACH
        else:
            self._wish = Wish.ASK
        if self._asking:
            raise _Pressed  # leaves the read of the answer

    def _ask(self) -> Wish:
        """What a press of Ctrl-C at the terminal was meant for; no answer means to go on."""
        self._asking = True
        try:
            while True:
                question = f"\n{self._name} is still running. [g]o on, [d]etach or [c]ancel? "
                print(question, end="", file=sys.stderr, flush=True)
                answer = sys.stdin.readline().strip().lower()
                if answer in ANSWERS:
                    return ANSWERS[answer]
        except _Pressed:
            print(file=sys.stderr, flush=True)
            return Wish.DETACH if self._wish is Wish.DETACH else Wish.CANCEL
        except OSError:  # the terminal has gone
            return Wish.DETACH
        finally:
            self._asking = False

    def _obey(self) -> bool:
        """Do what a signal asked; True when the watch is over."""
        wish, self._wish = self._wish, Wish.NOTHING
        if wish is Wish.ASK:
            wish, self._wish = self._ask(), Wish.NOTHING
        if wish is Wish.DETACH:
            going = "is being cancelled" if self._cancelled else "goes on"
            say(f"{self._name} {going}; `runner watch {self._name}` follows it")
            return True
        if wish is Wish.CANCEL and not self._cancelled:
            self._cancel()
        return False

    def _cancel(self) -> None:
        try:
            self._jobs.cancel(self._name)
        except JobStatusConflict as conflict:
            say(str(conflict))
            return
        self._cancelled = True
        under_way = UNDER_WAY.get(self._type, "what its steps have under way has")
        say(f"cancelling {self._name}; {under_way} {CANCEL_GRACE_S:g} s to end")

    def _look(self) -> None:
        """Notice a dead driver by its lock, long before its heartbeat is missed; a step is in its pipeline's hands."""
        now = time.monotonic()
        if now - self._last_look < LOOK_S:
            return
        self._last_look = now
        held = self._parent or self._name
        if self._jobs.has_driver(held) is False and not self._jobs.get(held).status.is_terminal:
            raise DriverGone(held)


class Steps:
    """The steps of a pipeline as last seen: asked for only when something has changed, and not too often."""

    def __init__(self, jobs: Watched) -> None:
        self._jobs = jobs
        self._seen: tuple[JobState, ...] = ()
        self._revision, self._next = -1, 0.0

    def of(self, job: JobState) -> tuple[JobState, ...]:
        """Its steps, perhaps as of a moment ago; none for what is no pipeline."""
        now = time.monotonic()
        if job.type == "pipeline" and job.revision != self._revision and now >= self._next:
            self._seen = self._jobs.steps(job.name)
            self._revision = job.revision
            took = time.monotonic() - now
            self._next = now + took / STEPS_SHARE
        return self._seen

    def last(self, job: JobState) -> tuple[JobState, ...]:
        """The steps of a job that has ended."""
        return self._jobs.steps(job.name) if job.type == "pipeline" else ()


class _Pressed(Exception):
    """A signal came while the question stood."""


def exit_code(job: JobState) -> int:
    """The exit code that a job's end stands for."""
    if job.status is JobStatus.COMPLETED:
        return 0
    if job.status is JobStatus.CANCELED:
        return 130
    return job.error.exit_code if job.error else 1
