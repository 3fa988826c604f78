"""The back end behind a service: each call is one call of JobService."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec

from runner.api import names, wire, wire_assets, wire_steps
from runner.api.v1 import job_pb2, job_service_pb2, step_pb2
from runner.client.remote_registry import CREATE_DEADLINE_S, RemoteRegistry, given
from runner.entity.job import Event, JobState, OutputState
from runner.entity.page import Chunk, FailuresPage, JobPage, LogFile, Sighting
from runner.entity.pipeline import PipelineSpec
from runner.entity.status import FailureClass, JobStatus
from runner.store.home import Home


def find_token(home: Home) -> str:
    """The token in RUNNER_TOKEN, else that of the home, else none."""
    if token := os.environ.get("RUNNER_TOKEN", "").strip():
        return token
    try:
        return home.token_file.read_text("ascii").strip()
    except (OSError, UnicodeDecodeError):
        return ""


class Remote(RemoteRegistry):
    """A service at `address`. Threads may share it; connecting happens with the first call."""

    def create(
        self,
        document: Mapping[str, object],
        *,
        base_path: str = "/",
        name: str | None = None,
        overwrite: bool = False,
        request_id: str = "",
    ) -> JobState:
        request = job_service_pb2.CreateJobRequest(
            job=job_pb2.Job(spec=job_pb2.JobSpec(document=msgspec.json.encode(document).decode())),
            job_id=name or "",
            request_id=request_id,
            overwrite=overwrite,
            base_path=base_path,
        )
        return wire.job_from_wire(self._call(self._stub.CreateJob, request, CREATE_DEADLINE_S))

    def get(self, name: str) -> JobState:
        return wire.job_from_wire(self._get(name))

    def list(
        self,
        *,
        page_size: int = 0,
        page_token: str = "",
        statuses: Iterable[JobStatus] = (),
        parent: str = "",
        archived: bool | None = False,
        experiment: str = "",
    ) -> JobPage:
        request = job_service_pb2.ListJobsRequest(
            page_size=page_size,
            page_token=page_token,
            statuses=[wire.status_to_wire(status) for status in statuses],
            parent=names.job_name(parent) if parent else "",
            view=wire_assets.view_to_wire(archived),
            experiment=names.experiment_name(experiment) if experiment else "",
        )
        reply = self._call(self._stub.ListJobs, request)
        return JobPage(jobs=tuple(map(wire.job_from_wire, reply.jobs)), next_page_token=reply.next_page_token)

    def steps(self, name: str) -> tuple[JobState, ...]:
        pages = self._pages(self._stub.ListSteps, step_pb2.ListStepsRequest, parent=names.job_name(name))
        return tuple(wire_steps.step_from_wire(step) for page in pages for step in page.steps)

    def graph(self, name: str) -> PipelineSpec:
        request = step_pb2.GetJobGraphRequest(name=names.graph_name(name))
        return wire_steps.graph_from_wire(self._call(self._stub.GetJobGraph, request))

    def update(
        self,
        name: str,
        *,
        display_name: str | None = None,
        description: str | None = None,
        tags: Mapping[str, str | None] | None = None,
        properties: Mapping[str, str | None] | None = None,
        is_archived: bool | None = None,
    ) -> JobState:
        new_tags, old_tags = wire.changes_to_wire(tags)
        new_properties, old_properties = wire.changes_to_wire(properties)
        request = job_service_pb2.UpdateJobRequest(
            name=names.job_name(name),
            tags=new_tags,
            removed_tags=old_tags,
            properties=new_properties,
            removed_properties=old_properties,
            **given(display_name=display_name, description=description, is_archived=is_archived),
        )
        return wire.job_from_wire(self._call(self._stub.UpdateJob, request))

    def cancel(self, name: str) -> JobState:
        request = job_service_pb2.CancelJobRequest(name=names.job_name(name))
        return wire.job_from_wire(self._call(self._stub.CancelJob, request))

    def resume(self, name: str) -> JobState:
        request = job_service_pb2.ResumeJobRequest(name=names.job_name(name))
        return wire.job_from_wire(self._call(self._stub.ResumeJob, request))

    def redrive(self, name: str, code: str = "") -> JobState:
        request = job_service_pb2.RedriveJobRequest(name=names.job_name(name), code=code)
        return wire.job_from_wire(self._call(self._stub.RedriveJob, request, CREATE_DEADLINE_S))

    def failures(
        self,
        name: str,
        *,
        page_size: int = 0,
        page_token: str = "",
        classes: Iterable[FailureClass] = (),
        include_history: bool = False,
    ) -> FailuresPage:
        request = job_service_pb2.ListFailuresRequest(
            parent=names.job_name(name),
            page_size=page_size,
            page_token=page_token,
            failure_classes=map(wire.class_to_wire, classes),
            include_history=include_history,
        )
        reply = self._call(self._stub.ListFailures, request)
        rows = tuple(map(wire.failure_from_wire, reply.failures))
        return FailuresPage(failures=rows, next_page_token=reply.next_page_token)

    def delete(self, name: str) -> None:
        self._call(self._stub.DeleteJob, job_service_pb2.DeleteJobRequest(name=names.job_name(name)))

    def events(self, name: str) -> tuple[Event, ...]:
        pages = self._pages(self._stub.ListEvents, job_service_pb2.ListEventsRequest, parent=names.job_name(name))
        return tuple(wire.event_from_wire(event) for page in pages for event in page.events)

    def watch(self, name: str, cursor: str = "") -> Iterator[Sighting]:
        request = job_service_pb2.WatchJobRequest(name=names.job_name(name), cursor=cursor)
        for reply in self._stream(self._stub.WatchJob, request):
            job = wire.job_from_wire(reply.job) if reply.HasField("job") else None
            yield Sighting(job=job, cursor=reply.cursor)

    def has_driver(self, name: str) -> bool | None:
        job = self._get(name)
        return job.has_driver if job.HasField("has_driver") else None

    def logs(self, name: str) -> tuple[LogFile, ...]:
        pages = self._pages(self._stub.ListLogs, job_service_pb2.ListLogsRequest, parent=names.job_name(name))
        return tuple(wire.log_from_wire(log) for page in pages for log in page.logs)

    def read_log(self, name: str, file: str = "", *, follow: bool = False) -> Iterator[Chunk]:
        resource = f"{names.job_name(name)}/logs/{file}" if file else names.job_name(name)
        request = job_service_pb2.ReadLogRequest(name=resource, follow=follow)
        for reply in self._stream(self._stub.ReadLog, request):
            yield Chunk(path=reply.path, data=reply.data)

    def outputs(self, name: str) -> tuple[OutputState, ...]:
        pages = self._pages(self._stub.ListOutputs, job_service_pb2.ListOutputsRequest, parent=names.job_name(name))
        return tuple(wire.output_from_wire(output) for page in pages for output in page.outputs)

    def read_output(self, name: str, output: str) -> Iterator[Chunk]:
        request = job_service_pb2.ReadOutputRequest(name=f"{names.job_name(name)}/outputs/{output}")
        for reply in self._stream(self._stub.ReadOutput, request):
            yield Chunk(path=reply.path, data=reply.data)

    def _get(self, name: str) -> Any:
        return self._call(self._stub.GetJob, job_service_pb2.GetJobRequest(name=names.job_name(name)))
