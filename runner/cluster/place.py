"""Which nodes of a Ray cluster get the instances of a job, and what is refused because no node could ever carry it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from runner.cluster.base import Placement, Say
from runner.cluster.share import cap_instances, gpu_count_of, worker_count_of
from runner.entity.parallel import ParallelSpec
from runner.errors import ClusterTooSmall


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeFacts:
    """What is known of a living node."""

    node: str
    host: str
    cpu_count: int
    gpu_count: float = 0.0
    free_cpu_count: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupFacts:
    """Nodes of one kind that the cluster's autoscaler can have, running or not."""

    cpu_count: int
    gpu_count: float = 0.0
    most: int
    """How many of them there can be."""


def place_on_nodes(
    spec: ParallelSpec, nodes: Sequence[NodeFacts], groups: Sequence[GroupFacts] = ()
) -> tuple[Placement, ...]:
    """On a configured cluster an instance is a node; those with the most free cores come first.

    Instances for which no node lives yet get whole nodes that the autoscaler can add: Ray is asked for all their cores.
    """
    able = [node for node in nodes if node.cpu_count >= 1]
    wanted = spec.instance_count
    coming = [_future_node(group) for group in groups if group.cpu_count >= 1 for _ in range(min(group.most, wanted))]
    if spec.gpus_per_worker > 0:
        fit, more = ([node for node in some if 0 < _gpus_on(spec, node) <= node.gpu_count] for some in (able, coming))
        if not fit and not more:
            raise _too_few_gpus(spec, [*able, *coming])
        able, coming = fit, more
    # Which of the living nodes are the autoscaler's is not known; it may have so many in all.
    most = max(len(able), len(coming))
    if spec.instance_count > most:
        kind = "instances with GPUs" if spec.gpus_per_worker > 0 else "instances"
        have = f"{len(able)} node{'s' * (len(able) != 1)} for them"
        if len(coming) > len(able):
            have += f", and its autoscaler can make that {len(coming)}"
        raise ClusterTooSmall(kind, spec.instance_count, have, "lower resources.instance_count or add nodes")
    able.sort(key=lambda node: (-node.free_cpu_count, -node.cpu_count, node.node))
    missing = max(spec.instance_count - len(able), 0)
    chosen = [*able[: spec.instance_count], *sorted(coming, key=lambda node: -node.cpu_count)[:missing]]
    return tuple(_placement(spec, number, node) for number, node in enumerate(chosen))


def _future_node(group: GroupFacts) -> NodeFacts:
    return NodeFacts(node="", host="a new node", cpu_count=group.cpu_count, gpu_count=group.gpu_count)


def place_on_machine(spec: ParallelSpec, node: NodeFacts, say: Say) -> tuple[Placement, ...]:
    """On the embedded Ray there are as many instances as fit, at least one; said when that is fewer than asked for."""
    if spec.gpus_per_worker > 0 and not 0 < _gpus_on(spec, node) <= node.gpu_count:
        raise _too_few_gpus(spec, [node])
    workers = worker_count_of(spec, node.cpu_count, node.gpu_count)
    count = cap_instances(spec, workers, node.cpu_count, node.gpu_count, say)
    return tuple(_placement(spec, number, node) for number in range(count))


def _gpus_on(spec: ParallelSpec, node: NodeFacts) -> float:
    return gpu_count_of(spec, worker_count_of(spec, node.cpu_count, node.gpu_count))


def _placement(spec: ParallelSpec, number: int, node: NodeFacts) -> Placement:
    workers = worker_count_of(spec, node.cpu_count, node.gpu_count)
    return Placement(
        instance=number,
        host=node.host,
        node=node.node,
        worker_count=workers,
        cpu_count=min(node.cpu_count, workers) if node.node else node.cpu_count,
        gpu_count=gpu_count_of(spec, workers),
    )


def _too_few_gpus(spec: ParallelSpec, nodes: Sequence[NodeFacts]) -> ClusterTooSmall:
    most = max((node.gpu_count for node in nodes), default=0.0)
    workers = spec.worker_count or 1
    return ClusterTooSmall(
        f"GPUs for an instance ({workers} worker{'s' * (workers != 1)} with {spec.gpus_per_worker:g} each)",
        f"{gpu_count_of(spec, workers):g}",
        f"at most {most:g} on a node" if most else "no GPU",
        "lower gpus_per_worker or max_concurrency_per_instance, or add nodes with GPUs",
    )
