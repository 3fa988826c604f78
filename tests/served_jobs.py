"""A home with something to submit in it, a service over it, and a hand that does what a driver does to the store."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from runner.entity.job import JobError
from runner.entity.status import JobStatus
from runner.server.server import Server
from runner.store.home import Home
from runner.store.lock import JobLock
from runner.store.store import Store

TO_RUNNING = (JobStatus.PREPARING, JobStatus.QUEUED, JobStatus.RUNNING)
TO_THE_END = (*TO_RUNNING, JobStatus.FINALIZING, JobStatus.COMPLETED)


def write_job(folder: Path, **more: Any) -> dict[str, Any]:
    """Code and data in `folder`, and the document of a job that scores them into `folder/out/scores.txt`."""
    (folder / "code").mkdir(parents=True, exist_ok=True)
    (folder / "code" / "score.py").write_text("def run(mini_batch):\n    return mini_batch\n")
    (folder / "data").mkdir(exist_ok=True)
    (folder / "data" / "a.txt").write_text("a")
    document: dict[str, Any] = {
        "type": "parallel",
        "compute": "local",
        "inputs": {"cargo": {"type": "uri_folder", "path": str(folder / "data")}},
        "outputs": {"scores": {"type": "uri_file", "path": str(folder / "out" / "scores.txt")}},
        "input_data": "${{inputs.cargo}}",
        "mini_batch_size": "1",
        "task": {
            "type": "run_function",
            "code": str(folder / "code"),
            "entry_script": "score.py",
            "append_row_to": "${{outputs.scores}}",
        },
    }
    return document | more


class Hand:
    """Drives one job by hand: holds its lock and moves it on."""

    def __init__(self, home: Home, name: str) -> None:
        self.name = name
        self.folder = home.job(name)
        lock = JobLock.take(self.folder.lock, wait_s=2)
        assert lock is not None
        self.lock = lock
        self.store = Store(home)
        self.store.beat(name, host="here", driver_pid=4242)

    def move(self, *statuses: JobStatus, error: JobError | None = None) -> None:
        for status in statuses:
            self.store.move(self.name, status, error=error)

    def print(self, text: str, worker: str = "process000") -> None:
        """What the entry script of a worker prints."""
        log = self.folder.logs / "user" / "stdout" / "node0" / f"{worker}.stdout.txt"
        log.parent.mkdir(parents=True, exist_ok=True)
        with open(log, "a") as file:
            file.write(text)

    def publish(self, text: str) -> None:
        """Put the output where the job wants it."""
        path = Path(self.store.get(self.name).outputs[0].path)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def die(self) -> None:
        """Let go of the lock, as the kernel does for a driver that was killed."""
        self.lock.release()
        self.store.close()

    def complete(self, text: str = "scored\n") -> None:
        self.publish(text)
        self.move(*TO_THE_END)
        self.die()


@contextmanager
def serving(home: Home, launched: list[str], **options: Any) -> Iterator[str]:
    """A service over `home` in a thread of its own; its address."""
    ready = threading.Event()
    told: dict[str, Any] = {}

    async def run() -> None:
        server = Server(home, launched.append, **options)
        told["address"] = await server.start()
        told["loop"], told["stop"] = asyncio.get_running_loop(), asyncio.Event()
        ready.set()
        await told["stop"].wait()
        await server.stop(grace_s=0.2)

    def body() -> None:
        try:
            asyncio.run(run())
        except BaseException as error:  # noqa: BLE001 - raised again in the thread of the test
            told["error"] = error
        finally:
            ready.set()

    thread = threading.Thread(target=body, name="service")
    thread.start()
    ready.wait()
    try:
        if "loop" in told:
            yield told["address"]
    finally:
        if "loop" in told:
            told["loop"].call_soon_threadsafe(told["stop"].set)
        thread.join()
        if "error" in told:
            raise told["error"]
