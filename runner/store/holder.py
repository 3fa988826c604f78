"""Which process holds a lock, as it says itself in the lock's file; and the end of exactly that process.

A process id may be given to another process later. Together with the boot, the namespace of the ids and the start
time it names one process for ever.
"""

from __future__ import annotations

import os
import signal
import socket
from dataclasses import dataclass
from pathlib import Path

import msgspec

_STARTTIME = 19
"""The place of `starttime` in /proc/PID/stat, counted from the state behind the name, which may hold blanks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """One process of one host."""

    host: str
    pid: int
    start_ticks: int
    ids: str
    """The boot of the kernel and the namespace in which `pid` means this process."""

    @property
    def is_here(self) -> bool:
        """Whether `pid` can mean that process to this one."""
        return self.ids == _ids()

    @property
    def is_stopped(self) -> bool:
        """Whether this process is here and stopped by a signal, so that it hears nothing until it is continued."""
        try:
            return self.is_here and _start_ticks(self.pid) == self.start_ticks and _stat(self.pid)[0] == b"T"
        except (ProcessLookupError, FileNotFoundError):
            return False

    def kill(self) -> None:
        """Kill this process; nothing happens when it has ended, also if its id is another's by now."""
        try:
            descriptor = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return
        try:
            # Looked at while the descriptor holds on to the process, so that it is this one which is killed.
            if self.is_here and _start_ticks(self.pid) == self.start_ticks:
                signal.pidfd_send_signal(descriptor, signal.SIGKILL)
        except (ProcessLookupError, FileNotFoundError):
            pass
        finally:
            os.close(descriptor)


_HOLDER = msgspec.json.Decoder(Holder)
"""Made here: msgspec crashes when two threads decode a type for the first time at once."""


def this_process() -> Holder:
    """The process that asks."""
    pid = os.getpid()
    return Holder(host=socket.gethostname(), pid=pid, start_ticks=_start_ticks(pid), ids=_ids())


def read_holder(path: Path) -> Holder | None:
    """Who signed a lock's file last; None when nobody did. It may be gone by now."""
    try:
        return _HOLDER.decode(path.read_bytes())
    except (FileNotFoundError, msgspec.MsgspecError):
        return None


def _start_ticks(pid: int) -> int:
    return int(_stat(pid)[_STARTTIME])


def _stat(pid: int) -> list[bytes]:
    stat = Path(f"/proc/{pid}/stat").read_bytes()
    return stat[stat.rindex(b")") + 2 :].split()


def _ids() -> str:
    boot = Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    return f"{boot} {os.readlink('/proc/self/ns/pid')}"
