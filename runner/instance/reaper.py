"""Ends the processes that workers leave behind, also when the instance itself was killed.

As a module: `end_descendants`. As a program (`python -I -S reaper.py TOKEN`, standard library only, in a session of its
own): holds the other end of a pipe from the instance, learns from it which sessions are alive, and ends all of them
when the pipe closes. Workers die with their instance by themselves; this is for what their scripts have started.

A process is found by its session, or, if it has left that, by the token that every worker has in its environment.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Collection

TOKEN = "RUNNER_WORKER_TOKEN"
_ROUNDS = 50
_SESSION = 3  # of the fields after the command's name: state, parent, group, session


def end_descendants(sessions: Collection[int], token: str) -> int:
    """Kill all processes of these sessions or whose token begins with `token`, until none is found; how many."""
    ended: set[int] = set()
    for _ in range(_ROUNDS):
        found = _find(sessions, os.fsencode(f"{TOKEN}={token}"))
        if not found:
            break
        for pid in found:
            try:
                os.kill(pid, signal.SIGKILL)
            except (ProcessLookupError, PermissionError):
                continue
        ended.update(found)
    return len(ended)


def _find(sessions: Collection[int], mark: bytes) -> list[int]:
    own = os.getpid()
    return [
        pid
        for pid in map(int, filter(str.isdecimal, os.listdir("/proc")))
        if pid != own and _is_wanted(pid, sessions, mark)
    ]


def _is_wanted(pid: int, sessions: Collection[int], mark: bytes) -> bool:
    try:
        fields = _read(f"/proc/{pid}/stat").rpartition(b")")[2].split()
        if len(fields) <= _SESSION or fields[0] in (b"Z", b"X"):
            return False
        if int(fields[_SESSION]) in sessions:
            return True
        return b"\0" + mark in b"\0" + _read(f"/proc/{pid}/environ")
    except OSError:
        return False  # gone meanwhile, or another user's


def _read(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


def main(token: str) -> None:
    """Take `+SESSION` and `-SESSION` lines until the pipe ends; `quit` says that nothing is left to do."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    sessions: set[int] = set()
    for line in sys.stdin:
        word = line.strip()
        if word == "quit":
            return
        (sessions.add if word[0] == "+" else sessions.discard)(int(word[1:]))
    end_descendants(sessions, token)


if __name__ == "__main__":
    main(sys.argv[1])
