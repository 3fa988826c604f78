"""One connection to a service: calls with the token and a deadline, each status as one of our errors."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import grpc
from grpc_status import rpc_status

from runner.api.status import error_of
from runner.api.v1 import job_service_pb2_grpc
from runner.errors import ArgumentInvalid, RunnerError, ServerUnavailable, Told, Unauthenticated

DEADLINE_S = 30.0
_OPTIONS = (
    ("grpc.enable_http_proxy", 0),  # a proxy in the environment must not catch loopback
    ("grpc.max_receive_message_length", 64 * 1024 * 1024),
)
_PAGE = 1000


class Connection:
    """A service at `address`. Threads may share it; connecting happens with the first call."""

    def __init__(self, address: str, token: str, *, deadline_s: float = DEADLINE_S) -> None:
        host, colon, port = address.rpartition(":")
        if not colon or not host or not port.isdecimal():
            raise ArgumentInvalid("server", f"{address!r} is no address; write HOST:PORT, as `runner serve` prints it")
        self.address = address
        self._deadline_s = deadline_s
        self._metadata = (("authorization", f"Bearer {token}"),) if token else ()
        self._channel = grpc.insecure_channel(address, options=_OPTIONS)
        self._stub: Any = job_service_pb2_grpc.JobServiceStub(self._channel)  # type: ignore[no-untyped-call]

    def close(self) -> None:
        self._channel.close()

    def _pages(self, method: Any, make: Callable[..., Any], **asked: Any) -> Iterator[Any]:
        token = ""
        while True:
            page = self._call(method, make(page_size=_PAGE, page_token=token, **asked))
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
                return Unauthenticated(self.address, told.metadata()["what"])
            return told
        if code is grpc.StatusCode.UNAVAILABLE:
            return ServerUnavailable(self.address, "nothing answers")
        if code is grpc.StatusCode.DEADLINE_EXCEEDED:
            return ServerUnavailable(self.address, f"it did not answer within {self._deadline_s:g} s")
        if code is grpc.StatusCode.UNIMPLEMENTED:
            return ServerUnavailable(self.address, "what answers there is no runner service, or an older one")
        if code is grpc.StatusCode.CANCELLED:
            return ServerUnavailable(self.address, "the call was broken off")
        return Told("INTERNAL", f"{self.address}: {text or code.name}", "")
