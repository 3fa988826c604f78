"""How many workers and instances a machine carries."""

from __future__ import annotations

import pytest

from runner.cluster.share import cap_instances, gpu_count_of, worker_count_of
from runner.entity.parallel import MiniBatchSize, ParallelSpec


def spec(workers: int | None = None, instances: int = 1, gpus: float = 0.0) -> ParallelSpec:
    return ParallelSpec(
        name="j", entry_script="e.py", code=None, inputs=(), mini_batch_size=MiniBatchSize(kind="rows", value=1),
        worker_count=workers, instance_count=instances, gpus_per_worker=gpus,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("workers", "gpus_per_worker", "cores", "gpus", "expected"),
    [
        (None, 0.0, 8, 0.0, 8),
        (3, 0.0, 8, 0.0, 3),
        (12, 0.0, 8, 0.0, 12),
        (None, 1.0, 8, 4.0, 4),
        (None, 0.5, 8, 4.0, 4),
        (None, 2.0, 8, 4.0, 2),
        (None, 1.0, 8, 0.0, 1),
    ],
)
def test_workers_default_to_cores_or_to_gpus(
    workers: int | None, gpus_per_worker: float, cores: int, gpus: float, expected: int
) -> None:
    assert worker_count_of(spec(workers, gpus=gpus_per_worker), cores, gpus) == expected


@pytest.mark.parametrize(("each", "workers", "expected"), [(0.0, 4, 0.0), (0.25, 2, 0.5), (0.5, 3, 2.0), (1.0, 4, 4.0)])
def test_gpus_of_an_instance_are_whole_from_one_on(each: float, workers: int, expected: float) -> None:
    assert gpu_count_of(spec(gpus=each), workers) == expected


@pytest.mark.parametrize(
    ("asked", "workers", "cores", "expected"), [(1, 2, 2, 1), (4, 2, 8, 4), (4, 2, 5, 2), (4, 16, 2, 1), (2, 1, 1, 1)]
)
def test_instances_are_capped_by_cores_but_never_to_none(asked: int, workers: int, cores: int, expected: int) -> None:
    said: list[str] = []
    assert cap_instances(spec(workers, asked), workers, cores, 0, said.append) == expected
    assert bool(said) == (expected < asked)
    if said:
        assert f"instance_count is {asked}" in said[0]
        assert f"{cores} cores" in said[0]
        assert f"running {expected}" in said[0]


def test_instances_are_capped_by_gpus_too() -> None:
    said: list[str] = []
    assert cap_instances(spec(2, 4, gpus=1.0), 2, 64, 4, said.append) == 2
    assert "4 GPUs" in said[0]
