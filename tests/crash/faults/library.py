"""The library that is loaded into a process by LD_PRELOAD, and the words in which it is told what to do."""

from __future__ import annotations

import re
import subprocess
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

SOURCE = Path(__file__).with_name("faults.c")
RANDOM_NAME = re.compile(r"(?<![0-9a-z])[0-9a-f]{12}(?![0-9a-z])|\d+")


def build(folder: Path) -> Path:
    """Compile the library into `folder`; where it is."""
    library = folder / "faults.so"
    command = ["cc", "-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC"]
    subprocess.run([*command, "-o", str(library), str(SOURCE), "-ldl"], check=True)
    return library


@dataclass(frozen=True, slots=True)
class Point:
    """The `nth` operation `op` on a path like `path`. Numbers differ from run to run, so patterns stand for them."""

    op: str
    path: str
    nth: int

    def __str__(self) -> str:
        return f"{self.op} {self.path} #{self.nth}"


@dataclass(frozen=True, slots=True)
class Fault:
    """What happens at a point: `kill`, `torn`, `short`, or `error` with its number, once or from then on."""

    action: str
    point: Point
    number: int = 0
    is_lasting: bool = False

    def __str__(self) -> str:
        named = f"{self.action} {self.number}" if self.number else self.action
        return f"{named}{' and on' if self.is_lasting else ''} at {self.point}"


@dataclass(slots=True)
class Harm:
    """What is done to a file after a crash: bytes cut from its end, or one bit turned."""

    cut: int = 0
    flip_byte: int = -1
    flip_bit: int = 0
    left: bytes = b""

    def do(self, path: Path) -> bytes:
        """Harm the file; what was in it before."""
        before = path.read_bytes()
        harmed = bytearray(before)
        if self.flip_byte >= 0:
            harmed[self.flip_byte] ^= 1 << self.flip_bit
        if self.cut:
            del harmed[-self.cut :]
        self.left = bytes(harmed)
        path.write_bytes(self.left)
        return before

    def is_as_left(self, path: Path) -> bool:
        """Whether nobody has written to the file since."""
        return path.read_bytes() == self.left


def environment(roots: Iterable[Path], log: Path, fault: Fault | None = None) -> dict[str, str]:
    """What the library reads; without a fault it only writes down the operations."""
    told = {"FAULTS_ROOTS": ":".join(map(str, roots)), "FAULTS_LOG": str(log)}
    if fault is None:
        return told
    return told | {
        "FAULTS_ACTION": fault.action,
        "FAULTS_OP": fault.point.op,
        "FAULTS_PATH": fault.point.path,
        "FAULTS_NTH": str(fault.point.nth),
        "FAULTS_ERRNO": str(fault.number),
        "FAULTS_LASTING": str(int(fault.is_lasting)),
    }


def points_of(log: str, prefix: str) -> Iterator[Point]:
    """Every operation that was written down, as a point; `prefix` begins every path and is left out."""
    counts: Counter[tuple[str, str]] = Counter()
    for line in log.splitlines():
        if line == "hit":
            continue
        _, op, path, _ = line.split(" ")
        pattern = "*" + RANDOM_NAME.sub("*", path.removeprefix(prefix))
        counts[op, pattern] += 1
        yield Point(op, pattern, counts[op, pattern])


def is_hit(log: str) -> bool:
    """Whether the fault has happened."""
    return "\nhit\n" in f"\n{log}"
