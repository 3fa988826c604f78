"""The two services that every submitted job has: where it is tracked, and where it can be looked at."""

from __future__ import annotations

from runner.entity.job import JobState
from runner.spec.services import JobService

OWN = ("Studio", "Tracking")


def services_of(state: JobState) -> dict[str, JobService]:
    """The services of a job by name; nothing is started for them."""
    return {
        "Tracking": JobService(type="Tracking", endpoint=f"jobs/{state.name}", status=str(state.status)),
        "Studio": JobService(type="Studio", endpoint=state.studio_url, status=str(state.status)),
    }
