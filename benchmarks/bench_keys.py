"""How long until a function has been called once for each key, from a table that is not sorted?

    python -m benchmarks.bench_keys [--quick] [--rows 10000000] [--keys 10000] [--kind int64|text|two]
                                    [--only runner pandas polars ray] [--rounds 3] [--json FILE]

Three columns are read, a pandas group goes in, one row comes out. Each contender is a fresh process; seconds are those
of the whole process, and of the runner also those from its start to the group plan. Two workers on two cores.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

FILES = 4
ENTRY = """\
def run(mini_batch):
    return [f"{len(mini_batch)} {mini_batch['x'].mean()}"]
"""
JOB = """\
type: parallel
compute: local
inputs: {{rows: {{type: mltable, mode: direct, path: {data}}}}}
outputs: {{means: {{type: uri_file, path: ./means.txt}}}}
input_data: ${{{{inputs.rows}}}}
partition_keys: {keys}
max_concurrency_per_instance: 2
runner: {{bisect: false}}
error_threshold: -1
task:
  type: run_function
  code: ./code
  entry_script: score.py
  append_row_to: ${{{{outputs.means}}}}
"""
SCRIPTS = {
    "pandas": """\
import sys, pandas
keys = sys.argv[2].split(",")
frame = pandas.read_parquet(sys.argv[1])
out = [(len(group), group["x"].mean()) for _, group in frame.groupby(keys, dropna=False)]
print(len(out))
""",
    "polars": """\
import sys, polars
keys = sys.argv[2].split(",")
parts = polars.read_parquet(sys.argv[1] + "/*.parquet").partition_by(keys, maintain_order=True)
out = [(len(frame), frame["x"].mean()) for frame in (part.to_pandas() for part in parts)]
print(len(out))
""",
    "ray": """\
import sys, pandas, ray
ray.init(address="local", num_cpus=2, include_dashboard=False, logging_level="ERROR", log_to_driver=False)
ray.data.DataContext.get_current().enable_progress_bars = False
keys = sys.argv[2].split(",")
def one(group):
    return pandas.DataFrame({"n": [len(group)], "x": [group["x"].mean()]})
print(ray.data.read_parquet(sys.argv[1]).groupby(keys).map_groups(one, batch_format="pandas").materialize().count())
""",
}


def make_data(root: Path, rows: int, keys: int, kind: str) -> Path:
    """Files of `rows` rows of random keys; made when they are not there."""
    folder = root / f"keys-{kind}-{rows}-{keys}"
    if folder.exists():
        return folder
    draft = folder.with_suffix(".draft")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    rng = np.random.default_rng(6)
    for number in range(FILES):
        count = rows // FILES
        drawn = rng.integers(0, keys, count)
        columns: dict[str, object] = {"key": drawn, "x": rng.random(count), "y": rng.random(count)}
        if kind == "text":
            columns["key"] = pa.array(np.char.add("customer-", drawn.astype(str)))
        elif kind == "two":
            columns = {"key": drawn // 100, "second": drawn % 100, "x": columns["x"]}
        pq.write_table(pa.table(columns), draft / f"{number}.parquet", row_group_size=250_000)
    draft.rename(folder)
    return folder


def run_runner(work: Path, data: Path, keys: list[str]) -> dict[str, float]:
    """Seconds of the whole job, and those until its groups were planned."""
    shutil.rmtree(work, ignore_errors=True)
    (work / "code").mkdir(parents=True)
    (work / "code" / "score.py").write_text(ENTRY)
    (work / "job.yml").write_text(JOB.format(data=data, keys=json.dumps(keys)))
    command = [sys.executable, "-P", "-m", "runner.cli.main", "submit", str(work / "job.yml"), "--name", "keys"]
    began = time.time()
    subprocess.run(
        command,
        env={**os.environ, "RUNNER_HOME": str(work / "home")},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=True,
    )
    whole = time.time() - began
    planned = (work / "home" / "jobs" / "keys" / "plan").stat().st_mtime
    return {"seconds": whole, "until planned": planned - began}


def run_script(name: str, data: Path, keys: list[str]) -> dict[str, float]:
    """Seconds of another contender's process."""
    began = time.time()
    subprocess.run([sys.executable, "-c", SCRIPTS[name], str(data), ",".join(keys)], capture_output=True, check=True)
    return {"seconds": time.time() - began}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one round of the runner and pandas, 200,000 rows")
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--keys", type=int, default=10_000)
    parser.add_argument("--kind", choices=("int64", "text", "two"), default="int64")
    parser.add_argument("--only", nargs="+", choices=("runner", *SCRIPTS), default=["runner", *SCRIPTS])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--root", type=Path, default=Path("/tmp/runner-bench"))
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    if args.quick:
        args.rows, args.keys, args.rounds, args.only = 200_000, 200, 1, ["runner", "pandas"]
    data = make_data(args.root, args.rows, args.keys, args.kind)
    keys = ["key", "second"] if args.kind == "two" else ["key"]
    seen: dict[str, list[float]] = {}
    for _ in range(args.rounds):
        for name in args.only:
            took = run_runner(args.root / "keys", data, keys) if name == "runner" else run_script(name, data, keys)
            for what, seconds in took.items():
                seen.setdefault(name if what == "seconds" else f"{name}, {what}", []).append(seconds)
    print(f"{args.rows} rows, {args.keys} keys, {args.kind}; seconds, median (minimum to maximum)")
    for name, seconds in seen.items():
        print(f"{name:24} {statistics.median(seconds):6.2f} ({min(seconds):.2f} to {max(seconds):.2f})")
    if args.json:
        args.json.write_text(json.dumps({"rows": args.rows, "keys": args.keys, "kind": args.kind, "seconds": seen}))


if __name__ == "__main__":
    main()
