"""How many rows a second, end to end, against a hand-tuned loop, Ray Data and Daft.

    python -m benchmarks.bench_job [--quick] [--rounds 5] [--short 10] [--long 40] [--only NAME ...]

Every contender does the same work in a fresh process: read three columns, call `run` (add two of them) on mini-batches
of 100, 1,000 and 10,000 rows as numpy or pandas, write id and result as Parquet, two workers. Steady state is the slope
between a short and a long run, so that start-up is out of it; rounds are paired (every contender once in each round).
Prints a table and writes JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import shutil
import statistics
import subprocess
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from benchmarks.data import table_set
from benchmarks.ray_head import ray_head

MILLION = 1_000_000
ENTRY = """\
def run(mini_batch):
    return mini_batch["x0"] + mini_batch["x1"]
"""
JOB = """\
type: parallel
{compute}
inputs:
  table: {{type: mltable, path: {data}, mode: direct}}
outputs:
  scores: {{type: uri_folder, path: {out}}}
input_data: ${{{{inputs.table}}}}
mini_batch_size: "{size} rows"
max_concurrency_per_instance: 2
runner:
  mini_batch_format: {kind}
  columns: [x0, x1]
  keep_columns: [id]
  output_format: parquet
task:
  type: run_function
  code: {code}
  entry_script: score.py
  environment: azureml:any@latest
  append_row_to: ${{{{outputs.scores}}}}
"""


@dataclass(frozen=True)
class Contender:
    """A program to be measured; `needs_ray` runs it on a Ray that was started before.

    One that `is_slow` runs on 2 M and `--short` rows instead, and in fewer rounds: minutes would tell no more.
    """

    name: str
    needs_ray: bool = False
    is_slow: bool = False

    def rows(self, short: int, long: int) -> tuple[int, int]:
        """M rows of its two runs."""
        return (min(2, short), max(short, min(2, short) + 1)) if self.is_slow else (short, long)

    def command(self, work: Path, data: Path, size: int, kind: str) -> list[str]:
        """The command line; it may write its own files under `work`."""
        python, out = [sys.executable, "-m"], str(work / "out")
        if self.name in ("hand-tuned", "direct"):
            return [*python, f"benchmarks.contenders.{self.name.replace('-', '_')}", str(data), out, str(size), kind]
        if self.name.startswith("ray-data"):
            how = self.name.rpartition("-")[2]
            return [*python, "benchmarks.contenders.ray_data", str(data), out, str(size), kind, how]
        if self.name == "daft":
            return [*python, "benchmarks.contenders.daft_udf", str(data), out, str(size), kind]
        code = work / "code"
        code.mkdir()
        (code / "score.py").write_text(ENTRY)
        compute = "compute: local" if self.name == "runner-local" else ""
        job = work / "job.yml"
        job.write_text(JOB.format(compute=compute, data=data, out=out, size=size, kind=kind, code=code))
        return [str(Path(sys.executable).with_name("runner")), "submit", str(job), "--name", "bench"]


CONTENDERS = [
    Contender("hand-tuned"),
    Contender("runner-local"),
    Contender("runner-ray", needs_ray=True),
    Contender("daft", is_slow=True),
    Contender("ray-data-actors", needs_ray=True, is_slow=True),
    Contender("ray-data-tasks", needs_ray=True, is_slow=True),
]


def measure(contender: Contender, root: Path, data: Path, size: int, kind: str, environment: dict[str, str]) -> float:
    """Seconds of one run, as a whole process; the output's rows are checked."""
    import pyarrow.dataset

    work = root / "work"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    command = contender.command(work, data, size, kind)
    began = time.perf_counter()
    done = subprocess.run(
        command,
        env={**os.environ, **environment, "RUNNER_HOME": str(work / "home"), "NO_COLOR": "1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=600,
    )
    seconds = time.perf_counter() - began
    if done.returncode:
        raise SystemExit(f"{contender.name} failed ({done.returncode}):\n{done.stdout[-3000:]}{done.stderr[-3000:]}")
    rows = pyarrow.dataset.dataset(work / "out", format="parquet", exclude_invalid_files=True).count_rows()
    wanted = int(data.name.rpartition("-")[2])
    if rows != wanted:
        raise SystemExit(f"{contender.name} wrote {rows} rows of {wanted}")
    shutil.rmtree(work)
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one round of 1 and 2 M rows, mini-batches of 1,000")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--slow-rounds", type=int, default=2, help="rounds of Daft and Ray Data")
    parser.add_argument("--short", type=int, default=10, help="M rows of the short run")
    parser.add_argument("--long", type=int, default=40, help="M rows of the long run")
    parser.add_argument("--sizes", default="100,1000,10000")
    parser.add_argument("--kinds", default="numpy,pandas")
    parser.add_argument("--only", nargs="*", default=[c.name for c in CONTENDERS], metavar="NAME")
    parser.add_argument("--root", type=Path, default=Path("/tmp/runner-bench"))
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    if args.quick:
        args.rounds, args.short, args.long, args.sizes = 1, 1, 2, "1000"
    contenders = [c for c in CONTENDERS if c.name in args.only]
    cells = [(kind, int(size)) for kind in args.kinds.split(",") for size in args.sizes.split(",")]
    results: dict[str, dict[str, list[tuple[float, float]]]] = {}
    with ExitStack() as stack:
        environment = stack.enter_context(ray_head()) if any(c.needs_ray for c in contenders) else {}
        for kind, size in cells:
            cell = results[f"{kind} {size}"] = {c.name: [] for c in contenders}
            for number in range(args.rounds):
                for contender in contenders:
                    if contender.is_slow and number >= args.slow_rounds:
                        continue
                    own = environment if contender.needs_ray else {}
                    pair = [
                        measure(contender, args.root, table_set(args.root / "data", n * MILLION), size, kind, own)
                        for n in contender.rows(args.short, args.long)
                    ]
                    cell[contender.name].append((pair[0], pair[1]))
            show(f"{kind} {size}", contenders, cell, args.short, args.long)
    report = {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, {resource.getpagesize()} B pages",
        "python": platform.python_version(),
        "short_rows": args.short * MILLION,
        "long_rows": args.long * MILLION,
        "seconds": results,
    }
    if args.json:
        args.json.write_text(json.dumps(report, indent=1) + "\n")


def show(
    cell: str, contenders: list[Contender], seconds: dict[str, list[tuple[float, float]]], short: int, long: int
) -> None:
    """One cell: steady state in M rows a second with its spread, the ratio to the loop pair by pair, the whole job."""
    slopes = {}
    for contender in contenders:
        first, last = contender.rows(short, long)
        slopes[contender.name] = [(last - first) / max(b - a, 1e-3) for a, b in seconds[contender.name]]
    base = slopes.get("hand-tuned", [])
    print(f"\n{cell} rows a mini-batch{'':8} M rows/s (min - max)   of hand-tuned   whole job of {short} M rows")
    for contender in contenders:
        rates, pairs = slopes[contender.name], seconds[contender.name]
        ratio = statistics.median(a / b for a, b in zip(rates, base, strict=False)) if base else float("nan")
        whole = statistics.median(pair[contender.rows(short, long).index(short)] for pair in pairs)
        spread = f"({min(rates):.1f} - {max(rates):.1f})"
        print(
            f"  {contender.name:18} {statistics.median(rates):14.1f} {spread:>16} {ratio:14.2f} {whole:16.2f} s",
            flush=True,
        )


if __name__ == "__main__":
    main()
