"""The file that becomes a part: workers append whole Parquet files to it, and its footer later says which count.

What is encoded is written once and never copied. Each append is one write at the end of the file, so the workers of an
instance need no agreement; what a worker that died has left there is not named by any footer and harmless.
"""

from __future__ import annotations

import os
from pathlib import Path

from runner.dataset.storage import telling


class Payload:
    """A worker's way to the payload of one lease; the file is made by the first append of any worker."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._fd = -1

    def append(self, data: memoryview) -> int:
        """Append all of `data` in one piece and return its offset. Raises StorageFailed."""
        with telling(self.path, "results cannot be written"):
            if self._fd < 0:
                self._fd = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
            while os.write(self._fd, data) != len(data):
                pass  # cut short, and another worker may have written since: all of it again, or the disk's own error
            return os.lseek(self._fd, 0, os.SEEK_CUR) - len(data)

    def __del__(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
