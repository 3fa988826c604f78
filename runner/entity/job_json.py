"""A job as the CLI prints it in JSON: flat, snake_case, zeros and nulls included."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from runner.entity.job import Event, JobState

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def iso_time(seconds: float | None) -> str | None:
    """ISO 8601 in UTC, ending in Z, to the microsecond."""
    if seconds is None:
        return None
    # Rounded as on the wire, so that a service tells the same time as the home below it.
    moment = EPOCH + timedelta(microseconds=round(seconds * 1e6))
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")


def to_json(job: JobState, events: Iterable[Event] = ()) -> dict[str, object]:
    """The fields that others rely on, in the order in which they are printed."""
    progress = job.progress
    said: dict[str, object] = {
        "name": job.name,
        "type": job.type,
        "status": str(job.status),
        "create_time": iso_time(job.create_time),
        "start_time": iso_time(job.start_time),
        "end_time": iso_time(job.end_time),
        "events": [{"status": str(event.status), "time": iso_time(event.time)} for event in events],
    }
    if job.type == "parallel":
        said |= {
            "item_count": progress.item_count,
            "failed_item_count": progress.failed_item_count,
            "mini_batch_count": progress.mini_batch_count,
            "done_mini_batch_count": progress.done_mini_batch_count,
            "failed_mini_batch_count": progress.failed_mini_batch_count,
        }
    return said


def step_json(step: JobState) -> dict[str, object]:
    """A step of a pipeline, from the state of its job."""
    return {
        "name": step.step,
        "job": step.name,
        "status": str(step.status),
        "reused": bool(step.reused_from),
        "reuse_reason": step.reuse_reason or "not decided yet",
        "start_time": iso_time(step.start_time),
        "end_time": iso_time(step.end_time),
    }
