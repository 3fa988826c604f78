"""Lanes from outside: start them, give them faults, and say what is wrong with how they ended."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import repeat
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import Any, TypeVar

from faults.library import Fault, Harm, Point, points_of

KILLED, HUNG = -9, -1000
T = TypeVar("T")
FOLDER = Path(__file__).parents[1]


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a job went that met a fault."""

    fault: Fault
    hit: bool
    ends: list[dict[str, Any]]
    statuses: list[str]
    seen: dict[str, Any]
    talk: str
    journal: str
    """As it was before it was harmed; empty when it was not."""
    is_kept: bool
    """Whether the harmed journal is as it was left."""

    def wrong(self, calm: dict[str, Any]) -> str:
        """What is not as in a calm run; empty when all is."""
        if not self.hit:
            return ""  # another run, other points: what came of it was compared all the same
        if "raised" in self.seen:
            return self._tell(f"cannot be looked at: {self.seen['raised'].splitlines()[-1]}")
        if any(end["exit"] == HUNG for end in self.ends):
            return self._tell("hung")
        if self.fault.action in ("kill", "torn") and self.ends[0]["exit"] != KILLED:
            return self._tell("was not killed")
        raised = [end["raised"].splitlines()[-1] for end in self.ends if "raised" in end]
        if self.fault.action != "error" and raised:
            return self._tell("raised in the driver")
        if any(not re.search(r"StorageFailed|OSError", line) for line in raised):
            return self._tell("raised something else than what the disk said")
        if "DEFECT" in " ".join(self.statuses):
            return self._tell("calls it a defect")
        gave = dict(self.seen["gave"])
        if self.fault.action == "error" and ".failures" in self.fault.point.path:
            # That data set is given up then, as a warning says: `runner failures` lists the same.
            gave["beside"] = calm["beside"] if set(gave["beside"]) <= set(calm["beside"]) else gave["beside"]
        different = {key: (value, calm[key]) for key, value in gave.items() if value != calm[key]}
        return self._tell(f"differs: {different}") if different else ""

    def _tell(self, what: str) -> str:
        ends = [end | {"raised": end["raised"][-300:]} if "raised" in end else end for end in self.ends]
        return f"{self.fault}: {what}\n  {self.statuses} {ends}\n{self.talk[-600:]}"


class Lane:
    """One lane process."""

    def __init__(self, folder: Path, kind: str, library: Path) -> None:
        path = os.pathsep.join(filter(None, [str(FOLDER), os.environ.get("PYTHONPATH")]))
        environment = os.environ | {"LD_PRELOAD": str(library), "PYTHONPATH": path}
        self.kind = kind
        self._process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", "faults.lane", kind, str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        # Read at once, so that no lane waits for another one's answers to be wanted.
        self._lines: SimpleQueue[str] = SimpleQueue()
        self._reader = Thread(target=self._read, name=f"lane-{kind}", daemon=True)
        self._reader.start()
        told = self._hear()
        assert told["end"] == {"exit": 0, "gave": 0} and "gave" in told["seen"], told
        self.calm: dict[str, Any] = told["seen"]["gave"]
        self.points = list(points_of(told["operations"], str(folder / "live")))
        """Every operation of an undisturbed run."""

    def ask(self, faults: Iterable[Fault], harms: Iterable[Harm | None] = repeat(None)) -> None:
        """Have the job driven once for each fault; the answers come from `hear`."""
        assert self._process.stdin is not None
        for fault, harm in zip(faults, harms, strict=False):
            told = asdict(fault) | {"harm": None if harm is None else asdict(harm) | {"left": ""}}
            told["point"] = list(told["point"].values())
            self._process.stdin.write(json.dumps(told) + "\n")
        self._process.stdin.flush()

    def hear(self, faults: Iterable[Fault]) -> Iterator[Outcome]:
        """What came of the faults that were asked for, in that order."""
        for fault in faults:
            yield Outcome(fault=fault, **self._hear())

    def close(self) -> None:
        """Let it end after the fault at hand."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()
        self._reader.join()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line)
        self._process.stdout.close()
        self._lines.put("")

    def _hear(self) -> dict[str, Any]:
        line = self._lines.get()
        assert line, f"the lane has ended with {self._process.wait()}"
        told: dict[str, Any] = json.loads(line)
        return told


@contextmanager
def lanes(folder: Path, library: Path, kinds: Sequence[str]) -> Iterator[list[Lane]]:
    """Lanes side by side, each in a folder of its own."""
    made = [Lane(folder / f"{number}-{kind}", kind, library) for number, kind in enumerate(kinds)]
    try:
        yield made
    finally:
        for lane in made:
            lane.close()


def spread(points: Sequence[Point], count: int) -> list[Point]:
    """So many of the points, evenly over the run and over the kinds of operations.

    First come files that the output rests on; a quarter is left to logs and to the store.
    """
    main = [point for point in points if not is_aside(point)]
    aside = [point for point in points if is_aside(point)]
    return every(distinct(main), count - count // 4) + every(distinct(aside), count // 4)


def distinct(points: Sequence[Point]) -> list[Point]:
    """The first point of each operation on each kind of path, in the order of the run, then the later ones."""
    return [point for point in points if point.nth == 1] + [point for point in points if point.nth > 1]


def every(things: Sequence[T], count: int) -> list[T]:
    """So many, evenly."""
    count = min(count, len(things))
    return [things[number * len(things) // count] for number in range(count)]


def is_aside(point: Point) -> bool:
    """Whether the output does not rest on it: logs, and the database that readers see."""
    return "/logs/" in point.path or "runner.db" in point.path
