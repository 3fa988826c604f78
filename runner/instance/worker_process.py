"""One worker from outside: spawned, spoken to, stopped, killed, waited for."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path

import runner.worker
from runner.worker.messages import FromWorker, Setup, ToWorker, decode_from_worker, encode

_PROGRAM = str(Path(runner.worker.__file__).with_name("__main__.py"))
_PACKET_BYTES = 1 << 20
_STOP_WAIT_S = 0.2


class WorkerProcess:
    """A direct child in a session of its own. It dies with the thread that made it."""

    def __init__(self, *, cwd: str, environment: dict[str, str], stdout: int, stderr: int, setup: Setup) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            try:
                self._process = subprocess.Popen(
                    [sys.executable, "-P", _PROGRAM, str(theirs.fileno()), str(os.getpid())],
                    stdin=subprocess.DEVNULL,
                    stdout=stdout,
                    stderr=stderr,
                    cwd=cwd,
                    env=environment,
                    pass_fds=(theirs.fileno(),),
                    start_new_session=True,
                )
            except BaseException:
                ours.close()
                raise
        ours.setblocking(False)
        self.socket = ours
        self.pid = self._process.pid
        self.pidfd = os.pidfd_open(self.pid)
        self._unsent: deque[bytes] = deque()
        self.send(setup)

    @property
    def has_unsent(self) -> bool:
        """Whether messages wait until the socket takes them."""
        return bool(self._unsent)

    def send(self, message: ToWorker) -> None:
        """Say something; kept when the worker is behind, lost when it is gone."""
        self._unsent.append(encode(message))
        self.send_waiting()

    def send_waiting(self) -> None:
        """Send what could not be sent."""
        while self._unsent:
            try:
                self.socket.send(self._unsent[0])
            except BlockingIOError:
                return
            except OSError:  # it has closed its end: the pidfd will tell
                self._unsent.clear()
                return
            self._unsent.popleft()

    def receive(self) -> Iterator[FromWorker]:
        """What it has said; also after its death, until the socket is empty."""
        while True:
            try:
                packet = self.socket.recv(_PACKET_BYTES)
            except (BlockingIOError, ConnectionError):
                return
            if not packet:
                return
            yield decode_from_worker(packet)

    def stop(self) -> None:
        """Stop it and wait until it stands, or for a moment if the kernel is in the way."""
        self._signal(signal.SIGSTOP)
        until = time.monotonic() + _STOP_WAIT_S
        while time.monotonic() < until:
            try:
                if os.waitid(os.P_PIDFD, self.pidfd, os.WSTOPPED | os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
                    return
            except ChildProcessError:
                return
            time.sleep(0.001)

    def go_on(self) -> None:
        """Let a stopped worker run on."""
        self._signal(signal.SIGCONT)

    def kill(self) -> None:
        """Kill it and its process group."""
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            self._signal(signal.SIGKILL)

    def wait(self) -> int:
        """Reap it once it has ended; the exit status as `subprocess` gives it."""
        status = self._process.wait()
        os.close(self.pidfd)
        self.socket.close()
        return status

    def _signal(self, number: int) -> None:
        try:
            signal.pidfd_send_signal(self.pidfd, number)
        except ProcessLookupError:
            pass


def say_status(status: int) -> str:
    """An exit status in words."""
    if status >= 0:
        return f"exited with code {status}"
    try:
        name = signal.Signals(-status).name
    except ValueError:
        name = f"signal {-status}"
    return f"was killed by {name}"
