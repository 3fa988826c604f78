"""The methods of the service about what outlives jobs: assets, published pipelines, experiments."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from runner.api import names, wire, wire_assets
from runner.api.v1 import asset_pb2, experiment_pb2, job_pb2, published_pb2
from runner.server.jobs import Jobs
from runner.server.rpc import newest_page_of

_THREADS = 16
Value = TypeVar("Value")


class RegistryService:
    """One method for each; blocking work runs in threads."""

    # ruff: noqa: N802 - the methods have the names of the wire

    def __init__(self, jobs: Jobs) -> None:
        self._jobs = jobs
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="jobs")

    def close(self) -> None:
        """Wait for what is at work."""
        self._pool.shutdown()

    async def run(self, work: Callable[[], Value]) -> Value:
        """Do blocking work in a thread; `close` waits for it."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, work)

    async def PublishJob(self, request: published_pb2.PublishJobRequest) -> published_pb2.PublishedPipeline:
        name = names.parse_job_name(request.name)
        published = await self.run(
            lambda: self._jobs.publish(
                name,
                published_name=request.display_name,
                description=request.description,
                version=request.version,
                continue_on_step_failure=_goes_on(request),
            )
        )
        return wire_assets.published_to_wire(published)

    async def GetPublishedPipeline(
        self, request: published_pb2.GetPublishedPipelineRequest
    ) -> published_pb2.PublishedPipeline:
        key = names.parse_published_name(request.name)
        return wire_assets.published_to_wire(await self.run(lambda: self._jobs.published(key)))

    async def ListPublishedPipelines(
        self, request: published_pb2.ListPublishedPipelinesRequest
    ) -> published_pb2.ListPublishedPipelinesResponse:
        wants_all = request.include_inactive
        found = await self.run(lambda: self._jobs.list_published(active_only=not wants_all))
        page, token = newest_page_of(found, request, wants_all)
        messages = map(wire_assets.published_to_wire, page)
        return published_pb2.ListPublishedPipelinesResponse(published_pipelines=messages, next_page_token=token)

    async def UpdatePublishedPipeline(
        self, request: published_pb2.UpdatePublishedPipelineRequest
    ) -> published_pb2.PublishedPipeline:
        key = names.parse_published_name(request.name)
        status = wire_assets.published_status_from_request(request.status)
        return wire_assets.published_to_wire(await self.run(lambda: self._jobs.set_published_status(key, status)))

    async def SubmitPublishedPipeline(self, request: published_pb2.SubmitPublishedPipelineRequest) -> job_pb2.Job:
        key = names.parse_published_name(request.name)
        experiment = names.parse_experiment_name(request.experiment, "experiment") if request.experiment else ""
        parameters = wire.document_from_wire(request.parameters, "parameters")
        job = await self.run(
            lambda: self._jobs.submit_published(
                key, experiment_name=experiment, parameters=parameters, continue_on_step_failure=_goes_on(request)
            )
        )
        return wire.job_to_wire(job)

    async def CreateAsset(self, request: asset_pb2.CreateAssetRequest) -> asset_pb2.Asset:
        asset = wire_assets.asset_from_request(request)
        return wire_assets.asset_to_wire(await self.run(lambda: self._jobs.create_asset(asset)))

    async def GetAsset(self, request: asset_pb2.GetAssetRequest) -> asset_pb2.Asset:
        kind, name, version = names.parse_asset_name(request.name)
        return wire_assets.asset_to_wire(await self.run(lambda: self._jobs.asset(kind, name, version)))

    async def ListAssets(self, request: asset_pb2.ListAssetsRequest) -> asset_pb2.ListAssetsResponse:
        kind, name = wire_assets.kind_from_request(request.kind), request.asset_id
        found = await self.run(lambda: self._jobs.assets(kind, name))
        page, token = newest_page_of(found, request, kind, name)
        return asset_pb2.ListAssetsResponse(assets=map(wire_assets.asset_to_wire, page), next_page_token=token)

    async def CreateExperiment(self, request: experiment_pb2.CreateExperimentRequest) -> experiment_pb2.Experiment:
        name = request.experiment_id
        return wire_assets.experiment_to_wire(await self.run(lambda: self._jobs.experiment(name)))

    async def GetExperiment(self, request: experiment_pb2.GetExperimentRequest) -> experiment_pb2.Experiment:
        name = names.parse_experiment_name(request.name)
        return wire_assets.experiment_to_wire(await self.run(lambda: self._jobs.store.experiments.get(name)))

    async def ListExperiments(
        self, request: experiment_pb2.ListExperimentsRequest
    ) -> experiment_pb2.ListExperimentsResponse:
        archived = wire_assets.view_from_request(request.view)
        found = await self.run(lambda: self._jobs.experiments(archived=archived))
        page, token = newest_page_of(found, request, archived)
        messages = map(wire_assets.experiment_to_wire, page)
        return experiment_pb2.ListExperimentsResponse(experiments=messages, next_page_token=token)

    async def UpdateExperiment(self, request: experiment_pb2.UpdateExperimentRequest) -> experiment_pb2.Experiment:
        name = names.parse_experiment_name(request.name)
        tags = wire.changes_from_wire(request.tags, request.removed_tags)
        archived = request.is_archived if request.HasField("is_archived") else None
        found = await self.run(lambda: self._jobs.update_experiment(name, tags=tags, is_archived=archived))
        return wire_assets.experiment_to_wire(found)


def _goes_on(
    request: published_pb2.PublishJobRequest | published_pb2.SubmitPublishedPipelineRequest,
) -> bool | None:
    return request.continue_on_step_failure if request.HasField("continue_on_step_failure") else None
