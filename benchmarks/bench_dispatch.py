"""What does it cost to hand out one mini-batch: from the claim to its completion, around a `run` that does nothing?

The native loop is measured in one worker, as each worker of an instance runs it. The others do what stands in its
place elsewhere: a multiprocessing queue to a worker and one back, and a method call on a Ray actor, one at a time and
with a hundred in flight. `plain calls` is the floor: a `for` loop in Python that only calls `run`.

    python -m benchmarks.bench_dispatch [--quick]

A table goes to stderr, JSON to stdout. Each contender runs in a fresh process.
"""

from __future__ import annotations

import argparse
import json
import logging
import multiprocessing
import os
import platform
import secrets
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

IN_FLIGHT = 100
ROWS = 100
SEGMENT = 1000
"""Mini-batches completed at once, about what a worker flushes."""


@dataclass(frozen=True)
class Contender:
    """`measure(count)` yields nanoseconds per mini-batch, one figure per round, without end."""

    measure: Callable[[int], Iterator[float]]
    count: int
    quick_count: int


@dataclass
class Slab:
    first_mini_batch: int
    end_mini_batch: int
    rows_per_mini_batch: int
    row_count: int
    first_item: int
    columns: Any
    cut: Any = None
    kept: Any = None


RESULT = [0]


def do_nothing(mini_batch: object) -> list[int]:
    return RESULT


def add_columns(mini_batch: dict[str, Any]) -> Any:
    return mini_batch["x0"] + mini_batch["x1"]


def some_columns(count: int) -> tuple[tuple[str, Any], ...]:
    rng = np.random.default_rng(7)
    return tuple((f"x{i}", rng.random(count * ROWS, dtype=np.float32)) for i in range(3))


def measure_plain(count: int) -> Iterator[float]:
    batch: dict[str, Any] = {}
    while True:
        begin = time.perf_counter_ns()
        for _ in range(count):
            do_nothing(batch)
        yield (time.perf_counter_ns() - begin) / count


def measure_plain_slices(count: int) -> Iterator[float]:
    per_slab = min(count, 655)
    columns = some_columns(per_slab)
    while True:
        begin = time.perf_counter_ns()
        for number in range(count):
            row = number % per_slab * ROWS
            add_columns({name: array[row : row + ROWS] for name, array in columns})
        yield (time.perf_counter_ns() - begin) / count


def measure_loop(count: int) -> Iterator[float]:
    from runner.dispatch._loop import COUNT

    return drain(count, do_nothing, COUNT, ())


def measure_loop_slices(count: int) -> Iterator[float]:
    from runner.dispatch._loop import ROWS as KEEP_ROWS

    return drain(count, add_columns, KEEP_ROWS, some_columns(min(count, 655)))


def drain(count: int, run: Callable[[Any], Any], mode: int, columns: Any) -> Iterator[float]:
    from runner.dispatch._board import Board
    from runner.dispatch._ledger import Ledger
    from runner.dispatch._loop import DRY, Loop

    def refuse(*arguments: object) -> Any:
        raise AssertionError(arguments)

    per_slab = min(count, len(columns[0][1]) // ROWS if columns else count)
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        board = Board.create(f"{folder}/board", 1)
        for number in range(sys.maxsize):
            ledger = Ledger.create(f"{folder}/ledger-{number}", 0, count, list(range(0, count, per_slab)))
            loop = Loop(board, 0, run, mode, finish=refuse, fail=refuse, max_bytes=SEGMENT * (72 + 4 * ROWS))
            segment = 0
            begin = time.perf_counter_ns()
            while (unit := ledger.take_unit(0)) != -1:
                first, end = ledger.unit_range(unit)
                slab = Slab(first, end, ROWS, (end - first) * ROWS, first * ROWS, columns)
                while loop.drain(ledger, slab) != DRY:
                    segment += 1
                    ledger.complete(0, loop.take().records["mini_batch"], segment)
            ledger.complete(0, loop.take().records["mini_batch"], segment + 1)
            elapsed = time.perf_counter_ns() - begin
            if ledger.counts(0, count) != (0, 0, count, 0):
                raise AssertionError("not every mini-batch is done")
            ledger.close()
            os.unlink(f"{folder}/ledger-{number}")
            yield elapsed / count


def serve(tasks: Any, results: Any) -> None:
    while (number := tasks.get()) is not None:
        results.put((number, len(do_nothing(number))))


def measure_queue(count: int) -> Iterator[float]:
    context = multiprocessing.get_context("spawn")
    tasks, results = context.Queue(), context.Queue()
    worker = context.Process(target=serve, args=(tasks, results), daemon=True)
    worker.start()
    tasks.put(0)
    results.get()
    try:
        while True:
            begin = time.perf_counter_ns()
            for number in range(min(IN_FLIGHT, count)):
                tasks.put(number)
            for number in range(count):
                results.get()
                if number + IN_FLIGHT < count:
                    tasks.put(number + IN_FLIGHT)
            yield (time.perf_counter_ns() - begin) / count
    finally:
        tasks.put(None)
        worker.join()


def start_actor(folder: str) -> Any:
    # A token and a home of its own: it must neither join nor disturb a Ray that already runs here.
    token = Path(folder, "token")
    token.write_text(secrets.token_hex(32))
    os.environ["RAY_AUTH_TOKEN_PATH"] = str(token)
    import ray

    ray.init(address="local", num_cpus=1, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)

    class Actor:
        def run(self, number: int) -> int:
            return len(do_nothing(number))

    actor: Any = ray.remote(Actor).remote()
    ray.get(actor.run.remote(0))
    return actor


def measure_ray(count: int, in_flight: int = 1) -> Iterator[float]:
    with tempfile.TemporaryDirectory() as folder:
        actor = start_actor(folder)
        import ray

        try:
            while True:
                begin = time.perf_counter_ns()
                waiting = [actor.run.remote(number) for number in range(in_flight)]
                for number in range(count):
                    ray.get(waiting[number % in_flight])
                    if number + in_flight < count:
                        waiting[number % in_flight] = actor.run.remote(number + in_flight)
                yield (time.perf_counter_ns() - begin) / count
        finally:
            ray.shutdown()


def measure_ray_in_flight(count: int) -> Iterator[float]:
    return measure_ray(count, IN_FLIGHT)


CONTENDERS = {
    "plain calls": Contender(measure_plain, 500_000, 100_000),
    "this loop": Contender(measure_loop, 500_000, 100_000),
    "plain slices, 3 columns, add": Contender(measure_plain_slices, 200_000, 50_000),
    "this loop, 3 columns, add": Contender(measure_loop_slices, 200_000, 50_000),
    "multiprocessing queue": Contender(measure_queue, 20_000, 3_000),
    "ray actor call": Contender(measure_ray, 3_000, 300),
    "ray actor call, 100 in flight": Contender(measure_ray_in_flight, 10_000, 1_000),
}


def measure_here(name: str, quick: bool) -> None:
    contender = CONTENDERS[name]
    rounds = contender.measure(contender.quick_count if quick else contender.count)
    next(rounds)  # the first one warms up
    figures = [next(rounds) for _ in range(3 if quick else 7)]
    rounds.close()  # type: ignore[attr-defined]
    print(json.dumps(figures))


def measure_apart(name: str, quick: bool) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.bench_dispatch", "--contender", name, *(["--quick"] if quick else [])]
    # What Ray prints while it starts comes first.
    answer = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True).stdout.splitlines()[-1]
    figures = json.loads(answer)
    return {"median_ns": statistics.median(figures), "min_ns": min(figures), "max_ns": max(figures)}


def main() -> None:
    parser = argparse.ArgumentParser(description="The cost of handing out one mini-batch.")
    parser.add_argument("--quick", action="store_true", help="small counts: a few seconds, besides the start of Ray")
    parser.add_argument("--contender", choices=CONTENDERS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.contender:
        measure_here(arguments.contender, arguments.quick)
        return
    results = {}
    print(f"{'per mini-batch':32}{'median':>12}{'min':>12}{'max':>12}", file=sys.stderr)
    for name in CONTENDERS:
        results[name] = figures = measure_apart(name, arguments.quick)
        columns = "".join(f"{figures[key] / 1000:>9.3f} µs" for key in ("median_ns", "min_ns", "max_ns"))
        print(f"{name:32}{columns}", file=sys.stderr)
    machine = {"cores": os.cpu_count(), "machine": platform.machine(), "python": platform.python_version()}
    print(json.dumps({"benchmark": "dispatch", "quick": arguments.quick, "machine": machine, "results": results}))


if __name__ == "__main__":
    main()
