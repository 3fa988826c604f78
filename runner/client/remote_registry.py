"""The part of the back end behind a service that is about what outlives jobs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import msgspec

from runner.api import names, wire, wire_assets
from runner.api.v1 import asset_pb2, experiment_pb2, published_pb2
from runner.client.connection import Connection
from runner.entity.asset import Asset, AssetKind, ExperimentState, PublishedState, PublishedStatus
from runner.entity.job import JobState

CREATE_DEADLINE_S = 300.0
"""Creating or redriving a job copies its code."""


class RemoteRegistry(Connection):
    """Assets, published pipelines and experiments of a service."""

    def assets(self, kind: AssetKind, name: str = "") -> tuple[Asset, ...]:
        number = wire_assets.kind_to_wire(kind)
        pages = self._pages(self._stub.ListAssets, asset_pb2.ListAssetsRequest, kind=number, asset_id=name)
        return tuple(wire_assets.asset_from_wire(asset) for page in pages for asset in page.assets)

    def asset(self, kind: AssetKind, name: str, version: str = "latest") -> Asset:
        request = asset_pb2.GetAssetRequest(name=names.asset_name(kind, name, version or "latest"))
        return wire_assets.asset_from_wire(self._call(self._stub.GetAsset, request))

    def create_asset(self, asset: Asset) -> Asset:
        message = wire_assets.asset_to_wire(replace(asset, version=""))
        request = asset_pb2.CreateAssetRequest(asset=message, asset_id=asset.name, version=asset.version)
        return wire_assets.asset_from_wire(self._call(self._stub.CreateAsset, request))

    def publish(
        self,
        name: str,
        *,
        published_name: str,
        description: str = "",
        version: str = "",
        continue_on_step_failure: bool | None = None,
    ) -> PublishedState:
        request = published_pb2.PublishJobRequest(
            name=names.job_name(name),
            display_name=published_name,
            description=description,
            version=version,
            **given(continue_on_step_failure=continue_on_step_failure),
        )
        return wire_assets.published_from_wire(self._call(self._stub.PublishJob, request))

    def published(self, key: str) -> PublishedState:
        request = published_pb2.GetPublishedPipelineRequest(name=names.published_name(key))
        return wire_assets.published_from_wire(self._call(self._stub.GetPublishedPipeline, request))

    def list_published(self, *, active_only: bool = True) -> tuple[PublishedState, ...]:
        make = published_pb2.ListPublishedPipelinesRequest
        pages = self._pages(self._stub.ListPublishedPipelines, make, include_inactive=not active_only)
        return tuple(wire_assets.published_from_wire(one) for page in pages for one in page.published_pipelines)

    def set_published_status(self, key: str, status: PublishedStatus) -> PublishedState:
        request = published_pb2.UpdatePublishedPipelineRequest(
            name=names.published_name(key), status=wire_assets.published_status_to_wire(status)
        )
        return wire_assets.published_from_wire(self._call(self._stub.UpdatePublishedPipeline, request))

    def submit_published(
        self,
        key: str,
        *,
        experiment_name: str = "",
        parameters: Mapping[str, object] | None = None,
        continue_on_step_failure: bool | None = None,
    ) -> JobState:
        request = published_pb2.SubmitPublishedPipelineRequest(
            name=names.published_name(key),
            experiment=names.experiment_name(experiment_name) if experiment_name else "",
            parameters=msgspec.json.encode(dict(parameters or {})).decode(),
            **given(continue_on_step_failure=continue_on_step_failure),
        )
        return wire.job_from_wire(self._call(self._stub.SubmitPublishedPipeline, request, CREATE_DEADLINE_S))

    def experiment(self, name: str) -> ExperimentState:
        request = experiment_pb2.CreateExperimentRequest(experiment_id=name)
        return wire_assets.experiment_from_wire(self._call(self._stub.CreateExperiment, request))

    def experiments(self, *, archived: bool | None = False) -> tuple[ExperimentState, ...]:
        view = wire_assets.view_to_wire(archived)
        pages = self._pages(self._stub.ListExperiments, experiment_pb2.ListExperimentsRequest, view=view)
        return tuple(wire_assets.experiment_from_wire(one) for page in pages for one in page.experiments)

    def update_experiment(
        self, name: str, *, tags: Mapping[str, str | None] | None = None, is_archived: bool | None = None
    ) -> ExperimentState:
        new_tags, old_tags = wire.changes_to_wire(tags)
        request = experiment_pb2.UpdateExperimentRequest(
            name=names.experiment_name(name), tags=new_tags, removed_tags=old_tags, **given(is_archived=is_archived)
        )
        return wire_assets.experiment_from_wire(self._call(self._stub.UpdateExperiment, request))


def given(**values: Any) -> dict[str, Any]:
    """The fields that are said; what is not leaves everything as it is."""
    return {name: value for name, value in values.items() if value is not None}
