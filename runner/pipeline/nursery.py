"""The nursery: a single-threaded process, with what a command's driver needs imported, that forks drivers of steps.

A fork takes a millisecond where a new interpreter takes a hundred. It is a process of its own because a fork of the
pipeline's driver would inherit its locks, threads and database handles in whatever state they are. Order of events:
the pipeline's driver starts it with one end of a socket pair; for each request it forks a child that leads a session
of its own, and answers with the child's id and a descriptor of that process, so that no id is ever mistaken. It reaps
its children. When the other end closes it ends; the drivers that it has forked go on.
"""

from __future__ import annotations

import gc
import logging
import os
import selectors
import signal
import socket
import subprocess
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import msgspec

from runner.errors import StorageFailed

log = logging.getLogger(__name__)

START_S = 60.0
"""How long a nursery may take to import what it needs and to answer for the first time."""
ANSWER_S = 10.0
"""A nursery that then takes longer is given up: it is stopped, or the machine is out of memory."""
_MESSAGE_BYTES = 65536


class _Request(msgspec.Struct, frozen=True):
    job: str
    log: str


class _Answer(msgspec.Struct, frozen=True):
    pid: int
    error: str = ""


_REQUEST, _ANSWER = msgspec.json.Decoder(_Request), msgspec.json.Decoder(_Answer)


class NurseryGone(Exception):
    """The nursery has died, or does not answer; whether it has forked is not known."""


class Nursery:
    """The other end: starts the process, asks it for drivers, and starts another one when it is gone."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        """`command` gets the number of the descriptor to talk through appended."""
        self._command, self._environment = [*command], dict(environment)
        self._process: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None

    @property
    def pid(self) -> int:
        """The process of the nursery; 0 when there is none."""
        return 0 if self._process is None else self._process.pid

    def open(self) -> None:
        """Start the process, which imports what it needs while this one goes on."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            with theirs:
                self._process = subprocess.Popen(
                    [*self._command, str(theirs.fileno())],
                    stdin=subprocess.DEVNULL,
                    pass_fds=[theirs.fileno()],
                    env=self._environment,
                )
        except BaseException:
            ours.close()
            raise
        ours.settimeout(START_S)
        self._socket = ours

    def fork(self, job: str, log_path: Path) -> int:
        """Start the driver of a job, which talks into `log_path`; a descriptor of its process.

        When the nursery dies meanwhile another one is asked. So a job may get two drivers; one of them finds the
        job's lock taken, and ends without a word.
        """
        try:
            return self._ask(job, log_path)
        except NurseryGone as error:
            log.warning("the nursery %d is gone (%s); another one is started", self.pid, error)
            self.close()
            self.open()
            return self._ask(job, log_path)

    def _ask(self, job: str, log_path: Path) -> int:
        if self._socket is None:
            raise NurseryGone("it was never started")
        try:
            self._socket.send(msgspec.json.encode(_Request(job, str(log_path))))
            data, descriptors, _, _ = socket.recv_fds(self._socket, _MESSAGE_BYTES, 1)
        except OSError as error:
            raise NurseryGone(str(error)) from None
        if not data:
            raise NurseryGone("it has closed its end")
        self._socket.settimeout(ANSWER_S)
        answer = _ANSWER.decode(data)
        if answer.error or not descriptors:
            raise StorageFailed(str(log_path), f"no driver could be started: {answer.error}")
        os.set_inheritable(descriptors[0], False)
        return descriptors[0]

    def close(self) -> None:
        """Let it end; the drivers it has forked go on."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        if self._process is not None:
            try:
                self._process.wait(1.0)
            except subprocess.TimeoutExpired:  # it is stopped, or hangs
                self._process.kill()
                self._process.wait()
            self._process = None


def nurse(descriptor: int, drive: Callable[[str], int]) -> int:
    """Be the nursery: fork a process that calls `drive` for each job asked for, until the other end closes."""
    control = socket.socket(fileno=descriptor)
    control.set_inheritable(False)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # what ends the pipeline's driver closes the other end
    gc.collect()
    gc.freeze()  # what is imported is shared with every child for as long as nobody writes to it
    with selectors.DefaultSelector() as selector:
        selector.register(control, selectors.EVENT_READ)
        children: dict[int, int] = {}
        while True:
            for key, _ in selector.select():
                if key.fileobj is control:
                    try:
                        data = control.recv(_MESSAGE_BYTES)
                    except ConnectionError:
                        return 0
                    if not data:
                        return 0
                    child = _fork(control, selector, children, data, drive)
                    if child is not None:
                        selector.register(child[1], selectors.EVENT_READ)
                        children[child[1]] = child[0]
                elif isinstance(key.fileobj, int):
                    selector.unregister(key.fileobj)
                    os.waitpid(children.pop(key.fileobj), 0)
                    os.close(key.fileobj)


def _fork(
    control: socket.socket,
    selector: selectors.BaseSelector,
    children: Mapping[int, int],
    data: bytes,
    drive: Callable[[str], int],
) -> tuple[int, int] | None:
    """Fork a driver and answer; its id and a descriptor of it, or None when that could not be."""
    try:
        request = _REQUEST.decode(data)
        talk = os.open(request.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            pid = os.fork()
            if pid == 0:
                selector.close()
                control.close()
                for one in children:
                    os.close(one)
                _be_driver(request.job, talk, drive)
        finally:
            os.close(talk)
        handle = os.pidfd_open(pid)
    except (OSError, msgspec.MsgspecError) as error:
        control.send(msgspec.json.encode(_Answer(0, str(error) or type(error).__name__)))
        return None
    try:
        socket.send_fds(control, [msgspec.json.encode(_Answer(pid))], [handle])
    except OSError:  # nobody is there to hear it; the next read tells
        pass
    return pid, handle


def _be_driver(job: str, talk: int, drive: Callable[[str], int]) -> None:
    """What the child does; never returns."""
    code = 1
    try:
        os.setsid()
        os.dup2(talk, 1)
        os.dup2(talk, 2)
        os.close(talk)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        code = drive(job)
    except BaseException:  # noqa: BLE001 - the edge of the process: what is left to say goes to the driver's log
        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except (OSError, ValueError):
                pass
        os._exit(code & 0xFF)
