"""The worker's end of the socket to its instance."""

from __future__ import annotations

import os
import signal
import socket

from runner.worker.messages import FromWorker, ToWorker, decode_to_worker, encode

_PACKET_BYTES = 1 << 20


class Control:
    """Sends and takes messages. Ends the process group when the instance is gone, and a forked child that uses it."""

    def __init__(self, fd: int) -> None:
        self._socket = socket.socket(fileno=fd)
        self._socket.settimeout(None)
        os.set_inheritable(fd, False)  # programs that the script starts must not hold it
        self._pid = os.getpid()

    def send(self, message: FromWorker) -> None:
        """Say something; blocks while the instance is behind."""
        self._check_process()
        try:
            self._socket.send(encode(message))
        except (BrokenPipeError, ConnectionError):
            self._die()

    def receive(self, *, wait: bool) -> ToWorker | None:
        """The next message; None when there is none and `wait` is false."""
        self._check_process()
        try:
            packet = self._socket.recv(_PACKET_BYTES, 0 if wait else socket.MSG_DONTWAIT)
        except BlockingIOError:
            return None
        except ConnectionError:
            packet = b""
        if not packet:
            self._die()
        return decode_to_worker(packet)

    def _check_process(self) -> None:
        # A script that forks in run() and lets the child return from it would otherwise have two workers in one slot.
        if os.getpid() != self._pid:
            os._exit(1)

    @staticmethod
    def _die() -> None:
        os.killpg(0, signal.SIGKILL)
