"""A signed lock names one process for ever: it can be killed by that name, and nobody else can."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from runner.store.holder import Holder, read_holder, this_process
from runner.store.lock import JobLock, is_held

SIGN = """
import sys
from pathlib import Path
from runner.store.lock import JobLock
lock = JobLock.take(Path(sys.argv[1]))
lock.sign()
print("signed", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "lock"


@pytest.fixture
def process(path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that holds the lock and has signed it."""
    command = [sys.executable, "-c", SIGN, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as made:
        assert made.stdout is not None
        assert made.stdout.readline() == b"signed\n"
        yield made
        made.kill()


def signed(path: Path) -> Holder:
    holder = read_holder(path)
    assert holder is not None
    return holder


def test_a_holder_is_killed_by_its_name_and_the_lock_is_free(path: Path, process: subprocess.Popen[bytes]) -> None:
    holder = signed(path)
    assert (holder.pid, holder.host, holder.is_here) == (process.pid, this_process().host, True)
    holder.kill()
    assert process.wait() == -9
    assert not is_held(path)
    holder.kill()  # it is gone: nothing happens


@pytest.mark.parametrize("change", [{"start_ticks": 1}, {"ids": "another boot"}])
def test_another_process_with_its_id_is_left_alone(
    path: Path, process: subprocess.Popen[bytes], change: dict[str, object]
) -> None:
    older = dataclasses.replace(signed(path), **change)  # type: ignore[arg-type] - a keyword chosen by the parameters
    older.kill()
    assert process.poll() is None
    assert is_held(path)


def test_a_new_holder_signs_over_a_longer_name(path: Path) -> None:
    path.write_text("x" * 1000)
    assert read_holder(path) is None
    with JobLock.take(path) or pytest.fail("the lock is taken") as lock:
        lock.sign()
        assert signed(path) == this_process()


def test_a_lock_that_nobody_signed_names_nobody(path: Path) -> None:
    assert read_holder(path) is None
    path.touch()
    assert read_holder(path) is None
