"""The one place where the driver of a pipeline waits, and the threads that work for it."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from runner.pipeline.watch import Hands, Watch
from runner.schedule.cancel import Cancel
from runner.store.lock import JobLock

LONG_S = 30.0


@pytest.fixture
def watch() -> Iterator[Watch]:
    made = Watch()
    yield made
    made.close()


def test_what_threads_tell_is_called_in_their_order_by_the_one_who_waits(watch: Watch) -> None:
    heard: list[tuple[int, int]] = []

    def talk() -> None:
        for number in range(100):
            watch.tell(lambda n=number: heard.append((n, threading.get_ident())))

    talker = threading.Thread(target=talk)
    talker.start()
    while len(heard) < 100:
        watch.wait(LONG_S)
    talker.join()
    assert heard == [(number, threading.get_ident()) for number in range(100)]


def test_a_wait_ends_when_nothing_happens(watch: Watch) -> None:
    watch.wait(0.0)


def test_the_end_of_a_process_is_told_once_and_its_descriptor_closed(watch: Watch) -> None:
    process = subprocess.Popen(["sleep", "1000"])
    descriptor = os.pidfd_open(process.pid)
    ends: list[int] = []
    watch.on_process_end(descriptor, lambda: ends.append(descriptor))
    watch.wait(0.0)
    assert ends == []
    process.send_signal(signal.SIGKILL)
    watch.wait(LONG_S)
    process.wait()
    watch.wait(0.0)
    assert ends == [descriptor]
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)


def test_a_lock_that_gets_free_is_told_and_one_that_is_not_there_is_free(watch: Watch, tmp_path: Path) -> None:
    heard: list[str] = []
    lock = JobLock.take(tmp_path / "lock")
    assert lock is not None
    watch.on_lock_free(tmp_path / "lock", lambda: heard.append("held"))
    watch.on_lock_free(tmp_path / "missing", lambda: heard.append("missing"))
    watch.wait(LONG_S)
    assert heard == ["missing"]
    lock.release()
    watch.wait(LONG_S)
    assert heard == ["missing", "held"]
    again = JobLock.take(tmp_path / "lock", wait_s=LONG_S)
    assert again is not None, "who waited for the lock does not keep it"
    again.release()


def test_a_cancel_is_told_once(watch: Watch) -> None:
    cancel, heard = Cancel(), list[str]()
    watch.on_cancel(cancel, lambda: heard.append("cancel"))
    cancel.set()
    watch.wait(LONG_S)
    cancel.set()
    watch.wait(0.0)
    assert heard == ["cancel"]


def test_what_is_told_after_the_end_is_lost_without_harm() -> None:
    watch = Watch()
    watch.close()
    watch.tell(lambda: pytest.fail("nobody waits any more"))


def test_hands_do_what_is_urgent_first_and_outlive_a_mistake(caplog: pytest.LogCaptureFixture) -> None:
    hands, done, has_begun, may_go = Hands(1), list[str](), threading.Event(), threading.Event()
    ended = threading.Event()

    def hold() -> None:
        has_begun.set()
        may_go.wait(LONG_S)

    def fail() -> None:
        raise ValueError("a mistake")

    hands.give(hold)
    assert has_begun.wait(LONG_S)
    for name in ("first", "second"):
        hands.give(lambda n=name: done.append(n))
    hands.give(ended.set)
    hands.give(lambda: done.append("urgent"), is_urgent=True)
    hands.give(fail, is_urgent=True)
    may_go.set()
    assert ended.wait(LONG_S)
    hands.close()
    assert done == ["urgent", "first", "second"]
    assert "a mistake" in caplog.text
