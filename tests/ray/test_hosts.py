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
from pathlib import Path

import pytest
from cli_kit import RUNNER, Bench, until

HEAD, OTHER = "10.231.77.1", "10.231.77.2"
PORT = 6399
HASTY = {
    # Ray takes half a minute to believe that a node is gone; here two seconds do.
    "RAY_health_check_initial_delay_ms": "500",
    "RAY_health_check_period_ms": "500",
    "RAY_health_check_timeout_ms": "500",
    "RAY_health_check_failure_threshold": "3",
}
SCRIPT = """\
import os, time, signs
def run(mini_batch):
    signs.give("rank" + os.environ["AZUREML_CR_NODE_RANK"])
    time.sleep(0.1)
    return [os.path.basename(path) for path in mini_batch]
"""


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

    def start(self, host: str, *words: str) -> None:
        """Start a Ray node and wait until it says that it runs."""
        talk = self.folder / f"{host}.talk"
        ray = [str(Path(sys.executable).with_name("ray")), "start", "--block", "--num-cpus=1"]
        with open(talk, "wb") as out:
            node = subprocess.Popen(
                self.inside(host, *ray, "--object-store-memory=80000000", *words),
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


@pytest.fixture
def hosts() -> Iterator[Hosts]:
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
        made.start("other", f"--address={HEAD}:{PORT}", f"--node-ip-address={OTHER}")
        yield made
    finally:
        made.close()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def bench(tmp_path: Path, home: Path) -> Bench:
    return Bench(tmp_path / "work", home)


def test_a_host_that_is_cut_off_costs_its_leases_and_nothing_else(hosts: Hosts, bench: Bench) -> None:
    bench.script(SCRIPT)
    names = bench.files(120)
    job = bench.job(compute=None, resources={"instance_count": 2}, max_concurrency_per_instance=1)
    going = subprocess.Popen(
        hosts.inside("head", *RUNNER, "submit", str(job), "--name", "probe"),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**hosts.environment, "RUNNER_HOME": str(bench.home), "RAY_ADDRESS": f"{HEAD}:{PORT}"},
        cwd=bench.folder,
    )
    try:
        until(lambda: bench.is_given("rank0") and bench.is_given("rank1"), what="work on both hosts")
        hosts.pull()
        said, _ = going.communicate(timeout=60)
    finally:
        going.kill()
        going.wait()
    assert going.returncode == 0, said
    assert bench.target.read_text().split() == names
    assert " is lost: instance " in (bench.logs() / "sys" / "driver.txt").read_text()
