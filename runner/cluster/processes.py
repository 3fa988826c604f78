"""Processes of this machine, by /proc: who lives, since when, who is wanted dead."""

from __future__ import annotations

import ctypes
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

_PR_SET_PDEATHSIG = 1


def start_time_of(pid: int) -> int:
    """Clock ticks from boot to the start of a living process; 0 when there is none (a zombie counts as none)."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0
    return 0 if fields[0] in "ZX" else int(fields[19])


def is_same_process(pid: int, start_time: int) -> bool:
    """Whether process `pid` still is the one that began at `start_time`."""
    return pid > 0 and start_time > 0 and start_time_of(pid) == start_time


def read_boot() -> str:
    """An id of this boot of this machine, as far as processes can be seen by their pid."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return f"{boot}/{Path('/proc/self/ns/pid').readlink()}"


def kill_process(pid: int, start_time: int) -> None:
    """Send SIGKILL to exactly that process, if it still lives."""
    try:
        descriptor = os.pidfd_open(pid)
    except OSError:
        return
    try:
        if is_same_process(pid, start_time):
            signal.pidfd_send_signal(descriptor, signal.SIGKILL)
    except OSError:
        pass
    finally:
        os.close(descriptor)


def list_processes(is_wanted: Callable[[int], bool]) -> list[tuple[int, int]]:
    """Pid and start time of the living processes, this one aside, of which `is_wanted` is true."""
    found = []
    for pid in map(int, filter(str.isdecimal, os.listdir("/proc"))):
        if pid == os.getpid() or not (started := start_time_of(pid)):
            continue
        try:
            if is_wanted(pid):
                found.append((pid, started))
        except OSError:
            continue  # gone meanwhile, or another user's
    return found


def has_variable(pid: int, name: str, value: str) -> bool:
    """Whether a process was started with `name=value` in its environment, and has not written over that since."""
    return f"{name}={value}".encode() in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")


def kill_all(is_wanted: Callable[[int], bool], within_s: float = 10.0) -> bool:
    """Kill every process that is wanted until there is none; False when something would not go in time."""
    deadline = time.monotonic() + within_s
    while found := list_processes(is_wanted):
        for pid, start_time in found:
            kill_process(pid, start_time)
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def dying_with(parent: int) -> Callable[[], None]:
    """What a child runs before exec, so that it gets SIGKILL when the thread that started it ends.

    The library is loaded here and not in the child, which may not take locks between fork and exec.
    """
    prctl = ctypes.CDLL(None, use_errno=True).prctl

    def ask() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)

    return ask
