"""Follows a job in text: what its entry script prints, and how it ends."""

from __future__ import annotations

import codecs
import json
from typing import TextIO

from runner.client.backend import Backend
from runner.entity.job import JobState
from runner.entity.status import JobStatus
from runner.errors import JobException

NO_ERROR = "Detailed error not set on the Run. Please check the logs for details."


def stream(backend: Backend, name: str, to: TextIO) -> None:
    """Write the job's standard output to `to` as it grows, until the job ends. JobException when it has failed."""
    job = backend.get(name)
    _head(job, to)
    decoders: dict[str, codecs.IncrementalDecoder] = {}
    last = ""
    for chunk in backend.read_log(name, follow=True):
        log = f"logs/{chunk.path}"
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
        raise JobException(name, _told(job))


def _head(job: JobState, to: TextIO) -> None:
    to.write(f"RunId: {job.name}\nWeb View: {job.studio_url}\n\n")


def _told(job: JobState) -> str:
    if job.error is None:
        return json.dumps(NO_ERROR)
    said = {"code": job.error.reason, "message": job.error.message}
    if job.error.traceback:
        said["traceback"] = job.error.traceback
    return json.dumps({"error": said}, indent=4)
