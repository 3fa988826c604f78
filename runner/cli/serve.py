"""The verb that serves the jobs of this home over gRPC."""

from __future__ import annotations

from pathlib import Path

import click

from runner.cli.render import say


@click.command()
@click.option(
    "--listen", metavar="HOST:PORT", default="127.0.0.1:0", help="A loopback address; port 0 takes a free one."
)
def serve(listen: str) -> None:
    """Serve the jobs of RUNNER_HOME until it is interrupted, and resume those that lose their driver."""
    from runner.compose.client import serve as run

    def ready(address: str, token_file: Path) -> None:
        click.echo(f"serving on {address}")
        say(f"the token is in {token_file}; clients on this machine find it there, others in RUNNER_TOKEN")

    run(listen, ready)
