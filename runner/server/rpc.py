"""How methods of a service become what gRPC takes: errors become statuses, lists become pages."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any, TypeVar

import grpc
from google.protobuf.message_factory import GetMessageClass
from grpc_status import rpc_status

from runner.api.status import status_of
from runner.api.v1 import job_service_pb2
from runner.errors import Defect, RunnerError
from runner.server.pages import page_size_of, seal, unseal

log = logging.getLogger(__name__)

DESCRIPTOR = job_service_pb2.DESCRIPTOR.services_by_name["JobService"]
Item = TypeVar("Item")


def page_of(items: Sequence[Item], request: Any) -> tuple[Sequence[Item], str]:
    """The asked part of a list that only grows at its end, and the token of the next."""
    sealed = (type(request).__name__, request.parent)
    start = unseal(request.page_token, sealed) or 0
    end = start + page_size_of(request.page_size)
    return items[start:end], seal(end, sealed) if end < len(items) else ""


def newest_page_of(items: Sequence[Item], request: Any, *sealed: object) -> tuple[Sequence[Item], str]:
    """The same of a list, newest first, that only grows at its front; `sealed` is what it was asked by."""
    all_sealed = (type(request).__name__, *sealed)
    left = unseal(request.page_token, all_sealed)
    start = 0 if left is None else max(0, len(items) - left)
    end = start + page_size_of(request.page_size)
    return items[start:end], seal(len(items) - end, all_sealed) if end < len(items) else ""


def handlers(service: object) -> grpc.GenericRpcHandler:
    """The service as gRPC takes it. A reply may be encoded already, so that many watchers share one encoding."""
    methods = {}
    for method in DESCRIPTOR.methods:
        make = grpc.unary_stream_rpc_method_handler if method.server_streaming else grpc.unary_unary_rpc_method_handler
        guard = _guarded_stream if method.server_streaming else _guarded
        methods[method.name] = make(
            guard(getattr(service, method.name)),
            request_deserializer=GetMessageClass(method.input_type).FromString,
            response_serializer=_encode,
        )
    return grpc.method_handlers_generic_handler(DESCRIPTOR.full_name, methods)


def _encode(reply: Any) -> bytes:
    return reply if isinstance(reply, bytes) else bytes(reply.SerializeToString())


def _guarded(method: Callable[[Any], Awaitable[Any]]) -> Callable[[Any, Any], Awaitable[Any]]:
    async def call(request: Any, context: Any) -> Any:
        try:
            return await method(request)
        except Exception as error:  # noqa: BLE001 - the edge of the process: every error becomes a status
            await _abort(context, error)

    return call


def _guarded_stream(method: Callable[[Any], AsyncIterator[Any]]) -> Callable[[Any, Any], AsyncIterator[Any]]:
    async def call(request: Any, context: Any) -> AsyncIterator[Any]:
        try:
            async for reply in method(request):
                yield reply
        except Exception as error:  # noqa: BLE001 - as above
            await _abort(context, error)

    return call


async def _abort(context: Any, error: Exception) -> None:
    if isinstance(error, grpc.aio.AbortError):
        raise error
    if not isinstance(error, RunnerError):
        log.error("a call failed", exc_info=error)
        error = Defect("the service could not answer")
    await context.abort_with_status(rpc_status.to_status(status_of(error)))
