"""What several verbs share: how to reach the jobs, and how to print them."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from runner.client.client import Client
    from runner.compose.launch import EarlyDriver
    from runner.entity.asset import Asset, AssetKind
    from runner.entity.job import OutputState
    from runner.spec.places import Places

F = TypeVar("F", bound=Callable[..., Any])

server_option = click.option(
    "--server",
    metavar="HOST:PORT",
    envvar="RUNNER_SERVER",
    help="A running service; by default the jobs of RUNNER_HOME.",
)
name_argument = click.argument("name")


def output_option(*formats: str) -> Callable[[F], F]:
    """`--output`, text unless another of the formats is asked for."""
    return click.option("--output", "form", type=click.Choice(["text", *formats]), default="text", help="How to print.")


def connect(server: str | None, early: EarlyDriver | None = None) -> Client:
    """The jobs of this home, or those behind a service; a driver that was started early takes the first job made."""
    from runner.compose.client import Client

    return Client(server) if early is None else Client(server, launch=early.launch)


class Registered:
    """Looks registered names up where the jobs are; a file that uses none opens no store and no connection."""

    def __init__(self, server: str | None) -> None:
        self._server = server
        self._client: Client | None = None

    def asset(self, kind: AssetKind, name: str, version: str = "latest") -> Asset:
        """A registered asset. AssetNotFound when there is none."""
        return self._connected().backend.asset(kind, name, version)

    def outputs(self, job: str) -> tuple[OutputState, ...]:
        """The outputs of a job. JobNotFound when there is none."""
        return self._connected().backend.outputs(job)

    def _connected(self) -> Client:
        if self._client is None:
            self._client = connect(self._server)
        return self._client


def checking_places(server: str | None) -> Places:
    """Where names lead while a file is checked: the configuration of this home, and what is registered."""
    from runner.spec.places import Places
    from runner.store.home import Home

    return replace(Places.read(Home().root, os.environ), catalog=Registered(server))
