"""The lock on a job's folder: who holds it drives the job, and the kernel lets go of it when the holder dies."""

from __future__ import annotations

import fcntl
import logging
import os
import time
from pathlib import Path
from types import TracebackType

import msgspec

from runner.store.holder import this_process

log = logging.getLogger(__name__)


class JobLock:
    """An exclusive `flock` on the lock file, held until `release` or the end of the process; not passed to children."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    @classmethod
    def take(cls, path: Path, wait_s: float = 0.0) -> JobLock | None:
        """The lock, or None when another process still holds it after `wait_s`.

        A driver waits a second or two: a reader that looks whether a driver lives holds the lock for a moment.
        """
        until = time.monotonic() + wait_s
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return cls(descriptor)
            except BlockingIOError:
                if time.monotonic() >= until:
                    os.close(descriptor)
                    return None
                time.sleep(0.02)
            except BaseException:
                os.close(descriptor)
                raise

    def sign(self) -> None:
        """Write into the lock's file which process this is; a driver does, readers who hold it for a moment do not."""
        text = msgspec.json.encode(this_process())
        try:
            os.pwrite(self._descriptor, text, 0)
            os.ftruncate(self._descriptor, len(text))
        except OSError as error:  # a full disk: no reason to end, but a resume cannot kill this process for us
            log.warning("the lock is held, but not signed: %s", error)

    def release(self) -> None:
        """Let go; harmless when already released."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> JobLock:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def is_held(path: Path) -> bool:
    """Whether a process holds the lock right now; False when there is no lock file."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False
