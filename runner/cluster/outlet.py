"""The way from one instance to the driver, which can be shut for good."""

from __future__ import annotations

import threading

from runner.cluster.base import Emit
from runner.entity.lease import InstanceEvent


class Outlet:
    """Passes events on until it is shut; once `shut` has returned, none is under way any more."""

    def __init__(self, emit: Emit) -> None:
        self._emit = emit
        self._lock = threading.RLock()  # whoever takes an event may shut the outlet at once
        self._is_shut = False

    def pass_on(self, event: InstanceEvent) -> None:
        with self._lock:
            if not self._is_shut:
                self._emit(event)

    def shut(self) -> bool:
        """Let nothing more through; False when it was shut before."""
        with self._lock:
            was_shut, self._is_shut = self._is_shut, True
            return not was_shut
