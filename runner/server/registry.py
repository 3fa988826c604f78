"""What outlives jobs: registered assets and experiments."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from runner.entity.asset import Asset, AssetKind, ExperimentState
from runner.errors import ArgumentInvalid
from runner.server.catalog import StoreCatalog
from runner.server.reading import Reading

_ASSET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,254}")
_EXPERIMENT = re.compile(r"[^/\x00-\x1f]{1,255}")


class Registry(Reading):
    """The assets and experiments of one home, beside its jobs."""

    def assets(self, kind: AssetKind, name: str = "") -> tuple[Asset, ...]:
        """Registered assets, newest first; of one name, its versions."""
        return self.store.assets.list(kind, name)

    def asset(self, kind: AssetKind, name: str, version: str = "latest") -> Asset:
        """One registered asset. AssetNotFound when there is none."""
        return self.store.assets.get(kind, name, version)

    def create_asset(self, asset: Asset) -> Asset:
        """Register an asset; without a version it gets the next one.

        A component never changes: what it names is pinned, and its code is kept.

        Raises:
            ArgumentInvalid: its name, its version or its path cannot be.
            SpecInvalid: the code of a component is not there.
            AssetExists: the version is there already, and never changes.
        """
        for argument, value in (("name", asset.name), ("version", asset.version or "1")):
            if not _ASSET.fullmatch(value):
                what = f"{value!r} is no {argument} of an asset; write letters, digits, '.', '_' or '-'"
                raise ArgumentInvalid(argument, what)
        if asset.version == "latest":
            raise ArgumentInvalid("version", "'latest' means the newest one; write another version, or leave it out")
        if asset.kind == "data":
            path = Path(asset.path)
            if not path.is_absolute():
                raise ArgumentInvalid("path", f"{asset.path!r} is no absolute path; write one")
            if not path.exists():
                raise ArgumentInvalid("path", f"{asset.path} is not there; give a file or folder that is")
            return self.store.assets.create(asset)
        from runner.server.codes import pin_component  # not loaded by whoever only asks

        document = copy.deepcopy(StoreCatalog(self.store).pinned(asset.document))
        pin_component(document, self.home)
        return self.store.assets.create(replace(asset, document=document))

    def experiment(self, name: str) -> ExperimentState:
        """The experiment of that name, made if it is missing, active again if it was archived."""
        return self.store.experiments.ensure(check_experiment(name))

    def experiments(self, *, archived: bool | None = False) -> tuple[ExperimentState, ...]:
        """Experiments, newest first; `archived` None: all."""
        return self.store.experiments.list(archived=archived)

    def update_experiment(
        self, name: str, *, tags: Mapping[str, str | None] | None = None, is_archived: bool | None = None
    ) -> ExperimentState:
        """Merge tags (None for one removes it), archive or bring back. ExperimentNotFound when there is none."""
        return self.store.experiments.update(name, tags=tags, is_archived=is_archived)


def check_experiment(name: str) -> str:
    """The name, if an experiment can have it."""
    if not _EXPERIMENT.fullmatch(name):
        what = f"{name!r} is no name of an experiment; write 1 to 255 characters without '/'"
        raise ArgumentInvalid("experiment_name", what)
    return name
