"""Checks a job object before it is submitted: file, code, script, data and targets. Runs and stores nothing."""

from __future__ import annotations

from runner.spec.checks import check_sense
from runner.spec.findings import Findings
from runner.spec.jobs import Job, ParallelJob
from runner.spec.places import Places
from runner.spec.schema import OTHER_KINDS, shape_job
from runner.spec.surroundings import check_code, check_data, check_targets, say_fallbacks


def findings_of(job: Job) -> Findings:
    """Empty findings that know the file of the job and the lines of its keys, if it has one."""
    origin = job._origin
    if origin is not None:
        return Findings(origin.file, origin.lines)
    return Findings(f"{type(job).__name__} {job.name}" if job.name else type(job).__name__)


def validate(job: Job, *, places: Places) -> Findings:
    """All that is wrong with a job or worth a notice; `raise_if_any()` makes an error of the problems."""
    found = findings_of(job)
    if not isinstance(job, ParallelJob):
        found.problem(("type",), f"is {job.type!r}", f"write `type: parallel`, not {OTHER_KINDS[0]}")
        return found
    shaped = shape_job(job.written(), found)
    if shaped is None:
        return found
    base = job.base_path
    check_sense(shaped, base, found)
    check_code(shaped, base, found)
    check_data(shaped, base, found, places)
    check_targets(shaped, base, found, places)
    say_fallbacks(shaped, places, found)
    return found
