"""The rows of jobs, and how they are written so that watchers are told.

Every change that a watcher should see gets the next number of one clock, its revision. What is written here is part of
the transactions of the store's own calls.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable

from runner.entity.job import JobState
from runner.entity.status import JobStatus
from runner.errors import JobExists, JobNotFound
from runner.store.database import Database
from runner.store.rows import COLUMNS, from_row, to_row


class JobRows:
    """One part of the store, below its calls; `folders` is the URL of the folder that holds those of all jobs."""

    def __init__(self, database: Database, clock: Callable[[], float], folders: str) -> None:
        self._database, self._clock, self._folders = database, clock, folders

    def find(self, name: str) -> sqlite3.Row:
        """The row of a job. JobNotFound when there is none."""
        row = self._database.row(f"SELECT {COLUMNS} FROM job WHERE name = ?", (name,))
        if row is None:
            raise JobNotFound(name)
        return row

    def job(self, row: sqlite3.Row) -> JobState:
        """The job of a row."""
        return from_row(row, self._folders)

    def insert(self, job: JobState, more: dict[str, object]) -> int:
        """Write a new job with the event of its first status; its key. JobExists when the name is taken."""
        row = to_row(job) | more
        names, marks = ", ".join(row), ", ".join("?" * len(row))
        try:
            key = self._database.run(f"INSERT INTO job ({names}) VALUES ({marks})", [*row.values()])
        except sqlite3.IntegrityError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_CONSTRAINT_UNIQUE:
                raise
            raise JobExists(job.name) from None
        self.note(key, job.run_number, job.status, job.message)
        return key

    def set_status(
        self,
        row: sqlite3.Row,
        status: JobStatus,
        message: str,
        changes: dict[str, object],
        now: float | None = None,
    ) -> None:
        """Write a status with other changes, and the event; whether the move is allowed was checked before."""
        silent = row["status"] if status is JobStatus.NOT_RESPONDING else None
        self.touch(row, changes | {"status": str(status), "silent_status": silent})
        self.note(row["id"], changes.get("run_number", row["run_number"]), status, message, now)

    def touch(self, row: sqlite3.Row, changes: dict[str, object]) -> None:
        """Write a change that watchers of the job, and of the pipeline above it, are told."""
        revision = self.tick()
        self.update(row["id"], changes | {"revision": revision})
        if row["parent_id"] is not None:
            self.update(row["parent_id"], {"revision": revision})

    def update(self, key: int, changes: dict[str, object]) -> None:
        """Write a change that nobody is told."""
        columns = ", ".join(f"{column} = ?" for column in changes)
        self._database.run(f"UPDATE job SET {columns} WHERE id = ?", [*changes.values(), key])

    def note(self, key: int, run_number: object, status: JobStatus, message: str, now: float | None = None) -> None:
        """Write an event."""
        sql = "INSERT INTO event (job_id, run_number, time, status, message) VALUES (?, ?, ?, ?, ?)"
        self._database.run(sql, (key, run_number, self._clock() if now is None else now, str(status), message))

    def tick(self) -> int:
        """The next revision."""
        self._database.run("UPDATE clock SET revision = revision + 1")
        row = self._database.row("SELECT revision FROM clock")
        assert row is not None
        return int(row["revision"])
