"""Ray Data on a started Ray: read, map_batches by two actors (or by tasks), write.

python -m benchmarks.contenders.ray_data DATA OUT ROWS_PER_MINI_BATCH numpy|pandas actors|tasks
"""

from __future__ import annotations

import os
import sys
from typing import Any

import ray


class Add:
    """The same `run`, as Ray Data wants it."""

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def __call__(self, batch: Any) -> Any:
        value = batch["x0"] + batch["x1"]
        if self.kind == "numpy":
            return {"id": batch["id"], "value": value}
        import pandas as pd

        return pd.DataFrame({"id": batch["id"], "value": value})


def add_numpy(batch: Any) -> Any:
    return Add("numpy")(batch)


def add_pandas(batch: Any) -> Any:
    return Add("pandas")(batch)


def main() -> None:
    data, out, size, kind, how = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4], sys.argv[5]
    ray.init(address=os.environ["RAY_ADDRESS"], logging_level="ERROR", log_to_driver=False)
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    read = ray.data.read_parquet(data, columns=["id", "x0", "x1"])
    if how == "actors":
        mapped = read.map_batches(
            Add,
            fn_constructor_args=(kind,),
            batch_size=size,
            batch_format=kind,
            num_cpus=0.5,  # two whole ones would leave none to read and write with, and it would wait for ever
            compute=ray.data.ActorPoolStrategy(size=2),
        )
    else:
        mapped = read.map_batches(add_numpy if kind == "numpy" else add_pandas, batch_size=size, batch_format=kind)
    mapped.write_parquet(out)
    ray.shutdown()


if __name__ == "__main__":
    main()
