"""JobService: messages in, operations on jobs, messages out; every error becomes a status from the one table."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing

from google.protobuf.empty_pb2 import Empty

from runner.api import names, wire, wire_assets, wire_steps
from runner.api.v1 import job_pb2, job_service_pb2, step_pb2
from runner.entity.job import JobState
from runner.entity.page import Chunk
from runner.entity.status import JobStatus
from runner.server.files import LogTail
from runner.server.hub import Hub
from runner.server.jobs import Jobs
from runner.server.reading import FOLLOW_S
from runner.server.registry_service import RegistryService
from runner.server.rpc import page_of
from runner.server.sight import has_driver
from runner.store.store import Store

FRESH_S = 0.2
_NEEDS_A_LOOK = (JobStatus.CANCEL_REQUESTED, JobStatus.NOT_RESPONDING)


class Replies:
    """Encoded answers to GetJob, good until anybody writes to the store, and never for long: locks tell of nothing."""

    def __init__(self, reader: Store) -> None:
        self._reader = reader
        self._version, self._until = -1, 0.0
        self._kept: dict[str, bytes] = {}

    def find(self, resource: str) -> bytes | None:
        """The answer for a job, when it is known to be fresh."""
        changed, self._version = self._reader.has_changed(self._version)
        now = time.monotonic()
        if changed or now >= self._until:
            self._kept.clear()
            self._until = now + FRESH_S
        return self._kept.get(resource)

    def keep(self, resource: str, reply: bytes) -> bytes:
        """Keep an answer that was made at once when `find` had none, with no await between."""
        self._kept[resource] = reply
        return reply


class JobService(RegistryService):
    """One method for each of the service; blocking work runs in threads, single reads in the event loop."""

    def __init__(self, jobs: Jobs, reader: Store, hub: Hub) -> None:
        super().__init__(jobs)
        self._reader, self._hub = reader, hub
        self._replies = Replies(reader)

    async def CreateJob(self, request: job_service_pb2.CreateJobRequest) -> job_pb2.Job:  # noqa: N802 - a name of the wire
        document = wire.document_from_wire(request.job.spec.document, "job.spec.document")
        job = await self.run(
            lambda: self._jobs.create(
                document,
                base_path=request.base_path or "/",
                name=request.job_id or None,
                overwrite=request.overwrite,
                request_id=request.request_id,
            )
        )
        return wire.job_to_wire(job)

    async def GetJob(self, request: job_service_pb2.GetJobRequest) -> bytes:  # noqa: N802
        reply = self._replies.find(request.name)
        if reply is None:
            name = names.parse_job_name(request.name)
            job = self._reader.glance(name)
            if job is None or job.status in _NEEDS_A_LOOK:
                return self._answer(await self.run(lambda: self._jobs.get(name)))
            reply = self._replies.keep(request.name, self._answer(job))
        return reply

    async def ListJobs(self, request: job_service_pb2.ListJobsRequest) -> job_service_pb2.ListJobsResponse:  # noqa: N802
        statuses = wire.statuses_from_request(request.statuses)
        size, token = request.page_size, request.page_token
        parent = names.parse_job_name(request.parent, "parent") if request.parent else ""
        experiment = names.parse_experiment_name(request.experiment, "experiment") if request.experiment else ""
        archived = wire_assets.view_from_request(request.view)
        page = await self.run(
            lambda: self._jobs.list(
                page_size=size,
                page_token=token,
                statuses=statuses,
                parent=parent,
                archived=archived,
                experiment=experiment,
            )
        )
        jobs = map(wire.job_to_wire, page.jobs)
        return job_service_pb2.ListJobsResponse(jobs=jobs, next_page_token=page.next_page_token)

    async def UpdateJob(self, request: job_service_pb2.UpdateJobRequest) -> job_pb2.Job:  # noqa: N802
        name = names.parse_job_name(request.name)
        job = await self.run(
            lambda: self._jobs.update(
                name,
                display_name=request.display_name if request.HasField("display_name") else None,
                description=request.description if request.HasField("description") else None,
                tags=wire.changes_from_wire(request.tags, request.removed_tags),
                properties=wire.changes_from_wire(request.properties, request.removed_properties),
                is_archived=request.is_archived if request.HasField("is_archived") else None,
            )
        )
        return wire.job_to_wire(job)

    async def DeleteJob(self, request: job_service_pb2.DeleteJobRequest) -> Empty:  # noqa: N802
        name = names.parse_job_name(request.name)
        await self.run(lambda: self._jobs.delete(name))
        return Empty()

    async def CancelJob(self, request: job_service_pb2.CancelJobRequest) -> job_pb2.Job:  # noqa: N802
        name = names.parse_job_name(request.name)
        return wire.job_to_wire(await self.run(lambda: self._jobs.cancel(name)))

    async def ResumeJob(self, request: job_service_pb2.ResumeJobRequest) -> job_pb2.Job:  # noqa: N802
        name = names.parse_job_name(request.name)
        return wire.job_to_wire(await self.run(lambda: self._jobs.resume(name)))

    async def RedriveJob(self, request: job_service_pb2.RedriveJobRequest) -> job_pb2.Job:  # noqa: N802
        name = names.parse_job_name(request.name)
        return wire.job_to_wire(await self.run(lambda: self._jobs.redrive(name, request.code)))

    async def ListFailures(self, request: job_service_pb2.ListFailuresRequest) -> job_service_pb2.ListFailuresResponse:  # noqa: N802
        name = names.parse_job_name(request.parent, "parent")
        classes = wire.classes_from_request(request.failure_classes)
        page = await self.run(
            lambda: self._jobs.failures(
                name,
                page_size=request.page_size,
                page_token=request.page_token,
                classes=classes,
                include_history=request.include_history,
            )
        )
        failures = map(wire.failure_to_wire, page.failures)
        return job_service_pb2.ListFailuresResponse(failures=failures, next_page_token=page.next_page_token)

    async def ListEvents(self, request: job_service_pb2.ListEventsRequest) -> job_service_pb2.ListEventsResponse:  # noqa: N802
        name = names.parse_job_name(request.parent, "parent")
        events = await self.run(lambda: self._jobs.events(name))
        numbered, token = page_of(list(enumerate(events, 1)), request)
        messages = (wire.event_to_wire(name, number, event) for number, event in numbered)
        return job_service_pb2.ListEventsResponse(events=messages, next_page_token=token)

    async def WatchJob(self, request: job_service_pb2.WatchJobRequest) -> AsyncIterator[bytes]:  # noqa: N802
        async with aclosing(self._hub.watch(names.parse_job_name(request.name), request.cursor)) as replies:
            async for reply in replies:
                yield reply

    async def ListLogs(self, request: job_service_pb2.ListLogsRequest) -> job_service_pb2.ListLogsResponse:  # noqa: N802
        name = names.parse_job_name(request.parent, "parent")
        logs, token = page_of(await self.run(lambda: self._jobs.logs(name)), request)
        messages = (wire.log_to_wire(name, one) for one in logs)
        return job_service_pb2.ListLogsResponse(logs=messages, next_page_token=token)

    async def ReadLog(self, request: job_service_pb2.ReadLogRequest) -> AsyncIterator[job_service_pb2.ReadLogResponse]:  # noqa: N802
        name, file = names.parse_log_name(request.name)
        tail: LogTail = await self.run(lambda: self._jobs.tail(name, file))
        while True:
            going_on = request.follow and await self.run(lambda: self._jobs.is_going_on(name))
            async for chunk in self._each(tail.read()):
                yield job_service_pb2.ReadLogResponse(path=chunk.path, data=chunk.data)
            if not going_on:
                return
            await asyncio.sleep(FOLLOW_S)

    async def ListOutputs(self, request: job_service_pb2.ListOutputsRequest) -> job_service_pb2.ListOutputsResponse:  # noqa: N802
        name = names.parse_job_name(request.parent, "parent")
        outputs, token = page_of(await self.run(lambda: self._jobs.outputs(name)), request)
        messages = (wire.output_to_wire(name, output) for output in outputs)
        return job_service_pb2.ListOutputsResponse(outputs=messages, next_page_token=token)

    async def ReadOutput(  # noqa: N802
        self, request: job_service_pb2.ReadOutputRequest
    ) -> AsyncIterator[job_service_pb2.ReadOutputResponse]:
        name, output = names.parse_name(request.name, "outputs")
        chunks = await self.run(lambda: self._jobs.read_output(name, output))
        async for chunk in self._each(chunks):
            yield job_service_pb2.ReadOutputResponse(path=chunk.path, data=chunk.data)

    async def GetStep(self, request: step_pb2.GetStepRequest) -> step_pb2.Step:  # noqa: N802
        parent, key = names.parse_step_name(request.name)
        return wire_steps.step_to_wire(await self.run(lambda: self._jobs.step(parent, key)))

    async def ListSteps(self, request: step_pb2.ListStepsRequest) -> step_pb2.ListStepsResponse:  # noqa: N802
        name = names.parse_job_name(request.parent, "parent")
        steps, token = page_of(await self.run(lambda: self._jobs.steps(name)), request)
        return step_pb2.ListStepsResponse(steps=map(wire_steps.step_to_wire, steps), next_page_token=token)

    async def GetJobGraph(self, request: step_pb2.GetJobGraphRequest) -> step_pb2.JobGraph:  # noqa: N802
        name = names.parse_graph_name(request.name)
        return wire_steps.graph_to_wire(await self.run(lambda: self._jobs.graph(name)))

    def _answer(self, job: JobState) -> bytes:
        message = wire.job_to_wire(job)
        if (driven := has_driver(self._reader, job)) is not None:
            message.has_driver = driven
        return message.SerializeToString()

    async def _each(self, chunks: Iterator[Chunk]) -> AsyncIterator[Chunk]:
        while (chunk := await self.run(lambda: next(chunks, None))) is not None:
            yield chunk
