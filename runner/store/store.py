"""Jobs and their events in SQLite: the one place where drivers, the service and clients meet.

Every change of status and its event are one transaction, and every change that a watcher should see gets the next
number of one clock, its revision. A driver beats every 5 s. Whoever reads a job in progress whose beat is older than
30 s records it as NotResponding; the driver's next beat or move takes it back to where it was. A process killed at any
instant leaves either the old row or the new one.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from runner.entity.asset import Asset, OutputRecord, ReuseKey
from runner.entity.job import Event, JobError, JobState, OutputState, Progress
from runner.entity.status import TERMINAL, TRANSITIONS, JobStatus, check_move
from runner.errors import IllegalTransition, JobExists, JobStatusConflict
from runner.store.assets import Assets
from runner.store.database import Database
from runner.store.experiments import Experiments
from runner.store.home import Home
from runner.store.job_rows import JobRows
from runner.store.orphans import Orphan, Orphans
from runner.store.published import Published
from runner.store.reuse import Reuse
from runner.store.rows import COLUMNS, from_json, to_json
from runner.store.silence import BEATING, Silence

BUSY_S = 10.0
_S = JobStatus
_CANCELABLE = frozenset(old for old, new in TRANSITIONS.items() if _S.CANCEL_REQUESTED in new) - {_S.NOT_RESPONDING}
_BEGINS_ANEW = TERMINAL | {_S.NOT_RESPONDING}


class Listed(NamedTuple):
    """Jobs newest first, and the key to ask for those that follow; None at the end."""

    jobs: tuple[JobState, ...]
    next_key: int | None


class Store:
    """The store of one home. Threads may share it; each process opens its own."""

    def __init__(self, home: Home, *, clock: Callable[[], float] = time.time, busy_s: float = BUSY_S) -> None:
        self.home = home.make()
        self._clock = clock
        self._database = Database(home.database, busy_s)
        self._rows = JobRows(self._database, clock, home.jobs.as_uri())
        self._silence = Silence(self._database, self._rows, clock)
        self.orphans = Orphans(self._database, self._rows)
        self.reuse = Reuse(self._database)
        self.assets = Assets(self._database, clock)
        self.published = Published(self._database)
        self.experiments = Experiments(self._database, clock)

    def now(self) -> float:
        """The time by the clock that heartbeats are told by."""
        return self._clock()

    def close(self) -> None:
        """Close the connection."""
        self._database.close()

    def create(
        self,
        job: JobState,
        *,
        request_id: str = "",
        install: Callable[[], None] | None = None,
        steps: Iterable[JobState] = (),
    ) -> JobState:
        """Insert a new job with the event of its first status; JobExists when the name is taken.

        Asked again with the same `request_id`, it returns the job of the first call and changes nothing. `install` is
        called inside the transaction, once the names are certain: if it raises, there is no job. `steps` become the
        jobs below it, in their order.
        """
        with self._database.writing():
            if (known := self.find_request(request_id)) is not None:
                return known
            revision = self._rows.tick()
            key = self._rows.insert(job, {"request_id": request_id or None, "revision": revision})
            for step in steps:
                self._rows.insert(step, {"parent_id": key, "revision": revision})
            if install is not None:
                install()
            return self._rows.job(self._rows.find(job.name))

    def check_free(self, name: str) -> None:
        """JobExists when the name is taken; `create` has the last word."""
        if self._database.row("SELECT 1 FROM job WHERE name = ?", (name,)) is not None:
            raise JobExists(name)

    def find_request(self, request_id: str) -> JobState | None:
        """The job that was created by the call with this id."""
        if not request_id:
            return None
        row = self._database.row(f"SELECT {COLUMNS} FROM job WHERE request_id = ?", (request_id,))
        return None if row is None else self._rows.job(row)

    def get(self, name: str) -> JobState:
        """The job as it is now; its silence is recorded when it is found."""
        row = self._rows.find(name)
        return self._silence.record(name) if self._silence.is_new(row) else self._rows.job(row)

    def glance(self, name: str) -> JobState | None:
        """As `get`, but never writes: None when the job's silence would have to be recorded."""
        row = self._rows.find(name)
        return None if self._silence.is_new(row) else self._rows.job(row)

    def list(
        self,
        *,
        limit: int = 50,
        after: int | None = None,
        statuses: Iterable[JobStatus] = (),
        parent: str = "",
        archived: bool | None = False,
        experiment: str = "",
    ) -> Listed:
        """At most `limit` jobs, newest first, beginning after the key `after`; with `statuses` only those in one.

        Jobs that are steps are listed only below their `parent`. `archived` None: whether archived or not.
        """
        self._silence.record_all()
        wanted = [str(status) for status in statuses]
        where = ["id < ?"]
        values: list[object] = [2**62 if after is None else after]
        if wanted:
            where.append(f"status IN ({', '.join('?' * len(wanted))})")
            values += wanted
        where.append("parent_id = ?" if parent else "parent_id IS NULL")
        if parent:
            values.append(self._rows.find(parent)["id"])
        if archived is not None:
            where.append(f"is_archived = {int(archived)}")
        if experiment:
            where.append("experiment_name = ?")
            values.append(experiment)
        values.append(limit + 1)
        sql = f"SELECT {COLUMNS} FROM job WHERE {' AND '.join(where)} ORDER BY id DESC LIMIT ?"
        rows = self._database.rows(sql, values)
        next_key = int(rows[limit - 1]["id"]) if len(rows) > limit else None
        return Listed(tuple(map(self._rows.job, rows[:limit])), next_key)

    def steps(self, name: str) -> tuple[JobState, ...]:
        """The jobs of the steps of a pipeline, in the order of its file; none for other jobs."""
        self._silence.record_all()
        key = self._rows.find(name)["id"]
        rows = self._database.rows(f"SELECT {COLUMNS} FROM job WHERE parent_id = ? ORDER BY id", (key,))
        return tuple(map(self._rows.job, rows))

    def events(self, name: str) -> tuple[Event, ...]:
        """Every change of status, oldest first, of all runs of the job."""
        key = self._rows.find(name)["id"]
        rows = self._database.rows("SELECT time, status, message FROM event WHERE job_id = ? ORDER BY id", (key,))
        return tuple(Event(time=row["time"], status=JobStatus(row["status"]), message=row["message"]) for row in rows)

    def move(
        self,
        name: str,
        status: JobStatus,
        message: str = "",
        *,
        error: JobError | None = None,
        progress: Progress | None = None,
        outputs: Sequence[OutputState] | None = None,
        host: str | None = None,
        driver_pid: int | None = None,
        records: Sequence[OutputRecord] = (),
        assets: Sequence[Asset] = (),
    ) -> JobState:
        """Move a job to another status and write the event, or raise IllegalTransition and change nothing.

        Starting from a status that had ended (or does not respond) begins a new run. A move is a sign of life too.
        With Completed go, in the same transaction, the records of its outputs and the assets that it registers.
        """
        with self._database.writing():
            row = self._rows.find(name)
            old = self._silence.end_for(name, row, status)
            check_move(name, old, status)
            now = self._clock()
            changes: dict[str, object] = {"message": message}
            if status is _S.STARTING and old in _BEGINS_ANEW:
                changes |= _anew(row)
            if (status in BEATING and old is not _S.NOT_STARTED) or status is _S.STARTING:
                changes["heartbeat_time"] = now
            if status is _S.RUNNING and row["start_time"] is None:
                changes["start_time"] = now
            if status in TERMINAL:
                changes["end_time"] = now
            changes |= {k: v for k, v in {"host": host, "driver_pid": driver_pid}.items() if v is not None}
            changes |= {
                k: to_json(v)
                for k, v in {"error": error, "progress": progress, "outputs": outputs}.items()
                if v is not None
            }
            self._rows.set_status(row, status, message, changes, now)
            self.reuse.record(row["id"], records)
            for asset in assets:
                self.assets.add(asset)
            return self._rows.job(self._rows.find(name))

    def complete_reused(
        self, name: str, source: str, reason: str, outputs: Sequence[OutputState], records: Sequence[OutputRecord]
    ) -> JobState:
        """A step that need not run goes from NotStarted (or a new run's Starting) to Completed: `source` stands in.

        JobNotFound when the source was deleted meanwhile.
        """
        with self._database.writing():
            self._rows.find(source)
            row = self._rows.find(name)
            now = self._clock()
            if JobStatus(row["status"]) is not _S.STARTING:
                check_move(name, JobStatus(row["status"]), _S.STARTING)
                self._rows.set_status(row, _S.STARTING, "", {}, now)
                row = self._rows.find(name)
            check_move(name, _S.STARTING, _S.COMPLETED)
            changes: dict[str, object] = {"message": reason, "reused_from": source, "reuse_reason": reason}
            changes |= {"start_time": now, "end_time": now, "outputs": to_json(tuple(outputs))}
            self._rows.set_status(row, _S.COMPLETED, reason, changes, now)
            self.reuse.record(row["id"], records)
            return self._rows.job(self._rows.find(name))

    def set_outputs(self, name: str, outputs: Sequence[OutputState]) -> None:
        """Say anew where the outputs of a job are: a pipeline's, when one comes from a reused step."""
        with self._database.writing():
            row = self._rows.find(name)
            self._rows.touch(row, {"outputs": to_json(tuple(outputs))})

    def set_reuse(self, name: str, key: ReuseKey, *, is_source: bool, reason: str) -> None:
        """What decides whether a step's results may be used again, and why it runs although there were earlier ones."""
        with self._database.writing():
            row = self._rows.find(name)
            self.reuse.put(row["id"], key, is_source=is_source)
            self._rows.touch(row, {"reuse_reason": reason})

    def update(
        self,
        name: str,
        *,
        display_name: str | None = None,
        description: str | None = None,
        tags: Mapping[str, str | None] | None = None,
        properties: Mapping[str, str | None] | None = None,
        is_archived: bool | None = None,
    ) -> JobState:
        """Change what may change of a job that exists. Tags and properties are merged; None for one removes it."""
        with self._database.writing():
            row = self._rows.find(name)
            said = {"display_name": display_name, "description": description}
            changes: dict[str, object] = {key: value for key, value in said.items() if value is not None}
            for column, given in (("tags", tags), ("properties", properties)):
                if given:
                    merged = {**from_json(row[column]), **given}
                    changes[column] = to_json({key: value for key, value in merged.items() if value is not None})
            if is_archived is not None:
                changes["is_archived"] = int(is_archived)
            if changes:
                self._rows.touch(row, changes)
            return self._rows.job(self._rows.find(name))

    def begin_run(self, name: str, message: str = "", *, orphan: Orphan | None = None) -> JobState:
        """Begin a new run of a job that has no driver any more, which the caller knows because it holds its lock.

        A job that was in progress is NotResponding first, in the same transaction. The counters stay until the next
        driver has read the journal. IllegalTransition for a job that never had a driver. `orphan` is what a service
        counts that does this by itself; anybody else makes it begin anew.
        """
        with self._database.writing():
            row = self._rows.find(name)
            if JobStatus(row["status"]) in BEATING:
                self._rows.set_status(row, _S.NOT_RESPONDING, "its driver is gone", {})
                row = self._rows.find(name)
            if JobStatus(row["status"]) not in _BEGINS_ANEW:
                raise IllegalTransition(name, row["status"], str(_S.STARTING))
            now = self._clock()
            changes = _anew(row) | {"message": message, "heartbeat_time": now}
            self._rows.set_status(row, _S.STARTING, message, changes, now)
            self.orphans.put(row["id"], orphan)
            return self._rows.job(self._rows.find(name))

    def unended(self) -> tuple[JobState, ...]:
        """Every job that has not ended, oldest first; steps are looked after by their pipelines, and not here."""
        self._silence.record_all()
        ended = "parent_id IS NULL AND status NOT IN ('Completed', 'Failed', 'Canceled')"  # as the index job_unended
        rows = self._database.rows(f"SELECT {COLUMNS} FROM job WHERE {ended} ORDER BY id")
        return tuple(map(self._rows.job, rows))

    def let_go(self, name: str, message: str, orphan: Orphan) -> None:
        """Leave a job that has lost its driver NotResponding, with an event that says why, unless it has ended."""
        with self._database.writing():
            row = self._rows.find(name)
            if JobStatus(row["status"]) in BEATING:
                self._rows.set_status(row, _S.NOT_RESPONDING, message, {"message": message})
            elif JobStatus(row["status"]) is _S.NOT_RESPONDING:
                self._rows.touch(row, {"message": message})
                self._rows.note(row["id"], row["run_number"], _S.NOT_RESPONDING, message)
            self.orphans.put(row["id"], orphan)

    def beat(
        self,
        name: str,
        progress: Progress | None = None,
        message: str | None = None,
        *,
        host: str | None = None,
        driver_pid: int | None = None,
    ) -> JobStatus:
        """The driver lives, and how far it is; returns the status, by which the driver learns of a cancel.

        Only a change that a watcher can see gets a new revision. Nothing happens once the job has ended.
        """
        with self._database.writing():
            row = self._rows.find(name)
            status = JobStatus(row["status"])
            if status in TERMINAL:
                return status
            if status is _S.NOT_RESPONDING:
                status = self._silence.end(row)
            counters = None if progress is None else to_json(progress)
            said = {"progress": counters, "message": message, "host": host, "driver_pid": driver_pid}
            changes: dict[str, object] = {k: v for k, v in said.items() if v is not None and v != row[k]}
            if changes:
                self._rows.touch(row, changes)
            self._rows.update(row["id"], {"heartbeat_time": self._clock()})
            return status

    def request_cancel(self, name: str) -> JobState:
        """Ask for the end of a job, of a pipeline also of its steps in progress, which are left in peace from
        Finalizing on; no error when that was asked already or the job is Canceled.

        JobStatusConflict from Finalizing on, and for what has ended otherwise.
        """
        with self._database.writing():
            row = self._rows.find(name)
            status = JobStatus(row["status"])
            meant = JobStatus(row["silent_status"]) if status is _S.NOT_RESPONDING else status
            if meant in (_S.CANCEL_REQUESTED, _S.CANCELED):
                return self._rows.job(row)
            if meant not in _CANCELABLE:
                remedy = "its outputs are being published" if meant is _S.FINALIZING else "it has ended"
                raise JobStatusConflict(name, str(meant), "cancelled", remedy)
            self._rows.set_status(row, _S.CANCEL_REQUESTED, "", {"message": ""})
            self._cancel_steps(row["id"])
            return self._rows.job(self._rows.find(name))

    def cancel_steps(self, name: str) -> None:
        """Ask for the end of all steps in progress of a pipeline, which itself goes on."""
        with self._database.writing():
            self._cancel_steps(self._rows.find(name)["id"])

    def _cancel_steps(self, key: int) -> None:
        for row in self._database.rows(f"SELECT {COLUMNS} FROM job WHERE parent_id = ?", (key,)):
            status = JobStatus(row["silent_status"] or row["status"])
            if status in _CANCELABLE - {_S.NOT_STARTED, _S.CANCEL_REQUESTED}:
                self._rows.set_status(row, _S.CANCEL_REQUESTED, "its pipeline asks for it", {"message": ""})

    def is_cancel_requested(self, name: str) -> bool:
        """Whether a cancel was asked for and not answered yet, also while the driver is silent."""
        row = self._rows.find(name)
        return str(_S.CANCEL_REQUESTED) in (row["status"], row["silent_status"])

    def cancel_time(self, name: str) -> float | None:
        """When a cancel of this run was asked for last; None when it was not."""
        sql = "SELECT max(time) FROM event WHERE job_id = ? AND run_number = ? AND status = 'CancelRequested'"
        row = self._rows.find(name)
        found = self._database.row(sql, (row["id"], row["run_number"]))
        return None if found is None else found[0]

    def delete(self, name: str, *, check: Callable[[], None] | None = None) -> None:
        """Forget a job that has ended, its steps and their events; JobStatusConflict while it has not.

        `check` is called inside the transaction: if it raises, nothing is forgotten.
        """
        with self._database.writing():
            if check is not None:
                check()
            row = self._rows.find(name)
            if JobStatus(row["status"]) not in TERMINAL:
                raise JobStatusConflict(name, row["status"], "deleted", f"cancel it first: `runner cancel {name}`")
            self._database.run("DELETE FROM job WHERE id = ?", (row["id"],))

    def discard(self, name: str) -> None:
        """Forget a job whose creation failed before a driver ran; harmless when it is unknown or got further."""
        with self._database.writing():
            self._database.run(
                "DELETE FROM job WHERE name = ? AND status IN ('NotStarted', 'Starting') AND driver_pid = 0", (name,)
            )

    def revision(self) -> int:
        """The number of the last visible change to any job: an upper bound of every cursor."""
        row = self._database.row("SELECT revision FROM clock")
        return 0 if row is None else int(row["revision"])

    def revisions(self, names: Iterable[str]) -> dict[str, int]:
        """The revision of each of the jobs that exist; only reads."""
        wanted = list(names)
        found: dict[str, int] = {}
        for start in range(0, len(wanted), 500):
            some = wanted[start : start + 500]
            rows = self._database.rows(
                f"SELECT name, revision FROM job WHERE name IN ({', '.join('?' * len(some))})", some
            )
            found.update((row["name"], row["revision"]) for row in rows)
        return found

    def has_changed(self, seen: int) -> tuple[bool, int]:
        """Whether another process or connection has written since the token `seen`, and the new token; very cheap."""
        version = self._database.data_version()
        return version != seen, version


def _anew(row: sqlite3.Row) -> dict[str, object]:
    """What a new run forgets of the one before."""
    forgotten: dict[str, object] = dict.fromkeys(("start_time", "end_time", "error"))
    forgotten |= {"reused_from": "", "reuse_reason": ""}
    return forgotten | {"run_number": row["run_number"] + 1, "driver_pid": 0}
