"""The twelve statuses of a job and the moves between them: the table that SQL, proto and docs are tested against."""

from __future__ import annotations

from enum import StrEnum

from runner.errors import IllegalTransition


class JobStatus(StrEnum):
    """Where a job stands, in the words its users know."""

    NOT_STARTED = "NotStarted"
    STARTING = "Starting"
    PROVISIONING = "Provisioning"
    PREPARING = "Preparing"
    QUEUED = "Queued"
    RUNNING = "Running"
    FINALIZING = "Finalizing"
    CANCEL_REQUESTED = "CancelRequested"
    COMPLETED = "Completed"
    FAILED = "Failed"
    CANCELED = "Canceled"
    NOT_RESPONDING = "NotResponding"

    @property
    def is_terminal(self) -> bool:
        """Nothing moves any more within this run; only a resume or a redrive begins a new one."""
        return self in TERMINAL


S = JobStatus
TERMINAL = frozenset({S.COMPLETED, S.FAILED, S.CANCELED})
_LIVE = (S.STARTING, S.PROVISIONING, S.PREPARING, S.QUEUED, S.RUNNING, S.FINALIZING, S.CANCEL_REQUESTED)

TRANSITIONS: dict[JobStatus, frozenset[JobStatus]] = {
    S.NOT_STARTED: frozenset({S.STARTING, S.CANCEL_REQUESTED, S.CANCELED}),
    S.STARTING: frozenset(
        {S.PROVISIONING, S.PREPARING, S.QUEUED, S.COMPLETED, S.CANCEL_REQUESTED, S.FAILED, S.NOT_RESPONDING}
    ),
    S.PROVISIONING: frozenset({S.PREPARING, S.QUEUED, S.CANCEL_REQUESTED, S.FAILED, S.NOT_RESPONDING}),
    S.PREPARING: frozenset({S.QUEUED, S.RUNNING, S.CANCEL_REQUESTED, S.FAILED, S.NOT_RESPONDING}),
    S.QUEUED: frozenset({S.PREPARING, S.RUNNING, S.CANCEL_REQUESTED, S.FAILED, S.NOT_RESPONDING}),
    S.RUNNING: frozenset({S.FINALIZING, S.CANCEL_REQUESTED, S.FAILED, S.NOT_RESPONDING}),
    S.FINALIZING: frozenset({S.COMPLETED, S.FAILED, S.NOT_RESPONDING}),
    S.CANCEL_REQUESTED: frozenset({S.CANCELED, S.COMPLETED, S.FAILED, S.NOT_RESPONDING}),
    S.NOT_RESPONDING: frozenset({*_LIVE, S.FAILED, S.CANCELED}),
    S.COMPLETED: frozenset({S.STARTING}),
    S.FAILED: frozenset({S.STARTING}),
    S.CANCELED: frozenset({S.STARTING}),
}
"""From each status to those it may move to. A terminal one to Starting is a new run of the same job: a resume, or for
Completed a redrive of what it set aside. From Starting to Completed goes a step whose earlier result is reused."""


def check_move(name: str, old: JobStatus, new: JobStatus) -> None:
    """Raise IllegalTransition unless the table allows job `name` to move from `old` to `new`."""
    if new not in TRANSITIONS[old]:
        raise IllegalTransition(name, str(old), str(new))


class FailureClass(StrEnum):
    """Why a mini-batch failed; each class has its own budget of tries."""

    USER_ERROR = "user_error"
    CRASH = "crash"
    TIMEOUT = "timeout"
    READ = "read"
    INFRASTRUCTURE = "infrastructure"
