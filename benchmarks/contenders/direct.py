"""This runner's own loop, reader and encoder, without what makes it survive: no spool, no journal, no digest, no fsync.

    python -m benchmarks.contenders.direct DATA OUT ROWS_PER_MINI_BATCH numpy|pandas

Two forked processes share one ledger and write what their loop has gathered straight into a Parquet file each, in
whatever order it comes. A death of either loses the job.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from runner.dataset.gather import gather
from runner.dataset.glue import GluedFile, encode_parquet
from runner.dataset.output_schema import plain
from runner.dataset.read import UnitReader
from runner.dataset.render import Renderer
from runner.dataset.slabs import Prefetch, Slab
from runner.dispatch._board import Board
from runner.dispatch._ledger import Ledger
from runner.dispatch._loop import DUE, FULL, ROWS, Loop
from runner.entity.parallel import MiniBatchSize, OutputSpec, ParallelSpec, SplitInput
from runner.entity.plan import Plan
from runner.plan.make import make_plan

FLUSH_BYTES, FLUSH_NS, PREFETCH_BYTES = 8 << 20, 250_000_000, 128 << 20


class PlainFile:
    """A file as the encoder writes to it; nothing is hashed, nothing is waited for."""

    def __init__(self, path: Path) -> None:
        self.size_bytes = 0
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)

    def write(self, data: bytes | memoryview) -> int:
        self.size_bytes += os.write(self._fd, data)
        return len(data)

    def finish(self) -> None:
        os.close(self._fd)


def run(mini_batch: Any) -> Any:
    return mini_batch["x0"] + mini_batch["x1"]


def fail(*what: Any) -> None:
    raise SystemExit(f"mini-batch {what[0]}: {what[-1]}")


class Worker:
    """One of the two."""

    def __init__(self, slot: int, spec: ParallelSpec, plan: Plan, folder: str, out: Path) -> None:
        assert spec.output is not None
        self.slot, self.plan, self.output, self.out = slot, plan, spec.output, out
        self.ledger = Ledger.open(f"{folder}/ledger")
        self.reader = UnitReader(plan, spec)
        self.renderer = Renderer(spec.output)
        self.loop = Loop(
            Board.open(f"{folder}/board"),
            slot,
            run,
            ROWS,
            finish=self.renderer.finish,
            fail=fail,
            keep=True,
            max_bytes=FLUSH_BYTES,
            max_ns=FLUSH_NS,
        )
        self.file: GluedFile | None = None

    def slabs(self) -> Iterator[Slab]:
        """Units as the ledger gives them, each worker beginning at its own half."""
        prefer = self.ledger.unit_count * self.slot // 2
        while (unit := self.ledger.take_unit(self.slot, prefer)) >= 0:
            prefer = unit + 1
            first, end = self.ledger.unit_range(unit)
            yield from self.reader.slabs(self.plan.unit_of(first), first, end, lambda first, end: True)

    def work(self) -> None:
        for slab in Prefetch(self.slabs(), PREFETCH_BYTES):
            while self.loop.drain(self.ledger, slab) in (FULL, DUE):
                self.write()
        self.write()
        if self.file is not None:
            self.file.finish()

    def write(self) -> None:
        if not self.loop.pending_count:
            return
        taken = self.loop.take()
        for table in gather(taken.records, taken.outputs, taken.kept, self.renderer).sections:
            rows = table.cast(plain(table.schema))
            if self.file is None:
                made = PlainFile(self.out / f"{self.slot}.parquet")
                self.file = GluedFile(made, rows.schema, self.output)  # type: ignore[arg-type] # all it asks of a file
            self.file.take_over(encode_parquet(rows, self.output.compression), rows.num_rows)


def main() -> None:
    data, out, size, kind = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
    out.mkdir(parents=True)
    output = OutputSpec(name="out", target=str(out), is_folder=True, format="parquet", keep_columns=("id",))
    spec = ParallelSpec(
        name="direct",
        entry_script="none",
        code=".",
        inputs=(SplitInput(name="data", kind="table", path=data),),
        mini_batch_size=MiniBatchSize(kind="rows", value=size),
        mini_batch_format=kind,  # type: ignore[arg-type] # one of the two
        columns=("x0", "x1"),
        output=output,
        worker_count=2,
    )
    plan = make_plan(spec)
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        Ledger.create(f"{folder}/ledger", 0, plan.mini_batch_count, plan.unit_starts)
        Board.create(f"{folder}/board", 2)
        context = multiprocessing.get_context("fork")
        workers = [
            context.Process(target=lambda slot=slot: Worker(slot, spec, plan, folder, out).work()) for slot in range(2)
        ]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
            if worker.exitcode:
                raise SystemExit(f"a worker ended with {worker.exitcode}")


if __name__ == "__main__":
    main()
