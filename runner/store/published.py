"""Published pipelines, by id."""

from __future__ import annotations

import sqlite3

import msgspec

from runner.entity.asset import PublishedState, PublishedStatus
from runner.errors import PublishedNotFound
from runner.store.database import Database
from runner.store.rows import to_json


class Published:
    """One part of the store."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(self, published: PublishedState) -> PublishedState:
        """Keep a pipeline under its id."""
        row = {
            "id": published.id,
            "name": published.name,
            "description": published.description,
            "version": published.version,
            "status": str(published.status),
            "document": to_json(published.document),
            "job": published.job,
            "continue_on_step_failure": published.continue_on_step_failure,
            "create_time": published.create_time,
        }
        with self._database.writing():
            self._database.run(
                f"INSERT INTO published ({', '.join(row)}) VALUES ({', '.join('?' * len(row))})", [*row.values()]
            )
        return published

    def get(self, key: str) -> PublishedState:
        """The pipeline of that id. PublishedNotFound when there is none."""
        row = self._database.row("SELECT * FROM published WHERE id = ?", (key,))
        if row is None:
            raise PublishedNotFound(key)
        return _published(row)

    def list(self, *, active_only: bool = True) -> tuple[PublishedState, ...]:
        """All of them, the newest first."""
        where = "WHERE status = 'Active' " if active_only else ""
        return tuple(map(_published, self._database.rows(f"SELECT * FROM published {where}ORDER BY rowid DESC")))

    def set_status(self, key: str, status: PublishedStatus) -> PublishedState:
        """Enable or disable it."""
        with self._database.writing():
            self._database.run("UPDATE published SET status = ? WHERE id = ?", (str(status), key))
        return self.get(key)

    def of_job(self, job: str) -> tuple[str, ...]:
        """The ids of the pipelines that were published from a job."""
        return tuple(row["id"] for row in self._database.rows("SELECT id FROM published WHERE job = ?", (job,)))


def _published(row: sqlite3.Row) -> PublishedState:
    goes_on = row["continue_on_step_failure"]
    return PublishedState(
        id=row["id"],
        name=row["name"],
        description=row["description"],
        version=row["version"],
        status=PublishedStatus(row["status"]),
        document=msgspec.json.decode(row["document"], type=dict[str, object]),
        job=row["job"],
        continue_on_step_failure=None if goes_on is None else bool(goes_on),
        create_time=row["create_time"],
    )
