"""Folders that belong to one living instance, and the removal of those whose instance was killed.

Each holds a file that its instance keeps locked: what can be locked by somebody else is stale. That needs no process
ids, so it is right across containers that share `/dev/shm`.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
import time
from pathlib import Path

_LOCK = "lock"
_NEW_S = 60.0
"""A folder without its lock file may be just being made."""


class OwnedFolder:
    """A folder with a random name below `parent`; `close` removes it."""

    def __init__(self, parent: Path, prefix: str) -> None:
        parent.mkdir(parents=True, exist_ok=True)
        _sweep(parent, prefix)
        self.token = secrets.token_hex(6)
        self.path = parent / f"{prefix}-{self.token}"
        self.path.mkdir(mode=0o700)
        self._lock = os.open(self.path / _LOCK, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX)

    def close(self) -> None:
        """Remove everything in it; harmless twice."""
        if self._lock >= 0:
            shutil.rmtree(self.path, ignore_errors=True)
            os.close(self._lock)
            self._lock = -1


def _sweep(parent: Path, prefix: str) -> None:
    for folder in parent.glob(f"{prefix}-*"):
        try:
            if _is_stale(folder):
                shutil.rmtree(folder, ignore_errors=True)
        except OSError:
            continue  # another user's, or removed by another instance at the same time


def _is_stale(folder: Path) -> bool:
    try:
        lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return time.time() - folder.stat().st_mtime > _NEW_S
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(lock)
    return True
