"""A job of the store as the job object that its user knows."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

from runner.entity.job import Event, JobState
from runner.entity.page import LogFile
from runner.spec.jobs import ParallelJob, Submitted
from runner.spec.load import job_of_document
from runner.spec.pieces import SystemData


def job_of(state: JobState, logs: Iterable[LogFile] = (), events: tuple[Event, ...] = ()) -> ParallelJob:
    """The job, its read-only attributes filled in. It shows what was known then and does not change by itself."""
    submitted = Submitted(
        status=state.status,
        id=f"jobs/{state.name}",
        creation_context=SystemData(
            created_by=state.created_by,
            created_by_type="User",
            created_at=datetime.fromtimestamp(state.create_time, UTC),
        ),
        log_files={log.path: f"{state.studio_url}/logs/{quote(log.path)}" for log in logs},
        studio_url=state.studio_url,
        state=state,
        events=events,
    )
    job = job_of_document(state.document, Path("/"), submitted=submitted)
    job.name = state.name
    job.display_name = state.display_name
    job.experiment_name = state.experiment_name
    return job
