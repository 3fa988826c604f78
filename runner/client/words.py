"""The words that SDK v1 has for where a run stands, which differ between pipelines, steps and other runs."""

from __future__ import annotations

from runner.entity.status import JobStatus

S = JobStatus
_WAITING = (S.STARTING, S.PROVISIONING, S.PREPARING, S.QUEUED)
_AT_WORK = (S.RUNNING, S.FINALIZING, S.CANCEL_REQUESTED, S.NOT_RESPONDING)
_ENDED = {S.COMPLETED: "Finished", S.FAILED: "Failed", S.CANCELED: "Canceled"}

PIPELINE_WORDS: dict[JobStatus, str] = {
    S.NOT_STARTED: "NotStarted",
    **dict.fromkeys((*_WAITING, *_AT_WORK), "Running"),
    **_ENDED,
}
STEP_WORDS: dict[JobStatus, str] = {
    S.NOT_STARTED: "NotStarted",
    **dict.fromkeys(_WAITING, "Queued"),
    **dict.fromkeys(_AT_WORK, "Running"),
    **_ENDED,
}
RUNNING_STATES = frozenset({"NotStarted", "Queued", "Running", "Unknown"})
"""A wait goes on for as long as the word is one of these."""
