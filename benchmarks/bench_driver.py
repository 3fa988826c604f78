"""What does a driver cost: per lease, for very many instances, and when it replays a long journal?

`lease` drives the core, the committer and a journal on disk with reports as instances send them, one at a time and
many that wait together; its time is CPU, with fsync's own and the making of reports.
`fleet` lets the core alone drive 10⁹ mini-batches on 10,000 instances by virtual time: leases, reports and two
heartbeats a second of each. `replay` reads a journal.

    python -m benchmarks.bench_driver [--quick] [--folder DIR]

A table goes to stderr, JSON to stdout. Each contender runs in a fresh process.
"""

from __future__ import annotations

import argparse
import heapq
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from runner.entity.lease import (
    Heartbeat,
    InFlight,
    InstanceEvent,
    InstanceReady,
    Lease,
    LeaseCut,
    LeaseProgress,
    Part,
    Report,
    Tally,
)
from runner.entity.parallel import MiniBatchSize, OutputSpec, ParallelSpec, SplitInput
from runner.entity.plan import Plan, PlanFile, Unit
from runner.schedule.actions import Action, Lend, Retract
from runner.schedule.book import Ledgerbook, Said, read_book
from runner.schedule.core import Core
from runner.schedule.journal import Begun, Committed, Opened, encode
from runner.schedule.leases import LeaseTable
from runner.schedule.opening import open_journal
from runner.store.home import Home

ITEMS = 100
RECORD_BYTES = 72
SHA = "0" * 64
TICK_S = 0.05
"""Of virtual time between two looks at the events that wait."""
BEAT_S = 0.5


def make_plan(mini_batches: int, per_unit: int) -> Plan:
    units = tuple(
        Unit(
            file=0,
            first_mini_batch=first,
            mini_batch_count=min(per_unit, mini_batches - first),
            first_row=first * ITEMS,
            row_count=min(per_unit, mini_batches - first) * ITEMS,
        )
        for first in range(0, mini_batches, per_unit)
    )
    rows = mini_batches * ITEMS
    file = PlanFile(path="/in", size_bytes=1, mtime_ns=1, row_count=rows, rows_per_mini_batch=ITEMS)
    return Plan(
        kind="table",
        inputs=("in",),
        files=(file,),
        units=units,
        mini_batch_count=mini_batches,
        item_count=rows,
        fingerprint="f",
    )


def make_spec() -> ParallelSpec:
    return ParallelSpec(
        name="job",
        entry_script="score.py",
        code=None,
        inputs=(SplitInput(name="in", kind="table", path="/in"),),
        mini_batch_size=MiniBatchSize(kind="rows", value=ITEMS),
        output=OutputSpec(name="o", target="/o", is_folder=True, format="parquet"),
        error_threshold=10,
    )


def tally_of(lease: Lease) -> Tally:
    count = lease.end - lease.first
    return Tally(mini_batch_count=count, item_count=count * ITEMS, row_count=count * ITEMS)


def report_of(lease: Lease, instance: int, records: bytes = b"") -> Report:
    name = f"{lease.first:012d}-{lease.end:012d}.{lease.epoch}.{lease.lending}.{instance}.part"
    part = Part(file=name, size_bytes=123_456, sha256=SHA, row_count=(lease.end - lease.first) * ITEMS, schema="s")
    return Report(
        instance=instance,
        first=lease.first,
        end=lease.end,
        epoch=lease.epoch,
        lending=lease.lending,
        part=part,
        tally=tally_of(lease),
        records=records,
    )


# ---- one lease ----------------------------------------------------------------------------------------------


def measure_lease(folder: Path, leases: int, together: int) -> float:
    """Microseconds of CPU per lease, `together` reports waiting at a time."""
    per_lease = 4
    plan = make_plan(leases * per_lease, 1000)
    job = Home(folder).job("job")
    job.root.mkdir(parents=True)
    committer = open_journal(job, "job", plan, Said(), 0)
    table = LeaseTable(total=plan.mini_batch_count, epoch=1, unit_starts=plan.unit_starts)
    core = Core(make_spec(), plan, table, committer.book)
    records = b"\0" * RECORD_BYTES * 100
    waiting: list[tuple[int, Lease]] = []

    def do(actions: list[Action]) -> None:
        waiting.extend((action.instance, action.lease) for action in actions if isinstance(action, Lend))

    now = 0.0
    do(core.begin([2] * together, now))
    for instance in range(together):
        do(core.on(InstanceReady(instance=instance, host="h", pid=1), now))
    done = 0
    do(core.tick(now))
    began = time.thread_time()
    while not table.is_finished:
        batch, waiting[:] = waiting[:together], waiting[together:]
        reports = [report_of(lease, instance, records) for instance, lease in batch]
        now += 1.0
        for report in reports:
            do(core.on(report, now))
        committer.commit(core.take_commit())
        do(core.on_committed())
        do(core.tick(now))
        done += len(reports)
    used = time.thread_time() - began
    committer.close()
    return used / done * 1e6


# ---- a fleet ------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Busy:
    """What a simulated instance is at: leases in order, and when the first one is done."""

    leases: list[Lease]
    attempts: int = 0


def measure_fleet(instances: int, rate: float, mini_batches: int) -> dict[str, float]:
    """CPU seconds of the core per simulated second, while `instances` work at `rate` mini-batches a second each."""
    plan = make_plan(mini_batches, 100_000)
    table = LeaseTable(total=mini_batches, epoch=1, unit_starts=plan.unit_starts)
    book = Ledgerbook()
    core = Core(make_spec(), plan, table, book)
    fleet = [Busy([]) for _ in range(instances)]
    due: list[tuple[float, int, int]] = []
    """(time, 0 for a lease's end and 1 for a heartbeat, instance)"""
    answers: list[LeaseCut] = []
    used = now = 0.0
    leases = 0

    def do(actions: list[Action], now: float) -> None:
        for action in actions:
            if isinstance(action, Lend):
                busy = fleet[action.instance]
                busy.leases.append(action.lease)
                if len(busy.leases) == 1:
                    begin_next(action.instance, now)
            elif isinstance(action, Retract):
                answers.append(cut(action, fleet[action.instance]))

    def begin_next(instance: int, now: float) -> None:
        lease = fleet[instance].leases[0]
        heapq.heappush(due, (now + (lease.end - lease.first) / rate, 0, instance))

    core.begin([16] * instances, now)
    for instance in range(instances):
        core.on(InstanceReady(instance=instance, host="h", pid=1), now)
        heapq.heappush(due, (BEAT_S * instance / instances, 1, instance))
    do(core.tick(now), now)
    while not table.is_finished:
        now += TICK_S
        events: list[Report | Heartbeat | LeaseCut] = answers
        answers = []
        while due and due[0][0] <= now:
            at, kind, instance = heapq.heappop(due)
            busy = fleet[instance]
            if kind == 0:
                lease = busy.leases.pop(0)
                busy.attempts += lease.end - lease.first
                events.append(report_of(lease, instance))
                leases += 1
                if busy.leases:
                    begin_next(instance, at)
            else:
                events.append(beat_of(instance, busy))
                heapq.heappush(due, (at + BEAT_S, 1, instance))
        began = time.thread_time()
        actions = turn(core, book, events, now)
        used += time.thread_time() - began
        do(actions, now)
    return {
        "cores": used / now,
        "simulated_s": now,
        "leases": leases,
        "us_per_lease": used / leases * 1e6,
        "leases_per_s": leases / now,
    }


def turn(core: Core, book: Ledgerbook, events: Sequence[InstanceEvent], now: float) -> list[Action]:
    """What the shell does with the events that wait, but for the disk."""
    actions: list[Action] = []
    for event in events:
        actions += core.on(event, now)
    reports = core.take_commit()
    for report in reports:
        book.enter(report.first, report.end, report.tally, -1)
    if reports:
        actions += core.on_committed()
    return actions + core.tick(now)


def cut(asked: Retract, busy: Busy) -> LeaseCut:
    """Give back the tail of a lease that waits; one at work is kept."""
    limit = asked.end
    for place, lease in enumerate(busy.leases):
        if place and (lease.first, lease.end) == (asked.first, asked.end):
            limit = asked.limit
            busy.leases[place] = Lease(first=lease.first, end=limit, epoch=lease.epoch, lending=lease.lending)
    return LeaseCut(instance=asked.instance, first=asked.first, end=asked.end, epoch=1, limit=limit)


IN_FLIGHT = tuple(InFlight(worker=f"process{n:03d}", phase="run", mini_batch=n, running_s=0.1) for n in range(16))


def beat_of(instance: int, busy: Busy) -> Heartbeat:
    progress = tuple(
        LeaseProgress(first=one.first, end=one.end, final_count=0, unstarted_count=(one.end - one.first) * (place > 0))
        for place, one in enumerate(busy.leases)
    )
    live = Tally(mini_batch_count=busy.attempts % 1000, item_count=busy.attempts % 1000 * ITEMS)
    return Heartbeat(
        instance=instance,
        live=live,
        attempt_count=busy.attempts,
        worker_count=16,
        in_flight=IN_FLIGHT,
        leases=progress,
    )


# ---- replay -------------------------------------------------------------------------------------------------


def write_journal(path: Path, leases: int) -> None:
    with open(path, "wb", buffering=1 << 20) as file:
        file.write(encode(Begun(1, "job", "f")) + encode(Opened(1, 0.0, "h", 1)))
        for number in range(leases):
            first, end = number * 1000, number * 1000 + 1000
            file.write(
                encode(
                    Committed(
                        epoch=1,
                        first=first,
                        end=end,
                        instance=number % 8,
                        part=f"{first:012d}-{end:012d}.1.0.{number % 8}.part",
                        size=1_234_567,
                        sha256=f"{number:064x}",
                        rows=100_000,
                        items=100_000,
                        schema=0,
                        records_end=number * 72_000,
                    )
                )
            )


def measure_replay(path: Path, rounds: int) -> dict[str, float]:
    """Seconds to read a journal and have the lease table know it, and the process's peak memory in MB."""
    figures = []
    for _ in range(rounds):
        began = time.perf_counter()
        said = read_book(path)
        ranges = said.book.ranges()
        table = LeaseTable(total=ranges[-1][1], epoch=said.epoch + 1)
        table.restore(ranges)
        figures.append(time.perf_counter() - began)
        if not table.is_finished:
            raise AssertionError("the journal does not say that everything is committed")
        del said, table
    return {
        "median_s": statistics.median(figures),
        "min_s": min(figures),
        "max_s": max(figures),
        "peak_MB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "journal_MB": path.stat().st_size / 1e6,
    }


# ---- contenders ---------------------------------------------------------------------------------------------


def lease_rounds(folder: Path, quick: bool, together: int) -> dict[str, float]:
    leases, rounds = (500, 3) if quick else (5000, 5)
    figures = [measure_lease(folder / f"round-{n}", leases, together) for n in range(rounds)]
    return {"median_us": statistics.median(figures), "min_us": min(figures), "max_us": max(figures)}


def fleet_rounds(folder: Path, quick: bool) -> dict[str, float]:
    return measure_fleet(1000, 2000.0, 10**7) if quick else measure_fleet(10_000, 2000.0, 10**9)


def replay_rounds(folder: Path, quick: bool) -> dict[str, float]:
    path = folder / "journal"
    if not path.exists():
        # Written by a process of its own, so that its memory is not counted here.
        leases = 20_000 if quick else 1_000_000
        subprocess.run([*SELF, "--write", str(path), "--leases", str(leases)], check=True)
    return {"leases": 20_000 if quick else 1_000_000, **measure_replay(path, 3)}


SELF = [sys.executable, "-m", "benchmarks.bench_driver"]
CONTENDERS: dict[str, Callable[[Path, bool], dict[str, float]]] = {
    "lease, one report a commit": lambda folder, quick: lease_rounds(folder, quick, 1),
    "lease, 16 reports a commit": lambda folder, quick: lease_rounds(folder, quick, 16),
    "fleet": fleet_rounds,
    "replay": replay_rounds,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small counts: a few seconds")
    parser.add_argument("--folder", type=Path, help="where journals are written; by default a temporary folder")
    parser.add_argument("--contender", choices=CONTENDERS, help=argparse.SUPPRESS)
    parser.add_argument("--write", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--leases", type=int, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.write:
        write_journal(asked.write, asked.leases)
        return
    with tempfile.TemporaryDirectory(dir=asked.folder) as folder:
        if asked.contender:
            print(json.dumps(CONTENDERS[asked.contender](Path(folder), asked.quick)))
            return
    results = {}
    for name in CONTENDERS:
        command = [*SELF, "--contender", name, *(["--quick"] if asked.quick else [])]
        command += ["--folder", str(asked.folder)] if asked.folder else []
        answer = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True).stdout.splitlines()[-1]
        results[name] = figures = json.loads(answer)
        print(f"{name:28}", *(f"{key} {value:,.4g}" for key, value in figures.items()), sep="  ", file=sys.stderr)
    machine = {"cores": os.cpu_count(), "machine": platform.machine(), "python": platform.python_version()}
    print(json.dumps({"benchmark": "driver", "quick": asked.quick, "machine": machine, "results": results}))


if __name__ == "__main__":
    main()
