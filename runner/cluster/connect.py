"""Connecting this process to a Ray that runs, quietly, and telling plainly why it cannot be.

Ray takes half a minute to say "Failed to connect" for a wrong token, for something that is not Ray, and for nothing at
all, so each is looked for before Ray is asked.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from collections.abc import Callable
from typing import Any

from runner.cluster.address import keep_from_proxies, probe
from runner.errors import ClusterUnavailable

LIMIT_S = 60.0
GREETING_S = 10.0
_TOKEN_REMEDY = "set RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN_PATH to a file with the cluster's token"


class Connection:
    """This process as a driver of one Ray; there is at most one at a time."""

    def __init__(self, address: str, token_path: str | None = None) -> None:
        """Connect, within bounds; environment variables that must change are put back by `close`."""
        self.address = address
        self._before = dict(os.environ)
        probe(address)
        keep_from_proxies(address)
        os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
        # Ray ends the whole process when the head is gone for a minute; whether the job goes on is not its business.
        os.environ["RAY_gcs_rpc_server_reconnect_timeout_s"] = "86400"  # noqa: SIM112 - Ray's spelling
        if token_path is not None:
            _use_token(token_path)
        try:
            _settle_token(address)
            self.ray = _clean_ray()
            _greet(address)
            _within(LIMIT_S, address, self._init)
        except BaseException:
            self._restore()
            raise

    def _init(self) -> None:
        hook = sys.excepthook
        try:
            self.ray.init(
                address=self.address,
                namespace=f"runner-{os.getpid()}",
                log_to_driver=False,
                configure_logging=False,
                logging_level=logging.CRITICAL,
            )
        finally:
            sys.excepthook = hook

    def close(self) -> None:
        """Disconnect; actors of this process end with it."""
        try:
            self.ray.shutdown()
        finally:
            self._restore()

    def _restore(self) -> None:
        for name in set(os.environ) - set(self._before):
            del os.environ[name]
        os.environ.update(self._before)


def _use_token(path: str) -> None:
    """Let this process show the token in this file, and no other."""
    os.environ.pop("RAY_AUTH_TOKEN", None)
    os.environ["RAY_AUTH_MODE"] = "token"
    os.environ["RAY_AUTH_TOKEN_PATH"] = path


def import_ray() -> None:
    """Load Ray, which takes half a second; it must not take over our signals."""
    handler = signal.getsignal(signal.SIGTERM)
    import ray  # noqa: F401

    logging.getLogger("ray").setLevel(logging.CRITICAL)  # importing it has set another level
    if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) is not handler:
        signal.signal(signal.SIGTERM, handler)


def _clean_ray() -> Any:
    """Ray, not yet connected, with a clean idea of the token."""
    import_ray()
    import ray

    try:  # what an earlier connection of this process has read is stale
        inside: Any = ray._raylet
        inside.AuthenticationTokenLoader.instance().reset_cache()
        inside.Config.initialize("")
    except AttributeError:
        logging.getLogger(__name__).debug("this Ray keeps its token elsewhere", exc_info=True)
    return ray


def _settle_token(address: str) -> None:
    """Show the token there is, as Ray itself would; it aborts the whole process when the file named is not there."""
    if os.environ.get("RAY_AUTH_TOKEN"):
        os.environ.setdefault("RAY_AUTH_MODE", "token")
        return
    path = os.environ.get("RAY_AUTH_TOKEN_PATH") or os.path.expanduser("~/.ray/auth_token")
    if "RAY_AUTH_MODE" not in os.environ and os.path.exists(path):
        os.environ["RAY_AUTH_MODE"] = "token"
    if os.environ.get("RAY_AUTH_MODE", "").lower() != "token":
        return
    try:
        with open(path) as file:
            found = file.read().strip()
    except OSError as error:
        raise ClusterUnavailable(
            address, f"RAY_AUTH_MODE is token, but {error.filename}: {error.strerror}", _TOKEN_REMEDY
        ) from error
    if not found:
        raise ClusterUnavailable(address, f"RAY_AUTH_MODE is token, but {path} is empty", _TOKEN_REMEDY)


def _greet(address: str) -> None:
    """Ask the head for the name of its session, which needs the token and a Ray, and takes milliseconds."""
    import ray
    from ray.exceptions import AuthenticationError

    client: Any = getattr(ray._raylet, "GcsClient", None)
    if client is None:
        return

    def ask() -> None:
        try:
            client(address=address).internal_kv_get(b"session_name", namespace=b"session", timeout=GREETING_S)
        except AuthenticationError as error:
            raise ClusterUnavailable(
                address, "it asks for a token, and the one shown is missing or wrong", _TOKEN_REMEDY
            ) from error

    _within(GREETING_S, address, ask)


def _within(limit_s: float, address: str, act: Callable[[], None]) -> None:
    """Run what may hang in a thread of its own; what Ray raises becomes ours."""
    failure: list[BaseException] = []

    def run() -> None:
        try:
            act()
        except BaseException as error:  # noqa: BLE001 - carried over to the caller's thread
            failure.append(error)

    thread = threading.Thread(target=run, name="connect-to-ray", daemon=True)
    thread.start()
    thread.join(limit_s)
    if thread.is_alive():
        raise ClusterUnavailable(
            address,
            f"something takes connections there, but gave no answer of Ray's within {limit_s:g} s",
            "see that it is the port of the head's GCS, as `ray start --head` prints it",
        )
    if failure:
        if isinstance(failure[0], ClusterUnavailable):
            raise failure[0]
        raise ClusterUnavailable(
            address,
            _first_sentences(failure[0]),
            "see that this machine is a node of that cluster, with the same versions of Ray and Python",
        ) from failure[0]


def _first_sentences(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return " ".join(lines)[:400] or type(error).__name__
