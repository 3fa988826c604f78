"""One run of a command's processes: what is started, what is waited for, and how their ends are told."""

from __future__ import annotations

import logging
import os
import select
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from runner.entity.command import CommandSpec
from runner.entity.status import JobStatus
from runner.errors import CommandFailed, CommandLost, CommandTimedOut
from runner.instance.seat import Seat
from runner.instance.ward import Ended, Errand, Lost, News, Process, Quiet, Refused, Started
from runner.schedule.attempt import Attempt
from runner.schedule.cancel import Canceled
from runner.schedule.command_environment import (
    command_environment,
    command_text,
    find_bash,
    is_success,
    own_variables,
)
from runner.schedule.rank_environment import Rank, log_suffix, port_count, ranks_of, seat_count
from runner.schedule.shell import Shell

log = logging.getLogger(__name__)

ARGUMENT_BYTES = 120_000
"""Of the kernel's 128 KiB for one argument; a longer command is read from a file."""
LONGEST_POLL_MS = 1e9
"""A number of milliseconds that the kernel still takes: some days."""
_TAIL_BYTES = 4096


class Crew(Protocol):
    """Who runs the processes: a warden on this machine, or one on each of several instances."""

    def fileno(self) -> int:
        """Readable when there is news."""

    def place(self, count: int, port_count: int, check: Callable[[], None]) -> tuple[Seat, ...]:
        """Wait until there is room for all instances; `check` is called now and then, and may raise."""

    def run(self, processes: Sequence[Process], *, grace_s: float, token: str, errand: Errand) -> None:
        """Start processes; `Started` or `Refused` is the answer."""

    def stop(self) -> None:
        """End everything, gently and then by force; `Quiet` is the answer."""

    def hear(self) -> list[News]:
        """What there is to hear now."""

    def close(self) -> None:
        """Kill what is left, and let go."""


class CommandRun:
    """Runs attempts of one job, one after the other; the clock of the time-out runs on, but not without a place."""

    def __init__(self, shell: Shell, spec: CommandSpec, base: Mapping[str, str]) -> None:
        """`base` is the environment that processes begin with; the instances' own where it is empty."""
        self._shell, self._spec, self._base = shell, spec, base
        self._limit: float | None = None
        self._is_quiet = True
        """Whether nothing is left of what was started."""

    def run(self, attempt: Attempt, crew: Crew, mlflow: Mapping[str, str]) -> list[int]:
        """Run the command once and return the exit codes of its processes, of which each was a success.

        When this returns or raises, nothing is left of them.

        Raises:
            CommandFailed: one could not be started, was killed, or ended otherwise than well.
            CommandTimedOut: `limits.timeout` was over.
            CommandLost: what watched over them is gone.
            Canceled: somebody asked for it.
        """
        cancelled = self._shell.cancelled
        if self._shell.store.get(self._spec.name).status is not JobStatus.RUNNING:
            self._shell.move(JobStatus.QUEUED)
        since = time.monotonic()
        seats = crew.place(seat_count(self._spec), port_count(self._spec), cancelled.check)
        if self._limit is not None:
            self._limit += time.monotonic() - since
        cancelled.check()
        processes = self._processes(attempt, ranks_of(self._spec, seats), mlflow)
        crew.run(processes, grace_s=self._spec.cancel_grace_s, token=attempt.token, errand=attempt.errand)
        try:
            return self._watch(processes, crew, own_variables(attempt))
        except BaseException:
            if not self._is_quiet:
                crew.close()
            raise

    def _processes(self, attempt: Attempt, ranks: Sequence[Rank], mlflow: Mapping[str, str]) -> list[Process]:
        text = command_text(attempt)
        argv: tuple[str, ...] = (find_bash(), "-c", text)
        if len(text.encode(errors="surrogateescape")) > ARGUMENT_BYTES:
            script = attempt.root / "command.sh"
            script.write_text(text, errors="surrogateescape")
            argv = (argv[0], str(script))
        logs = attempt.folder.logs / "user_logs"
        logs.mkdir(parents=True, exist_ok=True)
        is_distributed = self._spec.distribution is not None and self._spec.distribution.kind != "ray"
        processes = []
        for rank in ranks:
            suffix = log_suffix(rank, len(ranks), is_distributed=is_distributed)
            processes.append(
                Process(
                    argv=argv,
                    cwd=str(attempt.work),
                    env=command_environment(self._base, attempt, mlflow, rank.variables),
                    stdout=str(logs / f"std_log{suffix}.txt"),
                    stderr=str(logs / f"std_err{suffix}.txt"),
                    instance=rank.instance,
                )
            )
        return processes

    def _watch(self, processes: Sequence[Process], crew: Crew, variables: Mapping[str, str]) -> list[int]:
        """Wait for the end of all of them; the first to end badly ends the others."""
        poll = select.poll()
        poll.register(crew.fileno(), select.POLLIN)
        poll.register(self._shell.cancelled, select.POLLIN)
        codes: dict[int, int] = {}
        end: Exception | None = None
        while True:
            left = None if self._limit is None or end else max(0.0, self._limit - time.monotonic()) * 1000 + 1
            left = None if left is None else min(left, LONGEST_POLL_MS)
            ready = [descriptor for descriptor, _ in poll.poll(left)]
            heard = crew.hear() if crew.fileno() in ready else []
            was = end
            for news in heard:
                match news:
                    case Started():
                        end = end or self._begin()
                    case Refused(_, what):
                        end = end or CommandFailed(f"could not be started: {what}")
                    case Ended(number, code):
                        codes[number] = code
                        if not is_success(code, variables):
                            end = end or CommandFailed(_tell_end(number, code, processes))
                    case Lost(what):
                        raise end or CommandLost(what)
                    case Quiet(count):
                        self._is_quiet = True
                        if count:
                            log.warning("%d processes of the command cannot be ended", count)
                        if end is not None:
                            raise end
                        return [codes[number] for number in range(len(processes))]
            if self._shell.cancelled.fileno() in ready:
                poll.unregister(self._shell.cancelled)
                end = end or Canceled()
            elif self._limit is not None and end is None and time.monotonic() >= self._limit:
                end = CommandTimedOut(self._spec.timeout_s)
            if end is not None and was is None:
                crew.stop()

    def _begin(self) -> Exception | None:
        """All have started, so the clock runs; what is to end them at once, if anything."""
        if self._limit is None and self._spec.timeout_s is not None:
            self._limit = time.monotonic() + self._spec.timeout_s
        try:
            self._shell.move(JobStatus.RUNNING)
        except Canceled as canceled:
            return canceled
        return None


def _tell_end(number: int, code: int, processes: Sequence[Process]) -> str:
    who = f"(process {number}) " if len(processes) > 1 else ""
    if code < 0:
        why = " (from outside, or because memory ran out)" if -code == signal.SIGKILL else ""
        return f"{who}was killed by {_signal_name(-code)}{why}"
    said = f"{who}ended with exit code {code}"
    if code in (126, 127):
        what = "a command was not found" if code == 127 else "a command cannot be executed"
        return f"{said}: {_last_line(Path(processes[number].stderr)) or what}"
    if code > 128 and (name := _signal_name(code - 128)):
        return f"{said}: what it ran was killed by {name}"
    return said


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}" if number < signal.NSIG else ""


def _last_line(path: Path) -> str:
    """The shell's own word on what it could not run."""
    try:
        with open(path, "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - _TAIL_BYTES))
            lines = file.read().decode(errors="replace").splitlines()
    except OSError:
        return ""
    return next((line.strip() for line in reversed(lines) if "bash:" in line or ": line " in line), "")
