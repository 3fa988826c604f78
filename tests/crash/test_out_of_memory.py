"""Workers that the kernel ends for want of memory: told by the cgroup's count, and tried again alone before they are
charged. In processes of their own, in a memory cgroup that is made for the test."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from test_workers import wait_until


def limited_cgroup(limit_bytes: int) -> Path | None:
    """A memory cgroup below this process's own; None where that may not be made."""
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if "memory" in controllers.split(","):
            place, knob = Path("/sys/fs/cgroup/memory"), "memory.limit_in_bytes"
        elif not controllers:
            place, knob = Path("/sys/fs/cgroup"), "memory.max"
        else:
            continue
        group = place / path.lstrip("/") / f"runner-test-{os.getpid()}"
        try:
            group.mkdir()
            (group / knob).write_text(str(limit_bytes))
        except OSError:
            if group.exists():
                group.rmdir()
            continue
        return group
    return None


DRIVER = """
import os, sys
from pathlib import Path
tests, folder, group = sys.argv[1:]
Path(group, "cgroup.procs").write_text(str(os.getpid()))
sys.path.insert(0, tests)
from instance_runs import Run
run = Run(Path(folder), Path(folder, "script.py").read_text(), max_retries=0).finish()
"""

TOO_MUCH = "def run(batch): return [len(b'x' * (900 << 20))] if batch['id'][0] == 40 else [1]"
IS_CHARGED = """
(failure,) = run.failures
assert (failure.mini_batch, failure.cls, failure.exception_type) == (4, "crash", "OutOfMemory"), failure
assert failure.attempts == 1, "the first time is not charged"
assert len(run.lines) == 9
main = run.log("sys/node/node-000/_main.txt")
assert main.count("memory ran out") == 2, main
"""

BESIDE_OTHERS = """
import os, time
def run(batch):
    if batch["id"][0] == 0:
        while not os.path.exists("../side/neighbour"):
            time.sleep(0.01)
        with open("../side/eaters", "a") as file:
            file.write(f"{os.getpid()} ")
        return [len(b"x" * (380 << 20))]
    held = b"x" * (170 << 20)
    open("../side/neighbour", "w").close()
    while not os.path.exists("../side/eaters"):
        time.sleep(0.01)
    eater = open("../side/eaters").read().split()[0]
    while os.path.exists(f"/proc/{eater}/exe") and not os.path.exists("../side/over"):
        time.sleep(0.01)
    open("../side/over", "w").close()
    return [len(held)]
"""
SUCCEEDS_ALONE = """
assert run.failures == [], run.failures
assert len(run.lines) == 10
assert "mini-batch 0 is tried again while other workers rest" in run.log("sys/node/node-000/_main.txt")
assert len(Path(folder, "side/eaters").read_text().split()) == 2
"""


@pytest.mark.parametrize(
    ("script", "holds", "limit_mb"),
    [(TOO_MUCH, IS_CHARGED, 400), (BESIDE_OTHERS, SUCCEEDS_ALONE, 600)],
    ids=["too much", "too much beside others"],
)
def test_what_memory_does_not_suffice_for_is_tried_again_alone(
    tmp_path: Path, script: str, holds: str, limit_mb: int
) -> None:
    group = limited_cgroup(limit_mb << 20)
    if group is None:
        pytest.skip("no memory cgroup can be made here")
    try:
        (tmp_path / "driver.py").write_text(DRIVER + holds)
        (tmp_path / "script.py").write_text(script)
        tests = str(Path(__file__).parent.parent)
        subprocess.run([sys.executable, str(tmp_path / "driver.py"), tests, str(tmp_path), str(group)], check=True)
    finally:
        wait_until(lambda: not (group / "cgroup.procs").read_text(), "processes are left in the cgroup")
        group.rmdir()
