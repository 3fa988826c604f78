"""Registered data and components: `name:version`, never changed once they are there."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from dataclasses import replace

import msgspec

from runner.entity.asset import Asset, AssetKind
from runner.errors import AssetExists, AssetNotFound
from runner.store.database import Database
from runner.store.rows import from_json, to_json

LATEST = "latest"


class Assets:
    """One part of the store."""

    def __init__(self, database: Database, clock: Callable[[], float]) -> None:
        self._database, self._clock = database, clock

    def create(self, asset: Asset) -> Asset:
        """Register an asset; without a version it gets the next one. AssetExists when the version is taken."""
        with self._database.writing():
            return self.add(asset)

    def get(self, kind: AssetKind, name: str, version: str = LATEST) -> Asset:
        """The asset `name:version`, or the newest of that name. AssetNotFound when there is none."""
        values: list[str] = [kind, name]
        sql = "SELECT * FROM asset WHERE kind = ? AND name = ?"
        if version and version != LATEST:
            sql, values = f"{sql} AND version = ?", [*values, version]
        row = self._database.row(f"{sql} ORDER BY id DESC LIMIT 1", values)
        if row is None:
            raise AssetNotFound(kind, f"{name}:{version}" if version and version != LATEST else name)
        return _asset(row)

    def list(self, kind: AssetKind, name: str = "") -> tuple[Asset, ...]:
        """All versions, or those of one name, the newest first."""
        values: list[str] = [kind]
        sql = "SELECT * FROM asset WHERE kind = ?"
        if name:
            sql, values = f"{sql} AND name = ?", [*values, name]
        return tuple(map(_asset, self._database.rows(f"{sql} ORDER BY id DESC", values)))

    def of_job(self, job: str) -> tuple[Asset, ...]:
        """What a job has registered."""
        return tuple(map(_asset, self._database.rows("SELECT * FROM asset WHERE job = ? ORDER BY id", (job,))))

    def add(self, asset: Asset) -> Asset:
        """As `create`, within a transaction of the store."""
        made = replace(asset, version=asset.version or self._next(asset), create_time=self._clock())
        row = {
            "kind": made.kind,
            "name": made.name,
            "version": made.version,
            "type": made.type,
            "path": made.path,
            "document": to_json(made.document),
            "description": made.description,
            "tags": to_json(made.tags),
            "job": made.job,
            "create_time": made.create_time,
        }
        try:
            self._database.run(
                f"INSERT INTO asset ({', '.join(row)}) VALUES ({', '.join('?' * len(row))})", [*row.values()]
            )
        except sqlite3.IntegrityError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_CONSTRAINT_UNIQUE:
                raise
            raise AssetExists(made.kind, f"{made.name}:{made.version}") from None
        return made

    def _next(self, asset: Asset) -> str:
        versions = [one.version for one in self.list(asset.kind, asset.name)]
        return str(max((int(version) for version in versions if version.isdecimal()), default=0) + 1)


def _asset(row: sqlite3.Row) -> Asset:
    return Asset(
        kind=row["kind"],
        name=row["name"],
        version=row["version"],
        type=row["type"],
        path=row["path"],
        document=msgspec.json.decode(row["document"], type=dict[str, object]),
        description=row["description"],
        tags=from_json(row["tags"]),
        job=row["job"],
        create_time=row["create_time"],
    )
