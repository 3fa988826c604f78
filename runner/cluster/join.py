"""How a driver gets hold of the embedded Ray of its RUNNER_HOME: join the one that runs, or have one started."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import runner
from runner.cluster.address import answers
from runner.cluster.base import Say
from runner.cluster.folder import FileLock, KeeperFolder, KeeperRecord
from runner.cluster.machine import count_cores
from runner.cluster.processes import kill_process
from runner.errors import ClusterUnavailable, StorageFailed

LIMIT_S = 120.0
_END_S = 10.0
_STEP_S = 0.02
STARTS = 3
"""How often Ray is started when it, or its keeper, ends before it is ready: somebody may have killed one of them."""


@dataclass(frozen=True, slots=True)
class KeptRay:
    """An embedded Ray that will not end while this is held; killing the holder lets go of it."""

    address: str
    token_path: Path
    _lock: FileLock

    def release(self) -> None:
        """Let the keeper end Ray, if nobody else needs it. May be called twice."""
        self._lock.release()


def join_keeper(folder: Path, say: Say) -> KeptRay:
    """Join the embedded Ray of `folder`, starting it if there is none; returns when it can be connected to.

    Safe against other joiners, a keeper that is just ending, and the leftovers of one that was killed.
    """
    paths = KeeperFolder(folder)
    try:
        paths.root.mkdir(parents=True, exist_ok=True, mode=0o700)
        share, turn = FileLock(paths.lock), FileLock(paths.start_lock)
    except OSError as error:
        raise StorageFailed(str(folder), error.strerror or str(error)) from error
    try:
        deadline = time.monotonic() + LIMIT_S
        starts = 0

        def may_start() -> bool:
            nonlocal starts
            starts += 1
            return starts <= STARTS

        while time.monotonic() < deadline:
            # The share comes first: once it is held, a keeper whose address still stands cannot begin to end.
            if not (share.take(shared=True, within_s=1.0) and turn.take(shared=False, within_s=LIMIT_S)):
                continue
            if address := _ready_address(paths, say, deadline, may_start):
                return KeptRay(address, paths.token, share)
        raise _unavailable(paths, f"its last keeper did not end within {LIMIT_S:g} s")
    except BaseException:
        share.release()
        raise
    finally:
        turn.release()


def _ready_address(paths: KeeperFolder, say: Say, deadline: float, may_start: Callable[[], bool]) -> str:
    """The address of the Ray that is kept, or of one started now; empty when it ended meanwhile.

    Called in turn, holding a share.
    """
    record = paths.read_record()
    if record is not None and record.is_alive:
        _check_same(paths, record)
        address = _await_address(paths, lambda: not record.is_alive, deadline)
        if address and answers(address, 1.0):
            _await_end(record)  # its Ray has died, which it will notice
            return ""
        return address
    if not may_start():
        raise _unavailable(paths, f"it did not start: {_last_line(paths.ray_log) or _last_line(paths.keeper_log)}")
    paths.clean()
    cores = count_cores()
    say(f"starting an embedded Ray on {cores} core{'s' * (cores != 1)} ...")
    began = time.monotonic()
    keeper = _start_keeper(paths)
    address = _await_address(paths, lambda: keeper.poll() is not None, deadline)
    # It ends when this process has let go, perhaps long before this process does: it must not stay a zombie then.
    threading.Thread(target=keeper.wait, name="reap-keeper", daemon=True).start()
    if not address:
        return ""
    say(f"the embedded Ray is ready after {time.monotonic() - began:.1f} s")
    return address


def _start_keeper(paths: KeeperFolder) -> subprocess.Popen[bytes]:
    environment = dict(os.environ)
    home = str(paths.root.parent)
    if os.path.realpath(environment.get("RUNNER_HOME", "")) != os.path.realpath(home):
        environment["RUNNER_HOME"] = home
    # Ray's workers import runner too, also where it runs from a checkout that is not installed.
    source = str(Path(runner.__file__).parent.parent)
    if not source.endswith("site-packages"):
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, (source, environment.get("PYTHONPATH"))))
    with open(paths.keeper_log, "wb") as output:
        return subprocess.Popen(
            [sys.executable, "-m", "runner.cluster.keeper", f"{paths.root}/"],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd="/",
            env=environment,
            start_new_session=True,
        )


def _await_address(paths: KeeperFolder, has_ended: Callable[[], bool], deadline: float) -> str:
    """The address once it is there; empty when its keeper ended instead."""
    while time.monotonic() < deadline:
        ended = has_ended()  # asked first: a keeper may write its address and end between two looks
        if address := paths.read_address():
            return "" if ended else address
        if ended:
            return ""
        time.sleep(_STEP_S)
    raise _unavailable(paths, f"it was not ready within {LIMIT_S:g} s")


def _await_end(record: KeeperRecord) -> None:
    """Return when a keeper without a Ray has ended; one that does not (it is stopped, say) is killed."""
    deadline = time.monotonic() + _END_S
    while record.is_alive:
        if time.monotonic() > deadline:
            kill_process(record.pid, record.start_time)
        time.sleep(_STEP_S)


def _check_same(paths: KeeperFolder, record: KeeperRecord) -> None:
    """Refuse another interpreter than the keeper's: workers run that one, and would find other packages."""
    if os.path.realpath(os.path.dirname(record.python)) != os.path.realpath(os.path.dirname(sys.executable)):
        raise _unavailable(
            paths,
            f"it runs {record.python}, this is {sys.executable}",
            "wait until the jobs of that Python have ended, or use another RUNNER_HOME",
        )
    if record.ray != version("ray"):
        raise _unavailable(
            paths,
            f"it runs Ray {record.ray}, this is Ray {version('ray')}",
            "wait until the jobs that use it have ended, then submit again",
        )


def _last_line(path: Path) -> str:
    try:
        lines = [line.strip() for line in path.read_text(errors="replace").splitlines()[-200:]]
    except OSError:
        return ""
    return next((line for line in reversed(lines) if line), "")


def _unavailable(paths: KeeperFolder, what: str, remedy: str = "") -> ClusterUnavailable:
    remedy = remedy or f"see {paths.keeper_log} and {paths.ray_log}, or run with `compute: local`"
    return ClusterUnavailable(f"{paths.root} (embedded)", what, remedy)
