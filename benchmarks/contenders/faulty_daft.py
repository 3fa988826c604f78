"""Daft's native runner, the function in processes of its own: in its own process a kill would end everything.

python -m benchmarks.contenders.faulty_daft DATA OUT ROWS_PER_MINI_BATCH
"""

from __future__ import annotations

import sys
from typing import Any

import daft
from daft import DataType, Series, col

from benchmarks.contenders.faulty import score


@daft.cls(use_process=True, max_concurrency=2, max_retries=2)
class Scorer:
    """The work, as Daft wants it."""

    @daft.method.batch(return_dtype=DataType.int64(), batch_size=int(sys.argv[3]))
    def scored(self, ids: Series) -> Any:
        return score(ids.to_arrow().to_numpy())


def main() -> None:
    data, out = sys.argv[1], sys.argv[2]
    frame = daft.read_parquet(f"{data}/*.parquet").select("id")
    frame.select("id", Scorer().scored(col("id")).alias("value")).write_parquet(out)


if __name__ == "__main__":
    main()
