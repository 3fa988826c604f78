"""The driver with its cluster; Ray is imported only where a job asks for it."""

from __future__ import annotations

import logging
import signal
import sys
from typing import TYPE_CHECKING

from runner.cluster.base import Emit, Say
from runner.entity.parallel import ParallelSpec
from runner.schedule.driver import Driver
from runner.store.home import Home

if TYPE_CHECKING:
    from runner.cluster.base import Cluster


def connect_cluster(home: Home, spec: ParallelSpec, emit: Emit, say: Say) -> Cluster:
    """The cluster a job asks for: this process, a configured Ray, or the embedded one of this home."""
    if spec.compute == "local":
        from runner.cluster.local import LocalCluster

        return LocalCluster(emit)
    from runner.cluster.ray import RayCluster

    return RayCluster(emit, home.ray, spec.ray_address, say)


def drive(name: str) -> int:
    """Run job `name` of RUNNER_HOME to its end in this process."""
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s|%(levelname)s|%(process)d|%(name)s|%(message)s", stream=sys.stderr
    )
    home = Home()
    driver = Driver(home, name, lambda spec, emit, say: connect_cluster(home, spec, emit, say))
    signal.signal(signal.SIGTERM, lambda number, frame: driver.cancel())
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    return driver.run()
