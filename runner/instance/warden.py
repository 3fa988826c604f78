"""The warden of a command: starts its processes, and leaves none of what they have started behind.

Theory of operation. The warden leads a session of its own and is a subreaper, so that whatever a command starts, forks
twice or puts into another session stays below it: a child that has lost its parent becomes the warden's. When all
processes of the command have ended, or a stop is asked for, it ends everything below it: SIGTERM, and SIGKILL when the
grace period is over, again and again until it has no child. Its socket to the driver is its lifeline: when that ends,
the driver has died, and everything is killed at once. The processes themselves die with the warden.

A program of the standard library alone: `python -I -S warden.py DESCRIPTOR`, which leaves it running on its own and
ends; or the body of a forked process. It takes lines of JSON: `{"run": [PROCESS...], "grace_s": S}` once all of the
processes before have gone, `{"stop": true}`. It tells `{"started": [PID...]}` or `{"refused": [NUMBER, ERRNO, FILE]}`,
`{"ended": [NUMBER, STATUS]}` for each process, and `{"quiet": LEFT}` when nothing is left of them but `LEFT` processes
that nobody may kill.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import select
import signal
import socket
import sys
import time
from typing import Any, NoReturn

LINGER_S = 0.5
"""How long what a command has left behind may take to end by itself, such as a `tee` that has still to write."""
KILL_S = 10.0
"""How long killing is tried; longer only lives what belongs to another user, or hangs in the kernel."""
_ROUND_S = 0.02
_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_PARENT = 1  # of the fields after the command's name: state, parent, group, session
_DEFAULTS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGPIPE, signal.SIGXFSZ)
_prctl = ctypes.CDLL(None, use_errno=True).prctl


class _Warden:
    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._received = b""
        self._running: dict[int, int] = {}
        """Process id to number of the processes of the command itself."""
        self._grace_s = 0.0
        self._next: float | None = None
        """When the next harder step is due."""
        self._stage = 0
        """0 the command runs, 1 what it left may end by itself, 2 after SIGTERM, 3 killing."""
        self._give_up = 0.0
        self._is_busy = False
        self._is_alone = False

    def live(self) -> None:
        """Serve until the driver is gone and nothing is left."""
        os.setsid()
        _prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
            signal.signal(number, signal.SIG_IGN)
        woken, wake = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        signal.signal(signal.SIGCHLD, lambda number, frame: None)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        poll = select.poll()
        poll.register(self._control, select.POLLIN)
        poll.register(woken, select.POLLIN)
        while True:
            timeout = None if self._next is None else min(max(0.0, self._next - time.monotonic()) * 1000, 1e9)
            for descriptor, _ in poll.poll(timeout):
                if descriptor == woken:
                    os.read(woken, 4096)
                elif not self._listen():
                    poll.unregister(self._control)
                    self._is_alone = True
                    self._kill()
            self._reap()
            if self._is_alone and not self._is_busy:
                return

    def _listen(self) -> bool:
        """Take what the driver says; False when it is gone."""
        try:
            data = self._control.recv(1 << 20)
        except ConnectionError:
            return False
        if not data:
            return False
        *lines, self._received = (self._received + data).split(b"\n")
        for line in lines:
            said = json.loads(line)
            if "run" in said:
                self._run(said["run"], float(said["grace_s"]))
            elif self._is_busy and self._stage < 2:
                self._terminate()
        return True

    def _run(self, processes: list[dict[str, Any]], grace_s: float) -> None:
        self._grace_s, self._stage, self._next, self._is_busy = grace_s, 0, None, True
        started = []
        for number, process in enumerate(processes):
            try:
                pid = _start(process)
            except OSError as error:
                self._tell(refused=[number, error.errno, str(error.filename or process["argv"][0])])
                self._kill()
                return
            self._running[pid] = number
            started.append(pid)
        self._tell(started=started)

    def _reap(self) -> None:
        """Take the ends of all children that have ended, and go a step further when it is due."""
        while self._is_busy:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                self._end(0)
                return
            if pid == 0:
                break
            if pid in self._running:
                self._tell(ended=[self._running.pop(pid), status])
        if not self._is_busy:
            return
        now = time.monotonic()
        if not self._running and self._stage == 0:
            self._stage, self._next = 1, now + LINGER_S
        if self._next is not None and now >= self._next:
            if self._stage == 1:
                self._terminate()
            elif self._stage == 3 and now >= self._give_up:
                self._end(len(_descendants()))
            else:
                self._kill()

    def _terminate(self) -> None:
        self._stage, self._next = 2, time.monotonic() + self._grace_s
        for pid in _descendants():
            # What is stopped would not hear the one without the other.
            _signal(pid, signal.SIGTERM)
            _signal(pid, signal.SIGCONT)

    def _kill(self) -> None:
        now = time.monotonic()
        if self._stage != 3:
            self._stage, self._give_up = 3, now + KILL_S
        for pid in _descendants():
            _signal(pid, signal.SIGKILL)
        self._next = now + _ROUND_S

    def _end(self, left: int) -> None:
        self._running.clear()
        self._is_busy, self._next = False, None
        self._tell(quiet=left)

    def _tell(self, **said: object) -> None:
        if not self._is_alone:
            try:
                self._control.sendall(json.dumps(said).encode() + b"\n")
            except ConnectionError:
                pass  # the end of the socket is read next


def _start(process: dict[str, Any]) -> int:
    """Start a process with the folder, environment and files it asks for; OSError when that cannot be."""
    warden = os.getpid()
    heard, told = os.pipe2(os.O_CLOEXEC)
    pid = os.fork()
    if pid == 0:
        _become(process, warden, told)
    os.close(told)
    with open(heard, "rb") as pipe:
        said = pipe.read()
    if said:
        os.waitpid(pid, 0)
        number, _, path = said.decode(errors="surrogateescape").partition(" ")
        raise OSError(int(number), os.strerror(int(number)), path)
    return pid


def _become(process: dict[str, Any], warden: int, told: int) -> NoReturn:
    """In the child: be that process. A group of its own keeps its `kill 0` from the warden."""
    path = ""
    try:
        os.setpgid(0, 0)
        _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != warden:
            os._exit(1)
        _volunteer_for_oom()
        path = process["cwd"]
        os.chdir(path)
        for descriptor, (path, flags) in enumerate(
            [
                (os.devnull, os.O_RDONLY),
                (process["stdout"], os.O_WRONLY | os.O_CREAT | os.O_APPEND),
                (process["stderr"], os.O_WRONLY | os.O_CREAT | os.O_APPEND),
            ]
        ):
            opened = os.open(path, flags, 0o666)
            os.dup2(opened, descriptor)
            if opened > 2:
                os.close(opened)
        for number in _DEFAULTS:
            signal.signal(number, signal.SIG_DFL)
        path = process["argv"][0]
        os.execve(path, process["argv"], process["env"])
    except BaseException as error:  # noqa: BLE001 - nothing of the warden may go on in this process
        # What is no OSError is a text that no process can be given: a zero byte, say.
        why = error.errno if isinstance(error, OSError) else errno.EINVAL
        os.write(told, f"{why} {path}".encode(errors="surrogateescape"))
    finally:
        os._exit(127)


def _volunteer_for_oom() -> None:
    """When memory runs out, the kernel should end the command rather than its driver."""
    try:
        with open("/proc/self/oom_score_adj", "w") as file:
            file.write("500")
    except OSError:
        pass  # not allowed here; then the kernel chooses as it likes


def _descendants() -> list[int]:
    """All processes below this one, those that have ended but were not waited for left out."""
    children: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):
        if not name.isdecimal():
            continue
        try:
            with open(f"/proc/{name}/stat", "rb") as file:
                fields = file.read().rpartition(b")")[2].split()
        except OSError:
            continue  # gone meanwhile
        if fields[0] not in (b"Z", b"X"):
            children.setdefault(int(fields[_PARENT]), []).append(int(name))
    found, above = [], [os.getpid()]
    while above:
        below = children.get(above.pop(), [])
        found += below
        above += below
    return found


def _signal(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except (ProcessLookupError, PermissionError):
        pass


def serve(descriptor: int) -> NoReturn:
    """Be a warden on the socket with this number; the process ends here, whatever happens."""
    status = 1
    try:
        os.set_inheritable(descriptor, False)
        with socket.socket(fileno=descriptor) as control:
            _Warden(control).live()
        status = 0
    except BaseException:  # noqa: BLE001 - the edge of the process: the traceback goes to the driver's log
        sys.excepthook(*sys.exc_info())
    finally:
        os._exit(status)


if __name__ == "__main__":
    if os.fork():
        os._exit(0)
    serve(int(sys.argv[1]))
