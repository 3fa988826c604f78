"""Waits for what was asked for to come true."""

from __future__ import annotations

import time

from runner.client.backend import Backend
from runner.entity.status import JobStatus


class CancelPoller:
    """The end of a job that was asked to end."""

    def __init__(self, backend: Backend, name: str, poll_s: float) -> None:
        self._backend, self._name, self._poll_s = backend, name, poll_s

    def done(self) -> bool:
        """Whether the job has ended, one way or another."""
        return self._backend.get(self._name).status.is_terminal

    def status(self) -> str:
        """The word for the status of the job now."""
        return str(self._backend.get(self._name).status)

    def wait(self, timeout: float | None = None) -> None:
        """Return when the job has ended, or after `timeout` seconds."""
        until = None if timeout is None else time.monotonic() + timeout
        while not self.done() and (until is None or time.monotonic() < until):
            time.sleep(self._poll_s)

    def result(self, timeout: float | None = None) -> None:
        """Wait for the end of the job. TimeoutError when it does not come in time."""
        self.wait(timeout)
        status = JobStatus(self.status())
        if not status.is_terminal:
            raise TimeoutError(f"job {self._name!r} is still {status} after {timeout} s")
