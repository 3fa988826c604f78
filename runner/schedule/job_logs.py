"""The job's own logs: progress overview, result, error, and the report of all mini-batches.

Users' scripts read these names; each line is `time|LEVEL|pid|text`.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from runner.entity.job import JobError, Progress
from runner.entity.plan import Plan
from runner.entity.status import JobStatus
from runner.errors import RunnerError
from runner.store.home import JobFolder

if TYPE_CHECKING:
    from runner.dataset.report import Blame
    from runner.entity.failure import FailureRow

log = logging.getLogger(__name__)

README = """\
job_progress_overview.<hour>.txt          what was planned, and how far the job is, line by line
job_result.txt                            totals, failures by class, and how the job ended; .run-1 ...: earlier ones
job_error.txt                             why the job failed; only there when it did
user/stdout/<node>/processNNN.stdout.txt  what the entry script prints and logs, one file a worker
user/stderr/<node>/processNNN.stderr.txt  its standard error
user/error.txt, user/error/<node>/        tracebacks of the entry script: summary, and one file a worker
user/entry_script_log/<node>/             what EntryScript().logger was told
sys/job_report/processed_mini-batches.csv one line per mini-batch
sys/driver.txt                            the driver's own log
"""
OVERVIEW_S = 5.0
MESSAGE_LIMIT = 2_000
SHORT_LIMIT = 200
MESSAGES_LIMIT = 16 << 20
"""Characters of a message in the report, where it is one line: 200 once all of them together are 16 million."""
SHIPPED_HEAD_BYTES = 16 << 20
SHIPPED_TAIL_BYTES = 1 << 20
"""What is kept of a log that an instance has shipped, as instances keep their own."""


class JobLogs:
    """Writes into a job's `logs` folder. A log that cannot be written never fails the job."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._last = 0.0
        self._reporter: threading.Thread | None = None
        with _if_possible("readme.txt"):
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "readme.txt").write_text(README)
            (folder / "job_error.txt").unlink(missing_ok=True)  # of a run before this one

    def planned(self, plan: Plan) -> None:
        """Say what was planned."""
        self._overview(
            f"Planned {plan.mini_batch_count} mini-batches of {plan.item_count} items in {len(plan.units)} units."
        )

    def progress(self, progress: Progress) -> None:
        """Say how far the job is, every few seconds."""
        now = time.monotonic()
        if now - self._last >= OVERVIEW_S:
            self._last = now
            self._overview(progress.line)

    def append(self, path: str, data: bytes) -> None:
        """Add text that an instance without access to this folder has shipped."""
        target = (self._folder / path).resolve()
        if self._folder.resolve() not in target.parents:
            log.warning("log chunk for %s is refused: it is outside the logs folder", path)
            return
        with _if_possible(path):
            target.parent.mkdir(parents=True, exist_ok=True)
            with open(target, "ab") as file:
                file.write(data)
                size = file.tell()
            if size > SHIPPED_HEAD_BYTES + 2 * SHIPPED_TAIL_BYTES:
                _cut(target, size)

    def end(self, status: JobStatus, error: JobError | None, progress: Progress, folder: JobFolder) -> None:
        """Write result, error and report."""
        lines = [f"Status: {status}", progress.line]
        lines += [f"First {cls}: {first}" for cls, first in progress.first_failures.items()]
        if error is not None:
            lines.append(f"Reason: {error.reason}: {error.message}")
            text = f"{error.reason}: {error.message}\n{error.traceback}"
            with _if_possible("job_error.txt"):
                (self._folder / "job_error.txt").write_text(text, errors="backslashreplace")
        with _if_possible("job_result.txt"):
            _keep_earlier(self._folder / "job_result.txt")
            (self._folder / "job_result.txt").write_text("\n".join(lines) + "\n", errors="backslashreplace")
        self._overview(f"Ended: {status}. {progress.line}")
        self.begin_report(folder)
        assert self._reporter is not None
        self._reporter.join()

    def begin_report(self, folder: JobFolder) -> None:
        """Write the report of mini-batches in a thread, once: nothing new comes while outputs are published."""
        if self._reporter is None:
            self._reporter = threading.Thread(target=self._try_report, args=(folder,), name="report", daemon=True)
            self._reporter.start()

    def _try_report(self, folder: JobFolder) -> None:
        with _if_possible("the report of mini-batches"):
            self._report(folder)

    def _report(self, folder: JobFolder) -> None:
        target = self._folder / "sys" / "job_report" / "processed_mini-batches.csv"
        if not folder.records.exists() or folder.records.stat().st_size == 0:
            return
        import numpy as np

        from runner.dataset.report import write_report
        from runner.dispatch._loop import RECORD
        from runner.dispatch._report import format_lines

        # Not closed by hand: while an error is on its way (a full disk), its traceback still holds the array.
        records = np.asarray(np.memmap(folder.records, dtype=RECORD, mode="r"))
        _keep_earlier(target)
        write_report(target, records, _Blames(folder), format_lines)

    def _overview(self, text: str) -> None:
        now = time.gmtime()
        stamp = time.strftime("%Y-%m-%d %H:%M:%S", now)
        name = f"job_progress_overview.{time.strftime('%Y%m%d%H', now)}.txt"
        with _if_possible(name), open(self._folder / name, "a", errors="backslashreplace") as file:
            file.write(f"{stamp}Z|INFO|{os.getpid()}|{text}\n")


@contextmanager
def _if_possible(what: str) -> Iterator[None]:
    """A full disk costs a log, not the job."""
    try:
        yield
    except (OSError, ValueError, RunnerError) as failure:
        log.warning("%s is not written: %s", what, failure)


def _cut(path: Path, size: int) -> None:
    """Keep the begin and the end. What an instance cuts away it may have sent before; its new end it sends again."""
    with open(path, "r+b") as file:
        file.seek(size - SHIPPED_TAIL_BYTES)
        tail = file.read()
        file.truncate(SHIPPED_HEAD_BYTES)
        file.seek(SHIPPED_HEAD_BYTES)
        file.write(b"\n... some is left out: of what is printed elsewhere, begin and end are kept ...\n" + tail)


def _keep_earlier(path: Path) -> None:
    """What an earlier run of the job has written stays, under a name with its number."""
    if path.exists():
        runs = len(list(path.parent.glob(f"{path.stem}.run-*{path.suffix}")))
        path.rename(path.with_name(f"{path.stem}.run-{runs + 1}{path.suffix}"))


class _Blames:
    """Class, message and place of each mini-batch of which something is open, one line each.

    Read as the report asks for them, so that a job of which everything failed needs no memory for its messages.
    """

    def __init__(self, folder: JobFolder) -> None:
        from runner.schedule.failures import read_failures

        self._rows = read_failures(folder)
        self._next = next(self._rows, None)
        self._room = MESSAGES_LIMIT

    def get(self, mini_batch: int, default: Blame, /) -> Blame:
        while self._next is not None and self._next.mini_batch < mini_batch:
            self._next = next(self._rows, None)
        if self._next is None or self._next.mini_batch != mini_batch:
            return default
        return self._blame(self._next)

    def _blame(self, row: FailureRow) -> Blame:
        from runner.dataset.report import Blame

        message = row.message[: MESSAGE_LIMIT if self._room > 0 else SHORT_LIMIT]
        self._room -= len(message)
        message = f"{row.exception_type}: {message}" if row.exception_type else message
        place = row.file if row.row is None else f"{row.file} row {row.row}"
        return Blame(str(row.cls), " ".join(message.split()), place, row.worker)
