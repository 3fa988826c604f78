"""The share a pipeline has in the embedded Ray of its home: from its first step there to its end Ray stays.

Steps hold shares of their own while they run. Between two of them nobody would, and Ray would end and start again.
"""

from __future__ import annotations

import logging
import threading
from pathlib import Path

import msgspec

from runner.cluster.folder import FileLock, KeeperFolder
from runner.entity.command import CommandSpec
from runner.entity.parallel import ParallelSpec
from runner.schedule.rank_environment import needs_ray

log = logging.getLogger(__name__)

_DECODERS: dict[type[CommandSpec] | type[ParallelSpec], msgspec.json.Decoder[CommandSpec | ParallelSpec]] = {
    kind: msgspec.json.Decoder(kind) for kind in (CommandSpec, ParallelSpec)
}
"""Made here: msgspec crashes when two threads decode a type for the first time at once."""
ENDING_S = 60.0
"""How long a Ray that is just ending may take."""


def uses_embedded_ray(spec: CommandSpec | ParallelSpec) -> bool:
    """Whether a step runs on the embedded Ray of its home, and on no other."""
    if spec.ray_address is not None:
        return False
    return needs_ray(spec) if isinstance(spec, CommandSpec) else spec.compute != "local"


class RayShare:
    """Threads may share it. It never starts Ray."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._mutex = threading.Lock()
        self._lock: FileLock | None = None

    def take_for(self, spec_file: Path, kind: type[CommandSpec] | type[ParallelSpec]) -> None:
        """Take the share, if the step of this spec needs Ray and it was not taken yet."""
        spec = _DECODERS[kind].decode(spec_file.read_bytes())
        if not uses_embedded_ray(spec):
            return
        with self._mutex:
            if self._lock is not None:
                return
            try:
                self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
                lock = FileLock(KeeperFolder(self._folder).lock)
            except OSError as error:
                log.warning("Ray may end between steps: %s", error)
                return
            if lock.take(shared=True, within_s=ENDING_S):
                self._lock = lock
            else:
                lock.release()

    def release(self) -> None:
        """Let Ray end, if nobody else needs it."""
        with self._mutex:
            if self._lock is not None:
                self._lock.release()
                self._lock = None
