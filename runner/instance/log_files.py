"""The log files of one instance: what workers print, what their scripts raise, what the instance does. All bounded.

Workers write to their files directly, so that nothing they printed is lost with them. A file that grows beyond its
bound is cut back to its begin, a line that says so, and its last part, whenever the instance looks at it.
"""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

from runner.instance.policy import Limits

_CHUNK_BYTES = 256 * 1024
_SHIPMENT_BYTES = 1 << 20
_LAST_WORDS_BYTES = 16 * 1024


class LogFiles:
    """Files below `logs` for the node `node`. `ship` keeps track of what the driver has not been sent yet."""

    def __init__(self, logs: Path, node: str, limits: Limits, *, ship: bool) -> None:
        self._logs, self._node, self._limits, self._ship = logs, node, limits, ship
        self._workers: dict[str, tuple[_Growing, ...]] = {}
        self._ended: list[_Growing] = []
        self._appended: dict[str, _Appended] = {}
        for folder in ("user/stdout", "user/stderr", "user/entry_script_log"):
            (logs / folder / node).mkdir(parents=True, exist_ok=True)

    @property
    def entry_logs(self) -> str:
        """The folder of `EntryScript().logger`."""
        return str(self._logs / "user/entry_script_log" / self._node)

    def open_worker(self, name: str) -> tuple[int, int]:
        """Make the stdout and stderr files of a worker; the caller closes the descriptors."""
        paths = [
            self._logs / "user/stdout" / self._node / f"{name}.stdout.txt",
            self._logs / "user/stderr" / self._node / f"{name}.stderr.txt",
            Path(self.entry_logs) / f"{name}.log.txt",
        ]
        self._workers[name] = tuple(_Growing(path, self._limits) for path in paths)
        return _open_to_append(paths[0]), _open_to_append(paths[1])

    def last_words(self, name: str) -> str:
        """What Python's fault handler has written to a worker's stderr, if it was the last thing there."""
        path = self._logs / "user/stderr" / self._node / f"{name}.stderr.txt"
        try:
            with open(path, "rb") as file:
                file.seek(max(os.fstat(file.fileno()).st_size - _LAST_WORDS_BYTES, 0))
                text = file.read().decode(errors="backslashreplace")
        except OSError:
            return ""
        at = text.rfind("Fatal Python error")
        return text[at:] if at >= 0 else ""

    def end_worker(self, name: str) -> None:
        """A worker has ended: look at its files once more."""
        for file in self._workers.pop(name, ()):
            file.cut()
            if self._ship:
                self._ended.append(file)

    def write_error(self, name: str, what: str, traceback: str) -> None:
        """Say in the worker's error file and in the summary what its script did wrong."""
        self._append(f"user/error/{self._node}/{name}.txt", f"{what}\n{traceback}".rstrip("\n") + "\n\n")
        self._append("user/error.txt", f"{self._node} {name}: {what}\n")

    def write_main(self, level: str, text: str) -> None:
        """One line about what the instance does."""
        line = f"{_stamp()}|{level}|{os.getpid()}|{threading.get_native_id()}|{text}\n"
        self._append(f"sys/node/{self._node}/_main.txt", line)

    def look(self) -> None:
        """Cut what has grown too long."""
        for files in self._workers.values():
            for file in files:
                file.cut()

    def take_shipment(self) -> tuple[tuple[str, bytes], ...]:
        """New text by path, for a driver that has these files elsewhere; a bounded amount at a time."""
        if not self._ship:
            return ()
        chunks: list[tuple[str, bytes]] = []
        room = _SHIPMENT_BYTES
        files = [*self._ended, *(file for files in self._workers.values() for file in files), *self._appended.values()]
        for file in files:
            data = file.take(min(_CHUNK_BYTES, room))
            if data:
                chunks.append((str(file.path.relative_to(self._logs)), data))
                room -= len(data)
        self._ended = [file for file in self._ended if file.has_more]
        return tuple(chunks)

    @property
    def has_more(self) -> bool:
        """Whether there is something to ship."""
        return self._ship and bool(self._ended or any(file.has_more for file in self._appended.values()))

    def _append(self, relative: str, text: str) -> None:
        file = self._appended.get(relative)
        if file is None:
            file = self._appended[relative] = _Appended(self._logs / relative, self._limits.error_log_bytes)
        file.append(text)


class _Shipped:
    """A file and how much of it was sent."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._sent = 0
        self.has_more = True

    def take(self, limit: int) -> bytes:
        if limit <= 0:
            return b""
        try:
            with open(self.path, "rb") as file:
                file.seek(self._sent)
                data = file.read(limit)
        except OSError:
            data = b""
        self._sent += len(data)
        self.has_more = len(data) == limit
        return data


class _Growing(_Shipped):
    """A file that a worker appends to."""

    def __init__(self, path: Path, limits: Limits) -> None:
        super().__init__(path)
        self._head, self._tail = limits.log_head_bytes, limits.log_tail_bytes
        self._left_out = 0

    def cut(self) -> None:
        """Keep the begin and the end of a file that is too long; writers append, so they go on after the new end."""
        try:
            size = os.stat(self.path).st_size
            if size <= self._head + 2 * self._tail:
                return
            self._cut(size)
        except OSError:
            return  # the script has removed it, or the disk is full, which others will tell
        # What was cut away after it was sent is sent again as the new end.
        self._sent = min(self._sent, self._head)

    def _cut(self, size: int) -> None:
        with open(self.path, "r+b") as file:
            file.seek(size - self._tail)
            tail = file.read(self._tail)
            file.truncate(self._head)
        self._left_out += size - self._head - len(tail)
        notice = f"\n... about {self._left_out} bytes left out: one worker's log keeps its begin and its end ...\n"
        with open(self.path, "ab") as end:
            end.write(notice.encode() + tail)


class _Appended(_Shipped):
    """A file that the instance itself appends to, up to a bound."""

    def __init__(self, path: Path, limit: int) -> None:
        super().__init__(path)
        self._room = limit
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError:
            self._room = 0

    def append(self, text: str) -> None:
        if self._room <= 0:
            return
        data = text.encode("utf-8", "backslashreplace")
        self._room -= len(data)
        if self._room <= 0:
            data += b"... this file is full; what follows is in the failures of the job ...\n"
        try:
            with open(self.path, "ab") as file:
                file.write(data)
        except OSError:
            return  # a log that cannot be written is no reason to end a job
        self.has_more = True


def _open_to_append(path: Path) -> int:
    try:
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
    except OSError:  # a disk that is full fails what needs it, not what only talks
        return os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)


def _stamp() -> str:
    now = time.time()
    return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(now)) + f",{int(now % 1 * 1000):03d}"
