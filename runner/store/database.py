"""One SQLite connection, shared by the threads of a process: short immediate transactions, and errors of our own."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from runner.errors import StorageFailed, StoreBusy
from runner.store.migrate import migrate

BUSY_CODES = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})


class Database:
    """WAL mode, so that readers never wait; writers of several processes take turns for at most `busy_s`."""

    def __init__(self, path: Path, busy_s: float) -> None:
        self._path = path
        self._mutex = threading.RLock()
        with self._own_errors():
            self._connection = sqlite3.connect(path, timeout=busy_s, isolation_level=None, check_same_thread=False)
            try:
                self._connection.row_factory = sqlite3.Row
                self._connection.execute("PRAGMA foreign_keys = ON")
                self._connection.execute("PRAGMA journal_mode = WAL")
                # In WAL mode this can lose the last commits at a power cut, never consistency. What a job has
                # done is in its journal; the store only tells of it.
                self._connection.execute("PRAGMA synchronous = NORMAL")
                migrate(self._connection)
            except BaseException:
                self._connection.close()
                raise

    def close(self) -> None:
        with self._mutex:
            self._connection.close()

    def rows(self, sql: str, values: Sequence[object] = ()) -> list[sqlite3.Row]:
        """What a query finds."""
        with self._mutex, self._own_errors():
            return self._connection.execute(sql, values).fetchall()

    def row(self, sql: str, values: Sequence[object] = ()) -> sqlite3.Row | None:
        """The first row a query finds."""
        with self._mutex, self._own_errors():
            found: sqlite3.Row | None = self._connection.execute(sql, values).fetchone()
            return found

    def run(self, sql: str, values: Sequence[object] = ()) -> int:
        """Execute a statement inside `writing`; returns the id of an inserted row."""
        with self._own_errors():
            return self._connection.execute(sql, values).lastrowid or 0

    @contextmanager
    def writing(self) -> Iterator[None]:
        """One immediate transaction; an exception rolls it back."""
        with self._mutex, self._own_errors():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    def data_version(self) -> int:
        """Changes when another connection has committed; costs next to nothing."""
        row = self.row("PRAGMA data_version")
        return int(row[0]) if row is not None else 0

    @contextmanager
    def _own_errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.IntegrityError:
            raise  # the store knows which rule was broken
        except sqlite3.Error as error:
            code = getattr(error, "sqlite_errorcode", 0) & 0xFF
            if code in BUSY_CODES:
                raise StoreBusy(str(self._path)) from error
            raise StorageFailed(str(self._path), f"the store cannot be used: {error}") from error
