"""The client with its back end, and the service: each loads the other side of its wire only when it is asked for."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from runner.client import client as core
from runner.client.backend import Backend
from runner.compose.launch import launch_driver
from runner.store.home import Home


class Client(core.Client):
    """The jobs of this home (`RUNNER_HOME`), or those of a running service.

    Args:
        server: HOST:PORT of a service; by default `RUNNER_SERVER`, and without that the embedded store.
        token: what the service asks for; by default `RUNNER_TOKEN`, else the token file of this home.
        launch: starts the driver of a job that was made here.
    """

    def __init__(
        self,
        server: str | None = None,
        token: str | None = None,
        *,
        launch: Callable[[Home, str], None] = launch_driver,
    ) -> None:
        home = Home()
        address = server or os.environ.get("RUNNER_SERVER") or None
        super().__init__(_remote(home, address, token) if address else _embedded(home, launch), home)


def _embedded(home: Home, launch: Callable[[Home, str], None]) -> Backend:
    from runner.server.jobs import Jobs

    return Jobs(home, lambda name: launch(home, name))


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
