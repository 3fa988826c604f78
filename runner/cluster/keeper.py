"""The keeper of an embedded Ray: `python -m runner.cluster.keeper FOLDER`, in a session of its own.

It starts Ray, writes its address, and waits until no driver holds the folder's lock; then it ends Ray and goes.
Drivers only hold a lock, so killing any of them takes Ray from nobody and leaves nothing behind. When the keeper itself
is killed, `ray start` dies with it by PDEATHSIG, Ray's own processes with that, and the next joiner sweeps the rest.

It does not import ray: `ray start` is a child, so the keeper stays small and outlives whatever happens in there.
"""

from __future__ import annotations

import logging
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from types import FrameType

from runner.cluster.folder import MARK, TEMP_PREFIX, FileLock, KeeperFolder, KeeperRecord, sweep_temp_dirs
from runner.cluster.machine import count_cores
from runner.cluster.processes import dying_with, read_boot, start_time_of

NODE_ADDRESS = "127.0.0.2"
"""Loopback, whatever networks come and go. Not 127.0.0.1: Ray replaces that by the machine's outer address."""

OBJECT_STORE_BYTES = 100_000_000
START_LIMIT_S = 60.0
STOP_LIMIT_S = 5.0
STEP_S = 0.05

log = logging.getLogger(__name__)


class RayDied(Exception):
    """`ray start` ended by itself; what it said is in ray.log."""


class Keeper:
    """One embedded Ray, from start to end."""

    def __init__(self, folder: KeeperFolder) -> None:
        self._folder = folder
        self._lock = FileLock(folder.lock)
        self._temp_dir = tempfile.mkdtemp(prefix=TEMP_PREFIX, dir="/tmp")  # short, so not below RUNNER_HOME
        self._record = KeeperRecord(
            pid=os.getpid(),
            start_time=start_time_of(os.getpid()),
            temp_dir=self._temp_dir,
            python=sys.executable,
            ray=version("ray"),
            boot=read_boot(),
        )
        self._ray: subprocess.Popen[bytes] | None = None
        self._asked_to_end = False

    def run(self) -> int:
        """Keep Ray until nobody needs it; 0 when it ended in order."""
        signal.signal(signal.SIGTERM, self._on_signal)
        signal.signal(signal.SIGINT, self._on_signal)
        self._folder.write_record(self._record)
        self._folder.write_token(secrets.token_hex(32))
        try:
            address = self._start_ray()
            self._folder.write_address(address)
            sweep_temp_dirs()
            log.info("Ray is ready at %s, its files are in %s", address, self._temp_dir)
            self._wait_until_unused()
            return 0
        except RayDied as error:
            log.error("%s", error)
            return 1
        finally:
            self._end_ray()

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._asked_to_end = True

    def _start_ray(self) -> str:
        """Start Ray and give its address."""
        with open(self._folder.ray_log, "wb") as output:
            self._ray = subprocess.Popen(
                ray_command(self._temp_dir, count_cores()),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd="/",
                env=ray_environment(os.environ, self._folder.token, self._temp_dir),
                preexec_fn=dying_with(os.getpid()),
            )
        if address := self._await_address(self._ray):
            return address
        raise RayDied(f"`ray start` did not get ready; see {self._folder.ray_log}")

    def _await_address(self, ray: subprocess.Popen[bytes]) -> str:
        """The address, which Ray writes into its folder once everything runs; empty when it ended before."""
        written = Path(self._temp_dir, "ray_current_cluster")
        deadline = time.monotonic() + START_LIMIT_S
        while ray.poll() is None and time.monotonic() < deadline and not self._asked_to_end:
            if written.exists() and (address := written.read_text().strip()):
                return address
            time.sleep(STEP_S / 5)
        return ""

    def _wait_until_unused(self) -> None:
        """Return with the exclusive lock, once no driver holds a share; one that comes now waits for a new Ray."""
        assert self._ray is not None
        while not self._asked_to_end and not self._lock.take(shared=False):
            if self._ray.poll() is not None:
                raise RayDied(f"Ray ended with {self._ray.returncode}; see {self._folder.ray_log} and {self._temp_dir}")
            time.sleep(STEP_S)

    def _end_ray(self) -> None:
        self._folder.address.unlink(missing_ok=True)  # first, so that nobody joins what is about to end
        if self._ray is not None and self._ray.poll() is None:
            self._ray.terminate()
            try:
                self._ray.wait(STOP_LIMIT_S)
            except subprocess.TimeoutExpired:
                log.warning("`ray start` did not end within %g s and is killed", STOP_LIMIT_S)
        self._record.bury()
        self._folder.record.unlink(missing_ok=True)
        log.info("Ray has ended")
        self._lock.release()


def ray_command(temp_dir: str, cores: int) -> list[str]:
    """`ray start` with nothing that this runner does not need."""
    return [
        sys.executable,
        "-m",
        "runner.cluster.head",
        "start",
        "--head",
        "--block",
        f"--node-ip-address={NODE_ADDRESS}",
        "--port=0",
        f"--num-cpus={cores}",
        "--include-dashboard=false",
        "--include-log-monitor=false",
        "--no-monitor",
        "--disable-usage-stats",
        f"--object-store-memory={OBJECT_STORE_BYTES}",
        f"--temp-dir={temp_dir}",
    ]


def ray_environment(environment: Mapping[str, str], token: Path, temp_dir: str) -> dict[str, str]:
    """The environment of the embedded Ray: no settings meant for another one, no proxies, a token of its own."""
    kept = {
        name: value
        for name, value in environment.items()
        if not name.startswith("RAY_") and not name.lower().endswith("_proxy")
    }
    return kept | {
        MARK: temp_dir,
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(token),
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_memory_monitor_refresh_ms": "0",  # the instance watches memory itself
    }


def main() -> int:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    return Keeper(KeeperFolder(Path(sys.argv[1]))).run()


if __name__ == "__main__":
    sys.exit(main())
