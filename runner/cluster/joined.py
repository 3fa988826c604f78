"""The Ray that a job asks for, being joined while other things go on."""

from __future__ import annotations

import contextlib
import logging
import threading
from concurrent.futures import Future
from pathlib import Path

from runner.cluster.base import Say
from runner.cluster.connect import Connection
from runner.cluster.join import STARTS, KeptRay, join_keeper
from runner.errors import ClusterUnavailable

log = logging.getLogger(__name__)


class Joined:
    """A connection to a configured Ray, or to the embedded one of a home, which is kept from ending meanwhile."""

    def __init__(self, home_ray: Path, address: str | None, say: Say) -> None:
        self._home_ray, self._address, self._say = home_ray, address, say
        self.kept: KeptRay | None = None
        """Our share of the embedded Ray, once it is joined."""
        self.connection: Future[Connection] = Future()
        threading.Thread(target=self._connect_or_say, name="connect", daemon=True).start()

    def close(self) -> None:
        """Disconnect, and let the embedded Ray go; waits until connecting has ended."""
        with contextlib.suppress(Exception):
            self.connection.result().close()
        if self.kept is not None:
            self.kept.release()
            self.kept = None

    def _connect_or_say(self) -> None:
        try:
            self.connection.set_result(self._connect())
        except BaseException as error:  # noqa: BLE001 - raised again where the connection is first needed
            self.connection.set_exception(error)

    def _connect(self) -> Connection:
        if self._address is not None:
            return Connection(self._address)
        for _ in range(STARTS - 1):
            kept = join_keeper(self._home_ray, self._say)
            try:
                return self._enter(kept)
            except ClusterUnavailable as error:
                log.warning("the embedded Ray at %s ended just now, another is joined: %s", kept.address, error)
        return self._enter(join_keeper(self._home_ray, self._say))

    def _enter(self, kept: KeptRay) -> Connection:
        try:
            connection = Connection(kept.address, token_path=str(kept.token_path))
        except BaseException:
            kept.release()
            raise
        self.kept = kept
        return connection
