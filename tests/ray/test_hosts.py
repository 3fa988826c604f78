"""A Ray cluster of two hosts on one machine, whose cable is pulled."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli_kit import RUNNER, Bench, until
from ray_hosts import HEAD, PORT, Hosts, two_hosts

SCRIPT = """\
import os, time, signs
def run(mini_batch):
    signs.give("rank" + os.environ["AZUREML_CR_NODE_RANK"])
    time.sleep(0.1)
    return [os.path.basename(path) for path in mini_batch]
"""


@pytest.fixture
def hosts() -> Iterator[Hosts]:
    with two_hosts() as made:
        yield made


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
