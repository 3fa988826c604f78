"""What goes between a command's driver and its instances on Ray, as JSON."""

from __future__ import annotations

import msgspec

from runner.cluster.letters import Probe
from runner.instance.seat import Seat
from runner.instance.ward import Ended, Lost, News, Process, Quiet, Refused, Started


class Arrived(msgspec.Struct, kw_only=True, frozen=True):
    """An instance says where it is, or that its node has another version of runner."""

    version: str
    python: str
    seat: Seat | None = None


class Looked(msgspec.Struct, kw_only=True, frozen=True):
    """What an instance sees of the driver's files."""

    host: str
    sees_work: bool
    unseen: list[str]
    """Folders that it does not see, and should."""


class Look(msgspec.Struct, kw_only=True, frozen=True):
    """What an instance is to look for."""

    work: Probe
    shared: dict[str, Probe]
    """By the folder that each lies in: outputs, and copies of inputs."""


class Order(msgspec.Struct, kw_only=True, frozen=True):
    """What an instance is to run, and how."""

    processes: list[Process]
    grace_s: float
    token: str
    work: str
    """The working folder."""
    is_apart: bool = False
    """Whether the instance does not see it, and makes one of its own."""
    is_whole_environment: bool
    """Whether the processes have all of their environment; else it comes on top of the node's."""


class LogChunk(msgspec.Struct, kw_only=True, frozen=True):
    """Text that a process has written on a machine that does not see the job's folder."""

    path: str
    """Where it belongs."""
    data: bytes


class Artifacts(msgspec.Struct, kw_only=True, frozen=True):
    """What `outputs/` and `logs/` of a working folder on another machine hold, as a tar file."""

    data: bytes


Tidings = News | LogChunk | Artifacts

_KINDS: dict[str, type[Tidings]] = {
    kind.__name__: kind for kind in (Started, Refused, Ended, Quiet, Lost, LogChunk, Artifacts)
}
_envelope = msgspec.json.Decoder(tuple[str, msgspec.Raw])


def encode_tidings(tidings: Tidings) -> bytes:
    return msgspec.json.encode((type(tidings).__name__, tidings))


def decode_tidings(data: bytes) -> Tidings:
    kind, fields = _envelope.decode(data)
    return msgspec.json.decode(fields, type=_KINDS[kind])
