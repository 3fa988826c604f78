"""The workers of an instance: one seat for each, filled again when its process dies.

A seat's process goes through STARTING (importing the script), INIT, READY, ENDING. Deaths before READY are failures of
`init()`; later ones are the desk's business, which blames them on what the board says.
To enforce a time limit the worker is stopped, its slot is read again, and only if it is still at the same call is it
killed; else it goes on. At its death the slot is read once more, so a call that ended meanwhile is never charged.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from enum import Enum

from runner.dispatch._board import LOAD, RETURN, RUN, Board, Slot
from runner.entity.lease import InFlight, InstanceConfig
from runner.entity.parallel import ParallelSpec
from runner.entity.status import FailureClass
from runner.instance.environment import worker_environment
from runner.instance.log_files import LogFiles
from runner.instance.memory import OomWatch
from runner.instance.tenure import Tenure
from runner.instance.worker_process import WorkerProcess, say_status
from runner.worker.messages import InitFailed, Setup, ToWorker

PHASES = {LOAD: "load", RUN: "run", RETURN: "return"}
INIT_FAILURES_PER_WORKER = 3
OUT_OF_MEMORY = "OutOfMemory"
OOM_LOOK_S = 0.5
LONG_NS = 500_000_000
"""A call that takes longer is waited for by nothing but itself."""


class SeatState(Enum):
    """How far the process in a seat has got."""

    EMPTY = "empty"
    STARTING = "starting"
    INIT = "init"
    READY = "ready"
    ENDING = "ending"


@dataclass(frozen=True, slots=True)
class Death:
    """Why a process ended, as its mini-batch is told."""

    cls: FailureClass
    exception_type: str
    message: str

    @property
    def is_out_of_memory(self) -> bool:
        """Whether the kernel has ended it for want of memory."""
        return self.exception_type == OUT_OF_MEMORY


@dataclass(slots=True, eq=False)
class Seat:
    """A place for one worker; its number is the slot on the board and in the ledgers."""

    slot: int
    state: SeatState = SeatState.EMPTY
    process: WorkerProcess | None = None
    name: str = ""
    since: float = 0.0
    """When the present state began."""
    suspects: list[tuple[Tenure, int]] = field(default_factory=list)
    """Mini-batches claimed for the next process in this seat, to be run alone."""
    init_failed: InitFailed | None = None
    condemned: tuple[Slot, Death] | None = None
    """What it was doing when it was killed for taking too long."""
    in_shutdown_since: float | None = None
    is_done: bool = False
    """Has said that its shutdown() is over."""

    @property
    def is_working(self) -> bool:
        """Whether it can be told of leases."""
        return self.state is SeatState.READY

    def tell(self, message: ToWorker) -> None:
        """Send a message to the process, if there is one."""
        if self.process is not None:
            self.process.send(message)


class Crew:
    """Spawns, watches and ends the processes in the seats."""

    def __init__(
        self,
        config: InstanceConfig,
        spec: ParallelSpec,
        board: Board,
        *,
        board_path: str,
        spec_path: str,
        token: str,
        logs: LogFiles,
    ) -> None:
        self._config, self._spec, self.board = config, spec, board
        self._board_path, self._spec_path, self._token, self._logs = board_path, spec_path, token, logs
        self.seats = [Seat(slot) for slot in range(config.worker_count)]
        self._serial = 0
        self._oom = OomWatch()
        self._looked_at = 0.0
        self.init_failure_count = 0
        self.ever_ready = False

    @property
    def working(self) -> list[Seat]:
        """Seats whose workers take leases."""
        return [seat for seat in self.seats if seat.is_working]

    @property
    def is_empty(self) -> bool:
        """Whether no process is left."""
        return all(seat.process is None for seat in self.seats)

    def token_of(self, seat: Seat) -> str:
        """What marks the processes that the worker in this seat starts."""
        return f"{self._token}.{seat.name}"

    def spawn(self, seat: Seat) -> WorkerProcess:
        """Put a new process into an empty seat. Only from the supervising thread: the process dies with it."""
        serial, self._serial = self._serial, self._serial + 1
        seat.name = f"process{serial:03d}"
        environment = worker_environment(
            os.environ,
            self._config,
            self._spec,
            slot=seat.slot,
            name=seat.name,
            token=self.token_of(seat),
            entry_logs=self._logs.entry_logs,
        )
        stdout, stderr = self._logs.open_worker(seat.name)
        try:
            process = WorkerProcess(
                cwd=self._spec.code or os.getcwd(),
                environment=environment,
                stdout=stdout,
                stderr=stderr,
                setup=Setup(
                    spec_path=self._spec_path,
                    plan_path=self._config.plan_path,
                    board_path=self._board_path,
                    slot=seat.slot,
                    serial=serial,
                ),
            )
        finally:
            os.close(stdout)
            os.close(stderr)
        seat.process, seat.state, seat.since = process, SeatState.STARTING, time.monotonic()
        seat.init_failed = seat.condemned = seat.in_shutdown_since = None
        seat.is_done = False
        self._logs.write_main("INFO", f"{seat.name}: started as pid {process.pid} in slot {seat.slot}")
        return process

    def may_respawn(self) -> bool:
        """Whether init() has not failed too often for another try."""
        return self.init_failure_count < INIT_FAILURES_PER_WORKER * self._config.worker_count

    def check_limits(self, now: float) -> None:
        """Kill what takes longer than the job allows."""
        if now - self._looked_at >= OOM_LOOK_S:
            self._looked_at = now
            self._oom.look(now)
        for seat in self.seats:
            if seat.process is None:
                continue
            if seat.state in (SeatState.STARTING, SeatState.INIT):
                if now - seat.since > self._spec.init_timeout_s and seat.init_failed is None:
                    self._end_init(seat)
            elif seat.condemned is None and seat.in_shutdown_since is None:
                self._check_call(seat)

    def _end_init(self, seat: Seat) -> None:
        assert seat.process is not None
        is_import = seat.state is SeatState.STARTING
        what = "the import of the script" if is_import else "init()"
        what += f" took longer than {self._spec.init_timeout_s:g} s (3 x timeout + 30 s)"
        seat.init_failed = InitFailed(is_import=is_import, what=what, traceback="")
        seat.process.kill()

    def _check_call(self, seat: Seat) -> None:
        before = self.board.read(seat.slot)
        death = self._overdue(before)
        if death is None or seat.process is None:
            return
        seat.process.stop()
        if _same_call(before, self.board.read(seat.slot)):
            seat.condemned = (before, death)
            seat.process.kill()
        else:
            seat.process.go_on()

    def _overdue(self, slot: Slot) -> Death | None:
        """What to charge if the call at hand takes too long."""
        elapsed = (time.monotonic_ns() - slot.started_ns) / 1e9
        if slot.phase in (RUN, RETURN) and elapsed > self._spec.timeout_s:
            what = "run()" if slot.phase == RUN else "taking over what run() returned"
            text = f"{what} took longer than timeout = {self._spec.timeout_s:g} s; the worker was killed"
            return Death(FailureClass.TIMEOUT, "TimeoutError", text)
        if slot.phase == LOAD and elapsed > self._spec.task_overhead_timeout_s:
            limit = f"task_overhead_timeout = {self._spec.task_overhead_timeout_s:g} s"
            return Death(FailureClass.READ, "TimeoutError", f"reading took longer than {limit}; the worker was killed")
        return None

    def bury(self, seat: Seat, status: int) -> Death:
        """Say why the process that has just been waited for ended."""
        if seat.condemned is not None:
            return seat.condemned[1]
        if status == -9 and self._oom.has_killed(time.monotonic()):
            text = "the worker was killed by SIGKILL because memory ran out (the cgroup counts an oom_kill)"
            return Death(FailureClass.CRASH, OUT_OF_MEMORY, text + "; use smaller mini-batches or fewer workers")
        return Death(FailureClass.CRASH, "WorkerDied", f"the worker process {say_status(status)}")

    def is_charged(self, seat: Seat, at_death: Slot) -> bool:
        """Whether what the worker was killed for is what it was still doing when it died."""
        return seat.condemned is None or _same_call(seat.condemned[0], at_death)

    def long_calls(self) -> set[int]:
        """Mini-batches whose calls take so long that nothing waits for them."""
        now = time.monotonic_ns()
        slots = [self.board.read(seat.slot) for seat in self.seats if seat.process is not None]
        return {slot.mini_batch for slot in slots if slot.phase in (RUN, RETURN) and now - slot.started_ns > LONG_NS}

    def in_flight(self) -> tuple[InFlight, ...]:
        """What the workers have at hand."""
        found = []
        now = time.monotonic_ns()
        for seat in self.seats:
            if seat.process is not None:
                slot = self.board.read(seat.slot)
                if slot.mini_batch >= 0 and slot.phase in PHASES:
                    running_s = max(now - slot.started_ns, 0) / 1e9
                    phase = PHASES[slot.phase]
                    found.append(
                        InFlight(worker=seat.name, phase=phase, mini_batch=slot.mini_batch, running_s=running_s)
                    )
        return tuple(found)


def _same_call(before: Slot, after: Slot) -> bool:
    return (before.phase, before.mini_batch, before.started_ns, before.call_number) == (
        after.phase,
        after.mini_batch,
        after.started_ns,
        after.call_number,
    )
