"""What becomes of the items when processes are killed: this runner, Ray Data, Daft and a multiprocessing pool.

    python -m benchmarks.bench_faults [--quick] [--rows 8000] [--only NAME ...] [--limit 150] [--json FILE]

Every contender scores the same rows in a fresh process, two workers, mini-batches of 20 rows that take 20 ms, and meets
the same scripted deaths: none; a worker is killed once at a given row; a row kills its process each time; the main
process is killed in the middle and the program started again (`runner resume` for this one). Afterwards every row is
looked for in the output: lost, doubled, set aside by name; the notes of the calls tell what ran again.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.ray_head import ray_head

ROWS_EACH, PACE_S = 20, 0.02
FAULTS = {
    "none": "nothing happens",
    "once": "a worker is killed at a row, once",
    "always": "a row kills its process each time",
    "driver": "the main process is killed and started again",
}
ENTRY = """\
import os, sys
sys.path.insert(0, os.environ["BENCH_ROOT"])
from benchmarks.contenders.faulty import score

def run(mini_batch):
    return score(mini_batch["id"])
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
retry_settings: {{max_retries: 2, timeout: 60}}
environment_variables: {{{variables}}}
runner: {{mini_batch_format: numpy, keep_columns: [id], output_format: parquet, bisect: true}}
task:
  type: run_function
  code: {code}
  entry_script: score.py
  environment: azureml:any@latest
  append_row_to: ${{{{outputs.scores}}}}
"""


@dataclass(frozen=True)
class Outcome:
    """What one contender made of one fault."""

    contender: str
    fault: str
    finished: bool
    seconds: float
    lost: int
    doubled: int
    set_aside: int
    again: int
    """Rows that `run` was given more than once, each time counted."""


class Case:
    """One contender, one fault, a folder."""

    def __init__(self, name: str, fault: str, root: Path, data: Path, rows: int, environment: dict[str, str]) -> None:
        self.name, self.fault, self.data, self.rows = name, fault, data, rows
        self.work, self.out, self.notes = root / "work", root / "work" / "out", root / "work" / "notes"
        shutil.rmtree(self.work, ignore_errors=True)
        self.notes.mkdir(parents=True)
        checkout = str(Path(__file__).parents[1])
        self.told = {
            "NOTES": str(self.notes),
            "PACE": str(PACE_S),
            "FAULT": fault if fault in ("once", "always") else "none",
            "VICTIM": str(rows // 3),
            "BENCH_ROOT": checkout,
        }
        path = os.pathsep.join(filter(None, [checkout, os.environ.get("PYTHONPATH")]))
        own = {"RUNNER_HOME": str(self.work / "home"), "NO_COLOR": "1", "PYTHONPATH": path}
        self.environment = {**os.environ, **environment, **self.told, **own}

    @property
    def is_runner(self) -> bool:
        return self.name.startswith("runner")

    def command(self) -> list[str]:
        """The first start."""
        if not self.is_runner:
            module = f"benchmarks.contenders.faulty_{self.name.replace('-', '_')}"
            return [sys.executable, "-W", "ignore", "-m", module, str(self.data), str(self.out), str(ROWS_EACH)]
        code = self.work / "code"
        code.mkdir()
        (code / "score.py").write_text(ENTRY)
        variables = ", ".join(f'{key}: "{value}"' for key, value in self.told.items())
        compute = "compute: local" if self.name == "runner-local" else ""
        job = self.work / "job.yml"
        told = {"compute": compute, "data": self.data, "out": self.out, "size": ROWS_EACH}
        job.write_text(JOB.format(code=code, variables=variables, **told))
        return [*self.verb("submit"), str(job), "--name", "bench"]

    def verb(self, verb: str) -> list[str]:
        return [sys.executable, "-P", "-m", "runner.cli.main", verb]

    def run(self, limit_s: float) -> Outcome:
        """Everything from the start to an end, or to the limit."""
        began = time.monotonic()
        process = self.start(self.command())
        if self.fault == "driver":
            self.kill_in_the_middle(process, began + limit_s)
            process = self.start([*self.verb("resume"), "bench"] if self.is_runner else self.command())
        try:
            code = process.wait(max(began + limit_s - time.monotonic(), 1))
        except subprocess.TimeoutExpired:
            code = -1
        seconds = time.monotonic() - began
        self.end(process)
        return self.count(code == 0, seconds)

    def start(self, command: list[str]) -> subprocess.Popen[bytes]:
        with open(self.work / "talk", "ab") as talk:
            return subprocess.Popen(
                command,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=talk,
                stderr=talk,
                start_new_session=True,
            )

    def kill_in_the_middle(self, process: subprocess.Popen[bytes], until: float) -> None:
        """Kill the process that drives the work once half of it has begun."""
        half = self.rows // ROWS_EACH // 2
        while len(os.listdir(self.notes)) < half and process.poll() is None and time.monotonic() < until:
            time.sleep(0.02)
        if process.poll() is None:
            os.kill(self.driver_pid() if self.is_runner else process.pid, signal.SIGKILL)
            process.wait()

    def driver_pid(self) -> int:
        """The driver's process, which is not the command that watches it."""
        home = f"RUNNER_HOME={self.work / 'home'}".encode()
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                words = (entry / "cmdline").read_bytes().split(b"\0")
                if b"runner.compose" in words and b"drive" in words and home in (entry / "environ").read_bytes():
                    return int(entry.name)
            except OSError:
                continue
        raise SystemExit("the driver is not to be found")

    def end(self, process: subprocess.Popen[bytes]) -> None:
        """End what still runs, after it had its time."""
        if process.poll() is None and self.is_runner:
            subprocess.run([*self.verb("cancel"), "bench"], env=self.environment, capture_output=True, check=False)
            time.sleep(1)
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        process.wait()

    def count(self, finished: bool, seconds: float) -> Outcome:
        """Look for every row."""
        found: Counter[int] = Counter()
        for path in self.out.rglob("*.parquet"):
            try:
                found.update(pq.read_table(path, columns=["id"])["id"].to_pylist())
            except (OSError, pa.ArrowInvalid):
                continue  # a torn file: what is in it is lost
        aside = self.set_aside()
        calls: Counter[int] = Counter()
        for name in os.listdir(self.notes):
            first, count, _ = name.split(".", 2)
            calls.update(range(int(first), int(first) + int(count)))
        return Outcome(
            contender=self.name,
            fault=self.fault,
            finished=finished,
            seconds=round(seconds, 2),
            lost=sum(not found[row] and row not in aside for row in range(self.rows)),
            doubled=sum(max(count - 1, 0) for count in found.values()),
            set_aside=len(aside),
            again=sum(max(count - 1, 0) for count in calls.values()),
        )

    def set_aside(self) -> set[int]:
        """The rows that a job has named as failed."""
        if not self.is_runner:
            return set()
        listed = subprocess.run(
            [*self.verb("failures"), "bench", "--output", "json"], env=self.environment, capture_output=True, text=True
        )
        rows: list[dict[str, Any]] = json.loads(listed.stdout or "[]")
        # One input file: a row's number in it is the row.
        return {row for one in rows for row in range(one["row"], one["row"] + one["item_count"])}


NAMES = {"runner-local": False, "runner-ray": True, "ray-data": True, "daft": False, "pool": False}
"""The contenders, and which of them need a Ray that was started before."""


def show(outcomes: list[Outcome], rows: int) -> None:
    """A table for each fault."""
    for fault, what in FAULTS.items():
        mine = [one for one in outcomes if one.fault == fault]
        if not mine:
            continue
        print(f"\n{what} ({rows} rows)")
        print(
            f"  {'':14} {'finished':>9} {'seconds':>8} {'lost':>7} {'doubled':>8} {'set aside':>10} {'ran again':>10}"
        )
        for one in mine:
            finished = "yes" if one.finished else "no"
            print(
                f"  {one.contender:14} {finished:>9} {one.seconds:8.1f} {one.lost:7} {one.doubled:8} "
                f"{one.set_aside:10} {one.again:10}",
                flush=True,
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer rows, this runner and the pool, two faults")
    parser.add_argument("--rows", type=int, default=8000)
    parser.add_argument("--limit", type=float, default=150.0, help="seconds after which a contender counts as hung")
    parser.add_argument("--only", nargs="*", default=list(NAMES), metavar="NAME")
    parser.add_argument("--faults", nargs="*", default=list(FAULTS), metavar="FAULT")
    parser.add_argument("--root", type=Path, default=Path("/tmp/runner-bench/faults"))
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    if args.quick:
        args.rows, args.only, args.faults = 1000, ["runner-local"], ["always", "driver"]
    data = args.root / "data"
    shutil.rmtree(data, ignore_errors=True)
    data.mkdir(parents=True)
    pq.write_table(pa.table({"id": range(args.rows)}), data / "table.parquet", row_group_size=max(args.rows // 8, 1))
    outcomes = []
    for fault in args.faults:
        for name in args.only:
            with ExitStack() as stack:
                environment = stack.enter_context(ray_head()) if NAMES[name] else {}
                outcomes.append(Case(name, fault, args.root, data, args.rows, environment).run(args.limit))
        show([one for one in outcomes if one.fault == fault], args.rows)
    if args.json:
        args.json.write_text(
            json.dumps({"rows": args.rows, "outcomes": [asdict(o) for o in outcomes]}, indent=1) + "\n"
        )


if __name__ == "__main__":
    main()
