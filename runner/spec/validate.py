"""Checks a job object before it is submitted: file, code, script, data and targets. Runs and stores nothing."""

from __future__ import annotations

from runner.spec.findings import Findings
from runner.spec.jobs import Job
from runner.spec.kinds import kind_named
from runner.spec.places import Places


def findings_of(job: Job) -> Findings:
    """Empty findings that know the file of the job and the lines of its keys, if it has one."""
    origin = job._origin
    if origin is not None:
        return Findings(origin.file, origin.lines)
    return Findings(f"{type(job).__name__} {job.name}" if job.name else type(job).__name__)


def validate(job: Job, *, places: Places) -> Findings:
    """All that is wrong with a job or worth a notice; `raise_if_any()` makes an error of the problems."""
    found = findings_of(job)
    kind = kind_named(job.type)
    shaped = kind.shape(job.written(), job.base_path, found)
    if shaped is not None:
        kind.check(shaped, job.base_path, found)
        kind.check_data(shaped, job.base_path, found, places)
        kind.check_places(shaped, job.base_path, found, places)
    return found
