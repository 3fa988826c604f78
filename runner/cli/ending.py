"""What is said when a watched job has ended: how it went, and for commands that failed the end of what they said."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Protocol

from runner.cli.render import summary
from runner.cli.step_tree import ends_line
from runner.entity.job import JobState
from runner.entity.page import Chunk, LogFile
from runner.entity.status import JobStatus
from runner.errors import RunnerError

TAIL_LINES = 15
TAIL_LIMIT_BYTES = 16 << 20
"""A log that is larger is only named."""
TOLD_STEPS = 5
"""So many failed steps are told in full."""
STDERR = "user_logs/std_err"
_PROCESS = re.compile(r"\(process (\d+)\)")


class Logs(Protocol):
    """What is needed of a client."""

    def logs(self, name: str) -> tuple[LogFile, ...]: ...
    def read_log(self, name: str, file: str = "", *, follow: bool = False) -> Iterator[Chunk]: ...


def ending(logs: Logs, job: JobState, steps: Sequence[JobState] = ()) -> list[str]:
    """The lines of the summary: the job's own, then each failed step with its reason and the end of its stderr."""
    head, *rest = summary(job)
    if job.type == "pipeline":
        rest = [f"  {ends_line(steps)}", *rest, *_failed_steps(logs, job, steps)]
    elif job.type == "command":
        tail = _tail(logs, job) if job.status is JobStatus.FAILED else []
        rest += tail or [f"  `runner logs {job.name}` shows what it printed"]
    return [head, *rest]


def _failed_steps(logs: Logs, pipeline: JobState, steps: Sequence[JobState]) -> list[str]:
    failed = [step for step in steps if step.status is JobStatus.FAILED]
    told = pipeline.error.message if pipeline.error else ""
    lines = []
    for step in failed[:TOLD_STEPS]:
        error = step.error
        message = error.message if error and error.message not in told else ""
        own = error.traceback.rstrip().splitlines() if error else []
        tail = [] if own or step.type != "command" else _tail(logs, step)
        if message or own or tail:
            lines += [f"step {step.step}: {message}" if message else f"step {step.step}:", *own, *tail]
    if len(failed) > TOLD_STEPS:
        lines.append(f"{len(failed) - TOLD_STEPS} more steps failed; `runner steps {pipeline.name}` lists them")
    return lines


def _tail(logs: Logs, job: JobState) -> list[str]:
    """The end of what a command wrote to its standard error: of the process that failed, else of the first."""
    try:
        files = [f for f in logs.logs(job.name) if f.path.startswith(STDERR) and f.size_bytes]
        if not files:
            return []
        failed = _PROCESS.search(job.error.message) if job.error else None
        mark = f"_process_{failed[1]}.txt" if failed else ""
        file = next((f for f in files if f.path.endswith(mark)), files[0])
        rest = f"`runner logs {job.name} {file.path}` shows all of it"
        if file.size_bytes > TAIL_LIMIT_BYTES:
            return [f"  {rest}"]
        last = _last_lines(logs.read_log(job.name, file.path))
    except RunnerError:
        return []  # the logs are an addition: what ended is told all the same
    return [f"  the end of its standard error ({rest}):", *(f"  | {line}" for line in last)]


def _last_lines(chunks: Iterator[Chunk]) -> list[str]:
    data = b"".join(chunk.data for chunk in chunks)
    return list(deque(data.decode(errors="replace").splitlines(), maxlen=TAIL_LINES))
