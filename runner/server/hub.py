"""Many watchers of many jobs over one store: one task polls, and every watcher is handed the newest state.

Nothing is queued: a topic holds the last state of its job, already encoded, and a watcher that was slow finds only
that. Polling is cheap because SQLite tells by one number whether anybody has written at all.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator

from runner.api.v1 import job_service_pb2
from runner.api.wire import job_to_wire
from runner.entity.job import JobState
from runner.errors import RunnerError, StoreBusy, TooManyWatchers
from runner.server.sight import is_over
from runner.server.watch import HEARTBEAT_S, LOOK_S, look, parse_cursor
from runner.store.store import Store

log = logging.getLogger(__name__)

POLL_S = 0.02
RETRY_S = 5.0


class Topic:
    """The newest state of one job, and those who wait for the next."""

    def __init__(self, job: JobState) -> None:
        self.watcher_count = 0
        self.is_over = False
        self.error: RunnerError | None = None
        self.changed = asyncio.Event()
        self.show(job)

    def has_news(self, seen: int) -> bool:
        """Whether there is more to tell than a heartbeat."""
        return self.error is not None or self.is_over or self.job.revision > seen

    def show(self, job: JobState) -> None:
        """Make `job` the newest state and wake those who wait."""
        self.job = job
        self.is_over = job.status.is_terminal  # a new run may have begun for who comes later
        self.reply = job_service_pb2.WatchJobResponse(
            job=job_to_wire(job), cursor=str(job.revision)
        ).SerializeToString()
        self.wake()

    def end(self) -> None:
        """End every watch: nothing changes any more."""
        self.is_over = True
        self.wake()

    def fail(self, error: RunnerError) -> None:
        """End every watch with an error."""
        self.error = error
        self.wake()

    def wake(self) -> None:
        """Wake those who wait; without news it is a heartbeat."""
        # Each waiter holds the event of the state that it has seen, so none can miss the next.
        self.changed.set()
        self.changed = asyncio.Event()


class Hub:
    """The topics that are watched now.

    `reader` belongs to the event loop and is only read from, so the loop never waits for a lock. What may write goes to
    `writer`, in a thread; its commits are news to the reader like those of any other process.
    """

    def __init__(self, reader: Store, writer: Store, *, limit: int, heartbeat_s: float = HEARTBEAT_S) -> None:
        self._reader, self._writer = reader, writer
        self._limit, self._heartbeat_s = limit, heartbeat_s
        self._topics: dict[str, Topic] = {}
        self._watcher_count = 0

    async def watch(self, name: str, cursor: str) -> AsyncGenerator[bytes, None]:
        """Encoded replies: the newest state after every change until the job has ended, heartbeats in between."""
        if self._watcher_count >= self._limit:
            raise TooManyWatchers(self._limit, RETRY_S)
        self._watcher_count += 1
        topic: Topic | None = None
        try:
            topic = await self._topic(name)
            topic.watcher_count += 1
            seen = parse_cursor(cursor, max(topic.job.revision, self._reader.revision()))
            while True:
                changed = topic.changed
                if topic.error is not None:
                    raise topic.error
                if topic.job.revision > seen:
                    seen = topic.job.revision
                    is_last = topic.is_over
                    yield topic.reply
                    if is_last:
                        return
                    continue  # the state may have moved on while the reply was sent
                if topic.is_over:
                    return
                await changed.wait()
                if not topic.has_news(seen):
                    yield job_service_pb2.WatchJobResponse(cursor=str(seen)).SerializeToString()
        finally:
            self._watcher_count -= 1
            if topic is not None:
                topic.watcher_count -= 1
                if topic.watcher_count == 0 and self._topics.get(name) is topic:
                    del self._topics[name]

    async def _topic(self, name: str) -> Topic:
        if name not in self._topics:
            job, over = await asyncio.to_thread(self._see, name)
            topic = Topic(job)
            topic.is_over = over
            self._topics.setdefault(name, topic)
        return self._topics[name]

    def _see(self, name: str) -> tuple[JobState, bool]:
        job = look(self._writer, name)
        return job, is_over(self._writer, job)

    async def poll(self) -> None:
        """Keep the topics up to date, for ever."""
        looked = beaten = time.monotonic()
        version = 0
        while True:
            await asyncio.sleep(POLL_S)
            if not self._topics:
                continue
            try:
                changed, version = self._reader.has_changed(version)
                if changed:
                    self._refresh()
                if time.monotonic() - beaten >= self._heartbeat_s:
                    beaten = time.monotonic()
                    for topic in self._topics.values():
                        topic.wake()
                if time.monotonic() - looked >= LOOK_S:
                    looked = time.monotonic()
                    await self._look()
            except StoreBusy as error:
                log.warning("watchers wait: %s", error)
            except Exception:  # one bad look must not end all watches
                log.exception("the poll of the watched jobs failed")

    def _refresh(self) -> None:
        """Show what has changed; only reads."""
        for name, revision in self._reader.revisions(self._topics).items():
            if revision > self._topics[name].job.revision and (job := self._reader.glance(name)) is not None:
                self._topics[name].show(job)

    async def _look(self) -> None:
        """What no writer tells of: silence, dead drivers, deleted jobs. May write, so it runs in a thread."""
        for name, topic in list(self._topics.items()):
            if topic.is_over or topic.error is not None:
                continue
            try:
                job, over = await asyncio.to_thread(self._see, name)
                if job.revision > topic.job.revision:
                    topic.show(job)
                if over:
                    topic.end()
            except StoreBusy:
                raise
            except RunnerError as error:
                topic.fail(error)
                if self._topics.get(name) is topic:
                    del self._topics[name]  # who watches from now on begins anew
