"""How a driver hears that it is to end its job."""

from __future__ import annotations

import os
import threading


class Canceled(Exception):
    """The job is to end as Canceled."""


class Cancel(threading.Event):
    """A request to cancel, which can be waited for in one `poll` with processes and sockets, by its `fileno`.

    `set` may be called by a signal handler.
    """

    def __init__(self) -> None:
        super().__init__()
        self._descriptor = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)

    def set(self) -> None:
        """Ask for the cancel; from then on `fileno` is readable."""
        super().set()
        os.eventfd_write(self._descriptor, 1)

    def fileno(self) -> int:
        """Readable once `set` was called, and never read."""
        return self._descriptor

    def check(self) -> None:
        """Raise Canceled when it was asked for."""
        if self.is_set():
            raise Canceled

    def __del__(self) -> None:
        # Only when nobody can call `set` any more: its number may be another file's soon.
        if hasattr(self, "_descriptor"):
            os.close(self._descriptor)
