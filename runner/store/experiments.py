"""Experiments: names that jobs are grouped by, with tags of their own."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping

from runner.entity.asset import ExperimentState
from runner.errors import ExperimentNotFound
from runner.store.database import Database
from runner.store.rows import from_json, to_json


class Experiments:
    """One part of the store."""

    def __init__(self, database: Database, clock: Callable[[], float]) -> None:
        self._database, self._clock = database, clock

    def ensure(self, name: str) -> ExperimentState:
        """The experiment of that name, made if it is missing; one that was archived is active again."""
        with self._database.writing():
            self._database.run(
                "INSERT INTO experiment (name, create_time) VALUES (?, ?) "
                "ON CONFLICT (name) DO UPDATE SET archived_time = NULL",
                (name, self._clock()),
            )
        return self.get(name)

    def get(self, name: str) -> ExperimentState:
        """The experiment of that name. ExperimentNotFound when there is none."""
        row = self._database.row("SELECT * FROM experiment WHERE name = ?", (name,))
        if row is None:
            raise ExperimentNotFound(name)
        return _experiment(row)

    def list(self, *, archived: bool | None = False) -> tuple[ExperimentState, ...]:
        """Experiments, the newest first; `archived` None: whether archived or not."""
        found = map(_experiment, self._database.rows("SELECT * FROM experiment ORDER BY create_time DESC"))
        return tuple(one for one in found if archived is None or (one.archived_time is not None) is archived)

    def update(
        self, name: str, *, tags: Mapping[str, str | None] | None = None, is_archived: bool | None = None
    ) -> ExperimentState:
        """Merge tags (None for one removes it), archive or bring back."""
        with self._database.writing():
            known = self.get(name)
            merged = {key: value for key, value in {**known.tags, **(tags or {})}.items() if value is not None}
            when = known.archived_time if is_archived is None else self._clock() if is_archived else None
            self._database.run(
                "UPDATE experiment SET tags = ?, archived_time = ? WHERE name = ?", (to_json(merged), when, name)
            )
        return self.get(name)


def _experiment(row: sqlite3.Row) -> ExperimentState:
    return ExperimentState(
        name=row["name"],
        create_time=row["create_time"],
        archived_time=row["archived_time"],
        tags=from_json(row["tags"]),
    )
