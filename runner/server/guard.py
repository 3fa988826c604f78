"""Who may call: the bearer of the home's token.

It stands in front of handlers rather than in an interceptor, which would cost every call a fifth of its time.
"""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from typing import Any

import grpc
from grpc_status import rpc_status

from runner.api.status import status_of
from runner.errors import Unauthenticated


class Guard(grpc.GenericRpcHandler):
    """The handlers of a service, for calls that bring the token; all others are refused before they are read."""

    def __init__(self, handlers: grpc.GenericRpcHandler, token: str, address: str) -> None:
        self._handlers = handlers
        self._expected = f"Bearer {token}".encode()
        self._address = address

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        """The handler of a call, or one of the same kind that refuses it; None for the calls of other services."""
        handler: Any = self._handlers.service(handler_call_details)
        if handler is None:
            return None
        given = b""
        for key, value in handler_call_details.invocation_metadata or ():
            if key == "authorization":
                given = value if isinstance(value, bytes) else value.encode()
        if hmac.compare_digest(given, self._expected):
            return handler
        return self._refusal(handler, "the token is wrong" if given else "it has no token")

    def _refusal(self, handler: Any, what: str) -> Any:
        refusal = rpc_status.to_status(status_of(Unauthenticated(self._address, what)))

        async def refuse(request: object, context: Any) -> None:
            await context.abort_with_status(refusal)

        async def refuse_stream(request: object, context: Any) -> Any:
            await context.abort_with_status(refusal)
            yield  # what makes it a stream

        if handler.request_streaming:
            return grpc.stream_stream_rpc_method_handler(refuse_stream)
        if handler.response_streaming:
            return grpc.unary_stream_rpc_method_handler(refuse_stream)
        return grpc.unary_unary_rpc_method_handler(refuse)


class Collector:
    """Takes the handlers that a generated `add_..._to_server` would put into a server."""

    def __init__(self) -> None:
        self.handlers: list[grpc.GenericRpcHandler] = []

    def add_generic_rpc_handlers(self, handlers: Sequence[grpc.GenericRpcHandler]) -> None:
        self.handlers += handlers

    def add_registered_method_handlers(self, service: str, handlers: object) -> None:
        """The same again in a form that nothing could stand in front of: left out."""
