"""The folder in which the keeper of an embedded Ray and the drivers that use it meet.

Files: `lock` (drivers hold it shared while they need Ray; the keeper takes it exclusively to end), `start.lock`
(one joiner at a time starts a keeper), `keeper` (who keeps, as JSON), `token`, `address` (there while Ray is ready to
be joined), `keeper.log` and `ray.log`.

A keeper that was killed leaves `keeper` and `address` behind. Whoever joins next sees by pid and start time that it is
gone, kills what carries its mark, and removes what it left.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from runner.cluster.processes import has_variable, is_same_process, kill_all, read_boot

MARK = "RUNNER_RAY_FOLDER"
"""Environment variable that every process of an embedded Ray carries; its value is Ray's temporary folder."""


TEMP_PREFIX = "runner-ray-"


@dataclass(frozen=True, slots=True, kw_only=True)
class KeeperRecord:
    """Who keeps the Ray of this folder."""

    pid: int
    start_time: int
    temp_dir: str
    """Short, below /tmp: the path of a socket has 107 bytes."""
    python: str
    """The interpreter that Ray's workers run."""
    ray: str = ""
    boot: str = ""
    """The boot and the process namespace in which the pid means something."""

    @property
    def is_alive(self) -> bool:
        return is_same_process(self.pid, self.start_time)

    def kill_ray(self) -> None:
        """Kill every process of the Ray that is or was kept."""
        kill_all(self._is_of_ray)

    def bury(self) -> None:
        """Kill what runs and remove the temporary folder."""
        self.kill_ray()
        if Path(self.temp_dir).name.startswith(TEMP_PREFIX):
            shutil.rmtree(self.temp_dir, ignore_errors=True)

    def _is_of_ray(self, pid: int) -> bool:
        """Known by the mark, or, as Ray's Python processes write their title over it, by session and title."""
        if has_variable(pid, MARK, self.temp_dir):
            return True
        if os.getsid(pid) != self.pid:
            return False
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
        return command.startswith(b"ray::") or self.temp_dir.encode() in command


class KeeperFolder:
    """The paths, and how they are written so that nobody ever reads a half."""

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()
        self.lock = self.root / "lock"
        self.start_lock = self.root / "start.lock"
        self.record = self.root / "keeper"
        self.token = self.root / "token"
        self.address = self.root / "address"
        self.keeper_log = self.root / "keeper.log"
        self.ray_log = self.root / "ray.log"

    def read_record(self) -> KeeperRecord | None:
        return _read_record(self.record)

    def write_record(self, record: KeeperRecord) -> None:
        """Say who keeps Ray; also in the temporary folder, so that it can be buried when this folder is gone."""
        for path in (Path(record.temp_dir, "keeper"), self.record):
            self._write(path, json.dumps(asdict(record)), 0o600)

    def read_address(self) -> str:
        """Where Ray is ready; empty when it is not."""
        try:
            return self.address.read_text().strip()
        except OSError:
            return ""

    def write_address(self, address: str) -> None:
        self._write(self.address, address, 0o600)

    def write_token(self, token: str) -> None:
        self._write(self.token, token, 0o600)

    def clean(self) -> None:
        """Remove what a keeper that is no more left: processes, files in /tmp, address and record."""
        self.address.unlink(missing_ok=True)
        record = self.read_record()
        if record is not None:
            record.bury()
        self.record.unlink(missing_ok=True)

    @staticmethod
    def _write(path: Path, text: str, mode: int) -> None:
        fresh = path.with_name(f".{path.name}.{os.getpid()}")
        fresh.unlink(missing_ok=True)
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with open(descriptor, "w") as file:
            file.write(text)
        os.replace(fresh, path)


def sweep_temp_dirs() -> None:
    """Bury what killed keepers left that nobody has joined since, whichever RUNNER_HOME they were of."""
    for path in Path("/tmp").glob(f"{TEMP_PREFIX}*/keeper"):
        record = _read_record(path)
        is_ours = record is not None and path.lstat().st_uid == os.getuid() and record.boot == read_boot()
        if record is not None and is_ours and not record.is_alive:
            record.bury()


def _read_record(path: Path) -> KeeperRecord | None:
    try:
        return KeeperRecord(**json.loads(path.read_bytes()))
    except (OSError, ValueError, TypeError):
        return None


class FileLock:
    """A kernel lock on a file: gone with its holder, however that ends; not inherited by programs it starts."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def take(self, *, shared: bool, within_s: float = 0.0) -> bool:
        """Take the lock, or change it to the other kind; False when another holds it for too long."""
        deadline = time.monotonic() + within_s
        while True:
            try:
                fcntl.flock(self._descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
                return True
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    return False
                time.sleep(0.02)

    def release(self) -> None:
        """Let go, even of copies that a fork made. May be called twice."""
        if self._descriptor >= 0:
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)
            os.close(self._descriptor)
            self._descriptor = -1
