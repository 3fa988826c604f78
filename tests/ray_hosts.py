"""A Ray cluster of two hosts on one machine: network namespaces joined by a cable that can be pulled."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from cli_kit import until

HEAD, OTHER = "10.231.77.1", "10.231.77.2"
PORT = 6399
HASTY = {
    # Ray takes half a minute to believe that a node is gone; here two seconds do.
    "RAY_health_check_initial_delay_ms": "500",
    "RAY_health_check_period_ms": "500",
    "RAY_health_check_timeout_ms": "500",
    "RAY_health_check_failure_threshold": "3",
}


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


class Hosts:
    """Two namespaces, `head` and `other`, each with its end of a cable; a folder, which both see, for Ray."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.mark = secrets.token_hex(2)
        self.environment = {
            **os.environ,
            **HASTY,
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN_PATH": str(folder / "token"),
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_memory_monitor_refresh_ms": "0",
        }
        (folder / "token").write_text(secrets.token_hex(32))
        self._nodes: list[subprocess.Popen[bytes]] = []

    def space(self, host: str) -> str:
        return f"runner-{self.mark}-{host}"

    def cable(self, host: str) -> str:
        return f"rn{self.mark}{host[0]}"

    def make(self) -> None:
        for host in ("head", "other"):
            ip("netns", "add", self.space(host))
        ip("link", "add", self.cable("head"), "type", "veth", "peer", "name", self.cable("other"))
        for host, address in (("head", HEAD), ("other", OTHER)):
            ip("link", "set", self.cable(host), "netns", self.space(host))
            ip("-n", self.space(host), "addr", "add", f"{address}/24", "dev", self.cable(host))
            for link in ("lo", self.cable(host)):
                ip("-n", self.space(host), "link", "set", link, "up")

    def inside(self, host: str, *words: str) -> list[str]:
        """A command line as seen from that host."""
        return ["ip", "netns", "exec", self.space(host), *words]

    def start(self, host: str, *words: str, before: tuple[str, ...] = ()) -> None:
        """Start a Ray node and wait until it says that it runs; `before` goes in front of the command line."""
        talk = self.folder / f"{host}.talk"
        ray = [str(Path(sys.executable).with_name("ray")), "start", "--block", "--num-cpus=1"]
        with open(talk, "wb") as out:
            node = subprocess.Popen(
                self.inside(host, *before, *ray, "--object-store-memory=80000000", *words),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                env=self.environment,
                start_new_session=True,
            )
        self._nodes.append(node)
        until(lambda: "Ray runtime started" in talk.read_text() or node.poll() is not None)
        assert node.poll() is None, talk.read_text()

    def pull(self) -> None:
        """Cut the other host off."""
        ip("-n", self.space("other"), "link", "set", self.cable("other"), "down")

    def close(self) -> None:
        """End whatever runs in the namespaces, and remove them with the cable."""
        for host in ("head", "other"):
            pids = subprocess.run(
                ["ip", "netns", "pids", self.space(host)], capture_output=True, text=True, check=False
            )
            for pid in map(int, pids.stdout.split()):
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
        for node in self._nodes:
            node.wait()
        for host in ("head", "other"):
            subprocess.run(["ip", "netns", "del", self.space(host)], capture_output=True, check=False)


@contextmanager
def two_hosts(hidden: Path | None = None) -> Iterator[Hosts]:
    """Both hosts with a Ray node each; the other does not see what is in the folder `hidden`."""
    if os.geteuid() != 0 or shutil.which("ip") is None:
        pytest.skip("making network namespaces needs root and the ip command")
    folder = Path(tempfile.mkdtemp(prefix="rh-", dir="/tmp"))  # a socket's path has 107 bytes
    made = Hosts(folder)
    try:
        try:
            made.make()
        except subprocess.CalledProcessError as error:
            pytest.skip(f"network namespaces are not allowed here: {error.stderr.decode().strip()}")
        made.start(
            "head",
            "--head",
            f"--node-ip-address={HEAD}",
            f"--port={PORT}",
            f"--temp-dir={folder}",
            "--include-dashboard=false",
        )
        # `ip netns exec` has given it mounts of its own.
        hide = ("sh", "-c", f'mount -t tmpfs none {hidden} && exec "$0" "$@"') if hidden else ()
        made.start("other", f"--address={HEAD}:{PORT}", f"--node-ip-address={OTHER}", before=hide)
        yield made
    finally:
        made.close()
        shutil.rmtree(folder, ignore_errors=True)
