"""Finds the processes of one home by what they are, and kills or stops them. All chance comes from a seed."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

ROLES = ("worker", "instance", "driver", "raylet", "gcs", "keeper", "service")


@dataclass(frozen=True)
class Process:
    """One living process."""

    pid: int
    parent: int
    command: tuple[str, ...]
    is_marked: bool
    """Whether its environment names the home; a process may write over that."""


@dataclass
class Havoc:
    """Strikes at the processes of a home."""

    home: Path
    seed: int
    told: list[str] = field(default_factory=list)
    """Every strike, in order."""

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self._began = time.monotonic()

    def __str__(self) -> str:
        return ", ".join(self.told)

    def tell(self, what: str) -> None:
        """Write down what was done, and when."""
        self.told.append(f"{time.monotonic() - self._began:.1f} s {what}")

    def roles(self) -> dict[str, list[int]]:
        """The living processes of the home by role."""
        everything = {one.pid: one for one in list_processes(self.home)}
        mine = {pid for pid, one in everything.items() if one.is_marked or str(self.home) in " ".join(one.command)}
        grown = True
        while grown:
            more = {pid for pid, one in everything.items() if one.parent in mine} - mine
            mine |= more
            grown = bool(more)
        found: dict[str, list[int]] = {role: [] for role in ROLES}
        for pid in sorted(mine):
            role = role_of(everything[pid].command)
            if role:
                found[role].append(pid)
        drivers = set(found["driver"])
        parents = {everything[pid].parent for pid in found["worker"]} - drivers
        found["instance"] = sorted(parents & set(everything))
        return found

    def strike(self, role: str, how_many: int = 1, number: signal.Signals = signal.SIGKILL) -> list[int]:
        """Send a signal to some processes of a role, all at once; which ones were hit."""
        living = self.roles().get(role, [])
        chosen = self.random.sample(living, min(how_many, len(living)))
        self.send(chosen, number)
        self.tell(f"{number.name} {role} x{len(chosen)}")
        return chosen

    def send(self, pids: Iterable[int], number: signal.Signals) -> None:
        """Send a signal to processes that may be gone."""
        for pid in pids:
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                pass

    def kill_all(self, but: Iterable[str] = ()) -> None:
        """Kill every process of the home at once."""
        self.tell("everything")
        self.send([pid for role, pids in self.roles().items() if role not in but for pid in pids], signal.SIGKILL)


def role_of(command: tuple[str, ...]) -> str:
    """What a process is, by its command line; empty for what is not struck at by itself."""
    line = " ".join(command)
    if "runner/worker/__main__.py" in line:
        return "worker"
    if "runner.compose drive" in line:
        return "driver"
    if "/raylet" in command[0]:
        return "raylet"
    if "/gcs_server" in command[0]:
        return "gcs"
    if "runner.cluster.keeper" in line:
        return "keeper"
    if "runner.cli.main serve" in line:
        return "service"
    return ""


def list_processes(home: Path) -> list[Process]:
    """Every process of this machine but this one, as far as it can be seen."""
    mark = b"RUNNER_HOME=" + os.fsencode(home)
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal() or int(entry.name) == os.getpid():
            continue
        try:
            state, parent = (entry / "stat").read_text().rpartition(")")[2].split()[:2]
            command = tuple((entry / "cmdline").read_bytes().decode(errors="replace").rstrip("\0").split("\0"))
            is_marked = mark in (entry / "environ").read_bytes().split(b"\0")
        except OSError:
            continue  # gone meanwhile, or another user's
        if state not in "ZX":
            found.append(Process(int(entry.name), int(parent), command, is_marked))
    return found
