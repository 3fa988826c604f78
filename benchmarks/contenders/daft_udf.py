"""Daft's native runner with a batch UDF.

python -m benchmarks.contenders.daft_udf DATA OUT ROWS_PER_MINI_BATCH numpy|pandas
"""

from __future__ import annotations

import sys
from typing import Any

import daft
from daft import DataType, Series, col


def main() -> None:
    data, out, size, kind = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]

    @daft.func.batch(return_dtype=DataType.float32(), batch_size=size)
    def add(x0: Series, x1: Series) -> Any:
        if kind == "numpy":
            return x0.to_arrow().to_numpy(zero_copy_only=False) + x1.to_arrow().to_numpy(zero_copy_only=False)
        import pandas as pd

        frame = pd.DataFrame({"x0": x0.to_arrow().to_pandas(), "x1": x1.to_arrow().to_pandas()})
        return (frame["x0"] + frame["x1"]).to_numpy()

    frame = daft.read_parquet(f"{data}/*.parquet").select("id", "x0", "x1")
    frame.select("id", add(col("x0"), col("x1")).alias("value")).write_parquet(out)


if __name__ == "__main__":
    main()
