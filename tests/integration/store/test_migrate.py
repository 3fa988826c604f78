"""The numbered migrations lead to the readable schema, once each."""

from __future__ import annotations

import re
import sqlite3
from pathlib import Path

import pytest

import runner.store.migrate
from runner.errors import StorageFailed
from runner.store.home import Home
from runner.store.migrate import migrations, statements
from runner.store.store import Store

SCHEMA = Path(runner.store.migrate.__file__).with_name("schema.sql")


def shape(connection: sqlite3.Connection) -> list[tuple[str, str, list[str]]]:
    """Of each table and index its definitions, without comments and in any order: a column may have come later."""
    rows = connection.execute("SELECT type, name, sql FROM sqlite_master WHERE sql NOT NULL ORDER BY type, name")
    return [(kind, name, definitions(re.sub(r"--[^\n]*", "", sql))) for kind, name, sql in rows]


def definitions(sql: str) -> list[str]:
    """What stands between the commas of a statement that are within one pair of brackets, sorted."""
    depth, parts = 0, [""]
    for letter in sql:
        depth += {"(": 1, ")": -1}.get(letter, 0)
        if (letter, depth) in ((",", 1), ("(", 1), (")", 0)):
            parts.append("")
        else:
            parts[-1] += letter
    return sorted(" ".join(part.split()) for part in parts)


def test_migrations_lead_to_the_schema(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    Store(home).close()
    read = sqlite3.connect(":memory:")
    read.executescript(SCHEMA.read_text())
    made = sqlite3.connect(home.database)
    assert shape(made) == shape(read)
    numbers = [number for number, _ in migrations()]
    assert [row[0] for row in made.execute("SELECT number FROM migration ORDER BY number")] == numbers
    assert made.execute("PRAGMA user_version").fetchone()[0] == numbers[-1]
    made.close()
    read.close()


def test_numbers_are_without_gaps() -> None:
    assert [number for number, _ in migrations()] == list(range(1, len(migrations()) + 1))


def test_opening_again_applies_nothing(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    for _ in range(2):
        Store(home).close()
    made = sqlite3.connect(home.database)
    assert made.execute("SELECT count(*) FROM migration").fetchone()[0] == len(migrations())
    made.close()


def test_the_store_of_a_newer_runner_is_refused_and_left_alone(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    Store(home).close()
    made = sqlite3.connect(home.database)
    made.execute("PRAGMA user_version = 999")
    made.commit()
    with pytest.raises(StorageFailed, match="newer runner"):
        Store(home)
    assert made.execute("PRAGMA user_version").fetchone()[0] == 999
    made.close()


def test_a_script_is_split_at_the_end_of_statements_only() -> None:
    script = "-- a; comment\nCREATE TABLE a (t TEXT DEFAULT ';');\nINSERT INTO a\nVALUES (';');\n-- end\n"
    assert len(list(statements(script))) == 2
    with pytest.raises(ValueError, match="does not end"):
        list(statements("CREATE TABLE a (t TEXT)"))
