"""What spool, journal and reports cost: a whole job against the same loop, reader and encoder without them.

    python -m benchmarks.bench_journal [--quick] [--rounds 5] [--short 10] [--long 40] [--sizes 100,1000,10000]

The contender is `benchmarks.contenders.direct`: nothing in it survives a crash. Steady state is the slope between a
short and a long run, the two programs take turns, and the cost is that of each pair.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
from pathlib import Path

from benchmarks.bench_job import MILLION, Contender, measure
from benchmarks.data import table_set

OFF, ON = Contender("direct"), Contender("runner-local")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one round of 2 and 6 M rows, mini-batches of 1,000")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--short", type=int, default=10, help="M rows of the short run")
    parser.add_argument("--long", type=int, default=40, help="M rows of the long run")
    parser.add_argument("--sizes", default="100,1000,10000")
    parser.add_argument("--root", type=Path, default=Path("/tmp/runner-bench"))
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    if args.quick:
        args.rounds, args.short, args.long, args.sizes = 1, 2, 6, "1000"
    report: dict[str, list[dict[str, float]]] = {}
    print(f"{'rows a mini-batch':>18} {'without, M rows/s':>18} {'with':>8} {'cost, pair by pair (min to max)':>34}")
    for size in map(int, args.sizes.split(",")):
        pairs = [{one.name: rate(one, args, size) for one in (OFF, ON)} for _ in range(args.rounds)]
        report[str(size)] = pairs
        costs = sorted(1 - pair[ON.name] / pair[OFF.name] for pair in pairs)
        off, on = (statistics.median(pair[one.name] for pair in pairs) for one in (OFF, ON))
        spread = f"{statistics.median(costs):.1%} ({costs[0]:.1%} to {costs[-1]:.1%})"
        print(f"{size:18,} {off:18.1f} {on:8.1f} {spread:>34}", flush=True)
    if args.json:
        machine = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
        args.json.write_text(json.dumps({"machine": machine, "rates": report}, indent=1) + "\n")


def rate(contender: Contender, args: argparse.Namespace, size: int) -> float:
    """M rows a second between a short and a long run."""
    seconds = [
        measure(contender, args.root, table_set(args.root / "data", rows * MILLION), size, "numpy", {})
        for rows in (args.short, args.long)
    ]
    return float((args.long - args.short) / max(seconds[1] - seconds[0], 1e-3))


if __name__ == "__main__":
    main()
