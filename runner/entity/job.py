"""A job as the store keeps it and clients see it."""

from __future__ import annotations

from dataclasses import dataclass, field

from runner.entity.status import JobStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class JobError:
    """Why a job failed; `traceback` is the user's own or empty."""

    reason: str
    message: str
    traceback: str = ""
    exit_code: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """A change of status."""

    time: float
    status: JobStatus
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Counters of a parallel job; totals are None until they are planned. Exact at the end, live while it runs."""

    item_count: int | None = None
    failed_item_count: int = 0
    done_item_count: int = 0
    mini_batch_count: int | None = None
    done_mini_batch_count: int = 0
    failed_mini_batch_count: int = 0
    failed_by_class: dict[str, int] = field(default_factory=dict)
    first_failures: dict[str, str] = field(default_factory=dict)
    """For each class with failures, where the first of them is and why."""
    instance_count: int = 0
    worker_count: int = 0

    @property
    def line(self) -> str:
        """`12/40 mini-batches, 12/40 items, 1 failed (crash 1)`; a total that is not known yet is a question mark."""
        mini_batches = "?" if self.mini_batch_count is None else self.mini_batch_count
        items = "?" if self.item_count is None else self.item_count
        line = (
            f"{self.done_mini_batch_count}/{mini_batches} mini-batches, "
            f"{self.done_item_count}/{items} items, {self.failed_mini_batch_count} failed"
        )
        classes = ", ".join(f"{cls} {count}" for cls, count in self.failed_by_class.items() if count)
        return f"{line} ({classes})" if classes else line


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputState:
    """An output of a job: where it is, and whether it has been published."""

    name: str
    type: str
    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class JobState:
    """One row of the store. Times are seconds since 1970, None until they happen."""

    name: str
    type: str
    status: JobStatus
    run_number: int = 1
    display_name: str = ""
    description: str = ""
    experiment_name: str = ""
    tags: dict[str, str] = field(default_factory=dict)
    properties: dict[str, str] = field(default_factory=dict)
    document: dict[str, object] = field(default_factory=dict)
    """The job as its user wrote it, flat, paths absolute."""
    create_time: float
    start_time: float | None = None
    end_time: float | None = None
    heartbeat_time: float | None = None
    host: str = ""
    driver_pid: int = 0
    created_by: str = ""
    message: str = ""
    """What the driver is doing, while it is starting up."""
    progress: Progress = Progress()
    outputs: tuple[OutputState, ...] = ()
    error: JobError | None = None
    studio_url: str = ""
    """Where the job can be looked at: its page, else the `file://` URL of its folder."""
    revision: int = 0
    """Grows with every change, for a pipeline also with every change of a step; the cursor of a watch."""
    parent: str = ""
    """The pipeline that the job is a step of."""
    step: str = ""
    """Its key in that pipeline, as `StepSpec.key`."""
    is_archived: bool = False
    reused_from: str = ""
    """The job whose outputs and logs stand in for those of this one, which did not run."""
    reuse_reason: str = ""
    """Of a step: why an earlier result was used, or was not; empty until that is decided."""
