"""What `azureml:` names lead to: the registered assets and the jobs of one store."""

from __future__ import annotations

import re
from typing import Any

from runner.entity.asset import Asset, AssetKind
from runner.entity.job import OutputState
from runner.entity.status import JobStatus
from runner.errors import AssetNotFound, JobStatusConflict
from runner.store.store import Store

_NAMED = re.compile(r"azureml:(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)(?:@latest)?")


class StoreCatalog:
    """The catalog that a submission is checked with. Threads may share it."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def asset(self, kind: AssetKind, name: str, version: str = "latest") -> Asset:
        """A registered asset. AssetNotFound when there is none."""
        return self._store.assets.get(kind, name, version)

    def outputs(self, job: str) -> tuple[OutputState, ...]:
        """The outputs of a completed job. JobNotFound; JobStatusConflict when it has not completed."""
        found = self._store.get(job)
        if found.status is not JobStatus.COMPLETED:
            remedy = "only outputs of completed jobs can be inputs; wait for its end"
            raise JobStatusConflict(job, str(found.status), "read from", remedy)
        return found.outputs

    def pinned(self, document: Any) -> Any:
        """A document in which every asset without a version, or `@latest`, is written with the version it is now.

        A name that leads nowhere stays as it is: the check of the job tells it, with its place.
        """
        return self._pinned(document, "")

    def _pinned(self, value: Any, key: str) -> Any:
        if isinstance(value, dict):
            return {inner: self._pinned(one, inner) for inner, one in value.items()}
        if key not in ("path", "component") or not isinstance(value, str):
            return value
        match = _NAMED.fullmatch(value)
        if match is None:
            return value
        try:
            return self.asset("component" if key == "component" else "data", match["name"]).reference
        except AssetNotFound:
            return value
