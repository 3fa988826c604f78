"""How much memory this machine has, or the cgroup of this process allows where that is less."""

from __future__ import annotations

import os
from pathlib import Path

_ROOT = Path("/sys/fs/cgroup")


def memory_bytes(root: Path = _ROOT, own: Path = Path("/proc/self/cgroup")) -> int:
    """Bytes that the processes here may use together."""
    least = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        line = next(line for line in own.read_text().splitlines() if line.startswith("0::"))
    except (OSError, StopIteration):
        return least
    below = line.removeprefix("0::").strip("/")
    folders = [root / below, *(root / below).parents]
    for folder in folders[: folders.index(root) + 1] if root in folders else [root]:
        try:
            least = min(least, int((folder / "memory.max").read_text()))
        except (OSError, ValueError):  # the root has no limit, and "max" is none
            continue
    return least
