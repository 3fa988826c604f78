"""Drivers that are not heard of: whoever reads their job records it as NotResponding, and a sign of life ends that."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable

from runner.entity.job import JobState
from runner.entity.status import TERMINAL, TRANSITIONS, JobStatus, check_move
from runner.store.database import Database
from runner.store.job_rows import JobRows

SILENCE_S = 30.0
_S = JobStatus
BEATING = frozenset(set(JobStatus) - TERMINAL - {_S.NOT_STARTED, _S.NOT_RESPONDING})
"""Statuses in which a driver is expected to beat."""
_OVER_SILENCE = frozenset({_S.STARTING, _S.FAILED, _S.CANCELED})
"""Where a job that does not respond may be taken by somebody else than its driver."""


class Silence:
    """One part of the store, below its calls."""

    def __init__(self, database: Database, rows: JobRows, clock: Callable[[], float]) -> None:
        self._database, self._rows, self._clock = database, rows, clock

    def is_new(self, row: sqlite3.Row) -> bool:
        """Whether the driver is silent and that is not recorded yet."""
        beat = row["heartbeat_time"]
        return beat is not None and JobStatus(row["status"]) in BEATING and self._clock() - beat > SILENCE_S

    def record(self, name: str) -> JobState:
        """Record that the driver of a job is silent, if it still is; the job as it is then."""
        with self._database.writing():
            row = self._rows.find(name)
            if self.is_new(row):  # the driver, or another reader, may have been first
                seconds = self._clock() - row["heartbeat_time"]
                message = f"no sign of life from the driver for {seconds:.0f} s"
                self._rows.set_status(row, _S.NOT_RESPONDING, message, {})
            return self._rows.job(self._rows.find(name))

    def record_all(self) -> None:
        """Record every driver that is silent."""
        quiet = "('NotStarted', 'Completed', 'Failed', 'Canceled', 'NotResponding')"  # as the index job_beating says it
        sql = f"SELECT name FROM job WHERE heartbeat_time < ? AND status NOT IN {quiet}"
        for row in self._database.rows(sql, (self._clock() - SILENCE_S,)):
            self.record(row["name"])

    # ---- within a transaction of the store ----------------------------------------------------------------
    def end_for(self, name: str, row: sqlite3.Row, wanted: JobStatus) -> JobStatus:
        """The status to move from: a silent job returns to where it was unless somebody else ends or restarts it."""
        status = JobStatus(row["status"])
        if status is not _S.NOT_RESPONDING:
            return status
        before = JobStatus(row["silent_status"])
        if wanted is _S.STARTING or (wanted in _OVER_SILENCE and wanted not in TRANSITIONS[before]):
            return status
        check_move(name, before, wanted)
        return self.end(row)

    def end(self, row: sqlite3.Row) -> JobStatus:
        """A job whose driver is heard of again returns to the status that it was in."""
        before = JobStatus(row["silent_status"])
        self._rows.set_status(row, before, "the driver is heard of again", {})
        return before
