"""What a worker's environment holds: this process's own, what the contract of entry scripts promises, the user's."""

from __future__ import annotations

import os
from collections.abc import Mapping

from runner.entity.lease import InstanceConfig
from runner.entity.parallel import ParallelSpec
from runner.instance.reaper import TOKEN


def worker_environment(
    base: Mapping[str, str],
    config: InstanceConfig,
    spec: ParallelSpec,
    *,
    slot: int,
    name: str,
    token: str,
    entry_logs: str,
) -> dict[str, str]:
    """The environment of the worker called `name` in `slot`. The user's variables win over all but the job's name."""
    found = dict(base)
    found["AZUREML_CR_NODE_RANK"] = str(config.instance)
    found["AZ_BATCHAI_GPU_COUNT_FOUND"] = str(len(config.gpu_ids))
    output = output_folder(spec)
    if output is not None:
        found["AZUREML_BI_OUTPUT_PATH"] = output
    if config.gpu_ids:
        gpus = gpus_of(slot, config.gpu_ids, spec.gpus_per_worker)
        if gpus:
            found["CUDA_VISIBLE_DEVICES"] = ",".join(gpus)
        else:
            found.pop("CUDA_VISIBLE_DEVICES", None)
    found["RUNNER_WORKER"] = name
    found["RUNNER_ENTRY_SCRIPT_LOG_DIR"] = entry_logs
    found["RUNNER_LOGGING_LEVEL"] = spec.logging_level
    found.update(spec.environment_variables)
    found["AZUREML_RUN_ID"] = spec.name
    found[TOKEN] = token
    return found


def output_folder(spec: ParallelSpec) -> str | None:
    """The folder that a script is told to write to: that of `append_row_to`, else the first side output."""
    if spec.output is not None:
        return spec.output.target if spec.output.is_folder else os.path.dirname(spec.output.target)
    return next(iter(spec.side_outputs.values()), None)


def gpus_of(slot: int, gpu_ids: tuple[str, ...], per_worker: float) -> tuple[str, ...]:
    """The GPUs of one worker: whole ones of its own, or one that several share; none when they are used up."""
    if per_worker >= 1 or per_worker <= 0:
        count = max(int(per_worker), 1)
        return gpu_ids[slot * count : (slot + 1) * count]
    share = int(slot * per_worker + 1e-9)
    return gpu_ids[share : share + 1]
