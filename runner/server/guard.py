"""Who may call: everybody the health service, and for all else the bearer of the home's token."""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
from grpc_status import rpc_status

from runner.api.status import status_of
from runner.errors import Unauthenticated

OPEN = "/grpc.health.v1.Health/"
_KINDS = {
    (False, False): ("unary_unary", grpc.unary_unary_rpc_method_handler),
    (False, True): ("unary_stream", grpc.unary_stream_rpc_method_handler),
    (True, False): ("stream_unary", grpc.stream_unary_rpc_method_handler),
    (True, True): ("stream_stream", grpc.stream_stream_rpc_method_handler),
}


class Guard(grpc.aio.ServerInterceptor):
    """Refuses every call without the token before its handler sees it."""

    def __init__(self, token: str, address: str) -> None:
        self._expected = f"Bearer {token}".encode()
        self._address = address

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        """Pass the call on, or to a handler of the same kind that refuses."""
        handler = await continuation(handler_call_details)
        if handler is None or str(handler_call_details.method).startswith(OPEN):
            return handler
        given = b""
        for key, value in handler_call_details.invocation_metadata or ():
            if key == "authorization":
                given = value if isinstance(value, bytes) else value.encode()
        if hmac.compare_digest(given, self._expected):
            return handler
        what = "the token is wrong" if given else "it has no token"
        refusal = rpc_status.to_status(status_of(Unauthenticated(self._address, what)))

        async def refuse(request: object, context: Any) -> None:
            await context.abort_with_status(refusal)

        async def refuse_stream(request: object, context: Any) -> Any:
            await context.abort_with_status(refusal)
            yield  # what makes it a stream

        _, make = _KINDS[bool(handler.request_streaming), bool(handler.response_streaming)]
        return make(
            refuse_stream if handler.response_streaming else refuse,
            request_deserializer=handler.request_deserializer,
            response_serializer=handler.response_serializer,
        )
