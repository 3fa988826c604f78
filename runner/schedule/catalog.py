"""What `azureml:` names lead to: the registered assets and the completed jobs of one store."""

from __future__ import annotations

from runner.entity.asset import Asset, AssetKind
from runner.entity.job import OutputState
from runner.entity.status import JobStatus
from runner.errors import JobStatusConflict
from runner.store.store import Store


class StoreCatalog:
    """The catalog that jobs are checked and prepared with. Threads may share it."""

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
