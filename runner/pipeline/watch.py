"""Where the driver of a pipeline waits: for the ends of other drivers, for its own threads, for a request to cancel.

The end of a driver that this process has started is told by the descriptor of the process; that of any other by its
job's lock, for which a thread waits in the kernel. Nothing is looked at again and again.
"""

from __future__ import annotations

import fcntl
import itertools
import logging
import os
import queue
import selectors
import threading
from collections.abc import Callable
from pathlib import Path

from runner.schedule.cancel import Cancel

log = logging.getLogger(__name__)

News = Callable[[], None]


class Watch:
    """One place to wait at. Other threads `tell` it what is to be called in the thread that waits."""

    def __init__(self) -> None:
        self._news: queue.SimpleQueue[News] = queue.SimpleQueue()
        self._wake, self._woken = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._wake, selectors.EVENT_READ)
        self._ends: dict[int, News] = {}
        self._mutex = threading.Lock()
        self._is_closed = False

    def tell(self, news: News) -> None:
        """Have `news` called in the thread that waits; from any thread."""
        self._news.put(news)
        with self._mutex:
            if not self._is_closed:
                try:
                    os.write(self._woken, b"!")
                except BlockingIOError:
                    pass  # it is full of bells already

    def on_process_end(self, descriptor: int, news: News) -> None:
        """Have `news` called when the process of a descriptor has ended; the descriptor is closed then."""
        self._ends[descriptor] = news
        self._selector.register(descriptor, selectors.EVENT_READ)

    def on_cancel(self, cancelled: Cancel, news: News) -> None:
        """Have `news` called, once, when a cancel was asked for."""

        def pass_on() -> None:
            self._selector.unregister(cancelled)
            news()

        self._selector.register(cancelled, selectors.EVENT_READ, pass_on)

    def on_lock_free(self, path: Path, news: News) -> None:
        """Have `news` called when nobody holds a lock any more; a thread waits for it."""
        threading.Thread(
            target=self._await_lock, args=(path, news), name=f"lock {path.parent.name}", daemon=True
        ).start()

    def _await_lock(self, path: Path, news: News) -> None:
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            pass  # then nobody can hold it
        else:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_SH)
            finally:
                os.close(descriptor)
        self.tell(news)

    def wait(self, at_most_s: float | None) -> None:
        """Wait until something happens, and call what was told, in order."""
        for key, _ in self._selector.select(at_most_s):
            if key.fd == self._wake:
                os.read(self._wake, 4096)
            elif key.fd in self._ends:
                self._selector.unregister(key.fd)
                os.close(key.fd)
                self._ends.pop(key.fd)()
            else:
                key.data()
        while True:
            try:
                news = self._news.get_nowait()
            except queue.Empty:
                return
            news()

    def close(self) -> None:
        """Wait no more. What is told from now on is lost."""
        with self._mutex:
            self._is_closed = True
            self._selector.close()
            for descriptor in (self._wake, self._woken, *self._ends):
                os.close(descriptor)


class Hands:
    """Threads for what takes its time: reading trees of files, copying code. They hold up no end of the process."""

    def __init__(self, count: int) -> None:
        self._work: queue.PriorityQueue[tuple[int, int, News | None]] = queue.PriorityQueue()
        self._numbers = itertools.count()
        self._count = count
        for number in range(count):
            threading.Thread(target=self._run, name=f"hand {number}", daemon=True).start()

    def give(self, work: News, *, is_urgent: bool = False) -> None:
        """Have `work` done, in the order given but what is urgent first."""
        self._work.put((not is_urgent, next(self._numbers), work))

    def _run(self) -> None:
        while (work := self._work.get()[2]) is not None:
            try:
                work()
            except Exception:  # whoever gives work has it tell how it ended; this thread must go on
                log.exception("defect")

    def close(self) -> None:
        """Take no more work; what goes on is not waited for."""
        for _ in range(self._count):
            self._work.put((-1, next(self._numbers), None))
