"""The watch over an instance's workers: what they say, when they end, what takes too long, and how it all closes.

Everything here happens in the supervising thread, a turn at a time.
"""

from __future__ import annotations

import logging
import os
import selectors
import socket
import time
from collections.abc import Callable

from runner.entity.lease import (
    Heartbeat,
    InitFailure,
    InstanceConfig,
    InstanceEvent,
    InstanceFailed,
    InstanceReady,
    Lease,
)
from runner.entity.parallel import ParallelSpec
from runner.errors import RunnerError
from runner.instance.assemble import Assembled
from runner.instance.crew import Crew, Seat, SeatState
from runner.instance.desk import Desk, ToDesk
from runner.instance.explain import explain
from runner.instance.leftovers import Leftovers
from runner.instance.log_files import LogFiles
from runner.instance.policy import Limits
from runner.instance.worker_process import WorkerProcess
from runner.worker.messages import (
    Broken,
    Failed,
    Flushed,
    FromWorker,
    Imported,
    InitFailed,
    RangeDone,
    Ready,
    Shutdown,
    ShutdownDone,
    ShuttingDown,
)

logger = logging.getLogger(__name__)

TICK_S = 0.05
LOOK_S = 0.1
"""A worker may print hundreds of megabytes a second: what its log may grow beyond its bound is what fits in between."""
LONGEST_TURN_S = 1.0
"""A turn that took longer means that this process was stopped; of that time no more counts as the driver's silence."""


class Watch:
    """Turns until it is over. `obey` runs the commands that wait, `emit` takes events."""

    def __init__(
        self,
        config: InstanceConfig,
        spec: ParallelSpec,
        limits: Limits,
        *,
        crew: Crew,
        desk: Desk,
        logs: LogFiles,
        leftovers: Leftovers,
        selector: selectors.BaseSelector,
        obey: Callable[[], None],
        emit: Callable[[InstanceEvent], None],
    ) -> None:
        self._config, self._spec, self._limits = config, spec, limits
        self._crew, self._desk, self._logs, self._leftovers = crew, desk, logs, leftovers
        self._selector, self._obey, self._emit = selector, obey, emit
        self.is_over = False
        self._silence_s = 0.0
        self._is_failed = False
        self._is_closing = False
        self._is_cancel = False
        self._deadline = 0.0
        self._idle_deaths = 0
        self._last_turn = self._last_beat = self._last_look = time.monotonic()

    def begin(self) -> None:
        """Start a worker in every seat."""
        for seat in self._crew.seats:
            self._spawn(seat)

    def end_workers(self) -> None:
        """Kill what is left, and wait for it."""
        for seat in self._crew.seats:
            if seat.process is not None:
                seat.process.kill()
        self._leftovers.close()
        for seat in self._crew.seats:
            if seat.process is not None:
                seat.process.wait()
                seat.process = None
                self._logs.end_worker(seat.name)
        while self._logs.has_more:
            self.beat()

    def turn(self) -> None:
        """React to what has happened, or has not for too long."""
        for key, mask in self._selector.select(TICK_S):
            key.data(mask)
        self._obey()
        now = time.monotonic()
        self._silence_s += min(now - self._last_turn, LONGEST_TURN_S)
        self._last_turn = now
        if self._silence_s > self._limits.silence_s:
            self._logs.write_main("ERROR", f"nothing was heard from the driver for {self._limits.silence_s:g} s")
            self.is_over = True
            return
        self._crew.check_limits(now)
        if now - self._last_look >= LOOK_S:
            self._last_look = now
            self._logs.look()
        if now - self._last_beat >= self._limits.beat_s:
            self._last_beat = now
            self._desk.tick(now)
            self.beat()
        if self._is_closing:
            self._check_end(now)
            self.is_over = self._crew.is_empty

    def beat(self) -> None:
        """Give a sign of life."""
        self._emit(
            Heartbeat(
                instance=self._config.instance,
                live=self._desk.live,
                attempt_count=self._desk.attempt_count,
                worker_count=len(self._crew.working),
                in_flight=self._crew.in_flight(),
                leases=self._desk.progress(),
                log_chunks=self._logs.take_shipment(),
            )
        )

    # ---- commands -----------------------------------------------------------------------------------------------

    def lend(self, lease: Lease) -> None:
        """A lease from the driver."""
        if self._is_closing or self._is_failed:
            return
        try:
            self._desk.lend(lease)
        except (RunnerError, OSError) as error:
            self._fail_by(error)

    def settle(self, first: int, end: int) -> None:
        """The driver has committed a piece."""
        self._desk.settle(first, end)

    def retract(self, first: int, end: int, limit: int) -> None:
        """The driver wants the unstarted end of a piece back."""
        self._desk.retract(first, end, limit)

    def forget(self, first: int, end: int) -> None:
        """The driver does not want a piece from here any more."""
        self._desk.forget(first, end)

    def commit_now(self) -> None:
        """Report what is final."""
        self._desk.commit_now()

    def touch(self) -> None:
        """The driver lives."""
        self._silence_s = 0.0

    def close(self, run_shutdown: bool, grace_s: float) -> None:
        """Let the workers end. With work left this is a cancel: then everything is over within `grace_s`."""
        if self._is_closing:
            return
        self._is_closing = True
        self._is_cancel = self._desk.has_open or self._is_failed
        self._deadline = time.monotonic() + (grace_s if self._is_cancel else max(grace_s, self._spec.timeout_s))
        self._deadline += 0 if self._is_cancel else self._limits.exit_s
        self._desk.abort()
        for seat in self._crew.seats:
            if seat.process is None:
                continue
            if seat.state is SeatState.READY and run_shutdown:
                seat.state = SeatState.ENDING
                seat.process.go_on()  # somebody may have stopped it
                seat.tell(Shutdown(run=True))
            else:
                seat.process.kill()

    # ---- workers ------------------------------------------------------------------------------------------------

    def _spawn(self, seat: Seat) -> None:
        process = self._crew.spawn(seat)
        self._leftovers.add(process.pid)
        self._selector.register(process.socket, selectors.EVENT_READ, lambda mask: self._on_socket(seat, process, mask))
        self._selector.register(process.pidfd, selectors.EVENT_READ, lambda mask: self._on_exit(seat, process))

    def _on_socket(self, seat: Seat, process: WorkerProcess, mask: int) -> None:
        if seat.process is not process:
            return  # it died in this same turn, and the seat has its successor already
        process.send_waiting()
        is_open = False
        for message in process.receive():
            is_open = True
            self._take(seat, message)
        if not is_open and mask & selectors.EVENT_READ:
            # Readable and empty is the end: the process is about to go, its pidfd tells the rest.
            self._selector.unregister(process.socket)

    def _take(self, seat: Seat, message: FromWorker) -> None:
        try:
            self._on_message(seat, message)
        except (RunnerError, OSError) as error:
            self._fail_by(error)

    def _on_message(self, seat: Seat, message: FromWorker) -> None:
        if isinstance(message, ToDesk):
            if isinstance(message, Flushed | Failed | RangeDone):
                self._idle_deaths = 0
            self._desk.hear(seat, message)
        elif isinstance(message, Imported):
            seat.state, seat.since = SeatState.INIT, time.monotonic()
        elif isinstance(message, Ready):
            self._on_ready(seat)
        elif isinstance(message, InitFailed):
            seat.init_failed = message
        elif isinstance(message, ShuttingDown):
            seat.in_shutdown_since = time.monotonic()
        elif isinstance(message, ShutdownDone):
            seat.is_done, seat.since = True, time.monotonic()
            if message.what:
                self._logs.write_error(seat.name, f"shutdown(): {message.what}", message.traceback)
                self.fail("SHUTDOWN_FAILED", message.what, message.traceback)
        elif isinstance(message, Broken):
            self.fail(message.reason, message.message, message.traceback)

    def _on_ready(self, seat: Seat) -> None:
        if seat.state is SeatState.ENDING:
            return
        seat.state, seat.since = SeatState.READY, time.monotonic()
        if not self._crew.ever_ready:
            self._crew.ever_ready = True
            self._emit(InstanceReady(instance=self._config.instance, host=socket.gethostname(), pid=os.getpid()))
        self._desk.greet(seat)

    def _on_exit(self, seat: Seat, process: WorkerProcess) -> None:
        """A process has ended: take its last words, end what it left, wait for it, and decide what it costs."""
        if seat.process is not process:
            return
        for message in process.receive():
            self._take(seat, message)
        for watched in (process.socket, process.pidfd):
            if watched in self._selector.get_map():
                self._selector.unregister(watched)
        process.kill()
        if not self._is_closing:
            self._leftovers.end_session(process.pid, self._crew.token_of(seat))
        status = process.wait()
        self._leftovers.forget(process.pid)
        at = self._crew.board.read(seat.slot)
        death = self._crew.bury(seat, status)
        state, seat.state, seat.process = seat.state, SeatState.EMPTY, None
        self._logs.write_main("INFO" if self._is_closing else "WARNING", f"{seat.name}: {death.message}")
        self._logs.end_worker(seat.name)
        if state in (SeatState.STARTING, SeatState.INIT) and not self._is_closing:
            self._on_init_failure(seat, state, death.message)
        elif state is SeatState.READY and not self._is_closing:
            if self._desk.on_death(seat, at, death):
                self._idle_deaths = 0
            else:
                self._count_idle_death(seat, death.message)
        elif state is SeatState.ENDING and not seat.is_done and seat.in_shutdown_since is not None:
            self._on_death_in_shutdown(seat, death.message)
        self._crew.board.clear(seat.slot)
        if not (self._is_closing or self._is_failed) and self._crew.may_respawn():
            self._spawn(seat)

    def _on_init_failure(self, seat: Seat, state: SeatState, death: str) -> None:
        failed = seat.init_failed
        if failed is None:
            is_import = state is SeatState.STARTING
            what = f"{death} while {'the script was imported' if is_import else 'init() ran'}"
            failed = InitFailed(is_import=is_import, what=what, traceback="")
        self._crew.init_failure_count += 1
        self._logs.write_error(
            seat.name, f"{'import' if failed.is_import else 'init()'}: {failed.what}", failed.traceback
        )
        self._emit(
            InitFailure(
                instance=self._config.instance,
                worker=seat.name,
                is_import=failed.is_import,
                what=failed.what,
                traceback=failed.traceback,
                ever_ready=self._crew.ever_ready,
                failure_count=self._crew.init_failure_count,
            )
        )

    def _count_idle_death(self, seat: Seat, death: str) -> None:
        """A worker died and no mini-batch is to blame. That may not go on for ever."""
        self._idle_deaths += 1
        if self._idle_deaths >= 3 * self._config.worker_count + 3:
            what = f"{self._idle_deaths} workers in a row died between mini-batches; the last one, {seat.name}: {death}"
            self.fail("INIT_FAILED", what, "")

    def _on_death_in_shutdown(self, seat: Seat, death: str) -> None:
        if self._is_cancel and time.monotonic() >= self._deadline:
            return  # cut off by the end of the grace period, as it must be
        if seat.condemned is not None or time.monotonic() - (seat.in_shutdown_since or 0) > self._spec.timeout_s:
            death = f"shutdown() took longer than timeout = {self._spec.timeout_s:g} s"
        else:
            death = f"{death} in shutdown()"
        self._logs.write_error(seat.name, death, "")
        self.fail("SHUTDOWN_FAILED", f"{seat.name}: {death}", "")

    # ---- what ends the work -------------------------------------------------------------------------------------

    def on_assembled(self, result: Assembled) -> None:
        """The assembler has done what it was given."""
        error = self._desk.on_assembled(result)
        if error is not None:
            self._fail_by(error)

    def _fail_by(self, error: BaseException) -> None:
        self.fail(*explain(error))

    def fail(self, reason: str, message: str, trace: str) -> None:
        """Say once that the instance cannot go on; the driver will close it."""
        if self._is_failed:
            return
        self._is_failed = True
        logger.warning("instance %d cannot go on: %s: %s", self._config.instance, reason, message)
        self._logs.write_main("ERROR", f"{reason}: {message}")
        self._desk.abort()
        self._emit(InstanceFailed(instance=self._config.instance, reason=reason, message=message, traceback=trace))

    def _check_end(self, now: float) -> None:
        """While closing: kill what takes too long."""
        for seat in self._crew.seats:
            if seat.process is None or seat.condemned is not None:
                continue
            if (
                now >= self._deadline
                or (seat.is_done and now - seat.since > self._limits.exit_s)
                or (seat.in_shutdown_since is not None and now - seat.in_shutdown_since > self._spec.timeout_s)
            ):
                seat.process.kill()
