"""A nursery forks drivers that are on their own, tells which process each is, and ends with whoever started it."""

from __future__ import annotations

import os
import select
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from runner.errors import StorageFailed
from runner.pipeline.nursery import Nursery

PROGRAM = """\
import os, sys, time, threading
from pathlib import Path
from runner.pipeline.nursery import nurse

folder = Path(sys.argv[1])

def drive(job):
    print("said by", job)
    sys.stderr.write(f"told by {job}\\n")
    facts = [os.getpid(), os.getsid(0), os.getppid(), threading.active_count(), len(os.listdir("/proc/self/fd")) - 1]
    (folder / f"{job}.new").write_text(" ".join(map(str, facts)))
    (folder / f"{job}.new").rename(folder / f"{job}.began")
    if job.startswith("bad"):
        raise ValueError(job)
    while job.startswith("held") and not (folder / f"{job}.go").exists():
        time.sleep(0.005)
    return 0

sys.exit(nurse(int(sys.argv[2]), drive))
"""


class Room:
    """A nursery and the folder in which its children leave their signs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        command = [sys.executable, "-P", "-c", PROGRAM, str(folder)]
        self.nursery = Nursery(command, {**os.environ, "RUNNER_HOME": str(folder)})

    def fork(self, job: str) -> int:
        return self.nursery.fork(job, self.folder / f"{job}.log")

    def facts(self, job: str) -> tuple[int, ...]:
        path = self.folder / f"{job}.began"
        until(path.exists, f"the beginning of {job}")
        return tuple(map(int, path.read_text().split()))

    def go(self, job: str) -> None:
        (self.folder / f"{job}.go").touch()


def until(condition: Callable[[], bool], what: str, within: float = 30.0) -> None:
    end = time.monotonic() + within
    while not condition():
        assert time.monotonic() < end, f"waited in vain for {what}"
        time.sleep(0.005)


def has_ended(descriptor: int, within: float = 0.0) -> bool:
    return bool(select.select([descriptor], [], [], within)[0])


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Room]:
    made = Room(tmp_path)
    made.nursery.open()
    yield made
    made.nursery.close()


def test_a_child_leads_a_session_and_has_one_thread_and_no_descriptor_but_its_own(room: Room) -> None:
    others = [room.fork(f"held{number}") for number in range(3)]
    descriptor = room.fork("one")
    assert has_ended(descriptor, 30.0)
    pid, session, parent, thread_count, descriptor_count = room.facts("one")
    assert session == pid
    assert parent == room.nursery.pid
    assert thread_count == 1
    assert descriptor_count == 3, "standard input, output and error"
    assert (room.folder / "one.log").read_text() in ("said by one\ntold by one\n", "told by one\nsaid by one\n")
    for number, other in enumerate(others):
        assert not has_ended(other)
        room.go(f"held{number}")
        assert has_ended(other, 30.0)


def test_an_error_of_a_driver_goes_to_its_log_and_not_to_the_nursery(room: Room) -> None:
    assert has_ended(room.fork("bad"), 30.0)
    assert "ValueError: bad" in (room.folder / "bad.log").read_text()
    assert has_ended(room.fork("good"), 30.0)
    assert room.facts("good")[2] == room.nursery.pid


def test_ended_children_are_reaped(room: Room) -> None:
    for number in range(5):
        assert has_ended(room.fork(f"job{number}"), 30.0)
    children = Path(f"/proc/{room.nursery.pid}/task/{room.nursery.pid}/children")
    until(lambda: not children.read_text().split(), "the end of the zombies")


def test_a_log_that_cannot_be_written_is_told_and_the_nursery_goes_on(room: Room) -> None:
    with pytest.raises(StorageFailed, match="no driver could be started"):
        room.nursery.fork("one", room.folder / "no" / "such" / "folder.log")
    assert has_ended(room.fork("two"), 30.0)


def test_drivers_outlive_the_nursery_which_ends_when_the_other_end_closes(room: Room) -> None:
    descriptor = room.fork("held")
    pid = room.facts("held")[0]
    nursery = room.nursery.pid
    room.nursery.close()
    assert not is_alive(nursery)
    assert is_alive(pid)
    assert not has_ended(descriptor)
    room.go("held")
    assert has_ended(descriptor, 30.0)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_signals_that_end_a_terminal_session_do_not_end_the_nursery(room: Room, number: signal.Signals) -> None:
    assert has_ended(room.fork("one"), 30.0)
    nursery = room.nursery.pid
    os.kill(nursery, number)
    assert has_ended(room.fork("two"), 30.0)
    assert room.nursery.pid == nursery


def test_a_killed_nursery_is_replaced_and_its_drivers_are_still_heard_of(room: Room) -> None:
    descriptor = room.fork("held")
    room.facts("held")
    first = room.nursery.pid
    os.kill(first, signal.SIGKILL)
    assert has_ended(room.fork("next"), 30.0)
    assert room.facts("next")[2] == room.nursery.pid != first
    assert not has_ended(descriptor)
    room.go("held")
    assert has_ended(descriptor, 30.0)
