"""A job of the store as the job object that its user knows."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import quote

from runner.client.services import services_of
from runner.entity.command import PARAMETER_PROPERTY
from runner.entity.job import Event, JobState
from runner.entity.page import LogFile
from runner.errors import SpecInvalid
from runner.spec.command_job import CommandJob
from runner.spec.findings import Findings
from runner.spec.jobs import Job, Submitted
from runner.spec.load import job_of_document
from runner.spec.pieces import SystemData

PIPELINE_LOG = "azureml/executionlogs.txt"
"""Below a pipeline's logs: what its driver decided."""


class BaseJob(Job):
    """A step of a pipeline as its record has it; `jobs.get` gives the same job with everything it was made from."""

    type: ClassVar[str] = "base"
    _fields: ClassVar[tuple[str, ...]] = (
        "name",
        "display_name",
        "description",
        "tags",
        "properties",
        "experiment_name",
        "compute",
    )

    def _shape(self, written: dict[str, Any], found: Findings) -> dict[str, Any]:
        return written


def job_of(state: JobState, logs: Iterable[LogFile] = (), events: tuple[Event, ...] = ()) -> Job:
    """The job, its read-only attributes filled in. It shows what was known then and does not change by itself."""
    submitted = _submitted(state, logs, events)
    try:
        job = job_of_document(state.document, Path("/"), submitted=submitted)
    except SpecInvalid:
        if not state.parent:
            raise
        return base_job_of(state, logs, events)  # a step that waits for what others make is no job of its own yet
    return _filled(job, state)


def base_job_of(state: JobState, logs: Iterable[LogFile] = (), events: tuple[Event, ...] = ()) -> BaseJob:
    """The job without what it was made from, as steps are listed."""
    job = BaseJob(compute=str(state.document.get("compute") or "") or None)
    job._submitted = _submitted(state, logs, events)
    _filled(job, state)
    return job


def properties_of(state: JobState) -> dict[str, str]:
    """The properties of a job, with those that tell of a reused step which job stands in for it."""
    if not state.reused_from:
        return dict(state.properties)
    return {**state.properties, "azureml.isreused": "true", "azureml.reusedrunid": state.reused_from}


def log_name(kind: str, path: str) -> str:
    """What the users of a job of this kind call a file below its logs."""
    return f"logs/{path}" if kind == "pipeline" and path == PIPELINE_LOG else path


def log_urls(state: JobState, logs: Iterable[LogFile]) -> dict[str, str]:
    """Name of a log to where it can be read."""
    return {log_name(state.type, log.path): f"{state.studio_url}/logs/{quote(log.path)}" for log in logs}


def moment(seconds: float) -> datetime:
    """A time of the store as users are told it."""
    return datetime.fromtimestamp(seconds, UTC)


def _submitted(state: JobState, logs: Iterable[LogFile], events: tuple[Event, ...]) -> Submitted:
    return Submitted(
        status=state.status,
        id=f"jobs/{state.name}",
        creation_context=SystemData(
            created_by=state.created_by,
            created_by_type="User",
            created_at=moment(state.create_time),
        ),
        log_files=log_urls(state, logs),
        studio_url=state.studio_url,
        state=replace(state, properties=properties_of(state)),
        events=events,
    )


def _filled(job: Job, state: JobState) -> Job:
    """With what may have changed since the job was made."""
    job.name = state.name
    job.display_name = state.display_name
    job.description = state.description or None
    job.experiment_name = state.experiment_name
    job.tags = dict(state.tags)
    job.properties = properties_of(state)
    if isinstance(job, CommandJob):
        logged = [(key, text) for key, text in state.properties.items() if key.startswith(PARAMETER_PROPERTY)]
        job.parameters |= {key.removeprefix(PARAMETER_PROPERTY): text for key, text in logged}
    job.services = {**(job.services or {}), **services_of(state)}
    return job
