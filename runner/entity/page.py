"""What a reader of jobs is handed: pages of them and of their failures, their log files, and pieces of files."""

from __future__ import annotations

from dataclasses import dataclass

from runner.entity.failure import FailureRow
from runner.entity.job import JobState


@dataclass(frozen=True, slots=True, kw_only=True)
class JobPage:
    """Jobs, newest first, and the token that asks for those that follow; empty at the end."""

    jobs: tuple[JobState, ...]
    next_page_token: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class FailuresPage:
    """Failures by mini-batch and item, and the token that asks for those that follow; empty at the end."""

    failures: tuple[FailureRow, ...]
    next_page_token: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogFile:
    """A log file of a job, by its path below the job's logs."""

    path: str
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """Bytes of a file that follow those of its chunk before; one empty chunk stands for an empty file."""

    path: str
    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """A reply of a watch: the job as of `cursor`, or None when only the watch itself gives a sign of life."""

    job: JobState | None
    cursor: str
