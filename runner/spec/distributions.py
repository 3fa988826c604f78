"""How several processes of one command know of each other: the classes of `distribution`."""

from __future__ import annotations

from dataclasses import dataclass, field

from runner.spec.pieces import Piece


@dataclass(kw_only=True)
class DistributionConfiguration(Piece):
    """What every distribution has: a kind."""

    type: str = field(default="", init=False)


@dataclass(kw_only=True)
class PyTorchDistribution(DistributionConfiguration):
    """Processes that find each other by `MASTER_ADDR`, `RANK` and their kin."""

    type: str = field(default="pytorch", init=False)
    process_count_per_instance: int | None = None


@dataclass(kw_only=True)
class MpiDistribution(DistributionConfiguration):
    """Processes that know their rank as those of `mpirun` do."""

    type: str = field(default="mpi", init=False)
    process_count_per_instance: int | None = None


@dataclass(kw_only=True)
class TensorFlowDistribution(DistributionConfiguration):
    """Workers and parameter servers that find each other by `TF_CONFIG`."""

    type: str = field(default="tensorflow", init=False)
    parameter_server_count: int | None = 0
    worker_count: int | None = None


@dataclass(kw_only=True)
class RayDistribution(DistributionConfiguration):
    """A Ray cluster of the job's instances; the command runs once, on its head."""

    type: str = field(default="ray", init=False)
    port: int | None = None
    address: str | None = None
    include_dashboard: bool | None = None
    dashboard_port: int | None = None
    head_node_additional_args: str | None = None
    worker_node_additional_args: str | None = None


DISTRIBUTIONS = {
    "pytorch": PyTorchDistribution,
    "mpi": MpiDistribution,
    "tensorflow": TensorFlowDistribution,
    "ray": RayDistribution,
}
