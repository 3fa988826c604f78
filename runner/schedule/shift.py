"""The loop of a driver: takes events from instances, has the core decide, and carries out what it decides.

A thin shell: every decision is made by `core`; what is done is the journal's word.
Events come from any thread into one queue; everything else happens in the thread that calls `run`.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from types import TracebackType

from runner.cluster.base import Cluster, Handle, Placement
from runner.entity.lease import Heartbeat, InstanceClosed, InstanceConfig, InstanceEvent, InstanceLost, Tally
from runner.entity.parallel import ParallelSpec
from runner.entity.plan import Plan
from runner.schedule.actions import (
    Action,
    Close,
    CommitNow,
    Forget,
    Kill,
    Lend,
    Retract,
    Run,
    Settle,
    Start,
    Tell,
    Touch,
)
from runner.schedule.cancel import Canceled
from runner.schedule.commit import Committer
from runner.schedule.core import Core
from runner.schedule.leases import LeaseTable
from runner.schedule.pulse import Pulse

log = logging.getLogger(__name__)

TICK_S = 0.1
SHOW_S = 0.1
BATCH_LIMIT = 1000
"""Events taken before time has its turn."""


@dataclass(frozen=True, slots=True)
class _Place:
    config: InstanceConfig
    placement: Placement


class Shift:
    """Everything between the first instance's start and the last one's end."""

    def __init__(
        self,
        spec: ParallelSpec,
        plan: Plan,
        table: LeaseTable,
        committer: Committer,
        pulse: Pulse,
        cancelled: threading.Event,
    ) -> None:
        self._committer, self._pulse, self._cancelled = committer, pulse, cancelled
        self._core = Core(spec, plan, table, committer.book, since_1970=time.time() - time.monotonic())
        self._events: queue.SimpleQueue[InstanceEvent] = queue.SimpleQueue()
        self._handles: dict[int, Handle] = {}
        self._places: dict[int, _Place] = {}
        self._cluster: Cluster | None = None
        self._shown_at = 0.0
        self.on_progress: Callable[[Tally, int, int], None] = lambda live, instances, workers: None
        self.on_running: Callable[[], None] = lambda: None
        self._has_told_error = False
        self.on_logs: Callable[[Sequence[tuple[str, bytes]]], None] = lambda chunks: None

    def emit(self, event: InstanceEvent) -> None:
        """Take an event, from any thread."""
        self._events.put(event)

    def __enter__(self) -> Shift:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for handle in self._handles.values():
            handle.kill()
        self._handles.clear()

    def run(self, cluster: Cluster, instances: Sequence[tuple[InstanceConfig, Placement]]) -> None:
        """Start the instances, work until everything is committed, and let them end. Raises what ends the job."""
        self._cluster = cluster
        self._places = {config.instance: _Place(config, placement) for config, placement in instances}
        self._do(self._core.begin([config.worker_count for config, _ in instances], time.monotonic()))
        while not self._core.is_over:
            self._turn()
        if self._core.error is not None:
            raise self._core.error
        if self._cancelled.is_set():
            raise Canceled

    def _turn(self) -> None:
        self._take()
        if self._cancelled.is_set():
            self._core.cancel()
        if reports := self._core.take_commit():
            self._committer.commit(reports)
            self._do(self._core.on_committed())
        now = time.monotonic()
        self._do(self._core.tick(now))
        self._tell_error()
        if now - self._shown_at >= SHOW_S:
            self._shown_at = now
            roster = self._core.roster
            self.on_progress(roster.live, len(roster.members), roster.alive_worker_count)

    def _tell_error(self) -> None:
        """Once, and at once: closing what still runs may take long."""
        if self._core.error is not None and not self._has_told_error:
            self._has_told_error = True
            log.error("%s", self._core.error)

    def _take(self) -> None:
        """Take every event that waits; all reports among them are then committed by one fsync."""
        try:
            event = self._events.get(timeout=TICK_S)
            for _ in range(BATCH_LIMIT):
                if isinstance(event, Heartbeat) and event.log_chunks and event.instance in self._core.roster.members:
                    self.on_logs(event.log_chunks)
                self._do(self._core.on(event, time.monotonic()))
                if isinstance(event, (InstanceLost, InstanceClosed)):
                    self._handles.pop(event.instance, None)
                event = self._events.get_nowait()
        except queue.Empty:
            pass

    def _do(self, actions: Sequence[Action]) -> None:
        for action in actions:
            self._carry_out(action)

    def _carry_out(self, action: Action) -> None:
        if isinstance(action, Tell):
            log.warning("%s", action.text)
        elif isinstance(action, Run):
            self.on_running()
        elif isinstance(action, Start):
            self._start(action)
        elif (handle := self._handles.get(action.instance)) is not None:
            _tell(handle, action)

    def _start(self, action: Start) -> None:
        assert self._cluster is not None
        place = self._places[action.like]
        config, placement = place.config, place.placement
        if action.instance != action.like:
            config, placement = _renumbered(config, action.instance), replace(placement, instance=action.instance)
        self._handles[action.instance] = self._cluster.start(config, placement)


def _tell(handle: Handle, action: Lend | Settle | Forget | Retract | CommitNow | Touch | Close | Kill) -> None:
    if isinstance(action, Lend):
        handle.lend(action.lease)
    elif isinstance(action, Settle):
        handle.settle(action.first, action.end)
    elif isinstance(action, Forget):
        handle.forget(action.first, action.end)
    elif isinstance(action, Retract):
        handle.retract(action.first, action.end, action.limit)
    elif isinstance(action, CommitNow):
        handle.commit_now()
    elif isinstance(action, Touch):
        handle.touch()
    elif isinstance(action, Close):
        handle.close(run_shutdown=True, grace_s=action.grace_s)
    else:
        handle.kill()


def _renumbered(config: InstanceConfig, number: int) -> InstanceConfig:
    return replace(config, instance=number, scratch=f"{config.scratch.rpartition('-')[0]}-{number}")
