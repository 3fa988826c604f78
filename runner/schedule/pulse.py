"""The driver's pulse: a thread that beats in the store and listens there for a request to cancel.

It has a connection of its own, so that planning or publishing, however long, never silences the job.
"""

from __future__ import annotations

import logging
import threading
import time

from runner.entity.job import Progress
from runner.entity.status import TERMINAL, JobStatus
from runner.errors import RunnerError
from runner.store.home import Home
from runner.store.store import Store

log = logging.getLogger(__name__)

LISTEN_S = 0.2
SHOW_S = 0.5
"""Counters that changed are written at most so often."""
BEAT_S = 5.0


class Pulse:
    """Beats for one job from `start` to `stop`; carries a cancel between store and driver, whichever heard of it."""

    def __init__(self, home: Home, name: str, cancelled: threading.Event) -> None:
        self._home, self._name, self._cancelled = home, name, cancelled
        self._lock = threading.Lock()
        self._progress: Progress | None = None
        self._message: str | None = None
        self._shown: tuple[Progress | None, str | None] | None = None
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="pulse", daemon=True)

    def start(self) -> None:
        """Begin to beat."""
        self._thread.start()

    def show(self, progress: Progress, message: str = "") -> None:
        """What the next beat tells."""
        with self._lock:
            self._progress, self._message = progress, message or self._message

    def say(self, message: str) -> None:
        """One line about what the driver is doing."""
        log.info(message)
        with self._lock:
            self._message = message

    def stop(self) -> None:
        """Beat no more; returns when the thread has ended."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join()

    def _beat(self) -> None:
        if self._stopped.wait(LISTEN_S):
            return  # a job as short as that needs no second connection
        store = Store(self._home)
        last = 0.0
        try:
            while not self._stopped.wait(LISTEN_S):
                try:
                    self._listen(store)
                    now = time.monotonic()
                    with self._lock:
                        shown = (self._progress, self._message)
                    if (shown != self._shown and now - last >= SHOW_S) or now - last >= BEAT_S:
                        store.beat(self._name, progress=shown[0], message=shown[1])
                        self._shown, last = shown, now
                except RunnerError as error:
                    # A busy store costs a beat, not the job.
                    log.warning("no beat: %s", error)
        finally:
            store.close()

    def _listen(self, store: Store) -> None:
        status = store.get(self._name).status
        if status is JobStatus.CANCEL_REQUESTED:
            self._cancelled.set()
        elif self._cancelled.is_set() and status not in (JobStatus.FINALIZING, *TERMINAL):
            store.request_cancel(self._name)
