"""Registered data and components of a client."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, ClassVar

from runner.client.backend import Backend
from runner.entity.asset import Asset, AssetKind
from runner.errors import ArgumentInvalid

LATEST = "latest"


class AssetOperations:
    """What can be done with one kind of assets."""

    kind: ClassVar[AssetKind]

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    def get(self, name: str, version: str | None = None, *, label: str | None = None) -> Asset:
        """One registered asset: of that version, else the newest. AssetNotFound when there is none."""
        if label not in (None, LATEST):
            raise ArgumentInvalid("label", f"is {label!r}; the only label is {LATEST!r}")
        if version is not None and label is not None:
            raise ArgumentInvalid("label", "is given together with version; leave one of them out")
        return self._backend.asset(self.kind, name, LATEST if version is None else str(version))

    def list(self, name: str | None = None) -> tuple[Asset, ...]:
        """Registered assets, the newest first; of one name, its versions."""
        return self._backend.assets(self.kind, name or "")

    def _register(self, asset: Asset) -> Asset:
        return self._backend.create_asset(asset)


class DataOperations(AssetOperations):
    """Registered data: `azureml:name:version` in a job file leads to its path."""

    kind: ClassVar[AssetKind] = "data"

    def create_or_update(
        self,
        data: Asset | None = None,
        *,
        name: str | None = None,
        version: str | int | None = None,
        path: str | os.PathLike[str] | None = None,
        type: str | None = None,  # noqa: A002 - the name that users of these assets know
        description: str = "",
        tags: Mapping[str, str] | None = None,
    ) -> Asset:
        """Register data that is there; it is referred to and not copied. Without a version it gets the next one.

        Args:
            data: the whole asset, instead of the other arguments.
            path: a file or a folder; a relative one starts from the current folder.
            type: uri_file, uri_folder or mltable; by default what the path is.

        Raises:
            AssetExists: the version is there already; assets never change.
            ArgumentInvalid: there is nothing at the path, or a name or version cannot be.
        """
        if data is not None:
            if data.kind != self.kind:
                raise ArgumentInvalid("data", f"is {data!r}; give an asset of the kind data")
            return self._register(data)
        if not name:
            raise ArgumentInvalid("name", "is missing; give the name that the data gets")
        if path is None:
            raise ArgumentInvalid("path", "is missing; give a file or a folder")
        place = os.path.abspath(path)
        made = Asset(
            kind=self.kind,
            name=name,
            version="" if version is None else str(version),
            type=type or ("uri_file" if os.path.isfile(place) else "uri_folder"),
            path=place,
            description=description,
            tags={key: str(value) for key, value in (tags or {}).items()},
        )
        return self._register(made)


class ComponentOperations(AssetOperations):
    """Registered components: `component: azureml:name:version` in a pipeline leads to what its file says."""

    kind: ClassVar[AssetKind] = "component"

    def create_or_update(
        self, component: Asset | Mapping[str, Any] | str | os.PathLike[str], *, version: str | int | None = None
    ) -> Asset:
        """Register a component. Without a version it gets the next one.

        Args:
            component: a component's YAML file, or what it says with absolute paths, or a whole asset.
            version: instead of the component's own.

        Raises:
            AssetExists: the version is there already; assets never change.
            ArgumentInvalid: its name or version cannot be.
            SpecInvalid: everything that is wrong with the file.
        """
        if isinstance(component, str | os.PathLike):
            from runner.spec.component_file import load_component  # not loaded by whoever only submits

            component = load_component(component)
        if isinstance(component, Asset):
            if component.kind != self.kind:
                raise ArgumentInvalid("component", f"is {component.reference}, which is data; give a component")
            return self._register(component)
        if not isinstance(component, Mapping):
            what = f"is a {type(component).__name__}; give the path of its file, a mapping or an asset"
            raise ArgumentInvalid("component", what)
        name = component.get("name")
        if not isinstance(name, str) or not name:
            raise ArgumentInvalid("component", "has no name; write one in its file")
        chosen = component.get("version") if version is None else version
        made = Asset(
            kind=self.kind,
            name=name,
            version="" if chosen is None else str(chosen),
            type=str(component.get("type") or "command"),
            document=dict(component),
            description=str(component.get("description") or ""),
            tags={key: str(value) for key, value in (component.get("tags") or {}).items()},
        )
        return self._register(made)
