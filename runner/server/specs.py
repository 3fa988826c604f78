"""What drivers are given, read back from the folders of their jobs."""

from __future__ import annotations

from typing import TypeVar

import msgspec

from runner.entity.command import CommandSpec
from runner.entity.parallel import CANCEL_GRACE_S, ParallelSpec
from runner.entity.pipeline import PipelineSpec
from runner.errors import StorageFailed
from runner.store.home import JobFolder

Spec = TypeVar("Spec", CommandSpec, ParallelSpec, PipelineSpec)
# Made here: msgspec crashes when two threads decode a type for the first time at once.
_COMMAND = msgspec.json.Decoder(CommandSpec)
_PARALLEL = msgspec.json.Decoder(ParallelSpec)
_PIPELINE = msgspec.json.Decoder(PipelineSpec)


class _Grace(msgspec.Struct):
    cancel_grace_s: float = CANCEL_GRACE_S


_GRACE = msgspec.json.Decoder(_Grace)


def read_spec(folder: JobFolder) -> ParallelSpec:
    """The resolved parallel job."""
    return _read(folder, _PARALLEL)


def read_pipeline(folder: JobFolder) -> PipelineSpec:
    """The resolved pipeline."""
    return _read(folder, _PIPELINE)


def read_command(folder: JobFolder) -> CommandSpec:
    """The resolved command."""
    return _read(folder, _COMMAND)


def cancel_grace_of(folder: JobFolder) -> float:
    """How long user code may go on after a cancel; what is usual when the job does not say."""
    try:
        return _GRACE.decode(folder.spec.read_bytes()).cancel_grace_s
    except (OSError, msgspec.MsgspecError):
        return CANCEL_GRACE_S


def _read(folder: JobFolder, decoder: msgspec.json.Decoder[Spec]) -> Spec:
    try:
        return decoder.decode(folder.spec.read_bytes())
    except (OSError, msgspec.MsgspecError) as error:
        raise StorageFailed(str(folder.spec), f"cannot be read: {error}") from None
