"""What drivers are given, read back from the folders of their jobs."""

from __future__ import annotations

from typing import TypeVar

import msgspec

from runner.entity.command import CommandSpec
from runner.entity.parallel import ParallelSpec
from runner.entity.pipeline import PipelineSpec
from runner.errors import StorageFailed
from runner.store.home import JobFolder

Spec = TypeVar("Spec", CommandSpec, ParallelSpec, PipelineSpec)


def read_spec(folder: JobFolder) -> ParallelSpec:
    """The resolved parallel job."""
    return _read(folder, ParallelSpec)


def read_pipeline(folder: JobFolder) -> PipelineSpec:
    """The resolved pipeline."""
    return _read(folder, PipelineSpec)


def read_command(folder: JobFolder) -> CommandSpec:
    """The resolved command."""
    return _read(folder, CommandSpec)


def _read(folder: JobFolder, kind: type[Spec]) -> Spec:
    try:
        return msgspec.json.decode(folder.spec.read_bytes(), type=kind)
    except (OSError, msgspec.MsgspecError) as error:
        raise StorageFailed(str(folder.spec), f"cannot be read: {error}") from None
