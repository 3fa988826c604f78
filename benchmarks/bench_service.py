"""How many questions does the service answer, and how late do a thousand watchers hear of a change?

    python -m benchmarks.bench_service [--quick]

`runner serve` in a process of its own over a home with jobs, one of which a hand drives: it beats with new counters
twice a second, as a driver does. Callers are processes of their own too, with many calls in flight each. `GetJob` is
measured from many callers and from one; a call of the health service, which looks at nothing, is the floor that gRPC
sets. The delay of a watch is from before a change is written to the store until a watcher has its bytes.

A table goes to stderr, JSON to stdout.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc

from runner.entity.job import JobState, Progress
from runner.entity.status import JobStatus
from runner.store.home import Home
from runner.store.lock import JobLock
from runner.store.store import Store

DRIVEN = "bench"
JOBS = 20
CALLERS, IN_FLIGHT = 2, 32
WATCHER_PROCESSES = 2
BEAT_S = 0.5
MARK = b"written at "
"""Stands before the time of a change in the message of the job; 19 digits follow."""
GET, WATCH = "/runner.api.v1.JobService/GetJob", "/runner.api.v1.JobService/WatchJob"
HEALTH = "/grpc.health.v1.Health/Check"
NAME = b"\n" + bytes([len(f"jobs/{DRIVEN}")]) + f"jobs/{DRIVEN}".encode()
"""A request with `name = 1`, encoded."""


class Hand:
    """Drives one job as far as the store can tell: holds its lock, and beats."""

    def __init__(self, home: Home) -> None:
        self._store = Store(home)
        for number in range(JOBS):
            self._add(f"other-{number}")
        self._add(DRIVEN)
        folder = home.job(DRIVEN)
        folder.root.mkdir()
        lock = JobLock.take(folder.lock)
        assert lock is not None
        self._lock = lock
        for status in (JobStatus.STARTING, JobStatus.PREPARING, JobStatus.RUNNING):
            self._store.move(DRIVEN, status, host="here", driver_pid=os.getpid())
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._beat)
        self._thread.start()

    def _add(self, name: str) -> None:
        document: dict[str, object] = {
            "type": "parallel",
            "inputs": {"beds": {"type": "mltable", "path": "/data/beds", "mode": "direct"}},
            "outputs": {"scores": {"type": "uri_folder", "path": "/data/scores"}},
            "task": {"type": "run_function", "code": "/code", "entry_script": "score.py"},
        }
        job = JobState(
            name=name, type="parallel", status=JobStatus.NOT_STARTED, create_time=time.time(), document=document
        )
        self._store.create(job)

    def _beat(self) -> None:
        done = 0
        while not self._stop.wait(BEAT_S):
            done += 17
            progress = Progress(item_count=10**6, done_item_count=done, mini_batch_count=10**4)
            self._store.beat(DRIVEN, progress, f"{MARK.decode()}{time.monotonic_ns():019}")

    def close(self) -> None:
        self._stop.set()
        self._thread.join()
        self._store.move(DRIVEN, JobStatus.FAILED)
        self._lock.release()
        self._store.close()


@contextmanager
def service(home: Home) -> Iterator[str]:
    """`runner serve`; its address."""
    command = [str(Path(sys.executable).with_name("runner")), "serve"]
    with subprocess.Popen(
        command, env={**os.environ, "RUNNER_HOME": str(home.root)}, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        assert process.stdout is not None
        yield process.stdout.readline().decode().split()[-1]
        process.terminate()


async def call(address: str, token: str, method: str, in_flight: int, seconds: float) -> dict[str, Any]:
    """Ask the same again and again; how many answers came in, and how long each took."""
    metadata = (("authorization", f"Bearer {token}"),)
    request = b"" if method == HEALTH else NAME
    took: list[int] = []

    async def one(channel: grpc.aio.Channel) -> None:
        ask: Any = channel.unary_unary(method)
        while (began := time.monotonic_ns()) < end:
            await ask(request, metadata=metadata)
            took.append(time.monotonic_ns() - began)

    async with grpc.aio.insecure_channel(address, options=(("grpc.enable_http_proxy", 0),)) as channel:
        first: Any = channel.unary_unary(method)
        await first(request, metadata=metadata)
        began = time.monotonic_ns()
        end = began + int(seconds * 1e9)
        await asyncio.gather(*(one(channel) for _ in range(in_flight)))
        elapsed_s = (time.monotonic_ns() - began) / 1e9
    return {"per_s": len(took) / elapsed_s, "ms": quantiles([one / 1e6 for one in took])}


async def watch(address: str, token: str, count: int, seconds: float) -> dict[str, Any]:
    """Watch one job many times at once; how late each change was heard of."""
    metadata = (("authorization", f"Bearer {token}"),)
    late: list[float] = []

    async def one(channel: grpc.aio.Channel) -> None:
        stream: Any = channel.unary_stream(WATCH)
        async for reply in stream(NAME, metadata=metadata):
            now = time.monotonic_ns()
            at = reply.find(MARK)
            if at >= 0 and now > begin:
                late.append((now - int(reply[at + len(MARK) : at + len(MARK) + 19])) / 1e6)

    options = (("grpc.enable_http_proxy", 0), ("grpc.use_local_subchannel_pool", 1))
    channels = [grpc.aio.insecure_channel(address, options=options) for _ in range(max(count // 100, 1))]
    begin = time.monotonic_ns() + int(60e9)
    watching = [asyncio.create_task(one(channels[number % len(channels)])) for number in range(count)]
    await asyncio.sleep(1.0 + count / 500)  # all are connected, and have had their snapshot
    begin = time.monotonic_ns() + int(BEAT_S * 1e9)
    await asyncio.sleep(seconds)
    broken = [task.exception() for task in watching if task.done()]
    for task in watching:
        task.cancel()
    await asyncio.gather(*watching, return_exceptions=True)
    if broken:
        raise SystemExit(f"{len(broken)} of {count} watches ended: {broken[0]}")
    return {"late": late}


def quantiles(values: list[float]) -> dict[str, float]:
    """Median, p99 and the worst."""
    ordered = sorted(values)
    at = min(len(ordered) - 1, int(len(ordered) * 0.99))
    return {"p50": statistics.median(ordered), "p99": ordered[at], "max": ordered[-1]}


def in_processes(count: int, *arguments: object) -> list[dict[str, Any]]:
    """What so many fresh processes of this module say, all at once."""
    command = [sys.executable, "-m", "benchmarks.bench_service", *map(str, arguments)]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(count)]
    said = [process.communicate()[0] for process in running]
    if any(process.returncode for process in running):
        raise SystemExit("a caller failed")
    return [json.loads(one) for one in said]


def calls_per_s(
    address: str, token: str, method: str, processes: int, in_flight: int, seconds: float
) -> dict[str, Any]:
    said = in_processes(processes, "--call", address, token, method, in_flight, seconds)
    return {"per_s": sum(one["per_s"] for one in said), "ms": max((one["ms"] for one in said), key=_p99)}


def _p99(told: dict[str, float]) -> float:
    return told["p99"]


def measure(seconds: float, watchers: int) -> dict[str, Any]:
    """All figures, over one service."""
    with tempfile.TemporaryDirectory(prefix="runner-bench-") as folder:
        home = Home(folder)
        hand, token = Hand(home), home.token()
        try:
            with service(home) as address:
                many = calls_per_s(address, token, GET, CALLERS, IN_FLIGHT, seconds)
                one = calls_per_s(address, token, GET, 1, 1, seconds)
                floor = calls_per_s(address, token, HEALTH, CALLERS, IN_FLIGHT, seconds)
                said = in_processes(
                    WATCHER_PROCESSES, "--watch", address, token, watchers // WATCHER_PROCESSES, 2 * seconds
                )
        finally:
            hand.close()
    late = [delay for one in said for delay in one["late"]]
    return {
        "get_job": many,
        "get_job_one_caller": one,
        "health": floor,
        "watch": {"watchers": watchers, "count": len(late), "ms": quantiles(late)},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a look only: half a second each, 100 watchers")
    parser.add_argument("--seconds", type=float, default=5.0, help="how long each figure is measured")
    parser.add_argument("--watchers", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--call", nargs=5, help=argparse.SUPPRESS)
    parser.add_argument("--watch", nargs=4, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.call:
        address, token, method, in_flight, seconds = args.call
        print(json.dumps(asyncio.run(call(address, token, method, int(in_flight), float(seconds)))))
        return
    if args.watch:
        address, token, count, seconds = args.watch
        print(json.dumps(asyncio.run(watch(address, token, int(count), float(seconds)))))
        return
    seconds, watchers, rounds = (0.5, 100, 1) if args.quick else (args.seconds, args.watchers, args.rounds)
    found = [measure(seconds, watchers) for _ in range(rounds)]
    table(found)
    machine = {"machine": platform.machine(), "cores": os.cpu_count(), "python": platform.python_version()}
    print(json.dumps({"machine": machine, "seconds": seconds, "rounds": found}, indent=1))


def table(found: list[dict[str, Any]]) -> None:
    """Medians over the rounds, with the spread."""

    def spread(values: list[float]) -> str:
        return f"{statistics.median(values):10,.1f} ({min(values):,.1f} - {max(values):,.1f})"

    rows = {
        f"GetJob a second, {CALLERS * IN_FLIGHT} callers": [one["get_job"]["per_s"] for one in found],
        "GetJob a second, one caller": [one["get_job_one_caller"]["per_s"] for one in found],
        "health checks a second, as many callers": [one["health"]["per_s"] for one in found],
        "watch: ms to hear of a change, median": [one["watch"]["ms"]["p50"] for one in found],
        "watch: ms to hear of a change, p99": [one["watch"]["ms"]["p99"] for one in found],
    }
    print(f"{found[0]['watch']['watchers']} watchers; median (min - max)", file=sys.stderr)
    for name, values in rows.items():
        print(f"  {name:42} {spread(values)}", file=sys.stderr)


if __name__ == "__main__":
    main()
