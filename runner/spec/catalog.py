"""What registered names lead to, as whoever keeps them answers; rooms below the store ask through this."""

from __future__ import annotations

from typing import Protocol

from runner.entity.asset import Asset, AssetKind
from runner.entity.job import OutputState


class Catalog(Protocol):
    """Registered assets, and the outputs of jobs that have completed."""

    def asset(self, kind: AssetKind, name: str, version: str = "latest") -> Asset:
        """A registered asset. AssetNotFound when there is none."""

    def outputs(self, job: str) -> tuple[OutputState, ...]:
        """The outputs of a job. JobNotFound when there is none."""
