"""The door of the room: one node's share of a job, as the driver or a Ray actor holds it."""

from __future__ import annotations

import threading
from collections.abc import Callable

import msgspec

from runner.entity.lease import InstanceConfig, InstanceEvent, Lease
from runner.entity.parallel import ParallelSpec
from runner.instance.policy import Limits
from runner.instance.supervise import Supervisor
from runner.instance.watch import Watch

_KILL_WAIT_S = 30.0


class Instance:
    """Workers, their leases and their parts. Every call may come from any thread and returns at once, but for `kill`.

    Events go to `emit` from the supervising thread, in order; the last is `InstanceClosed`.
    """

    def __init__(
        self, config: InstanceConfig, emit: Callable[[InstanceEvent], None], limits: Limits | None = None
    ) -> None:
        spec = msgspec.json.decode(config.spec_json, type=ParallelSpec)
        self._supervisor = Supervisor(config, spec, limits or Limits(), emit)
        self._thread = threading.Thread(target=self._supervisor.run, name=f"instance-{config.instance}", daemon=True)

    def start(self) -> None:
        """Begin: the workers import the script and run its `init()`."""
        self._thread.start()

    def lend(self, lease: Lease) -> None:
        """Have a range of mini-batches run; the plan must be on disk."""
        self._supervisor.command(lambda watch: watch.lend(lease))

    def settle(self, first: int, end: int) -> None:
        """Say that the driver has committed a reported range, so its spool and ledger may go."""
        self._supervisor.command(lambda watch: watch.settle(first, end))

    def retract(self, first: int, end: int, limit: int) -> None:
        """Take back what nobody has begun of [limit, end) of a piece; `LeaseCut` is the answer."""
        self._supervisor.command(lambda watch: watch.retract(first, end, limit))

    def forget(self, first: int, end: int) -> None:
        """Say that nobody wants a range from here any more: what is left of it is not run, and not reported."""
        self._supervisor.command(lambda watch: watch.forget(first, end))

    def commit_now(self) -> None:
        """Have everything reported that is final."""
        self._supervisor.command(Watch.commit_now)

    def touch(self) -> None:
        """Show that the driver lives."""
        self._supervisor.command(Watch.touch)

    def close(self, run_shutdown: bool, grace_s: float) -> None:
        """Let the workers end, after `shutdown()` if asked for.

        With leases still open this is a cancel, and everything is over within `grace_s`; else `shutdown()` may take
        as long as the job's `timeout`.
        """
        self._supervisor.command(lambda watch: watch.close(run_shutdown, grace_s))

    def kill(self) -> None:
        """End at once; when this returns nothing is left, and no event comes any more."""
        self._supervisor.kill()
        if self._thread.is_alive() and threading.current_thread() is not self._thread:
            self._thread.join(_KILL_WAIT_S)

    def join(self, timeout_s: float | None = None) -> bool:
        """Wait until nothing is left; False when that took too long."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()
