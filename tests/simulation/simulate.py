"""Run jobs by their seeds: `simulate.py --seeds 1000000`, or one of them with its story: `simulate.py --seed 42`."""

from __future__ import annotations

import argparse
import os
import sys
import time
import traceback
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from simulated.job import Job

CHUNK = 500


def failures_of(first: int, end: int) -> list[tuple[int, str]]:
    """The seeds of [first, end) at which something that must be true was not, and what."""
    found = []
    for seed in range(first, end):
        try:
            Job(seed).run()
        except Exception as error:  # noqa: BLE001 - whatever it is, its seed is wanted
            where = traceback.extract_tb(error.__traceback__)[-1]
            found.append((seed, f"{type(error).__name__}: {error} ({Path(where.filename).name}:{where.lineno})"))
    return found


def say(*what: object) -> None:
    sys.stdout.write(" ".join(map(str, what)) + "\n")
    sys.stdout.flush()


def how_to_repeat(seed: int) -> str:
    return f"python tests/simulation/simulate.py --seed {seed}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=2000, help="so many, from --first on")
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--seed", type=int, help="only this one, and tell what happens")
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    asked = parser.parse_args()
    if asked.seed is not None:
        say(Job(asked.seed, is_told=True).run(), "steps")
        return 0
    began, count = time.monotonic(), 0
    starts = range(asked.first, asked.first + asked.seeds, CHUNK)
    ends = [min(start + CHUNK, asked.first + asked.seeds) for start in starts]
    with ProcessPoolExecutor(asked.processes) as pool:
        for end, failures in zip(ends, pool.map(failures_of, starts, ends), strict=True):
            for seed, what in failures:
                count += 1
                say(f"seed {seed}: {what}\n    {how_to_repeat(seed)}")
            say(f"{end - asked.first} seeds, {count} failed, {time.monotonic() - began:.0f} s")
    return 1 if count else 0


if __name__ == "__main__":
    sys.exit(main())
