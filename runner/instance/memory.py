"""Tells whether the kernel has killed something here for want of memory: by the cgroup's count, not by the signal."""

from __future__ import annotations

from collections import deque
from pathlib import Path

_ROOT = Path("/sys/fs/cgroup")


KEEP_S = 2.0
"""A kill that explains no worker's death for so long was another process's: one that a script had started."""


class OomWatch:
    """Counts out-of-memory kills in this process's cgroup, or as `file` has it."""

    def __init__(self, file: Path | None = None) -> None:
        self._file = file or _find_file()
        self._seen = self._count()
        self._open: deque[float] = deque()

    def look(self, now: float) -> None:
        """Note new kills, and forget those that are too old to explain a death."""
        count = self._count()
        self._open.extend([now] * (count - self._seen))
        self._seen = count
        while self._open and now - self._open[0] > KEEP_S:
            self._open.popleft()

    def has_killed(self, now: float) -> bool:
        """Whether there was a kill that no earlier answer has told of: each explains one death."""
        self.look(now)
        return bool(self._open) and self._open.popleft() <= now

    def _count(self) -> int:
        if self._file is None:
            return 0
        try:
            lines = self._file.read_text().splitlines()
        except OSError:
            return 0
        return next((int(line.split()[1]) for line in lines if line.startswith("oom_kill ")), 0)


def _find_file() -> Path | None:
    """Version 2: `memory.events`, version 1: `memory.oom_control`; inside a container the path may be cut."""
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return None
    for line in lines:
        _, controllers, path = line.split(":", 2)
        below = path.lstrip("/")
        if "memory" in controllers.split(","):
            places = [_ROOT / "memory" / below, _ROOT / "memory"]
            name = "memory.oom_control"
        elif not controllers:
            places = [_ROOT / below, _ROOT / "unified" / below, _ROOT]
            name = "memory.events"
        else:
            continue
        for place in places:
            if (place / name).is_file():
                return place / name
    return None
