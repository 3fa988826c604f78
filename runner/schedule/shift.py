"""The loop of a driver: lends leases to instances, commits what they report, and decides when to stop.

A thin shell: what is lent is the lease table's word, when to stop is the policy's, what is done is the journal's.
Events come from any thread into one queue; everything else happens in the thread that calls `run`.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from types import TracebackType

from runner.cluster.base import Cluster, Handle, Placement
from runner.entity.lease import (
    Heartbeat,
    InitFailure,
    InstanceClosed,
    InstanceConfig,
    InstanceEvent,
    InstanceFailed,
    InstanceLost,
    InstanceReady,
    LeaseSplit,
    Report,
    Tally,
)
from runner.entity.parallel import ParallelSpec
from runner.entity.plan import Plan
from runner.errors import ClusterUnavailable, RunnerError, ShutdownFailed, Told
from runner.schedule.commit import Committer
from runner.schedule.leases import LeaseTable
from runner.schedule.policy import Clocks, InitWatch, exceeded_threshold
from runner.schedule.pulse import Pulse

log = logging.getLogger(__name__)

TICK_S = 0.1
LOSSES_IN_A_ROW = 3
"""Instances lost one after the other without a single commit between them: then the job ends."""


class Canceled(Exception):
    """The job was asked to stop."""


@dataclass(slots=True)
class Member:
    """An instance at work."""

    handle: Handle
    config: InstanceConfig
    placement: Placement
    is_ready: bool = False
    live: Tally = field(default_factory=Tally)
    attempts: int = 0
    in_flight: bool = False
    worker_count: int = 0


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
        self._spec, self._plan, self._table, self._committer = spec, plan, table, committer
        self._pulse, self._cancelled = pulse, cancelled
        self._events: queue.SimpleQueue[InstanceEvent] = queue.SimpleQueue()
        self._members: dict[int, Member] = {}
        self._cluster: Cluster | None = None
        self._error: RunnerError | None = None
        self._clocks = Clocks(spec)
        self._inits = InitWatch(0)
        self._losses, self._next_instance = 0, 0
        self.on_progress: Callable[[Tally, int, int], None] = lambda live, instances, workers: None
        self.on_running: Callable[[], None] = lambda: None
        self.on_logs: Callable[[Sequence[tuple[str, bytes]]], None] = lambda chunks: None

    def emit(self, event: InstanceEvent) -> None:
        """Take an event, from any thread."""
        self._events.put(event)

    def __enter__(self) -> Shift:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for member in self._members.values():
            member.handle.kill()
        self._members.clear()

    # ---- the loop ---------------------------------------------------------------------------------------
    def run(self, cluster: Cluster, instances: Sequence[tuple[InstanceConfig, Placement]]) -> None:
        """Start the instances, work until everything is committed, and let them end. Raises what ends the job."""
        self._cluster = cluster
        self._inits = InitWatch(sum(config.worker_count for config, _ in instances))
        self._next_instance = len(instances)
        for config, placement in instances:
            self._start(config, placement)
        while not self._table.is_finished and self._error is None and not self._cancelled.is_set():
            self._turn()
        self._close()
        if self._error is not None:
            raise self._error
        if self._cancelled.is_set():
            raise Canceled

    def _turn(self) -> None:
        self._take(TICK_S)
        now = time.monotonic()
        self._lend(now)
        self._look(now)
        self._show()

    def _start(self, config: InstanceConfig, placement: Placement) -> None:
        assert self._cluster is not None
        handle = self._cluster.start(config, placement)
        self._members[config.instance] = Member(handle, config, placement)
        self._table.join(config.instance, config.worker_count)

    def _take(self, wait_s: float) -> None:
        """React to every event that waits; all reports among them are committed by one fsync."""
        reports: list[Report] = []
        try:
            event = self._events.get(timeout=wait_s)
            while True:
                if isinstance(event, Report):
                    reports.append(event)
                else:
                    # A split announces reports that follow it, a loss ends those before it: so order is kept.
                    self._commit(reports)
                    reports = []
                    self._on(event)
                event = self._events.get_nowait()
        except queue.Empty:
            self._commit(reports)

    def _on(self, event: InstanceEvent) -> None:
        member = self._members.get(event.instance)
        if member is None:
            return
        if isinstance(event, Heartbeat):
            self._on_heartbeat(member, event)
        elif isinstance(event, InstanceReady):
            member.is_ready = True
            self._inits.ready()
            self.on_running()
        elif isinstance(event, LeaseSplit):
            if not self._table.split(event.instance, event.lease, event.pieces):
                log.warning("instance %d splits a lease it does not hold: %s", event.instance, event)
        elif isinstance(event, InitFailure):
            log.warning("init of %s failed: %s", event.worker, event.what)
            self._fail(self._inits.failed(event, self._spec.entry_script))
        elif isinstance(event, InstanceFailed):
            self._fail(_told(event))
        elif isinstance(event, InstanceLost):
            self._on_lost(member, event)
        elif isinstance(event, InstanceClosed):
            self._members.pop(event.instance, None)
            self._table.lose(event.instance)

    def _on_heartbeat(self, member: Member, event: Heartbeat) -> None:
        member.live, member.worker_count = event.live, event.worker_count
        # What is being read is no mini-batch yet.
        member.attempts, member.in_flight = event.attempt_count, any(at.phase != "load" for at in event.in_flight)
        if event.log_chunks:
            self.on_logs(event.log_chunks)

    def _on_lost(self, member: Member, event: InstanceLost) -> None:
        lost = self._table.lose(event.instance)
        log.warning("instance %d is lost: %s; %d leases are pending again", event.instance, event.what, len(lost))
        del self._members[event.instance]
        self._losses += 1
        if self._losses > LOSSES_IN_A_ROW:
            what = f"{self._losses} instances were lost in a row, the last one because {event.what}"
            self._fail(ClusterUnavailable(self._spec.ray_address or "this machine", what, "look at the driver's log"))
        elif self._error is None and not self._cancelled.is_set():
            number, self._next_instance = self._next_instance, self._next_instance + 1
            config = _renumbered(member.config, number)
            self._start(config, _placed(member.placement, number))

    def _commit(self, reports: Sequence[Report]) -> None:
        now = time.monotonic()
        accepted = [r for r in reports if self._table.commit(r.first, r.end, r.epoch, now)]
        if not accepted:
            return
        self._committer.commit(accepted)
        self._losses = 0
        for report in accepted:
            member = self._members.get(report.instance)
            if member is not None:
                member.live = _less(member.live, report.tally)
                member.handle.settle(report.first, report.end)
        book = self._committer.book
        self._fail(exceeded_threshold(self._spec, book.tally, self._plan.mini_batch_count, book.causes.first))

    def _lend(self, now: float) -> None:
        for instance, member in self._members.items():
            while (lease := self._table.lend(instance, now)) is not None:
                member.handle.lend(lease)

    def _look(self, now: float) -> None:
        members = self._members.values()
        for member in members:
            member.handle.touch()
        if any(member.is_ready for member in members):
            attempts = sum(member.attempts for member in members) + self._committer.book.tally.mini_batch_count
            self._clocks.moved(now, attempts, any(member.in_flight for member in members))
            self._fail(self._clocks.late(now))
        else:
            self._clocks.stand()
        if exceeded_threshold(self._spec, self._live_tally(), self._plan.mini_batch_count) is not None:
            for member in members:
                member.handle.commit_now()

    def _live_tally(self) -> Tally:
        return sum((member.live for member in self._members.values()), self._committer.book.tally)

    def _show(self) -> None:
        members = self._members.values()
        live = sum((member.live for member in members), Tally())
        self.on_progress(live, len(members), sum(member.worker_count for member in members))

    def _fail(self, error: RunnerError | None) -> None:
        """The first error stands."""
        if error is not None and self._error is None:
            log.error("%s", error)
            self._error = error

    # ---- the end ----------------------------------------------------------------------------------------
    def _close(self) -> None:
        """Let every instance end, after shutdown() in its workers, and commit what they still report."""
        grace_s = self._spec.cancel_grace_s
        patience_s = self._spec.timeout_s if self._error is None and not self._cancelled.is_set() else grace_s
        until = time.monotonic() + patience_s + 5
        for member in self._members.values():
            member.handle.close(run_shutdown=True, grace_s=grace_s)
        while self._members and time.monotonic() < until:
            self._take(TICK_S)
            for member in self._members.values():
                member.handle.touch()
            self._show()
        if self._members:
            log.warning("instances %s did not close in time and are killed", sorted(self._members))


def _less(live: Tally, committed: Tally) -> Tally:
    """Live counts without those that were just committed; the next heartbeat tells them anew."""
    return Tally(
        mini_batch_count=max(live.mini_batch_count - committed.mini_batch_count, 0),
        failed_mini_batch_count=max(live.failed_mini_batch_count - committed.failed_mini_batch_count, 0),
        item_count=max(live.item_count - committed.item_count, 0),
        failed_item_count=max(live.failed_item_count - committed.failed_item_count, 0),
        row_count=max(live.row_count - committed.row_count, 0),
        failed_by_class={k: max(n - committed.failed_by_class.get(k, 0), 0) for k, n in live.failed_by_class.items()},
    )


def _told(event: InstanceFailed) -> RunnerError:
    if event.reason == ShutdownFailed.reason:
        return ShutdownFailed(event.message, event.traceback)
    return Told(event.reason, event.message, event.traceback)


def _renumbered(config: InstanceConfig, number: int) -> InstanceConfig:
    return replace(config, instance=number, scratch=f"{config.scratch.rpartition('-')[0]}-{number}")


def _placed(placement: Placement, number: int) -> Placement:
    return replace(placement, instance=number)
