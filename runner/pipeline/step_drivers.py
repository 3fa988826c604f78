"""The drivers of steps: they are started here, and here it is heard how those that go on have ended.

Whoever started a driver, its end means one of two things: its job has ended, or it has lost its driver.
"""

from __future__ import annotations

from collections.abc import Callable

from runner.entity.job import JobState
from runner.errors import CommandLost, StorageFailed
from runner.pipeline.nursery import Nursery, NurseryGone
from runner.pipeline.watch import Watch
from runner.store.store import Store

Hear = Callable[[JobState], None]


class StepDrivers:
    """Calls `on_ended` with a job that is Completed, Failed or Canceled, `on_lost` with one that nobody drives."""

    def __init__(self, store: Store, nursery: Nursery, watch: Watch, *, on_ended: Hear, on_lost: Hear) -> None:
        self._store, self._nursery, self._watch = store, nursery, watch
        self._on_ended, self._on_lost = on_ended, on_lost

    def launch(self, job: str) -> None:
        """Start a driver, which talks into the log of its job. StorageFailed or CommandLost when that cannot be."""
        path = self._store.home.job(job).logs / "sys" / "driver.txt"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = self._nursery.fork(job, path)
        except OSError as error:
            raise StorageFailed(str(path), f"no driver could be started: {error}") from error
        except NurseryGone as error:
            raise CommandLost(f"no driver could be started: {error}") from error
        self._watch.on_process_end(descriptor, lambda: self.look_at(job))

    def attach(self, job: str) -> None:
        """Wait for the end of whatever driver a job has."""
        self._watch.on_lock_free(self._store.home.job(job).lock, lambda: self._on_lock_free(job))

    def look_at(self, job: str) -> None:
        """A driver of the job is gone; there may be another one, which holds the lock."""
        state = self._store.get(job)
        if state.status.is_terminal:
            self._on_ended(state)
        else:
            self.attach(job)

    def _on_lock_free(self, job: str) -> None:
        state = self._store.get(job)
        if state.status.is_terminal:
            self._on_ended(state)
        else:
            self._on_lost(state)
