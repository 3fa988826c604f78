"""The limit: two processes, each with half of the files, a loop without any bookkeeping.

    python -m benchmarks.contenders.hand_tuned DATA OUT ROWS_PER_MINI_BATCH numpy|pandas

Each process decodes ahead in a thread, slices numpy views (or one pandas frame) per mini-batch, calls the same `run`,
and encodes finished results in another thread. Nothing survives a crash, nothing is counted, nothing is retried.
"""

from __future__ import annotations

import multiprocessing
import queue
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

COLUMNS = ["id", "x0", "x1"]
BATCH_ROWS = 65_536
SCHEMA = pa.schema([("id", pa.int64()), ("value", pa.float32())])


def run_numpy(mini_batch: dict[str, Any]) -> Any:
    return mini_batch["x0"] + mini_batch["x1"]


def run_pandas(mini_batch: Any) -> Any:
    return mini_batch["x0"] + mini_batch["x1"]


def read(files: list[Path], size: int) -> Iterator[pa.RecordBatch]:
    """Decoded batches, a whole number of mini-batches each but for the last of a row group."""
    rows = max(size, BATCH_ROWS // size * size)
    for path in files:
        with pq.ParquetFile(path, pre_buffer=False, buffer_size=1 << 20) as file:
            yield from file.iter_batches(batch_size=rows, columns=COLUMNS, use_threads=False)


def ahead(batches: Iterator[pa.RecordBatch], depth: int = 4) -> Iterator[pa.RecordBatch]:
    """The same batches, decoded in a thread."""
    waiting: queue.Queue[pa.RecordBatch | None] = queue.Queue(depth)

    def fill() -> None:
        for batch in batches:
            waiting.put(batch)
        waiting.put(None)

    threading.Thread(target=fill, daemon=True).start()
    while (batch := waiting.get()) is not None:
        yield batch


def write(path: Path, waiting: queue.Queue[tuple[pa.Array, Any] | None]) -> None:
    """Encode what comes, in the thread that runs this."""
    with pq.ParquetWriter(path, SCHEMA, use_dictionary=False, compression="none", write_statistics=False) as writer:
        while (item := waiting.get()) is not None:
            writer.write_batch(pa.record_batch([item[0], pa.array(item[1])], schema=SCHEMA))


def work(files: list[Path], out: Path, size: int, kind: str) -> None:
    """One of the two processes."""
    waiting: queue.Queue[tuple[pa.Array, Any] | None] = queue.Queue(8)
    writer = threading.Thread(target=write, args=(out, waiting))
    writer.start()
    loop = loop_numpy if kind == "numpy" else loop_pandas
    for batch in ahead(read(files, size)):
        waiting.put((batch.column(0), loop(batch, size)))
    waiting.put(None)
    writer.join()


def loop_numpy(batch: pa.RecordBatch, size: int) -> Any:
    x0, x1 = batch.column(1).to_numpy(), batch.column(2).to_numpy()
    run, count = run_numpy, len(x0)
    out = np.empty(count, np.float32)
    for i in range(0, count, size):
        j = i + size
        out[i:j] = run({"x0": x0[i:j], "x1": x1[i:j]})
    return out


def loop_pandas(batch: pa.RecordBatch, size: int) -> Any:
    frame = batch.select([1, 2]).to_pandas()
    run, count = run_pandas, len(frame)
    out = np.empty(count, np.float32)
    for i in range(0, count, size):
        j = i + size
        out[i:j] = run(frame[i:j]).to_numpy()
    return out


def main() -> None:
    data, out, size, kind = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
    out.mkdir(parents=True)
    files = sorted(data.glob("*.parquet"))
    half = (len(files) + 1) // 2
    context = multiprocessing.get_context("fork")
    workers = [
        context.Process(target=work, args=(mine, out / f"{i}.parquet", size, kind))
        for i, mine in enumerate((files[:half], files[half:]))
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
        if worker.exitcode:
            raise SystemExit(f"a worker ended with {worker.exitcode}")


if __name__ == "__main__":
    main()
