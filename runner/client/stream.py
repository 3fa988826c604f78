"""Follows a job in text: what it prints, and how it ends."""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator
from typing import TextIO

from runner.client.backend import Backend
from runner.entity.job import JobError, JobState
from runner.entity.page import Chunk
from runner.entity.status import JobStatus
from runner.errors import JobException

NO_ERROR = "Detailed error not set on the Run. Please check the logs for details."
COMMAND_LOGS = "user_logs/"
"""The folder of what a command printed."""
_OF_THE_FIRST_RANK = re.compile(r"user_logs/std_(log|err)\D*0*(?:_ps)?\.txt")


def stream(backend: Backend, name: str, to: TextIO) -> None:
    """Write what the job prints to `to` as it grows, until the job ends. JobException when it has failed."""
    job = backend.get(name)
    _head(job, to)
    decoders: dict[str, codecs.IncrementalDecoder] = {}
    last = ""
    for chunk in _pieces(backend, job):
        log = chunk.path if job.type == "command" else f"logs/{chunk.path}"
        if log != last:
            to.write(f"{chr(10) if last else ''}Streaming {log}\n{'=' * (len(log) + 10)}\n\n")
            last = log
        decoder = decoders.setdefault(log, codecs.getincrementaldecoder("utf-8")("replace"))
        to.write(decoder.decode(chunk.data))
        to.flush()
    job = backend.get(name)
    to.write("\nExecution Summary\n=================\n")
    _head(job, to)
    to.flush()
    if job.status is JobStatus.FAILED:
        raise JobException(name, told(job.error))


def is_of_the_first_rank(path: str) -> bool:
    """Whether this is what a command, or the first of its processes, printed."""
    return _OF_THE_FIRST_RANK.fullmatch(path) is not None


def told(error: JobError | None) -> str:
    """Why a job has failed, as JSON."""
    return json.dumps(NO_ERROR if error is None else error_details(error), indent=4)


def error_details(error: JobError) -> dict[str, dict[str, str]]:
    """Why a job has failed, as its details hold it."""
    said = {"code": error.reason, "message": error.message}
    if error.traceback:
        said["traceback"] = error.traceback
    return {"error": said}


def _pieces(backend: Backend, job: JobState) -> Iterator[Chunk]:
    """What there is to read of the job until its end: of a pipeline its own log, of a command that of one rank."""
    if job.type != "command":
        return backend.read_log(job.name, follow=True)
    return (one for one in backend.read_log(job.name, COMMAND_LOGS, follow=True) if is_of_the_first_rank(one.path))


def _head(job: JobState, to: TextIO) -> None:
    to.write(f"RunId: {job.name}\nWeb View: {job.studio_url}\n\n")
