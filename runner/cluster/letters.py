"""What goes between a driver and its actors, as JSON: events of the instance one way, calls on it the other.

Ray carries the bytes as they are. An event is `[class, fields]`; a call is `[method, arguments]`.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from runner.entity.lease import (
    Heartbeat,
    InitFailure,
    InstanceClosed,
    InstanceConfig,
    InstanceEvent,
    InstanceFailed,
    InstanceLost,
    InstanceReady,
    LeaseCut,
    LeaseSplit,
    Report,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Begun:
    """An actor says where it runs and what it cannot see of the driver's files; for its handle only."""

    instance: int
    host: str
    pid: int
    start_time: int
    boot: str
    """The boot of that machine: whether the driver may look after the process itself."""
    is_apart: bool
    """True where the job's folder is not reachable: code and plan must be brought, logs be shipped."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mismatch:
    """An actor says that its node has another version of runner than its driver; for its handle only, and the last."""

    version: str
    python: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """A file the driver has written, by which an actor sees whether it looks at the same folder."""

    path: str
    content: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """What an actor is told when it begins."""

    config: InstanceConfig
    logs_probe: Probe
    staging_probe: Probe | None
    cpu_count: int
    environment: dict[str, str] | None = None
    """The driver's own, for workers on its machine; None leaves the node's."""


Letter = InstanceEvent | Begun | Mismatch

_KINDS: dict[str, type[Letter]] = {
    kind.__name__: kind
    for kind in (
        Begun,
        Mismatch,
        Report,
        Heartbeat,
        InstanceReady,
        InitFailure,
        LeaseSplit,
        LeaseCut,
        InstanceFailed,
        InstanceClosed,
        InstanceLost,
    )
}
PLAN_SUFFIXES = (".bounds", ".keys", "")
"""What a node apart is brought of a plan: what lies beside it, then the plan itself."""

_encoder = msgspec.json.Encoder()
_envelope = msgspec.json.Decoder(tuple[str, msgspec.Raw])
_decoders = {name: msgspec.json.Decoder(kind) for name, kind in _KINDS.items()}


def encode_event(event: Letter) -> bytes:
    return _encoder.encode((type(event).__name__, event))


def decode_event(data: bytes) -> Letter:
    kind, fields = _envelope.decode(data)
    return _decoders[kind].decode(fields)


def encode_call(method: str, *arguments: object) -> bytes:
    return _encoder.encode((method, arguments))


def decode_call(data: bytes) -> tuple[str, msgspec.Raw]:
    """The method's name and its arguments, still encoded."""
    return _envelope.decode(data)


def encode_start(start: Start) -> bytes:
    return _encoder.encode(start)


def decode_start(data: bytes) -> Start:
    return msgspec.json.decode(data, type=Start)
