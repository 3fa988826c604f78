"""Brings a database to the newest schema: numbered SQL files, each in one transaction with its own record."""

from __future__ import annotations

import re
import sqlite3
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from runner.errors import StorageFailed

FOLDER = Path(__file__).with_name("migrations")


@cache
def migrations() -> tuple[tuple[int, Path], ...]:
    """Number and file of every migration, in order."""
    found = sorted(FOLDER.glob("[0-9]*_*.sql"))
    return tuple((int(path.name.partition("_")[0]), path) for path in found)


def migrate(connection: sqlite3.Connection) -> None:
    """Apply what is missing. Harmless to repeat, and safe when several processes open a new database at once.

    `connection` must be in autocommit mode; a database of a newer runner is refused and left as it is.
    """
    newest = migrations()[-1][0]
    if (found := _version(connection)) == newest:
        return
    for number, path in migrations():
        if number > found:
            _apply(connection, number, path)
    if (found := _version(connection)) > newest:
        path = connection.execute("PRAGMA database_list").fetchone()[2]
        what = f"was written by a newer runner (schema {found}, this one knows {newest})"
        raise StorageFailed(path, f"{what}; use that version, or another RUNNER_HOME")


def statements(sql: str) -> Iterator[str]:
    """The statements of a script; `executescript` would commit the transaction that must hold them."""
    gathered = ""
    for line in sql.splitlines(keepends=True):
        gathered += line
        if sqlite3.complete_statement(gathered):
            yield gathered
            gathered = ""
    if re.sub(r"--.*", "", gathered).strip():
        raise ValueError(f"a statement does not end: {gathered}")


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _apply(connection: sqlite3.Connection, number: int, path: Path) -> None:
    connection.execute("BEGIN IMMEDIATE")
    try:
        if _version(connection) < number:  # another process may have been first
            for statement in statements(path.read_text("utf-8")):
                connection.execute(statement)
            connection.execute("INSERT INTO migration VALUES (?, ?, ?)", (number, path.stem, time.time()))
            connection.execute(f"PRAGMA user_version = {number}")
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise
