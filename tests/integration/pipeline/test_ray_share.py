"""The embedded Ray of a home stays from a pipeline's first step there to the pipeline's end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from runner.cluster.folder import FileLock, KeeperFolder
from runner.entity.command import CommandSpec, Distribution
from runner.entity.parallel import MiniBatchSize, ParallelSpec
from runner.pipeline.ray_share import RayShare

MPI = Distribution(kind="mpi", process_count_per_instance=2)


def command(**says: Any) -> CommandSpec:
    return CommandSpec(name="a", root_name="a", command="true", code=None, **says)


def parallel(**says: Any) -> ParallelSpec:
    size = MiniBatchSize(kind="files", value=1)
    return ParallelSpec(name="a", entry_script="score.py", code=None, inputs=(), mini_batch_size=size, **says)


def may_end(folder: Path) -> bool:
    """Whether the keeper would end Ray now."""
    folder.mkdir(exist_ok=True)
    lock = FileLock(KeeperFolder(folder).lock)
    try:
        return lock.take(shared=False)
    finally:
        lock.release()


@pytest.mark.parametrize(
    ("spec", "is_kept"),
    [
        (command(), False),
        (command(compute="local", distribution=MPI), False),
        (command(distribution=MPI), True),
        (command(distribution=MPI, ray_address="head:6379"), False),
        (command(distribution=Distribution(kind="ray")), True),
        (command(gpu_count=1), True),
        (parallel(), True),
        (parallel(compute="local"), False),
        (parallel(ray_address="head:6379"), False),
    ],
)
def test_only_what_runs_on_the_embedded_ray_keeps_it(
    tmp_path: Path, spec: CommandSpec | ParallelSpec, is_kept: bool
) -> None:
    (tmp_path / "spec.json").write_bytes(msgspec.json.encode(spec))
    share = RayShare(tmp_path / "ray")
    share.take_for(tmp_path / "spec.json", type(spec))
    share.take_for(tmp_path / "spec.json", type(spec))
    assert may_end(tmp_path / "ray") is not is_kept
    share.release()
    share.release()
    assert may_end(tmp_path / "ray")
