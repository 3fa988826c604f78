"""How long from typing `runner submit` to the first call of `run`, the entry's own imports aside.

    python -m benchmarks.bench_start [--quick] [--rounds 5] [--json FILE]

`compute: local`, a Ray that runs already, and the embedded Ray that a first job has to start; beside it what
`ray.init()` takes by itself in a fresh process. Times are of the wall clock, from before the process is made.
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

from benchmarks.ray_head import ray_head

ENTRY = """\
import os, time

def run(mini_batch):
    with open(os.environ["FIRST"], "a") as file:
        file.write(f"{time.time()}\\n")
    return mini_batch
"""
JOB = """\
type: parallel
{compute}
inputs:
  files: {{type: uri_folder, path: ./data}}
input_data: ${{{{inputs.files}}}}
max_concurrency_per_instance: 2
environment_variables: {{FIRST: {first}}}
task: {{type: run_function, code: ./code, entry_script: score.py, environment: azureml:any@latest}}
"""
INIT = "import ray; ray.init(address='local', include_dashboard=False, logging_level='ERROR', log_to_driver=False)"


def first_call(work: Path, compute: str, environment: dict[str, str]) -> float:
    """Seconds from before the submission to the first call of `run`."""
    shutil.rmtree(work, ignore_errors=True)
    for name, text in (("code/score.py", ENTRY), *((f"data/{i}.txt", str(i)) for i in range(4))):
        (work / name).parent.mkdir(parents=True, exist_ok=True)
        (work / name).write_text(text)
    first = work / "first"
    (work / "job.yml").write_text(JOB.format(compute=compute, first=first))
    began = time.time()
    subprocess.run(
        [str(Path(sys.executable).with_name("runner")), "submit", str(work / "job.yml")],
        env={**os.environ, **environment, "RUNNER_HOME": str(work / "home")},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=True,
    )
    return min(map(float, first.read_text().split())) - began


def bare_init() -> float:
    """Seconds of a process that does nothing but `ray.init()`."""
    began = time.time()
    subprocess.run([sys.executable, "-c", INIT], env={**os.environ, "RAY_USAGE_STATS_ENABLED": "0"}, check=True)
    return time.time() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one round of compute: local")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--root", type=Path, default=Path("/tmp/runner-bench"))
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    work = args.root / "start"
    seconds: dict[str, list[float]] = {"compute: local": []}
    for _ in range(1 if args.quick else args.rounds):
        seconds["compute: local"].append(first_call(work, "compute: local", {}))
    if not args.quick:
        with ray_head() as environment:
            seconds["a running Ray"] = [first_call(work, "", environment) for _ in range(args.rounds)]
        seconds["the embedded Ray"] = [first_call(work, "", {}) for _ in range(args.rounds)]
        seconds["ray.init() alone"] = [bare_init() for _ in range(args.rounds)]
    print("seconds to the first call of run        median (min - max)")
    for name, values in seconds.items():
        print(f"  {name:34} {statistics.median(values):8.2f} ({min(values):.2f} - {max(values):.2f})")
    if args.json:
        args.json.write_text(json.dumps(seconds, indent=1) + "\n")


if __name__ == "__main__":
    main()
