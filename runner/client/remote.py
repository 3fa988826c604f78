"""The back end behind a service: each call is one call of JobService, each status one of our errors."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import grpc
import msgspec
from grpc_status import rpc_status

from runner.api import wire
from runner.api.status import error_of
from runner.api.v1 import job_pb2, job_service_pb2, job_service_pb2_grpc
from runner.entity.job import Event, JobState, OutputState
from runner.entity.page import Chunk, FailuresPage, JobPage, LogFile, Sighting
from runner.entity.status import FailureClass, JobStatus
from runner.errors import ArgumentInvalid, RunnerError, ServerUnavailable, Told, Unauthenticated
from runner.store.home import Home

DEADLINE_S = 30.0
CREATE_DEADLINE_S = 300.0
"""Creating or redriving a job copies its code."""
_OPTIONS = (
    ("grpc.enable_http_proxy", 0),  # a proxy in the environment must not catch loopback
    ("grpc.max_receive_message_length", 64 * 1024 * 1024),
)
_PAGE = 1000


def find_token(home: Home) -> str:
    """The token in RUNNER_TOKEN, else that of the home, else none."""
    if token := os.environ.get("RUNNER_TOKEN", "").strip():
        return token
    try:
        return home.token_file.read_text("ascii").strip()
    except (OSError, UnicodeDecodeError):
        return ""


class Remote:
    """A service at `address`. Threads may share it; connecting happens with the first call."""

    def __init__(self, address: str, token: str, *, deadline_s: float = DEADLINE_S) -> None:
        host, colon, port = address.rpartition(":")
        if not colon or not host or not port.isdecimal():
            raise ArgumentInvalid("server", f"{address!r} is no address; write HOST:PORT, as `runner serve` prints it")
        self._address, self._deadline_s = address, deadline_s
        self._metadata = (("authorization", f"Bearer {token}"),) if token else ()
        self._channel = grpc.insecure_channel(address, options=_OPTIONS)
        self._stub: Any = job_service_pb2_grpc.JobServiceStub(self._channel)  # type: ignore[no-untyped-call]

    def close(self) -> None:
        self._channel.close()

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

    def list(self, *, page_size: int = 0, page_token: str = "", statuses: Iterable[JobStatus] = ()) -> JobPage:
        numbers = [wire.status_to_wire(status) for status in statuses]
        request = job_service_pb2.ListJobsRequest(page_size=page_size, page_token=page_token, statuses=numbers)
        reply = self._call(self._stub.ListJobs, request)
        return JobPage(jobs=tuple(map(wire.job_from_wire, reply.jobs)), next_page_token=reply.next_page_token)

    def cancel(self, name: str) -> JobState:
        request = job_service_pb2.CancelJobRequest(name=wire.job_name(name))
        return wire.job_from_wire(self._call(self._stub.CancelJob, request))

    def resume(self, name: str) -> JobState:
        request = job_service_pb2.ResumeJobRequest(name=wire.job_name(name))
        return wire.job_from_wire(self._call(self._stub.ResumeJob, request))

    def redrive(self, name: str, code: str = "") -> JobState:
        request = job_service_pb2.RedriveJobRequest(name=wire.job_name(name), code=code)
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
            parent=wire.job_name(name),
            page_size=page_size,
            page_token=page_token,
            failure_classes=map(wire.class_to_wire, classes),
            include_history=include_history,
        )
        reply = self._call(self._stub.ListFailures, request)
        rows = tuple(map(wire.failure_from_wire, reply.failures))
        return FailuresPage(failures=rows, next_page_token=reply.next_page_token)

    def delete(self, name: str) -> None:
        self._call(self._stub.DeleteJob, job_service_pb2.DeleteJobRequest(name=wire.job_name(name)))

    def events(self, name: str) -> tuple[Event, ...]:
        pages = self._pages(self._stub.ListEvents, job_service_pb2.ListEventsRequest, name)
        return tuple(wire.event_from_wire(event) for page in pages for event in page.events)

    def watch(self, name: str, cursor: str = "") -> Iterator[Sighting]:
        request = job_service_pb2.WatchJobRequest(name=wire.job_name(name), cursor=cursor)
        for reply in self._stream(self._stub.WatchJob, request):
            job = wire.job_from_wire(reply.job) if reply.HasField("job") else None
            yield Sighting(job=job, cursor=reply.cursor)

    def has_driver(self, name: str) -> bool | None:
        job = self._get(name)
        return job.has_driver if job.HasField("has_driver") else None

    def logs(self, name: str) -> tuple[LogFile, ...]:
        pages = self._pages(self._stub.ListLogs, job_service_pb2.ListLogsRequest, name)
        return tuple(wire.log_from_wire(log) for page in pages for log in page.logs)

    def read_log(self, name: str, file: str = "", *, follow: bool = False) -> Iterator[Chunk]:
        resource = f"{wire.job_name(name)}/logs/{file}" if file else wire.job_name(name)
        request = job_service_pb2.ReadLogRequest(name=resource, follow=follow)
        for reply in self._stream(self._stub.ReadLog, request):
            yield Chunk(path=reply.path, data=reply.data)

    def outputs(self, name: str) -> tuple[OutputState, ...]:
        pages = self._pages(self._stub.ListOutputs, job_service_pb2.ListOutputsRequest, name)
        return tuple(wire.output_from_wire(output) for page in pages for output in page.outputs)

    def read_output(self, name: str, output: str) -> Iterator[Chunk]:
        request = job_service_pb2.ReadOutputRequest(name=f"{wire.job_name(name)}/outputs/{output}")
        for reply in self._stream(self._stub.ReadOutput, request):
            yield Chunk(path=reply.path, data=reply.data)

    def _get(self, name: str) -> Any:
        return self._call(self._stub.GetJob, job_service_pb2.GetJobRequest(name=wire.job_name(name)))

    def _pages(self, method: Any, make: Callable[..., Any], name: str) -> Iterator[Any]:
        token = ""
        while True:
            page = self._call(method, make(parent=wire.job_name(name), page_size=_PAGE, page_token=token))
            yield page
            token = page.next_page_token
            if not token:
                return

    def _call(self, method: Any, request: Any, deadline_s: float | None = None) -> Any:
        with self._own_errors():
            return method(request, timeout=deadline_s or self._deadline_s, metadata=self._metadata)

    def _stream(self, method: Any, request: Any) -> Iterator[Any]:
        """Replies for as long as they come; leaving the iteration ends the call."""
        with self._own_errors():
            call = method(request, metadata=self._metadata)
            try:
                yield from call
            finally:
                call.cancel()

    @contextmanager
    def _own_errors(self) -> Iterator[None]:
        try:
            yield
        except grpc.RpcError as error:
            raise self._error_of(error) from None

    def _error_of(self, error: Any) -> RunnerError:
        code, text = error.code(), error.details() or ""
        try:
            status = rpc_status.from_call(error)
        except ValueError:
            status = None
        if status is not None:
            told = error_of(status)
            if isinstance(told, Unauthenticated):
                return Unauthenticated(self._address, told.metadata()["what"])
            return told
        if code is grpc.StatusCode.UNAVAILABLE:
            return ServerUnavailable(self._address, "nothing answers")
        if code is grpc.StatusCode.DEADLINE_EXCEEDED:
            return ServerUnavailable(self._address, f"it did not answer within {self._deadline_s:g} s")
        if code is grpc.StatusCode.UNIMPLEMENTED:
            return ServerUnavailable(self._address, "what answers there is no runner service, or an older one")
        if code is grpc.StatusCode.CANCELLED:
            return ServerUnavailable(self._address, "the call was broken off")
        return Told("INTERNAL", f"{self._address}: {text or code.name}", "")
