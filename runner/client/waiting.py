"""Waits for pipelines and steps as SDK v1 does, and writes to standard output what they do meanwhile."""

from __future__ import annotations

import codecs
import json
import sys
import time
from collections.abc import Callable, Iterable
from typing import Any, Protocol

from runner.client.words import RUNNING_STATES
from runner.errors import ActivityFailedException, ExperimentExecutionException

FIRST_LOOK_S, LONGEST_LOOK_S = 0.1, 1.0
"""A wait looks after a tenth of a second, and then ever less often."""

REST = 4.0
"""How much longer than a look at a log the pause after it is."""


class Waited(Protocol):
    """A run that can be waited for."""

    @property
    def id(self) -> str:
        """What the user calls it."""

    def get_status(self) -> str:
        """Where it stands, in the words of its kind."""

    def get_details(self) -> dict[str, Any]:
        """What is known of it."""

    def get_portal_url(self) -> str:
        """Where it can be looked at."""


class StepWaited(Waited, Protocol):
    """A step that can be waited for."""

    @property
    def name(self) -> str:
        """Its key in the pipeline."""

    @property
    def job(self) -> str:
        """The name of its own job."""

    def can_start(self) -> bool:
        """Whether it has started, or may: a step that has not when its pipeline ends never will."""

    def log_size(self) -> tuple[str, int] | None:
        """The log to follow and how long it is; None as long as there is none."""

    def log_bytes(self, log: str) -> bytes:
        """What is in it."""

    def wait_for_completion(
        self, show_output: bool = True, timeout_seconds: float | None = ..., raise_on_error: bool = True
    ) -> str:
        """Wait for it alone."""


def say(line: str = "") -> None:
    """One line, seen at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def wait_for_step(step: StepWaited, show_output: bool, timeout_seconds: float | None, raise_on_error: bool) -> str:
    """Wait for a step; its status when it has ended or the time is over."""
    say(f"StepRunId: {step.id}")
    say(f"Link to Azure Machine Learning Portal: {step.get_portal_url()}")
    wait = _Wait(timeout_seconds)
    if not show_output:
        return _quietly(step, wait, raise_on_error, step.can_start)
    try:
        follower = _Follower(step)
        status = wait.until_ended(step.get_status, f"StepRun( {step.name} ) Status: ", follower.look, step.can_start)
        follower.finish()
        wait.tell_if_over()
        return _sum_up(step, f"StepRun({step.name})", f"StepRun( {step.name} )", status, raise_on_error)
    except KeyboardInterrupt:
        raise ExperimentExecutionException(step.id) from None


def wait_for_pipeline(
    run: Waited,
    get_steps: Callable[[], Iterable[StepWaited]],
    show_output: bool,
    timeout_seconds: float | None,
    raise_on_error: bool,
) -> str:
    """Wait for a pipeline, and meanwhile for one of its steps after the other; its status at the end."""
    say(f"PipelineRunId: {run.id}")
    say(f"Link to Azure Machine Learning Portal: {run.get_portal_url()}")
    wait = _Wait(timeout_seconds)
    if not show_output:
        return _quietly(run, wait, raise_on_error)
    seen: set[str] = set()

    def show_new_steps() -> None:
        for step in list(get_steps()):
            if step.job in seen or wait.is_over:
                continue
            seen.add(step.job)
            say("\n")
            step.wait_for_completion(timeout_seconds=wait.left_s, raise_on_error=raise_on_error)
            say()

    try:
        status = wait.until_ended(run.get_status, "PipelineRun Status: ", show_new_steps)
        show_new_steps()  # those that began and ended between two looks
        wait.tell_if_over()
        return _sum_up(run, "PipelineRun", "PipelineRun", status, raise_on_error)
    except (KeyboardInterrupt, ExperimentExecutionException):  # also one of a step's wait: the pipeline is meant
        raise ExperimentExecutionException(run.id) from None


class _Wait:
    """How long a wait has taken, and may still take."""

    def __init__(self, timeout_s: float | None) -> None:
        self._began, self._timeout_s = time.monotonic(), float("inf") if timeout_s is None else timeout_s
        self._has_ended = False

    @property
    def left_s(self) -> float:
        return max(0.0, self._timeout_s - (time.monotonic() - self._began))

    @property
    def is_over(self) -> bool:
        """Whether the time is up before the run has ended."""
        return not self._has_ended and self.left_s <= 0

    def until_ended(
        self,
        get_status: Callable[[], str],
        label: str | None = None,
        look: Callable[[], None] | None = None,
        can_start: Callable[[], bool] | None = None,
    ) -> str:
        """Wait until the run has ended or the time is over; with a label, every change of status is written."""
        last, pause_s = None, FIRST_LOOK_S
        while (status := get_status()) in RUNNING_STATES and not self.is_over:
            if label is not None and status != last:
                say(f"{label}{status}")
                last = status
            if look is not None:
                look()
            if status == "NotStarted" and can_start is not None and not can_start():
                self._has_ended = True
                return status
            time.sleep(min(pause_s, self.left_s))
            pause_s = min(pause_s * 1.2, LONGEST_LOOK_S)
        self._has_ended = status not in RUNNING_STATES
        return status

    def tell_if_over(self) -> None:
        if not self._has_ended:
            say(f"Timed out of waiting. Elapsed time: {time.monotonic() - self._began}")


class _Follower:
    """Writes the new lines of the log of a step."""

    def __init__(self, step: StepWaited) -> None:
        self._step = step
        self._log, self._read, self._rest = "", 0, ""
        self._rests_until = 0.0
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def look(self) -> None:
        """Write the lines that have been completed since the last look, unless looking takes too long for that."""
        began = time.monotonic()
        if began >= self._rests_until:
            self._look()
            # A log is read from its beginning each time: a long one must not take all the time there is.
            self._rests_until = time.monotonic() + REST * (time.monotonic() - began)

    def finish(self) -> None:
        """Write what is left, also of a last line that nothing ended."""
        self._look()
        self._end_line()

    def _look(self) -> None:
        found = self._step.log_size()
        if found is None:
            return
        log, size = found
        if log != self._log:
            self._end_line()
            say(f"\nStreaming {log}")
            say("=" * (len(log) + 10))
            self._log, self._read = log, 0
        if size <= self._read:
            return
        data = self._step.log_bytes(log)[self._read :]
        self._read += len(data)
        *lines, self._rest = (self._rest + self._decoder.decode(data)).split("\n")
        for line in lines:
            say(line)

    def _end_line(self) -> None:
        if self._rest:
            say(self._rest)
        self._rest = ""


def _quietly(run: Waited, wait: _Wait, raise_on_error: bool, can_start: Callable[[], bool] | None = None) -> str:
    status = wait.until_ended(run.get_status, can_start=can_start)
    wait.tell_if_over()
    error = run.get_details().get("error")
    if error and raise_on_error:
        raise ActivityFailedException(json.dumps(error, indent=4))
    return status


def _sum_up(run: Waited, kind: str, label: str, status: str, raise_on_error: bool) -> str:
    title = f"\n{kind} Execution Summary"
    say(title)
    say("=" * len(title))
    say(f"{label} Status: {status}")
    details = run.get_details()
    if details.get("warnings"):
        say("\nWarnings:")
        for warning in details["warnings"]:
            say(str(warning["message"]))
    error = details.get("error")
    if error and raise_on_error:
        raise ActivityFailedException(json.dumps(error, indent=4))
    if error:
        say("\nError:")
        say(json.dumps(error, indent=4))
    say(str({key: value for key, value in details.items() if key != "runDefinition"}))
    say()
    return status
