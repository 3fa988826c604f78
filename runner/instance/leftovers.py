"""The instance's hand on processes that workers started: ended with their worker, and when the instance is killed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from runner.instance.reaper import end_descendants

_PROGRAM = str(Path(__file__).with_name("reaper.py"))
_QUIT_WAIT_S = 5.0


class Leftovers:
    """Keeps a reaper process for the case that this one is killed. `token` begins the mark of all workers."""

    def __init__(self, token: str) -> None:
        self._token = token
        self._sessions: set[int] = set()
        self._reaper = subprocess.Popen(
            [sys.executable, "-I", "-S", _PROGRAM, token],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            start_new_session=True,
        )

    def add(self, session: int) -> None:
        """A worker leads this session."""
        self._sessions.add(session)
        self._say(f"+{session}")

    def end_session(self, session: int, token: str) -> None:
        """End what a dead worker left. It must not be waited for yet: until then its number is not given to others."""
        end_descendants({session}, token)

    def forget(self, session: int) -> None:
        """The session is over."""
        self._sessions.discard(session)
        self._say(f"-{session}")

    def close(self) -> None:
        """End everything that any worker started, and the reaper."""
        end_descendants(self._sessions, self._token)
        self._say("quit")
        assert self._reaper.stdin is not None
        try:
            self._reaper.stdin.close()
        except OSError:
            pass  # it was killed by somebody
        try:
            self._reaper.wait(_QUIT_WAIT_S)
        except subprocess.TimeoutExpired:
            self._reaper.kill()
            self._reaper.wait()

    def _say(self, line: str) -> None:
        assert self._reaper.stdin is not None
        try:
            self._reaper.stdin.write(f"{line}\n".encode())
            self._reaper.stdin.flush()
        except OSError:
            pass  # it was killed by somebody; the next instance has another
