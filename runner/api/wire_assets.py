"""What outlives jobs as messages and back: assets, published pipelines, experiments."""

from __future__ import annotations

from typing import cast

import msgspec

from runner.api.names import (
    asset_name,
    experiment_name,
    job_name,
    parse_asset_name,
    parse_experiment_name,
    parse_job_name,
    parse_published_name,
    published_name,
)
from runner.api.v1 import asset_pb2, experiment_pb2, list_view_pb2, published_pb2
from runner.api.wire import document_from_wire, time_from_wire, time_to_wire
from runner.entity.asset import Asset, AssetKind, ExperimentState, PublishedState, PublishedStatus
from runner.errors import ArgumentInvalid

_KIND_NUMBERS: dict[AssetKind, asset_pb2.AssetKind] = {
    "data": asset_pb2.ASSET_KIND_DATA,
    "component": asset_pb2.ASSET_KIND_COMPONENT,
}
_KINDS: dict[int, AssetKind] = {number: kind for kind, number in _KIND_NUMBERS.items()}
_STATUS_NUMBERS: dict[PublishedStatus, published_pb2.PublishedPipelineStatus] = {
    status: cast(
        "published_pb2.PublishedPipelineStatus",
        published_pb2.PublishedPipelineStatus.Value(f"PUBLISHED_PIPELINE_STATUS_{status.name}"),
    )
    for status in PublishedStatus
}
_STATUSES: dict[int, PublishedStatus] = {number: status for status, number in _STATUS_NUMBERS.items()}
_VIEWS: dict[bool | None, list_view_pb2.ListView] = {
    False: list_view_pb2.LIST_VIEW_ACTIVE_ONLY,
    True: list_view_pb2.LIST_VIEW_ARCHIVED_ONLY,
    None: list_view_pb2.LIST_VIEW_ALL,
}
_ARCHIVED: dict[int, bool | None] = {number: archived for archived, number in _VIEWS.items()}


def asset_to_wire(asset: Asset) -> asset_pb2.Asset:
    """An asset as a message; one that has no version yet has no name."""
    return asset_pb2.Asset(
        name=asset_name(asset.kind, asset.name, asset.version) if asset.version else "",
        kind=kind_to_wire(asset.kind),
        type=asset.type,
        path=asset.path,
        document=msgspec.json.encode(asset.document).decode() if asset.document else "",
        description=asset.description,
        tags=asset.tags,
        job=job_name(asset.job) if asset.job else "",
        create_time=time_to_wire(asset.create_time) if asset.create_time else None,
    )


def asset_from_wire(message: asset_pb2.Asset) -> Asset:
    """A message as an asset."""
    kind, name, version = parse_asset_name(message.name)
    return Asset(
        kind=kind,
        name=name,
        version=version,
        type=message.type,
        path=message.path,
        document=document_from_wire(message.document),
        description=message.description,
        tags=dict(message.tags),
        job=parse_job_name(message.job) if message.job else "",
        create_time=time_from_wire(message.create_time),
    )


def asset_from_request(request: asset_pb2.CreateAssetRequest) -> Asset:
    """The asset that a caller wants to register."""
    asset = request.asset
    return Asset(
        kind=kind_from_request(asset.kind),
        name=request.asset_id,
        version=request.version,
        type=asset.type,
        path=asset.path,
        document=document_from_wire(asset.document),
        description=asset.description,
        tags=dict(asset.tags),
    )


def kind_to_wire(kind: AssetKind) -> asset_pb2.AssetKind:
    """The number of a kind of asset."""
    return _KIND_NUMBERS[kind]


def kind_from_request(number: int) -> AssetKind:
    """The kind a caller asks for; ArgumentInvalid for one that does not exist."""
    if number not in _KINDS:
        raise ArgumentInvalid("kind", f"{number} is no kind of asset; write a value of AssetKind above 0")
    return _KINDS[number]


def published_to_wire(published: PublishedState) -> published_pb2.PublishedPipeline:
    """A published pipeline as a message."""
    message = published_pb2.PublishedPipeline(
        name=published_name(published.id),
        display_name=published.name,
        description=published.description,
        version=published.version,
        status=_STATUS_NUMBERS[published.status],
        document=msgspec.json.encode(published.document).decode(),
        job=job_name(published.job) if published.job else "",
        create_time=time_to_wire(published.create_time),
    )
    if published.continue_on_step_failure is not None:
        message.continue_on_step_failure = published.continue_on_step_failure
    return message


def published_from_wire(message: published_pb2.PublishedPipeline) -> PublishedState:
    """A message as a published pipeline; a status that a newer service has added is none to submit in."""
    goes_on = message.continue_on_step_failure if message.HasField("continue_on_step_failure") else None
    return PublishedState(
        id=parse_published_name(message.name),
        name=message.display_name,
        description=message.description,
        version=message.version,
        status=_STATUSES.get(message.status, PublishedStatus.DISABLED),
        document=document_from_wire(message.document),
        job=parse_job_name(message.job) if message.job else "",
        continue_on_step_failure=goes_on,
        create_time=time_from_wire(message.create_time),
    )


def published_status_to_wire(status: PublishedStatus) -> published_pb2.PublishedPipelineStatus:
    """The number of a status of published pipelines."""
    return _STATUS_NUMBERS[status]


def published_status_from_request(number: int) -> PublishedStatus:
    """The status a caller wants; ArgumentInvalid for one that does not exist."""
    if number not in _STATUSES:
        raise ArgumentInvalid("status", f"{number} is no status; write a value of PublishedPipelineStatus above 0")
    return _STATUSES[number]


def experiment_to_wire(experiment: ExperimentState) -> experiment_pb2.Experiment:
    """An experiment as a message."""
    return experiment_pb2.Experiment(
        name=experiment_name(experiment.name),
        tags=experiment.tags,
        create_time=time_to_wire(experiment.create_time),
        archive_time=time_to_wire(experiment.archived_time),
    )


def experiment_from_wire(message: experiment_pb2.Experiment) -> ExperimentState:
    """A message as an experiment."""
    return ExperimentState(
        name=parse_experiment_name(message.name),
        tags=dict(message.tags),
        create_time=time_from_wire(message.create_time),
        archived_time=time_from_wire(message.archive_time) if message.HasField("archive_time") else None,
    )


def view_to_wire(archived: bool | None) -> list_view_pb2.ListView:
    """Whether a list holds what was archived: only that, nothing of it, or (None) all."""
    return _VIEWS[archived]


def view_from_request(number: int) -> bool | None:
    """What a caller wants to see; what is not known is the default, only what is active."""
    return _ARCHIVED.get(number, False)
