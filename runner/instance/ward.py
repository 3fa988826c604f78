"""The driver's end of a warden: starts one, has it run processes, and hears what becomes of them."""

from __future__ import annotations

import gc
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import msgspec

from runner.instance import warden as program
from runner.instance.reaper import end_descendants
from runner.instance.seat import Seat, free_ports

FAREWELL_S = 15.0
"""More than a warden needs to kill what is left."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """One process that a command consists of."""

    argv: tuple[str, ...]
    cwd: str
    env: Mapping[str, str]
    stdout: str
    """Files that are appended to."""
    stderr: str
    instance: int = 0
    """Which of the instances it runs on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Errand:
    """What another machine needs to know of the folders that processes are to find."""

    work: Path = Path()
    code: Path | None = None
    """What the working folder is a copy of."""
    shared: tuple[Path, ...] = ()
    """Folders that all of them must see."""


@dataclass(frozen=True, slots=True)
class Started:
    """All processes have begun."""


@dataclass(frozen=True, slots=True)
class Refused:
    """A process could not be started; those before it are being ended."""

    number: int
    what: str


@dataclass(frozen=True, slots=True)
class Ended:
    """A process has ended by itself: its exit code, or the negative number of the signal that killed it."""

    number: int
    code: int


@dataclass(frozen=True, slots=True)
class Quiet:
    """Nothing is left of what was run, but `left` processes that could not be killed."""

    left: int


@dataclass(frozen=True, slots=True)
class Lost:
    """What watched over the processes is gone, and they with it."""

    what: str


News = Started | Refused | Ended | Quiet | Lost


class _Said(msgspec.Struct):
    started: list[int] | None = None
    refused: tuple[int, int, str] | None = None
    ended: tuple[int, int] | None = None
    quiet: int | None = None


_SAID = msgspec.json.Decoder(_Said)


class Ward:
    """A warden process and the socket to it. Everything it has started ends with `close`, or with this process."""

    def __init__(self, control: socket.socket, pid: int = 0) -> None:
        self._control, self._pid = control, pid
        self._received = b""
        self._token = ""
        self._is_lost = False

    @classmethod
    def fork(cls) -> Ward:
        """A copy of this process becomes the warden: within a millisecond, for processes with a single thread."""
        ours, theirs = socket.socketpair()
        pid = os.fork()
        if pid == 0:
            gc.disable()  # nothing that the parent has open is closed here by chance
            _keep_only(theirs.fileno())
            program.serve(3)
        theirs.close()
        return cls(ours, pid)

    @classmethod
    def spawn(cls) -> Ward:
        """A fresh interpreter becomes the warden: for processes with threads. It is no child of this process, whose
        children others may kill."""
        ours, theirs = socket.socketpair()
        with theirs:
            subprocess.run(
                [sys.executable, "-I", "-S", str(Path(program.__file__)), str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
                check=True,
            )
        return cls(ours)

    def fileno(self) -> int:
        """Readable when there is news."""
        return self._control.fileno()

    def place(self, count: int, port_count: int, check: Callable[[], None]) -> tuple[Seat, ...]:
        """Every instance is on this machine, of which there is always room."""
        check()
        ports = free_ports(count * port_count)
        return tuple(
            Seat(host="localhost", address="127.0.0.1", ports=ports[number * port_count : (number + 1) * port_count])
            for number in range(count)
        )

    def run(self, processes: Sequence[Process], *, grace_s: float, token: str, errand: Errand = Errand()) -> None:
        """Start processes; `Started` or `Refused` is the answer. `token` is in the environment of each of them."""
        self._token = token
        # Not msgspec, which refuses what of the environment is no UTF-8.
        self._send(json.dumps({"run": [asdict(one) for one in processes], "grace_s": grace_s}).encode())

    def stop(self) -> None:
        """End everything: SIGTERM, and SIGKILL after the grace period. `Quiet` is the answer."""
        self._send(b'{"stop": true}')
        self._wake()

    def _wake(self) -> None:
        """A warden that a command has stopped would hear nothing."""
        if self._pid and not self._is_lost:
            os.kill(self._pid, signal.SIGCONT)

    def _send(self, line: bytes) -> None:
        try:
            self._control.sendall(line + b"\n")
        except ConnectionError:
            pass  # it is read as the loss that it is

    def hear(self) -> list[News]:
        """What there is to hear now; waits for the first of it."""
        if self._is_lost:
            return []
        try:
            data = self._control.recv(1 << 16)
        except ConnectionError:
            data = b""
        if not data:
            return [self._lose()]
        *lines, self._received = (self._received + data).split(b"\n")
        return [_news(_SAID.decode(line)) for line in lines]

    def _lose(self) -> Lost:
        """The warden was killed: what it watched is found by the token."""
        self._is_lost = True
        if self._token:
            end_descendants((), self._token)
        return Lost("the process that watched over the command was killed")

    def close(self) -> None:
        """Kill what is left, and wait until it has gone."""
        if self._control.fileno() < 0:
            return
        self._wake()
        with self._control:
            self._control.settimeout(FAREWELL_S)
            try:
                self._control.shutdown(socket.SHUT_WR)
                while self._control.recv(1 << 16):
                    pass  # what it tells now nobody asks any more
            except TimeoutError:
                if self._pid:  # it was stopped by somebody
                    os.kill(self._pid, signal.SIGKILL)
            except OSError:
                pass  # it is gone already
        if self._pid:
            os.waitpid(self._pid, 0)

    def __enter__(self) -> Ward:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _keep_only(descriptor: int) -> None:
    """Close everything but the standard files and this one, which becomes number 3; a lock goes with its file."""
    os.dup2(descriptor, 3)
    os.closerange(4, os.sysconf("SC_OPEN_MAX"))
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    os.close(nothing)


def _news(said: _Said) -> News:
    if said.started is not None:
        return Started()
    if said.refused is not None:
        number, code, path = said.refused
        return Refused(number, f"{path}: {os.strerror(code)}")
    if said.ended is not None:
        return Ended(said.ended[0], os.waitstatus_to_exitcode(said.ended[1]))
    return Quiet(said.quiet or 0)
