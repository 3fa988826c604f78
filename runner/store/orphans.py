"""How often a service has resumed jobs that had lost their driver."""

from __future__ import annotations

from typing import NamedTuple

from runner.store.database import Database
from runner.store.job_rows import JobRows


class Orphan(NamedTuple):
    """How often a service resumed a job by itself since it last got on, and how much it had committed by then."""

    resume_count: int = 0
    commit_count: int = 0


class Orphans:
    """One part of the store."""

    def __init__(self, database: Database, rows: JobRows) -> None:
        self._database, self._rows = database, rows

    def get(self, name: str) -> Orphan:
        """What is counted of a job; zeros when nothing is. JobNotFound when there is no such job."""
        sql = "SELECT resume_count, commit_count FROM orphan WHERE job_id = ?"
        row = self._database.row(sql, (self._rows.find(name)["id"],))
        return Orphan() if row is None else Orphan(*row)

    def put(self, job_id: int, orphan: Orphan | None) -> None:
        """Within a transaction of the store: count anew, or nothing any more."""
        self._database.run("DELETE FROM orphan WHERE job_id = ?", (job_id,))
        if orphan is not None:
            self._database.run("INSERT INTO orphan VALUES (?, ?, ?)", (job_id, *orphan))
