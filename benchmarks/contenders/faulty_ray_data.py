"""Ray Data with a pool of two actors, which it restarts; what it writes is beside what an earlier try has written.

python -m benchmarks.contenders.faulty_ray_data DATA OUT ROWS_PER_MINI_BATCH
"""

from __future__ import annotations

import os
import sys
from typing import Any

import ray

from benchmarks.contenders.faulty import score


class Score:
    """The work, as Ray Data wants it."""

    def __call__(self, batch: Any) -> Any:
        return {"id": batch["id"], "value": score(batch["id"])}


def main() -> None:
    data, out, size = sys.argv[1], sys.argv[2], int(sys.argv[3])
    passed = {name: os.environ[name] for name in ("NOTES", "PACE", "FAULT", "VICTIM", "PYTHONPATH")}
    ray.init(
        address=os.environ["RAY_ADDRESS"],
        logging_level="ERROR",
        log_to_driver=False,
        runtime_env={"env_vars": passed},
    )
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    mapped = ray.data.read_parquet(data, columns=["id"]).map_batches(
        Score, batch_size=size, batch_format="numpy", num_cpus=0.5, compute=ray.data.ActorPoolStrategy(size=2)
    )
    mapped.write_parquet(out)
    ray.shutdown()


if __name__ == "__main__":
    main()
