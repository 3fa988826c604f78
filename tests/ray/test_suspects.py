"""A mini-batch that takes its whole instance down is found and set aside; the others pay nothing for it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from cli_kit import Bench


@pytest.fixture
def bench(tmp_path: Path, home: Path) -> Iterator[Bench]:
    """A folder to write a job in, outside the home."""
    made = Bench(tmp_path / "work", home)
    yield made
    made.close()


def test_a_mini_batch_that_takes_its_instance_down_is_charged_and_no_other_is(bench: Bench) -> None:
    bench.script(
        "import os, signal, signs, time\n"
        "def run(mini_batch):\n"
        "    name = os.path.basename(mini_batch[0])\n"
        "    if name == '005.txt':\n"
        "        signs.note('runs', name)\n"
        "        time.sleep(1.0)\n"  # so that a heartbeat tells of it
        "        os.kill(os.getppid(), signal.SIGKILL)\n"
        "    return [name]\n"
    )
    names = bench.files(12)
    job = bench.job(compute=None, max_concurrency_per_instance=1)
    # Four instances are started one after the other.
    done = bench.start("submit", job, "--name", "probe").end(within=270.0).ok()
    assert bench.target.read_text().split() == [name for name in names if name != "005.txt"]
    shown = bench.show()
    assert (shown["failed_mini_batch_count"], shown["failed_item_count"]) == (1, 1)
    assert "1 failed (crash 1)" in done.err
    # Once or, when no heartbeat told of it in time, a little more often beside others; then twice alone.
    assert 3 <= len(bench.notes("runs")) <= 6
