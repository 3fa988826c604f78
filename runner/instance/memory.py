"""Tells whether the kernel has killed something here for want of memory: by the cgroup's count, not by the signal."""

from __future__ import annotations

from pathlib import Path

_ROOT = Path("/sys/fs/cgroup")


class OomWatch:
    """Counts out-of-memory kills in this process's cgroup."""

    def __init__(self) -> None:
        self._file = _find_file()
        self._seen = self._count()

    def has_killed(self) -> bool:
        """Whether there was a kill that no earlier answer has told of: each explains one death."""
        if self._count() <= self._seen:
            return False
        self._seen += 1
        return True

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
