"""Instances in the driver's own process: for `compute: local`, debugging and tiny jobs."""

from __future__ import annotations

import math
import socket

from runner.cluster.base import Emit, Placement, Say
from runner.cluster.machine import count_cores, list_gpus
from runner.cluster.outlet import Outlet
from runner.cluster.share import cap_instances, gpu_count_of, worker_count_of
from runner.entity.lease import InstanceConfig, Lease
from runner.entity.parallel import ParallelSpec
from runner.errors import ClusterTooSmall
from runner.instance.instance import Instance


class LocalCluster:
    """This machine, without Ray: no accounting between jobs, and instances die with the driver."""

    def __init__(self, emit: Emit) -> None:
        self._emit = emit
        self._handles: list[LocalHandle] = []

    def place(self, spec: ParallelSpec, say: Say) -> tuple[Placement, ...]:
        """Put every instance here; those whose workers do not fit the cores are left out, with a notice."""
        cores, gpus = count_cores(), list_gpus()
        workers = worker_count_of(spec, cores, len(gpus))
        per_instance = gpu_count_of(spec, workers)
        if per_instance > len(gpus):
            raise ClusterTooSmall(
                "GPUs for an instance",
                f"{per_instance:g}",
                f"{len(gpus)} on this machine",
                "lower gpus_per_worker or max_concurrency_per_instance, or run where the GPUs are",
            )
        count = cap_instances(spec, workers, cores, len(gpus), say)
        share = math.ceil(per_instance)
        return tuple(
            Placement(
                instance=instance,
                host=socket.gethostname(),
                node="",
                worker_count=workers,
                gpu_ids=_deal(gpus, instance, share),
                cpu_count=min(cores, workers),
                gpu_count=per_instance,
            )
            for instance in range(count)
        )

    def start(self, config: InstanceConfig, placement: Placement) -> LocalHandle:
        """Begin an instance whose supervising thread lives in this process."""
        handle = LocalHandle(config, self._emit)
        self._handles.append(handle)
        return handle

    def close(self) -> None:
        """Kill the instances that have not closed."""
        handles, self._handles = self._handles, []
        for handle in handles:
            handle.kill()


class LocalHandle:
    """An instance in this process; calls go straight to it."""

    def __init__(self, config: InstanceConfig, emit: Emit) -> None:
        self._number = config.instance
        self._outlet = Outlet(emit)
        self._instance = Instance(config, self._outlet.pass_on)
        self._instance.start()

    @property
    def instance(self) -> int:
        return self._number

    def lend(self, lease: Lease) -> None:
        self._instance.lend(lease)

    def settle(self, first: int, end: int) -> None:
        self._instance.settle(first, end)

    def retract(self, first: int, end: int, limit: int) -> None:
        self._instance.retract(first, end, limit)

    def forget(self, first: int, end: int) -> None:
        self._instance.forget(first, end)

    def commit_now(self) -> None:
        self._instance.commit_now()

    def close(self, run_shutdown: bool, grace_s: float) -> None:
        self._instance.close(run_shutdown, grace_s)

    def kill(self) -> None:
        self._outlet.shut()
        self._instance.kill()

    def touch(self) -> None:
        self._instance.touch()


def _deal(gpus: tuple[str, ...], instance: int, share: int) -> tuple[str, ...]:
    """The GPUs of one instance: its own where they are whole, and in turn where instances share one."""
    if not share:
        return ()
    start = instance * share % len(gpus)
    return gpus[start : start + share]
