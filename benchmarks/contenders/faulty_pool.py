"""A pool of two processes, as in many a scoring script; each mini-batch becomes one file, which a rerun writes again.

python -m benchmarks.contenders.faulty_pool DATA OUT ROWS_PER_MINI_BATCH
"""

from __future__ import annotations

import multiprocessing
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.contenders.faulty import score


def work(task: tuple[str, int, int, str]) -> None:
    path, start, size, target = task
    ids = pq.read_table(path, columns=["id"])["id"].to_numpy()[start : start + size]
    pq.write_table(pa.table({"id": ids, "value": score(ids)}), target)


def main() -> None:
    data, out, size = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    out.mkdir(parents=True, exist_ok=True)
    tasks = []
    for path in sorted(data.glob("*.parquet")):
        rows = pq.ParquetFile(path).metadata.num_rows
        tasks += [(str(path), start, size, str(out / f"{path.stem}-{start}.parquet")) for start in range(0, rows, size)]
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        for _ in pool.imap_unordered(work, tasks):
            pass


if __name__ == "__main__":
    main()
