"""Joins the concrete parts: the client with its back end, the driver with its cluster.

The only room that knows both Ray and gRPC; every import is inside the function that needs it, so each program loads
only its own side. `python -m runner.compose drive NAME` is a driver.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from runner.client import client as core
from runner.client.backend import Backend
from runner.entity.lease import InstanceEvent
from runner.entity.parallel import ParallelSpec
from runner.store.home import Home

if TYPE_CHECKING:
    from runner.cluster.base import Cluster

Emit = Callable[[InstanceEvent], None]
Say = Callable[[str], None]


class Client(core.Client):
    """The jobs of this home (`RUNNER_HOME`), or those of a running service.

    Args:
        server: HOST:PORT of a service; by default `RUNNER_SERVER`, and without that the embedded store.
        token: what the service asks for; by default `RUNNER_TOKEN`, else the token file of this home.
    """

    def __init__(self, server: str | None = None, token: str | None = None) -> None:
        home = Home()
        address = server or os.environ.get("RUNNER_SERVER") or None
        super().__init__(_remote(home, address, token) if address else _embedded(home), home)


def _embedded(home: Home) -> Backend:
    from runner.server.jobs import Jobs

    return Jobs(home, lambda name: launch_driver(home, name))


def _remote(home: Home, address: str, token: str | None) -> Backend:
    from runner.client.remote import Remote, find_token

    return Remote(address, token if token is not None else find_token(home))


def serve(listen: str, on_ready: Callable[[str, Path], None]) -> None:
    """Serve the jobs of this home until SIGINT or SIGTERM; `on_ready` gets the address and the token's file."""
    from runner.server.server import serve as run

    home = Home()
    run(
        home,
        lambda name: launch_driver(home, name),
        listen,
        on_ready=lambda address: on_ready(address, home.token_file),
    )


def launch_driver(home: Home, name: str) -> None:
    """Start the driver of a job in a session of its own; it outlives this process."""
    folder = home.job(name)
    talk = folder.logs / "sys" / "driver.txt"
    talk.parent.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, "RUNNER_HOME": str(home.root), "PYTHONUNBUFFERED": "1"}
    with open(talk, "ab") as log:
        process = subprocess.Popen(
            # -P: a folder of the user's that happens to be called like a module must not shadow it.
            [sys.executable, "-P", "-m", "runner.compose", "drive", name],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=environment,
            start_new_session=True,
        )
    # In a notebook this process lives on: without a wait the driver would stay a zombie after its end.
    threading.Thread(target=process.wait, name=f"driver of {name}", daemon=True).start()


def connect_cluster(home: Home, spec: ParallelSpec, emit: Emit, say: Say) -> Cluster:
    """The cluster a job asks for: this process, a configured Ray, or the embedded one of this home."""
    if spec.compute == "local":
        from runner.cluster.local import LocalCluster

        return LocalCluster(emit)
    from runner.cluster.ray import RayCluster

    return RayCluster(emit, home.ray, spec.ray_address, say)


def drive(name: str) -> int:
    """Run job `name` of RUNNER_HOME to its end in this process."""
    import logging
    import signal

    from runner.schedule.driver import Driver

    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s|%(levelname)s|%(process)d|%(name)s|%(message)s", stream=sys.stderr
    )
    home = Home()
    driver = Driver(home, name, lambda spec, emit, say: connect_cluster(home, spec, emit, say))
    signal.signal(signal.SIGTERM, lambda number, frame: driver.cancel())
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    return driver.run()


def main() -> int:
    """The door of the driver's process."""
    if sys.argv[1:2] != ["drive"] or len(sys.argv) != 3:
        sys.stderr.write("usage: python -m runner.compose drive NAME\n")
        return 2
    return drive(sys.argv[2])


if __name__ == "__main__":
    sys.exit(main())
