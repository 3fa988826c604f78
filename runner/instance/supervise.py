"""The supervising thread of an instance: builds everything, keeps watch, and takes everything down again.

It spawns the workers, because the kernel ends them when the thread that made them ends, and everything else that
changes the instance's state happens in it too. Other threads put commands into a queue and wake it.
"""

from __future__ import annotations

import logging
import os
import queue
import selectors
import threading
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from runner.dispatch._board import Board
from runner.entity.lease import InstanceClosed, InstanceConfig, InstanceEvent, InstanceFailed
from runner.entity.parallel import ParallelSpec
from runner.instance.assemble import Assembled
from runner.instance.crew import Crew
from runner.instance.desk import Desk
from runner.instance.explain import explain
from runner.instance.folders import OwnedFolder
from runner.instance.leftovers import Leftovers
from runner.instance.log_files import LogFiles
from runner.instance.policy import Limits
from runner.instance.watch import Watch

logger = logging.getLogger(__name__)

Command = Callable[[Watch], None]


class Supervisor:
    """Runs in the thread that calls `run`, until the last worker has ended."""

    def __init__(
        self, config: InstanceConfig, spec: ParallelSpec, limits: Limits, emit: Callable[[InstanceEvent], None]
    ) -> None:
        self._config, self._spec, self._limits, self._emit_out = config, spec, limits, emit
        self._commands: queue.SimpleQueue[Command] = queue.SimpleQueue()
        self._wake_fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._wake_lock = threading.Lock()
        self._watch: Watch | None = None
        self._is_killed = False

    # ---- from other threads -------------------------------------------------------------------------------------

    def command(self, what: Command) -> None:
        """Have something done by the supervising thread."""
        self._commands.put(what)
        self._wake()

    def kill(self) -> None:
        """End at once and say nothing more."""
        self._is_killed = True
        self._wake()

    def _wake(self) -> None:
        # Under the lock, since a number that was closed may belong to another file by now: a wake-up would be written
        # into somebody's output.
        with self._wake_lock:
            if self._wake_fd >= 0:
                os.eventfd_write(self._wake_fd, 1)

    def _close_wake_fd(self) -> None:
        with self._wake_lock:
            os.close(self._wake_fd)
            self._wake_fd = -1

    # ---- in the supervising thread ------------------------------------------------------------------------------

    def run(self) -> None:
        """The life of the instance. Whatever happens, no process and no shared memory is left."""
        with ExitStack() as undo:
            undo.callback(self._close_wake_fd)
            try:
                watch = self._watch = self._build(undo)
                watch.begin()
                while not (self._is_killed or watch.is_over):
                    watch.turn()
            except BaseException as error:  # noqa: BLE001 - the edge of the thread
                self._fail(error)
        self._emit(InstanceClosed(instance=self._config.instance))

    def _build(self, undo: ExitStack) -> Watch:
        """Make folders, reaper, crew and desk; `undo` takes what ends them, in reverse."""
        config, spec, limits = self._config, self._spec, self._limits
        shared = OwnedFolder(Path("/dev/shm"), f"runner-{os.getuid()}")
        undo.callback(shared.close)
        scratch = OwnedFolder(Path(config.scratch), "spool")
        undo.callback(_remove_if_empty, config.scratch)
        undo.callback(scratch.close)
        spec_path, board_path = scratch.path / "spec.json", str(shared.path / "board")
        spec_path.write_bytes(config.spec_json)
        logs = LogFiles(Path(config.logs), f"node-{config.instance:03d}", limits, ship=config.ship_logs)
        board = Board.create(board_path, config.worker_count)
        undo.callback(board.close)
        selector = undo.enter_context(selectors.DefaultSelector())
        selector.register(self._wake_fd, selectors.EVENT_READ, self._on_wake)
        crew = Crew(
            config,
            spec,
            board,
            board_path=board_path,
            spec_path=str(spec_path),
            token=shared.token,
            logs=logs,
        )
        desk = Desk(
            config,
            spec,
            limits,
            crew,
            logs,
            ledgers=shared.path,
            spool=scratch.path,
            emit=self._emit,
            done=self._on_assembled,
        )
        undo.callback(desk.close)
        leftovers = Leftovers(shared.token)
        watch = Watch(
            config,
            spec,
            limits,
            crew=crew,
            desk=desk,
            logs=logs,
            leftovers=leftovers,
            selector=selector,
            obey=self._obey,
            emit=self._emit,
        )
        undo.callback(watch.end_workers)
        return watch

    def _obey(self) -> None:
        assert self._watch is not None
        while True:
            try:
                command = self._commands.get_nowait()
            except queue.Empty:
                return
            command(self._watch)

    def _on_wake(self, mask: int) -> None:
        try:
            os.eventfd_read(self._wake_fd)
        except BlockingIOError:
            pass

    def _on_assembled(self, result: Assembled) -> None:
        """In the assembler's thread."""
        self.command(partial(Watch.on_assembled, result=result))

    def _fail(self, error: BaseException) -> None:
        reason, message, trace = explain(error)
        logger.error("instance %d failed: %s: %s\n%s", self._config.instance, reason, message, trace)
        if self._watch is not None:
            self._watch.fail(reason, message, trace)
        else:
            self._emit(InstanceFailed(instance=self._config.instance, reason=reason, message=message, traceback=trace))

    def _emit(self, event: InstanceEvent) -> None:
        if self._is_killed:
            return
        try:
            self._emit_out(event)
        except Exception:
            logger.exception("instance %d: an event could not be delivered", self._config.instance)


def _remove_if_empty(folder: str) -> None:
    try:
        os.rmdir(folder)
    except OSError:
        pass  # not ours alone
