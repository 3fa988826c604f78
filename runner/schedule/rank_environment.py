"""Which processes a command consists of, and the variables that tell each of them of the others."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field

from runner.entity.command import CommandSpec, Distribution
from runner.instance.seat import Seat


@dataclass(frozen=True, slots=True, kw_only=True)
class Rank:
    """One process of a command, and on which instance it runs."""

    number: int
    instance: int
    variables: dict[str, str] = field(default_factory=dict)


def rank_count(spec: CommandSpec) -> int:
    """How many processes the command is run in."""
    said = spec.distribution
    if said is None or said.kind == "ray":
        return 1
    if said.kind == "tensorflow":
        return _workers(spec, said) + said.parameter_server_count
    return spec.instance_count * said.process_count_per_instance


def needs_ray(spec: CommandSpec) -> bool:
    """Whether Ray places the command: not one process of its driver's machine, nor any number with `compute: local`."""
    if spec.compute == "local":
        return False
    is_of_ray = spec.distribution is not None and spec.distribution.kind == "ray"
    return spec.ray_address is not None or rank_count(spec) > 1 or is_of_ray or spec.gpu_count > 0


def seat_count(spec: CommandSpec) -> int:
    """How many instances have a process of it."""
    return min(spec.instance_count, rank_count(spec))


def port_count(spec: CommandSpec) -> int:
    """How many free ports an instance has to offer: one for each task of TensorFlow's there, one for the master."""
    return 1 + -(-rank_count(spec) // seat_count(spec))


def ranks_of(spec: CommandSpec, seats: Sequence[Seat]) -> list[Rank]:
    """The processes in the order of their numbers; the first seat is the master's."""
    said = spec.distribution
    if said is None or said.kind == "ray":
        return [Rank(number=0, instance=0)]
    count = rank_count(spec)
    if said.kind == "tensorflow":
        return _tensorflow(_workers(spec, said), count, seats)
    each = said.process_count_per_instance
    ranks = []
    for number in range(count):
        node, local = divmod(number, each)
        variables = _marks(number, node)
        if said.kind == "pytorch":
            variables |= _pytorch(seats[0], number, node, local, count, each)
        else:
            variables |= _mpi(seats[0], number, local, count, each)
        ranks.append(Rank(number=number, instance=node, variables=variables))
    return ranks


def log_suffix(rank: Rank, count: int, *, is_distributed: bool) -> str:
    """What stands between the name of a log and its extension."""
    return f"_process_{rank.number:0{len(str(count - 1))}d}" if is_distributed else ""


def _workers(spec: CommandSpec, said: Distribution) -> int:
    return spec.instance_count if said.worker_count is None else said.worker_count


def _marks(number: int, node: int) -> dict[str, str]:
    return {"AZUREML_PROCESS_NAME": f"rank_{number}", "AZUREML_CR_NODE_RANK": str(node)}


def _pytorch(master: Seat, number: int, node: int, local: int, count: int, each: int) -> dict[str, str]:
    return {
        "MASTER_ADDR": master.address,
        "MASTER_PORT": str(master.ports[0]),
        "WORLD_SIZE": str(count),
        "NODE_RANK": str(node),
        "RANK": str(number),
        "LOCAL_RANK": str(local),
        "LOCAL_WORLD_SIZE": str(each),
    }


def _mpi(master: Seat, number: int, local: int, count: int, each: int) -> dict[str, str]:
    at = f"{master.address}:{master.ports[0]}"
    return {
        "OMPI_COMM_WORLD_RANK": str(number),
        "OMPI_COMM_WORLD_SIZE": str(count),
        "OMPI_COMM_WORLD_LOCAL_RANK": str(local),
        "OMPI_COMM_WORLD_LOCAL_SIZE": str(each),
        "AZ_BATCH_MASTER_NODE": at,
        "AZ_BATCHAI_MPI_MASTER_NODE": master.address,
    }


def _tensorflow(workers: int, count: int, seats: Sequence[Seat]) -> list[Rank]:
    """Workers come first, then parameter servers; both go round the instances."""
    places = []
    for number in range(count):
        turn, instance = divmod(number, len(seats))
        places.append((instance, f"{seats[instance].address}:{seats[instance].ports[1 + turn]}"))
    addresses = [address for _, address in places]
    cluster = {"worker": addresses[:workers], "ps": addresses[workers:]}
    ranks = []
    for number, (instance, _) in enumerate(places):
        kind, index = ("worker", number) if number < workers else ("ps", number - workers)
        config = {
            "cluster": {name: there for name, there in cluster.items() if there},
            "task": {"type": kind, "index": index},
            "environment": "cloud",
        }
        variables = _marks(number, instance) | {"TF_CONFIG": json.dumps(config)}
        ranks.append(Rank(number=number, instance=instance, variables=variables))
    return ranks
