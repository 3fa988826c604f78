"""Which nodes get the instances, and what is refused because no node could ever carry it."""

from __future__ import annotations

import pytest

from runner.cluster.place import NodeFacts, place_on_machine, place_on_nodes
from runner.entity.parallel import MiniBatchSize, ParallelSpec
from runner.errors import ClusterTooSmall


def spec(workers: int | None = None, instances: int = 1, gpus: float = 0.0) -> ParallelSpec:
    return ParallelSpec(
        name="j", entry_script="e.py", code=None, inputs=(), mini_batch_size=MiniBatchSize(kind="rows", value=1),
        worker_count=workers, instance_count=instances, gpus_per_worker=gpus,
    )  # fmt: skip


def node(name: str, cpus: int = 4, free: float | None = None, gpus: float = 0.0) -> NodeFacts:
    free = float(cpus) if free is None else free
    return NodeFacts(node=name, host=f"host-{name}", cpu_count=cpus, gpu_count=gpus, free_cpu_count=free)


def test_every_instance_is_a_node_of_its_own_the_idle_ones_first() -> None:
    placed = place_on_nodes(spec(workers=3, instances=2), [node("a", free=1), node("b"), node("c")])
    assert [(p.instance, p.node, p.host) for p in placed] == [(0, "b", "host-b"), (1, "c", "host-c")]
    assert {(p.worker_count, p.cpu_count) for p in placed} == {(3, 3)}


def test_workers_default_to_the_cores_of_each_node() -> None:
    placed = place_on_nodes(spec(instances=2), [node("a", cpus=2), node("b", cpus=8)])
    assert [(p.node, p.worker_count, p.cpu_count) for p in placed] == [("b", 8, 8), ("a", 2, 2)]


def test_more_workers_than_cores_reserve_all_cores() -> None:
    (placed,) = place_on_nodes(spec(workers=9), [node("a", cpus=4)])
    assert (placed.worker_count, placed.cpu_count) == (9, 4)


def test_a_node_that_offers_no_cores_gets_none() -> None:
    (placed,) = place_on_nodes(spec(), [node("head", cpus=0), node("a", cpus=1)])
    assert placed.node == "a"


def test_too_many_instances_are_refused_with_the_numbers() -> None:
    with pytest.raises(
        ClusterTooSmall, match=r"asks for 3 instances, the cluster has 2 nodes for them; lower resources"
    ):
        place_on_nodes(spec(instances=3), [node("a"), node("b"), node("head", cpus=0)])


def test_gpus_go_where_they_are() -> None:
    (placed,) = place_on_nodes(spec(gpus=1.0), [node("a"), node("b", gpus=2.0)])
    assert (placed.node, placed.worker_count, placed.gpu_count) == ("b", 2, 2.0)


def test_gpus_that_no_node_has_are_refused_with_the_numbers() -> None:
    nodes = [node("a"), node("b", gpus=2.0)]
    with pytest.raises(
        ClusterTooSmall, match=r"asks for 4 GPUs for an instance \(4 workers with 1 each\).* at most 2 on"
    ):
        place_on_nodes(spec(workers=4, gpus=1.0), nodes)
    with pytest.raises(ClusterTooSmall, match=r"2 instances with GPUs, the cluster has 1 node for them"):
        place_on_nodes(spec(workers=1, instances=2, gpus=1.0), nodes)


def test_one_machine_carries_as_many_instances_as_fit() -> None:
    said: list[str] = []
    placed = place_on_machine(spec(workers=2, instances=5), node("m", cpus=5), said.append)
    assert [(p.instance, p.node, p.cpu_count) for p in placed] == [(0, "m", 2), (1, "m", 2)]
    assert "running 2" in said[0]


def test_one_machine_without_a_gpu_says_so() -> None:
    with pytest.raises(ClusterTooSmall, match="no GPU"):
        place_on_machine(spec(gpus=0.5), node("m"), lambda line: None)
