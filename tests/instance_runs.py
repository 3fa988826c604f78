"""A job of one instance, driven like a driver does it, for tests of workers and instances with real processes."""

from __future__ import annotations

import queue
import textwrap
import time
from collections.abc import Callable, Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any, Self

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from runner.dataset.saved_plan import save_plan
from runner.dataset.spool import RECORD
from runner.entity.lease import (
    Failure,
    Heartbeat,
    InitFailure,
    InstanceClosed,
    InstanceConfig,
    InstanceEvent,
    InstanceFailed,
    InstanceReady,
    Lease,
    LeaseCut,
    LeaseSplit,
    Report,
    Tally,
)
from runner.entity.parallel import MiniBatchSize, OutputSpec, ParallelSpec, SplitInput
from runner.instance.instance import Instance
from runner.instance.policy import Limits
from runner.plan.make import make_plan

WAIT_S = 60.0
QUICK = Limits(beat_s=0.05, hold_s=0.3, exit_s=2.0)


class Run:
    """A table of `rows` (columns id and x), or a folder of `files`, cut into mini-batches, and an instance for it."""

    def __init__(
        self,
        folder: Path,
        script: str,
        *,
        rows: int = 100,
        row_group: int = 50,
        files: int = 0,
        per: int = 10,
        workers: int = 2,
        output: str | None = "text",
        keep: tuple[str, ...] = (),
        limits: Limits = QUICK,
        code: dict[str, str] | None = None,
        gpu_ids: tuple[str, ...] = (),
        ship_logs: bool = False,
        **spec: Any,
    ) -> None:
        self.folder = folder
        self.code = folder / "code"
        for name in ("code", "staging", "side"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        for name, text in {"score.py": script, **(code or {})}.items():
            (self.code / name).parent.mkdir(parents=True, exist_ok=True)
            (self.code / name).write_text(textwrap.dedent(text))
        self._write_input(rows, row_group, files)
        target = OutputSpec(
            name="scores",
            target=str(folder / "out.txt"),
            is_folder=False,
            format=output or "text",  # type: ignore[arg-type] # by name
            keep_columns=keep,
        )
        self.spec = ParallelSpec(
            **{  # type: ignore[arg-type] # what a test overrides
                "name": "job-of-test",
                "entry_script": "score.py",
                "code": str(self.code),
                "inputs": (SplitInput(name="data", kind="files" if files else "table", path=str(folder / "input")),),
                "mini_batch_size": MiniBatchSize(kind="files" if files else "rows", value=per),
                "output": target if output else None,
                "worker_count": workers,
                "mini_batch_format": "numpy",
                **spec,
            }
        )
        self.plan = make_plan(self.spec)
        save_plan(self.plan, folder / "plan")
        self.events: list[InstanceEvent] = []
        self._queue: queue.SimpleQueue[InstanceEvent] = queue.SimpleQueue()
        self.config = InstanceConfig(
            instance=0,
            spec_json=msgspec.json.encode(self.spec),
            plan_path=str(folder / "plan"),
            worker_count=workers,
            scratch=str(folder / "scratch"),
            staging=str(folder / "staging") if output else None,
            logs=str(folder / "logs"),
            gpu_ids=gpu_ids,
            ship_logs=ship_logs,
            epoch=1,
        )
        self.instance = Instance(self.config, self._queue.put, limits)
        self._open: set[tuple[int, int]] = set()
        self.touches = True

    def _write_input(self, rows: int, row_group: int, files: int) -> None:
        given = self.folder / "input"
        given.mkdir(exist_ok=True)
        for number in range(files):
            (given / f"{number:05d}.txt").write_text(str(number))
        if not files:
            table = pa.table({"id": np.arange(rows), "x": np.arange(rows) / 2})
            pq.write_table(table, given / "table.parquet", row_group_size=row_group)

    def __enter__(self) -> Self:
        self.instance.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.instance.kill()

    # ---- driving ------------------------------------------------------------------------------------------------

    def lend(self, *borders: int) -> None:
        """Lend leases between the borders; without any, all of the plan as one."""
        ends = borders or (0, self.plan.mini_batch_count)
        for first, end in pairwise(ends):
            self.lend_lease(Lease(first=first, end=end, epoch=1))

    def lend_lease(self, lease: Lease) -> None:
        """Lend one lease as it is."""
        self._open.add((lease.first, lease.end))
        self.instance.lend(lease)

    def take(self, timeout_s: float = WAIT_S) -> InstanceEvent:
        """The next event; reports are settled at once, splits are entered."""
        if self.touches:
            self.instance.touch()
        event = self._queue.get(timeout=timeout_s)
        self.events.append(event)
        if isinstance(event, Report):
            self._open.remove((event.first, event.end))
            self.instance.settle(event.first, event.end)
        elif isinstance(event, LeaseSplit):
            self._open.remove((event.lease.first, event.lease.end))
            self._open.update(event.pieces)
        elif isinstance(event, LeaseCut) and event.limit < event.end:
            self._open.remove((event.first, event.end))
            self._open.add((event.first, event.limit))
        return event

    def until(self, condition: Callable[[InstanceEvent], bool]) -> InstanceEvent:
        """Take events until one meets the condition; a test that waits too long fails with what it has seen."""
        until = time.monotonic() + WAIT_S
        while time.monotonic() < until:
            event = self.take()
            if condition(event):
                return event
            assert not isinstance(event, InstanceClosed), self.events[-3:]
        raise AssertionError(f"not within {WAIT_S} s: {self.events[-3:]}")

    def work(self, *borders: int) -> Self:
        """Lend, and wait until everything is reported."""
        self.lend(*borders)
        while self._open:
            event = self.take()
            assert not isinstance(event, InstanceClosed | InstanceFailed), event
            if isinstance(event, InitFailure) and event.failure_count == 3 * self.config.worker_count:
                raise AssertionError(f"no worker starts: {event.what}\n{event.traceback}")
        return self

    def close(self, *, run_shutdown: bool = True, grace_s: float = 20.0) -> Self:
        """Close and take events to the last."""
        self.instance.close(run_shutdown, grace_s)
        while not isinstance(self.take(), InstanceClosed):
            pass
        assert self.instance.join(WAIT_S)
        return self

    def finish(self, *borders: int) -> Self:
        """All of the work and a clean end."""
        with self:
            return self.work(*borders).close()

    # ---- looking ------------------------------------------------------------------------------------------------

    def of(self, kind: type[Any]) -> list[Any]:
        """Events of a kind, in order."""
        return [event for event in self.events if isinstance(event, kind)]

    @property
    def reports(self) -> list[Report]:
        return sorted(self.of(Report), key=lambda report: report.first)

    @property
    def tally(self) -> Tally:
        return sum((report.tally for report in self.reports), Tally())

    @property
    def failures(self) -> list[Failure]:
        return [failure for report in self.reports for failure in report.failures]

    @property
    def text(self) -> str:
        """The parts of all reports in order."""
        parts = [report.part for report in self.reports if report.part is not None]
        return "".join((self.folder / "staging" / part.file).read_text() for part in parts)

    @property
    def lines(self) -> list[str]:
        return self.text.splitlines()

    @property
    def records(self) -> np.ndarray[Any, np.dtype[np.void]]:
        return np.concatenate([np.frombuffer(report.records, RECORD) for report in self.reports])

    def log(self, path: str) -> str:
        return (self.folder / "logs" / path).read_text()

    def logs(self, pattern: str) -> dict[str, str]:
        """Texts of log files by path."""
        folder = self.folder / "logs"
        return {str(path.relative_to(folder)): path.read_text() for path in sorted(folder.glob(pattern))}

    def side(self, pattern: str = "*") -> list[str]:
        """Names of files that the script wrote to the side folder, which it finds at `../side`."""
        return sorted(path.name for path in (self.folder / "side").glob(pattern))

    @property
    def init_failures(self) -> list[InitFailure]:
        return self.of(InitFailure)

    @property
    def beats(self) -> list[Heartbeat]:
        return self.of(Heartbeat)

    @property
    def ready(self) -> list[InstanceReady]:
        return self.of(InstanceReady)


def shared_memory(pid: int) -> set[Path]:
    """The folders in shared memory of the instances in a process."""
    maps = Path(f"/proc/{pid}/maps").read_text().splitlines()
    files = [Path(line.split(maxsplit=5)[5]) for line in maps if "/dev/shm/runner-" in line]
    return {file.parent for file in files if file.exists()}


def numbers(lines: Iterable[str]) -> list[int]:
    """Lines that are whole numbers."""
    return [int(float(line)) for line in lines]
