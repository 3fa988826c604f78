"""What a pipeline costs beyond its commands, and what it costs to find out that nothing has changed.

    python -m benchmarks.bench_pipeline [--quick] [--rounds 5] [--only CASE ...] [--json FILE]

- chain, wide: 50 trivial command steps, one after the other by their data or all independent, `compute: local`; the
  time of the same commands in a loop of `bash -c` is taken off
- cluster: 10 such steps on a Ray that is configured
- graph: from the YAML of 1,000 steps to a checked graph with its records stored, the imports aside; no driver starts
- again: the second submission of examples/pipeline, which reuses everything
- inputs: a step over 100,000 small files, submitted a second time; and the look at the files alone

Times are of the wall clock, from before the process of `runner submit` is made to after its end.
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
from collections.abc import Callable
from pathlib import Path

from benchmarks.ray_head import ray_head

EXAMPLE = Path(__file__).parents[1] / "examples" / "pipeline"
STEPS = 50
FILES = 100_000
LIMITS = {"chain": 5.0, "wide": 5.0, "cluster": 25.0, "graph": 1.0, "again": 3.0, "inputs": 3.0, "look": 3.0}
"""What the project aims at, in seconds."""

GRAPH = """\
import json, sys, time
import runner
import runner.server.pipelines  # loaded when a pipeline is submitted
from runner.compose.client import Client
from runner.store.home import Home
from runner.store.store import Store
client = Client(launch=lambda home, name: None)
began = time.perf_counter()
job = runner.load_job(sys.argv[1])
read = time.perf_counter()
made = client.jobs.create_or_update(job)
ended = time.perf_counter()
print(json.dumps({"read": read - began, "all": ended - began, "records": len(Store(Home()).steps(made.name))}))
"""
LOOK = """\
import json, os, sys, time
from runner.schedule.contents import Contents
from runner.store.home import Home
from runner.store.store import Store
store = Store(Home())
began = time.perf_counter()
count = Contents(store).of(sys.argv[1]).file_count
print(json.dumps([count, time.perf_counter() - began]))
"""


def chain_of(count: int) -> dict[str, object]:
    """Steps that hand a file on, each with a line more."""
    jobs: dict[str, object] = {"s0": _step("echo 0 > ${{outputs.o}}")}
    for number in range(1, count):
        step = _step(f"cat ${{{{inputs.i}}}} > ${{{{outputs.o}}}}; echo {number} >> ${{{{outputs.o}}}}")
        step["inputs"] = {"i": f"${{{{parent.jobs.s{number - 1}.outputs.o}}}}"}
        jobs[f"s{number}"] = step
    return {"type": "pipeline", "jobs": jobs}


def wide_of(count: int) -> dict[str, object]:
    """Steps that know nothing of each other."""
    return {
        "type": "pipeline",
        "jobs": {f"s{number}": _step(f"echo {number} > ${{{{outputs.o}}}}") for number in range(count)},
    }


def _step(command: str, compute: str = "local") -> dict[str, object]:
    return {
        "type": "command",
        "compute": compute,
        "command": command,
        "environment": "azureml:any@latest",
        "outputs": {"o": {"type": "uri_file"}},
    }


def lineage_of(count: int, compute: str) -> dict[str, object]:
    """Steps that say which programs they were started by."""
    up = "while [ $p -gt 1 ]; do cat /proc/$p/comm; p=$(sed -n 's/PPid:[^0-9]*//p' /proc/$p/status); done"
    steps = {f"s{i}": _step(f"p=$$; : {i}; {up} > ${{{{outputs.o}}}}", compute) for i in range(count)}
    return {"type": "pipeline", "jobs": steps}


class Bench:
    """A home and a folder, both new."""

    def __init__(self, root: Path) -> None:
        self.root = root
        shutil.rmtree(root, ignore_errors=True)
        root.mkdir(parents=True)
        self.environment = {**os.environ, "RUNNER_HOME": str(root / "home")}

    def yaml(self, document: dict[str, object]) -> Path:
        """JSON is YAML; the graph is written in block style, line by line, as a user would."""
        path = self.root / "pipeline.yml"
        path.write_text(json.dumps(document))
        return path

    def submit(self, job: Path, environment: dict[str, str] | None = None) -> float:
        """Seconds of a submission that is watched to its end."""
        began = time.perf_counter()
        done = subprocess.run(
            [str(Path(sys.executable).with_name("runner")), "submit", str(job)],
            env={**self.environment, **(environment or {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise SystemExit(done.stdout + done.stderr)
        return time.perf_counter() - began

    def python(self, code: str, *arguments: str | Path) -> object:
        """What a fresh process with this home says, JSON."""
        line = [sys.executable, "-c", code, *map(str, arguments)]
        done = subprocess.run(line, env=self.environment, stdout=subprocess.PIPE, check=True)
        return json.loads(done.stdout)


def own_time(count: int) -> float:
    """The commands of so many steps without a runner."""
    began = time.perf_counter()
    for number in range(count):
        subprocess.run(["bash", "-c", f"echo {number} > /dev/null; cat /dev/null"], check=True)
    return time.perf_counter() - began


def chain(root: Path, count: int = STEPS) -> dict[str, float]:
    bench = Bench(root)
    return {"chain": bench.submit(bench.yaml(chain_of(count))) - own_time(count)}


def wide(root: Path, count: int = STEPS) -> dict[str, float]:
    bench = Bench(root)
    return {"wide": bench.submit(bench.yaml(wide_of(count))) - own_time(count)}


def graph(root: Path, count: int = 1000) -> dict[str, float]:
    bench = Bench(root)
    path = root / "pipeline.yml"
    path.write_text("\n".join(_lines_of(count)) + "\n")
    said = bench.python(GRAPH, path)
    assert isinstance(said, dict)
    assert said["records"] == count
    return {"graph": said["all"], "graph, reading": said["read"]}


def _lines_of(count: int) -> list[str]:
    """Thirteen lines for each step, as people write them."""
    lines = ["type: pipeline", "settings:", "  default_compute: local", "jobs:"]
    for number in range(count):
        lines += [
            f"  step_{number}:",
            "    type: command",
            f"    display_name: step {number}",
            "    environment: azureml:any@latest",
            "    command: >-",
            "      python work.py --lines ${{inputs.lines}}",
            "      --out ${{outputs.lines}}",
            "    inputs:",
            f"      rounds: {number}",
            f"      lines: ${{{{parent.jobs.step_{number - 1}.outputs.lines}}}}" if number else "      lines: none",
            "    outputs:",
            "      lines:",
            "        type: uri_file",
        ]
    return lines


def again(root: Path) -> dict[str, float]:
    bench = Bench(root)
    copy = root / "example"
    shutil.copytree(EXAMPLE, copy, ignore=shutil.ignore_patterns("data", "__pycache__"))
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    bench.environment["PATH"] = path
    subprocess.run([sys.executable, copy / "make_data.py"], stdout=subprocess.DEVNULL, check=True)
    first = bench.submit(copy / "pipeline.yml")
    return {"again": bench.submit(copy / "pipeline.yml"), "again, the first time": first}


def inputs(root: Path, count: int = FILES) -> dict[str, float]:
    bench = Bench(root)
    data = root / "data"
    for number in range(count):
        path = data / f"{number // 1000:03}" / f"{number:06}.txt"
        if number % 1000 == 0:
            path.parent.mkdir(parents=True)
        path.write_bytes(b"%d" % number)
    step = _step("find ${{inputs.files}}/ -type f | wc -l > ${{outputs.o}}")
    step["inputs"] = {"files": {"type": "uri_folder", "path": str(data)}}
    job = bench.yaml({"type": "pipeline", "jobs": {"count": step}})
    first, second = bench.submit(job), bench.submit(job)
    said = bench.python(LOOK, data)
    assert isinstance(said, list)
    assert said[0] == count
    return {"inputs": second, "look": said[1], "inputs, the first time": first}


def cluster(root: Path) -> dict[str, float]:
    bench = Bench(root)
    with ray_head() as environment:
        home = root / "home"
        home.mkdir()
        (home / "config.toml").write_text(f'[compute.bench]\naddress = "{environment["RAY_ADDRESS"]}"\n')
        seconds = bench.submit(bench.yaml(lineage_of(10, "bench")), environment)
    lineages = [path.read_text().split() for path in (home / "datastores").rglob("o")]
    # A command on a Ray is no descendant of its driver, which this program has started.
    if len(lineages) != 10 or any("runner" in programs for programs in lineages):
        raise SystemExit("the steps did not run on the cluster")
    return {"cluster": seconds}


CASES: dict[str, Callable[..., dict[str, float]]] = {
    "chain": chain,
    "wide": wide,
    "cluster": cluster,
    "graph": graph,
    "again": again,
    "inputs": inputs,
}
QUICK = {"chain": 3, "wide": 3, "graph": 100, "inputs": 1000}
"""How many steps or files in the quick mode."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one round, with few steps and files")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", nargs="+", choices=CASES)
    parser.add_argument("--root", type=Path, default=Path("/tmp/runner-bench"))
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    work = args.root / "pipeline"
    seconds: dict[str, list[float]] = {}
    for name in args.only or (QUICK if args.quick else CASES):
        count = [QUICK[name]] if args.quick and name in QUICK else []
        for _ in range(1 if args.quick else args.rounds):
            for what, value in CASES[name](work, *count).items():
                seconds.setdefault(what, []).append(value)
    print(f"{'seconds':28} median (min - max)        aim")
    for name, values in seconds.items():
        aim = f"{LIMITS[name]:g}" if name in LIMITS else ""
        print(f"  {name:26} {statistics.median(values):6.2f} ({min(values):.2f} - {max(values):.2f}){aim:>12}")
    if args.json:
        args.json.write_text(json.dumps(seconds, indent=1) + "\n")
    shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    main()
