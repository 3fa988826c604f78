"""How many workers and instances a machine carries: arithmetic on what is asked and what there is."""

from __future__ import annotations

import math

from runner.cluster.base import Say
from runner.entity.parallel import ParallelSpec


def worker_count_of(spec: ParallelSpec, cores: int, gpus: float) -> int:
    """Workers of one instance on a node: as asked, or one for each GPU that is to be used, or one for each core."""
    if spec.worker_count is not None:
        return spec.worker_count
    if spec.gpus_per_worker > 0:
        return max(1, min(int(gpus), int(gpus / spec.gpus_per_worker)))
    return max(1, cores)


def gpu_count_of(spec: ParallelSpec, workers: int) -> float:
    """GPUs of one instance; whole ones from one on, because that is how Ray hands them out."""
    wanted = round(spec.gpus_per_worker * workers, 6)
    return float(math.ceil(wanted)) if wanted > 1 else wanted


def cap_instances(spec: ParallelSpec, workers: int, cores: int, gpus: float, say: Say) -> int:
    """As many of the instances asked for as this machine has room for, at least one; said when it is fewer."""
    fitting, room = max(1, cores // workers), f"{cores} cores"
    each = gpu_count_of(spec, workers)
    if each and gpus / each < fitting:
        fitting, room = max(1, int(gpus / each)), f"{gpus:g} GPUs"
    if spec.instance_count <= fitting:
        return spec.instance_count
    say(
        f"instance_count is {spec.instance_count}, but the {room} of this machine carry {fitting} "
        f"with {workers} workers each: running {fitting}"
    )
    return fitting
