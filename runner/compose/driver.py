"""The driver with its cluster; Ray is imported only where a job asks for it."""

from __future__ import annotations

import logging
import signal
import sys
from typing import TYPE_CHECKING, Protocol

from runner.cluster.base import Emit, Say
from runner.entity.parallel import ParallelSpec
from runner.store.home import Home
from runner.store.store import Store

if TYPE_CHECKING:
    from runner.cluster.base import Cluster

LOG_FORMAT = "%(asctime)s|%(levelname)s|%(process)d|%(name)s|%(message)s"


def connect_cluster(home: Home, spec: ParallelSpec, emit: Emit, say: Say) -> Cluster:
    """The cluster a job asks for: this process, a configured Ray, or the embedded one of this home."""
    if spec.compute == "local":
        from runner.cluster.local import LocalCluster

        return LocalCluster(emit)
    from runner.cluster.ray import RayCluster

    return RayCluster(emit, home.ray, spec.ray_address, say)


def drive(name: str) -> int:
    """Run job `name` of RUNNER_HOME to its end in this process."""
    logging.basicConfig(level=logging.INFO, format=LOG_FORMAT, stream=sys.stderr)
    return drive_here(Home(), name)


def nurse(descriptor: int) -> int:
    """Fork drivers for the steps of a pipeline, as its driver asks through a socket, until that closes."""
    logging.basicConfig(level=logging.INFO, format=LOG_FORMAT, stream=sys.stderr)
    import runner.schedule.command  # noqa: F401 - what most steps need, loaded once for all of them
    from runner.pipeline import nursery

    home = Home()
    return nursery.nurse(descriptor, lambda step: drive_here(home, step))


def drive_here(home: Home, name: str) -> int:
    """Run a job of any kind to its end in this process; a forked driver begins here."""
    driver = driver_of(home, name)
    signal.signal(signal.SIGTERM, lambda number, frame: driver.cancel())
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    return driver.run()


class AnyDriver(Protocol):
    """A process that runs one job."""

    def run(self) -> int:
        """Run the job to a terminal status and return its exit code; 0 without a word when another driver runs it."""

    def cancel(self) -> None:
        """Ask for a cancel, as a signal handler does."""


def driver_of(home: Home, name: str) -> AnyDriver:
    """The driver for the job's kind, of which alone the modules are loaded."""
    store = Store(home)
    try:
        kind = store.get(name).type
    finally:
        store.close()
    if kind == "command":
        from runner.schedule.command import CommandDriver

        return CommandDriver(home, name)
    if kind == "pipeline":
        from runner.pipeline.driver import PipelineDriver

        return PipelineDriver(home, name, [sys.executable, "-P", "-m", "runner.compose", "nurse", name])
    from runner.schedule.driver import Driver

    return Driver(home, name, lambda spec, emit, say: connect_cluster(home, spec, emit, say))
