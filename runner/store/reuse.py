"""What later steps may use instead of running: keys of earlier ones, records of their outputs, digests of trees."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence

import msgspec

from runner.entity.asset import Content, OutputRecord, ReuseEntry, ReuseKey
from runner.store.database import Database
from runner.store.rows import from_json, to_json

_CONTENT = msgspec.json.Decoder(Content)
_ENTRY = "SELECT reuse.*, job.name FROM reuse JOIN job ON job.id = reuse.job_id WHERE job.status = 'Completed' AND"


class Reuse:
    """One part of the store; what is written here is part of the transactions of the store's own calls."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def sources(self, key: str, limit: int = 10, *, outside: str = "") -> tuple[ReuseEntry, ...]:
        """Completed steps with this key whose results may be used, the newest first; none of the pipeline `outside`."""
        within = "job.parent_id IS (SELECT id FROM job WHERE name = ?)"
        sql = f"{_ENTRY} reuse.reuse_key = ? AND reuse.is_source = 1 AND NOT ({within} AND job.parent_id IS NOT NULL)"
        rows = self._database.rows(f"{sql} ORDER BY reuse.job_id DESC LIMIT ?", (key, outside, limit))
        return tuple(map(self._entry, rows))

    def relatives(self, family: str, limit: int = 20) -> tuple[ReuseEntry, ...]:
        """Completed steps of this family whose results might have been used, the newest first."""
        sql = f"{_ENTRY} reuse.family = ? AND reuse.is_source = 1 ORDER BY reuse.job_id DESC LIMIT ?"
        return tuple(map(self._entry, self._database.rows(sql, (family, limit))))

    def barred(self, key: str, limit: int = 10) -> tuple[str, ...]:
        """The jobs with this key whose results may not be used, or not yet, the newest first."""
        sql = "SELECT job.name FROM reuse JOIN job ON job.id = reuse.job_id WHERE reuse_key = ? AND is_source = 0"
        return tuple(row["name"] for row in self._database.rows(f"{sql} ORDER BY job_id DESC LIMIT ?", (key, limit)))

    def is_source(self, job: str) -> bool:
        """Whether later steps may use the results of a job."""
        sql = "SELECT is_source FROM reuse WHERE job_id = (SELECT id FROM job WHERE name = ?)"
        row = self._database.row(sql, (job,))
        return row is not None and bool(row["is_source"])

    def key_of(self, job: str) -> ReuseKey | None:
        """The key that was put for a job."""
        row = self._database.row("SELECT * FROM reuse WHERE job_id = (SELECT id FROM job WHERE name = ?)", (job,))
        return None if row is None else _key(row)

    def records(self, job: str) -> tuple[OutputRecord, ...]:
        """The outputs of a completed job as they were then."""
        sql = "SELECT * FROM output_record WHERE job_id = (SELECT id FROM job WHERE name = ?) ORDER BY rowid"
        return tuple(
            OutputRecord(name=row["name"], type=row["type"], path=row["path"], content=_CONTENT.decode(row["content"]))
            for row in self._database.rows(sql, (job,))
        )

    def makers(self, path: str) -> tuple[str, ...]:
        """The completed jobs that left an output at a path."""
        sql = "SELECT job.name FROM output_record JOIN job ON job.id = job_id WHERE path = ? AND status = 'Completed'"
        return tuple(row["name"] for row in self._database.rows(sql, (path,)))

    def users(self, job: str) -> tuple[str, ...]:
        """The jobs that show this one's results as their own."""
        return tuple(row["name"] for row in self._database.rows("SELECT name FROM job WHERE reused_from = ?", (job,)))

    def known_content(self, path: str, stamp: str) -> Content | None:
        """What is at a path, if it was read before and looks the same from outside."""
        row = self._database.row("SELECT content FROM content WHERE path = ? AND stamp = ?", (path, stamp))
        return None if row is None else _CONTENT.decode(row["content"])

    def keep_content(self, path: str, content: Content) -> None:
        """Remember what is at a path."""
        with self._database.writing():
            values = (path, content.stamp, to_json(content))
            self._database.run("INSERT OR REPLACE INTO content VALUES (?, ?, ?)", values)

    # ---- within a transaction of the store ----------------------------------------------------------------
    def put(self, job_id: int, key: ReuseKey, *, is_source: bool) -> None:
        """Write the key of a job, in place of an earlier one."""
        values = (job_id, key.key, key.family, to_json(key.parts), int(is_source))
        self._database.run("INSERT OR REPLACE INTO reuse VALUES (?, ?, ?, ?, ?)", values)

    def record(self, job_id: int, records: Iterable[OutputRecord]) -> None:
        """Write the outputs of a job, in place of earlier records of the same names."""
        for one in records:
            values: Sequence[object] = (job_id, one.name, one.type, one.path, to_json(one.content))
            self._database.run("INSERT OR REPLACE INTO output_record VALUES (?, ?, ?, ?, ?)", values)

    def _entry(self, row: sqlite3.Row) -> ReuseEntry:
        job = row["name"]
        return ReuseEntry(job=job, key=_key(row), is_source=bool(row["is_source"]), records=self.records(job))


def _key(row: sqlite3.Row) -> ReuseKey:
    return ReuseKey(key=row["reuse_key"], family=row["family"], parts=from_json(row["parts"]))
