"""What the driver may ask of a cluster, whichever kind it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from runner.entity.lease import InstanceConfig, InstanceEvent, Lease
from runner.entity.parallel import ParallelSpec

Emit = Callable[[InstanceEvent], None]
"""Takes events of any instance, from any thread, and returns soon."""

Say = Callable[[str], None]
"""Takes one line for the user: a notice, or what is being waited for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """One instance of a job and where it will run."""

    instance: int
    host: str
    """The name or address of the machine, as a user would know it."""
    node: str
    """The cluster's own word for it; empty in this process."""
    worker_count: int
    gpu_ids: tuple[str, ...] = ()
    """Known here only in this process; an actor learns its own from Ray."""
    cpu_count: int = 0
    """Cores that are reserved for it."""
    gpu_count: float = 0.0


class Handle(Protocol):
    """One instance as the driver sees it. Every call returns soon and may come from any thread.

    What the instance says comes through the cluster's `emit`, in the order in which it said it. An instance that is
    gone without having closed is said to be lost (`InstanceLost`), once, after its workers can do no more harm.
    """

    @property
    def instance(self) -> int: ...

    def lend(self, lease: Lease) -> None: ...

    def settle(self, first: int, end: int) -> None:
        """Tell that [first, end) is committed, so its spool may go."""

    def retract(self, first: int, end: int, limit: int) -> None:
        """Ask for what nobody has begun of [limit, end) of the piece [first, end); `LeaseCut` is the answer."""

    def forget(self, first: int, end: int) -> None:
        """Tell that nobody wants [first, end) from this instance any more: another copy of it was faster."""

    def commit_now(self) -> None:
        """Ask for reports of all that is final now."""

    def close(self, run_shutdown: bool, grace_s: float) -> None:
        """Let the workers end, after `shutdown()` if asked for; `InstanceClosed` is the answer."""

    def kill(self) -> None:
        """End the instance and its workers now. No event of it is emitted after this has returned."""

    def touch(self) -> None:
        """Show the instance that its driver lives."""


class Cluster(Protocol):
    """A place for instances. Made with the `emit` that takes their events."""

    def place(self, spec: ParallelSpec, say: Say) -> tuple[Placement, ...]:
        """Choose where the instances of a job run; refuse what can never be had, with the numbers."""

    def start(self, config: InstanceConfig, placement: Placement) -> Handle:
        """Begin an instance and return at once, even when the cluster has no room for it yet."""

    def close(self) -> None:
        """Kill what still lives and let go of the cluster. May be called twice."""
