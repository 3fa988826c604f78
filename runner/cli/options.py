"""What several verbs share: how to reach the jobs, and how to print them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from runner.client.client import Client
    from runner.compose.launch import EarlyDriver

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
