"""The address of a configured Ray: which forms are meant, and whether anything answers there.

Ray itself hangs for minutes where nothing answers, and takes a wrong token for a missing cluster; so ask first.
"""

from __future__ import annotations

import os
import re
import socket
from collections.abc import MutableMapping

from runner.errors import ArgumentInvalid, ClusterUnavailable

PROBE_S = 3.0
_ARGUMENT = "Ray address"
_WRITE = "write HOST:PORT of the head's GCS, as `ray start --head` prints it, for example 10.0.0.5:6379"


def split_address(address: str) -> tuple[str, int]:
    """Host and port of an address in the only form that works; the others are refused with it."""
    scheme = re.match(r"([a-z][a-z0-9+.-]*)://", address, re.IGNORECASE)
    if scheme and scheme[1].lower() == "ray":
        raise ArgumentInvalid(_ARGUMENT, f"{address} is a Ray client's address, which cannot carry a job; {_WRITE}")
    if scheme and scheme[1].lower() in ("http", "https"):
        raise ArgumentInvalid(_ARGUMENT, f"{address} is the address of a dashboard; {_WRITE}")
    if scheme:
        raise ArgumentInvalid(_ARGUMENT, f"{address} begins with {scheme[0]}; {_WRITE}")
    if address.lower() in ("auto", "local"):
        raise ArgumentInvalid(_ARGUMENT, f"{address!r} names no cluster; {_WRITE}, or nothing for an embedded Ray")
    host, _, port = address.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not re.fullmatch(r"\d{1,5}", port) or not 0 < int(port) < 65536:
        raise ArgumentInvalid(_ARGUMENT, f"{address!r} is not of the form HOST:PORT; {_WRITE}")
    return host, int(port)


def answers(address: str, within_s: float = PROBE_S) -> str:
    """Empty when something takes a connection there, else why not."""
    try:
        socket.create_connection(split_address(address), timeout=within_s).close()
    except TimeoutError:
        return f"no answer within {within_s:g} s"
    except OSError as error:
        return (error.strerror or str(error)).lower()
    return ""


def probe(address: str) -> None:
    """Refuse an address where nothing answers within 3 s."""
    if why := answers(address):
        raise ClusterUnavailable(
            address,
            why,
            "start it, or correct the address (RAY_ADDRESS or the configuration); none means an embedded Ray",
        )


def keep_from_proxies(address: str, environment: MutableMapping[str, str] = os.environ) -> None:
    """Let no proxy of the environment catch what goes to this address or to loopback."""
    hosts = [split_address(address)[0], "127.0.0.1", "localhost"]
    for name in ("no_proxy", "NO_PROXY", "no_grpc_proxy"):
        listed = [host for host in environment.get(name, "").split(",") if host]
        environment[name] = ",".join([*listed, *(host for host in hosts if host not in listed)])
