"""How much memory a job takes, and that it does not grow with the data.

    python -m benchmarks.bench_memory [--quick] [--short 10] [--long 40] [--json FILE]

Runs the job of `bench_job` on `compute: local` with two workers and samples, every 20 ms, the anonymous memory of all
processes of the job (mapped files and page cache belong to the kernel). Shown: the peak of the sum, and of one process.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import time
from pathlib import Path

from benchmarks.bench_job import MILLION, Contender
from benchmarks.data import table_set


def anonymous_bytes(home: Path) -> list[int]:
    """Anonymous memory of each live process whose RUNNER_HOME is `home`."""
    mark = f"RUNNER_HOME={home}\0".encode()
    found = []
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            if mark in (folder / "environ").read_bytes() + b"\0":
                status = (folder / "status").read_text()
                found.append(int(status.partition("RssAnon:")[2].split()[0]) * 1024)
        except (OSError, IndexError):
            continue
    return found


def peak(root: Path, data: Path, size: int, kind: str) -> dict[str, float]:
    """Peaks in MB over one run."""
    work = root / "memory"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    home = work / "home"
    process = subprocess.Popen(
        Contender("runner-local").command(work, data, size, kind),
        env={**os.environ, "RUNNER_HOME": str(home)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    together = largest = 0
    while process.poll() is None:
        found = anonymous_bytes(home)
        together, largest = max(together, sum(found)), max([largest, *found])
        time.sleep(0.02)
    if process.returncode:
        raise SystemExit(f"the job failed with {process.returncode}")
    shutil.rmtree(work)
    return {"all processes": together / 1e6, "largest process": largest / 1e6}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="1 and 2 M rows, one cell")
    parser.add_argument("--short", type=int, default=10, help="M rows")
    parser.add_argument("--long", type=int, default=40, help="M rows")
    parser.add_argument("--root", type=Path, default=Path("/tmp/runner-bench"))
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    if args.quick:
        args.short, args.long = 1, 2
    cells = [("numpy", 1000)] if args.quick else [("numpy", 100), ("numpy", 10_000), ("pandas", 1000)]
    report = {}
    print(f"peak anonymous memory, MB{'':12} {args.short} M rows  {args.long} M rows")
    for kind, size in cells:
        peaks = [
            peak(args.root, table_set(args.root / "data", n * MILLION), size, kind) for n in (args.short, args.long)
        ]
        report[f"{kind} {size}"] = peaks
        for what in peaks[0]:
            print(f"  {kind:6} {size:6} {what:18} {peaks[0][what]:10.0f} {peaks[1][what]:10.0f}", flush=True)
    if args.json:
        args.json.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
