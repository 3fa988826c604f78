"""Where the processes of one instance of a command run, as the others have to know it."""

from __future__ import annotations

import socket
from contextlib import ExitStack
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Seat:
    """One instance of a command."""

    host: str
    """As a user would know the machine."""
    address: str
    """Where the others reach it."""
    ports: tuple[int, ...]
    """Free when they were looked for, and all different."""


def free_ports(count: int) -> tuple[int, ...]:
    """Ports that nobody listens on now."""
    with ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("", 0))
        return tuple(one.getsockname()[1] for one in sockets)
