"""What every driver runs in: a cancel is heard of although the job was taken for silent meanwhile."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from runner.entity.job import JobError
from runner.entity.status import JobStatus
from runner.schedule.shell import Ending, Shell
from runner.server.jobs import Jobs
from runner.store.home import Home
from runner.store.store import Store


class Journey:
    """One that is asked to end, then looked at by somebody for whom it is silent, and then wants to go on."""

    def __init__(self, home: Home, name: str, wanted: JobStatus) -> None:
        self.shell, self._home, self._name, self._wanted = Shell(home, name), home, name, wanted

    def travel(self) -> None:
        self.shell.store.request_cancel(self._name)
        reader = Store(self._home, clock=lambda: time.time() + 100)
        assert reader.get(self._name).status is JobStatus.NOT_RESPONDING
        reader.close()
        self.shell.move(self._wanted)

    def arrive(self, status: JobStatus, error: JobError | None) -> Ending:
        return Ending()

    def leave(self, status: JobStatus) -> None:
        pass

    def close(self) -> None:
        pass


@pytest.mark.parametrize("wanted", [JobStatus.PREPARING, JobStatus.QUEUED, JobStatus.FINALIZING])
def test_a_job_that_was_silent_when_it_was_cancelled_ends_as_canceled(tmp_path: Path, wanted: JobStatus) -> None:
    home = Home(tmp_path / "home")
    jobs = Jobs(home, lambda name: None)
    jobs.create({"type": "command", "command": "true", "compute": "local"}, base_path=str(tmp_path), name="probe")
    journey = Journey(home, "probe", wanted)
    assert journey.shell.run(journey) == 130
    assert jobs.get("probe").status is JobStatus.CANCELED
    jobs.close()
