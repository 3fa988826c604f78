"""Where LocalCluster puts instances."""

from __future__ import annotations

import socket

import pytest

from runner.cluster.local import LocalCluster
from runner.cluster.machine import count_cores
from runner.entity.parallel import MiniBatchSize, ParallelSpec
from runner.errors import ClusterTooSmall


def spec(workers: int | None = None, instances: int = 1, gpus: float = 0.0) -> ParallelSpec:
    return ParallelSpec(
        name="j", entry_script="e.py", code=None, inputs=(), mini_batch_size=MiniBatchSize(kind="rows", value=1),
        worker_count=workers, instance_count=instances, gpus_per_worker=gpus,
    )  # fmt: skip


@pytest.fixture
def cluster() -> LocalCluster:
    return LocalCluster(lambda event: None)


def test_one_instance_with_a_worker_for_each_core(cluster: LocalCluster) -> None:
    said: list[str] = []
    (placement,) = cluster.place(spec(), said.append)
    assert (placement.instance, placement.host) == (0, socket.gethostname())
    assert placement.worker_count == placement.cpu_count == count_cores()
    assert not said


def test_several_instances_where_they_fit_and_a_notice_where_not(cluster: LocalCluster) -> None:
    cores, said = count_cores(), []
    placements = cluster.place(spec(workers=1, instances=cores + 3), said.append)
    assert [p.instance for p in placements] == list(range(cores))
    assert len(said) == 1


def test_more_workers_than_cores_are_allowed(cluster: LocalCluster) -> None:
    workers = count_cores() + 5
    (placement,) = cluster.place(spec(workers=workers), lambda line: None)
    assert (placement.worker_count, placement.cpu_count) == (workers, count_cores())


def test_gpus_that_are_not_there_are_refused_with_the_numbers(
    cluster: LocalCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    with pytest.raises(ClusterTooSmall, match=r"asks for 2 GPUs for an instance, the cluster has 1 on this machine"):
        cluster.place(spec(workers=2, gpus=1.0), lambda line: None)


def test_gpus_are_dealt_out(cluster: LocalCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5")
    (placement,) = cluster.place(spec(gpus=1.0), lambda line: None)
    assert placement.worker_count == 2
    assert placement.gpu_ids == ("4", "5")
