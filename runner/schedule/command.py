"""The driver of a command: one process that runs a command to the publication of its outputs.

Order of events: fork the warden, while this process has one thread and holds nothing; take the lock; make an attempt's
folders; have the warden start the processes; wait for their ends, a cancel or the time-out; record how they ended; put
the outputs in their places. A driver may die anywhere: the warden then kills what runs, and the next driver makes a new
attempt, or only publishes where the end of a good one was recorded.
"""

from __future__ import annotations

import logging
import os
import select
import shutil
import signal
import time
from collections.abc import Mapping
from pathlib import Path

import msgspec

from runner.entity.command import CommandSpec
from runner.entity.job import JobError
from runner.entity.status import JobStatus
from runner.errors import CommandFailed, CommandLost, CommandTimedOut, OutputNotMade, RunError
from runner.instance.ward import Ended, Lost, Process, Quiet, Refused, Started, Ward
from runner.schedule.attempt import Attempt, Result, attempts_of
from runner.schedule.cancel import Canceled
from runner.schedule.command_environment import (
    command_environment,
    command_text,
    find_bash,
    is_success,
    own_variables,
)
from runner.schedule.contents import Contents, assets_of, records_of
from runner.schedule.publication import check_made, check_targets, is_made, publish
from runner.schedule.shell import Ending, Shell
from runner.store.home import Home

log = logging.getLogger(__name__)

ARGUMENT_BYTES = 120_000
"""Of the kernel's 128 KiB for one argument; a longer command is read from a file."""


class CommandDriver:
    """Runs the command job `name` of a home; neither Ray nor pyarrow is imported for one process on this machine."""

    def __init__(self, home: Home, name: str) -> None:
        self._home, self._name = home, name
        self._shell = Shell(home, name)
        self._folder = home.job(name)
        self._attempt: Attempt | None = None
        self._limit: float | None = None

    def run(self) -> int:
        """Run the job to a terminal status and return its exit code; 0 without a word when another driver runs it."""
        with Ward.fork() as self._ward:
            return self._shell.run(self)

    def cancel(self) -> None:
        """Ask for a cancel, as a signal handler does."""
        self._shell.cancelled.set()

    # ---- the journey ------------------------------------------------------------------------------------
    def travel(self) -> None:
        """Make attempts until one is good or none is left, and publish what it has made."""
        self._spec = msgspec.json.decode(self._folder.spec.read_bytes(), type=CommandSpec)
        for notice in self._spec.notices:
            log.info(notice)
        self._shell.move(JobStatus.PREPARING)
        before = attempts_of(self._spec, self._folder)
        good = before[-1] if before and before[-1].result is not None else None
        if good is not None and good.result is not None and good.result.is_good and is_made(good):
            log.info("attempt %d has ended well before; only its outputs are published", good.number)
            self._attempt = good
            self._shell.move(JobStatus.QUEUED)
            self._shell.move(JobStatus.RUNNING)
        else:
            self._try_until_good(before[-1].number if before else 0)
        self._shell.cancelled.check()
        self._shell.move(JobStatus.FINALIZING)
        assert self._attempt is not None
        publish(self._attempt)

    def arrive(self, status: JobStatus, error: JobError | None) -> Ending:
        """Keep the artifacts, and say what the outputs are."""
        if self._attempt is not None:
            self._attempt.keep_artifacts()
            self._attempt.clear_nurseries()
        if status is not JobStatus.COMPLETED:
            return Ending()
        outputs = self._shell.store.get(self._name).outputs
        names = {one.name: (one.asset_name, one.asset_version) for one in self._spec.outputs if one.asset_name}
        return Ending(
            records=records_of(outputs, Contents(self._shell.store)), assets=assets_of(outputs, names, self._name)
        )

    def leave(self, status: JobStatus) -> None:
        """Remove the working folder of what has completed: its artifacts and outputs have been moved out of it."""
        if status is JobStatus.COMPLETED and self._attempt is not None:
            shutil.rmtree(self._attempt.root / "work", ignore_errors=True)
            shutil.rmtree(self._attempt.root / "inputs", ignore_errors=True)

    def close(self) -> None:
        """Nothing of the command outlives the lock."""
        self._ward.close()

    # ---- attempts ---------------------------------------------------------------------------------------
    def _try_until_good(self, number: int) -> None:
        left = self._spec.max_retries
        while True:
            number += 1
            attempt = Attempt(self._spec, self._folder, number)
            check_targets(attempt)
            self._attempt = attempt
            attempt.prepare(self._shell.cancelled.check)
            try:
                self._run(attempt)
                return
            except (CommandFailed, OutputNotMade) as error:
                if not left:
                    raise
                left -= 1
                log.warning("attempt %d: %s; it is tried again", number, error)
                attempt.clear_nurseries()

    def _run(self, attempt: Attempt) -> None:
        """Run the command once; returns when it was good."""
        processes = self._processes(attempt)
        self._queue()
        self._ward.run(processes, grace_s=self._spec.cancel_grace_s, token=self._token(attempt))
        codes = self._watch(len(processes))
        variables = own_variables(attempt)
        try:
            for number, code in codes.items():
                if not is_success(code, variables):
                    raise CommandFailed(self._tell_end(number, code, len(processes)))
            check_made(attempt)
        except RunError:
            attempt.record(Result(codes=[*codes.values()], is_good=False))
            raise
        attempt.record(Result(codes=[*codes.values()], is_good=True))

    def _queue(self) -> None:
        if self._shell.store.get(self._name).status is not JobStatus.RUNNING:
            self._shell.move(JobStatus.QUEUED)

    def _processes(self, attempt: Attempt) -> list[Process]:
        text = command_text(attempt)
        argv: tuple[str, ...] = (find_bash(), "-c", text)
        if len(text.encode()) > ARGUMENT_BYTES:
            script = attempt.root / "command.sh"
            script.write_text(text)
            argv = (argv[0], str(script))
        return [
            Process(
                argv=argv,
                cwd=str(attempt.work),
                env=self._environment(attempt, {}),
                stdout=str(self._log("std_log.txt")),
                stderr=str(self._log("std_err.txt")),
            )
        ]

    def _environment(self, attempt: Attempt, rank: Mapping[str, str]) -> dict[str, str]:
        return command_environment(os.environ, attempt, {}, rank, self._token(attempt))

    def _token(self, attempt: Attempt) -> str:
        return f"{self._folder.root}/{attempt.number}/"

    def _log(self, name: str) -> Path:
        path = self._folder.logs / "user_logs" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    # ---- what runs --------------------------------------------------------------------------------------
    def _watch(self, count: int) -> dict[int, int]:
        """The exit codes by process, in the order of their ends, when nothing is left of any of them.

        Raises Canceled, CommandTimedOut, CommandLost or CommandFailed, also only then.
        """
        poll = select.poll()
        poll.register(self._ward, select.POLLIN)
        poll.register(self._shell.cancelled, select.POLLIN)
        codes: dict[int, int] = {}
        end: Exception | None = None
        while True:
            left = None if self._limit is None else max(0.0, self._limit - time.monotonic())
            ready = [descriptor for descriptor, _ in poll.poll(None if left is None else left * 1000 + 1)]
            if self._shell.cancelled.fileno() in ready:
                poll.unregister(self._shell.cancelled)
                end = end or Canceled()
                self._ward.stop()
            if self._limit is not None and time.monotonic() >= self._limit:
                self._limit = None
                end = end or CommandTimedOut(self._spec.timeout_s)
                self._ward.stop()
            for news in self._ward.hear() if self._ward.fileno() in ready else ():
                match news:
                    case Started():
                        end = end or self._begin()
                    case Refused(_, what):
                        end = end or CommandFailed(f"could not be started: {what}")
                    case Ended(number, code):
                        codes[number] = code
                        if code != 0 and count > 1:
                            self._ward.stop()
                    case Quiet(left_count):
                        if left_count:
                            log.warning("%d processes of the command cannot be ended", left_count)
                        if end is not None:
                            raise end
                        return codes
                    case Lost(what):
                        raise end or CommandLost(what)

    def _begin(self) -> Exception | None:
        """The processes have started: the clock runs from now on. What ends them at once, if anything."""
        if self._limit is None and self._spec.timeout_s is not None:
            self._limit = time.monotonic() + self._spec.timeout_s
        try:
            self._shell.move(JobStatus.RUNNING)
        except Canceled as canceled:
            self._ward.stop()
            return canceled
        return None

    def _tell_end(self, number: int, code: int, count: int) -> str:
        who = f"(rank {number}) " if count > 1 else ""
        if code < 0:
            return f"{who}was killed by {signal.Signals(-code).name}"
        if code == 127:
            return f"{who}ended with exit code 127: a command was not found"
        if code == 126:
            return f"{who}ended with exit code 126: a command could not be executed"
        if code > 128 and code - 128 in set(signal.Signals):
            return f"{who}ended with exit code {code}: what it ran was killed by {signal.Signals(code - 128).name}"
        return f"{who}ended with exit code {code}"
