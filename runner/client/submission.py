"""What is sent when a job object is submitted, and what of a job that exists may be changed by sending it again."""

from __future__ import annotations

import os
import re
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from runner.client.backend import Backend
from runner.client.job import job_of
from runner.client.services import OWN
from runner.entity.job import JobState
from runner.errors import ArgumentInvalid, Problem, SpecInvalid
from runner.spec.findings import Findings, dotted
from runner.spec.jobs import Job

_NO_NAME = re.compile(r"[^A-Za-z0-9_.-]")
_CHANGEABLE = ("description", "display_name", "properties", "tags")
_UNCOMPARED = {"name", "parameters", "services", "status", "id", *_CHANGEABLE}


def document_of(job: Job, given: Mapping[str, Any]) -> dict[str, Any]:
    """The document that travels: what is given goes before what the job says."""
    document = job.absolute_document()
    document |= {key: value for key, value in given.items() if value is not None}
    if document.get("services"):
        document["services"] = {name: value for name, value in document["services"].items() if name not in OWN}
    if not document.get("experiment_name"):
        # Here, because a service has a folder of its own.
        document["experiment_name"] = _NO_NAME.sub("", os.path.basename(os.getcwd())).lstrip("_.-") or "Default"
    return document


def create(
    backend: Backend,
    job: Job,
    document: Mapping[str, Any],
    look: Callable[[], Findings],
    *,
    name: str | None,
    overwrite: bool = False,
    request_id: str = "",
) -> JobState:
    """Submit the document of a job.

    Raises:
        SpecInvalid: with the files and lines of the job, where it came from files: those that `look` finds here, which
            knows of the files of components too, else those that the document's places lead to.
    """
    try:
        return backend.create(
            document,
            base_path=str(Path(os.path.abspath(job.base_path))),
            name=name if name is not None else job.name,
            overwrite=overwrite,
            request_id=request_id or uuid.uuid4().hex,
        )
    except SpecInvalid as invalid:
        if job.type != "parallel" and (found := look()).problems:
            raise SpecInvalid(found.problems) from None
        raise _at_home(invalid, job) from None


def is_known(job: Job, name: str | None) -> bool:
    """Whether the object shows a job that exists, so that submitting it changes that one."""
    return bool(job.name) and job.status is not None and job.id == f"jobs/{job.name}" and name in (None, job.name)


def update(backend: Backend, job: Job, given: Mapping[str, Any]) -> JobState:
    """Bring the changes of an object that shows a job to the job itself; tags and properties are merged.

    ArgumentInvalid, naming it, when something else was changed.
    """
    state = backend.get(str(job.name))
    known = job_of(state)
    document = document_of(job, given)
    before = {key: value for key, value in known.absolute_document().items() if key not in _UNCOMPARED}
    after = {key: value for key, value in document.items() if key not in _UNCOMPARED}
    changed = sorted(key for key in before.keys() | after.keys() if before.get(key) != after.get(key))
    if changed:
        what = (
            f"{', '.join(changed)} of the job {state.name!r} cannot be changed, because it exists already; only "
            f"{', '.join(_CHANGEABLE)} can; give the object another name to submit it as a new job"
        )
        raise ArgumentInvalid("job", what)
    changes: dict[str, Any] = {}
    for key, value in (("display_name", state.display_name), ("description", state.description)):
        if document.get(key) is not None and document[key] != value:
            changes[key] = str(document[key])
    for key, old in (("tags", known.tags), ("properties", known.properties)):
        fresh = {name: value for name, value in (document.get(key) or {}).items() if old.get(name) != value}
        if fresh:
            changes[key] = {name: text_of(value) for name, value in fresh.items()}
    return backend.update(state.name, **changes) if changes else state


def text_of(value: object) -> str | None:
    """A tag or a property as it is kept; None removes it."""
    return None if value is None else str(value)


def _at_home(invalid: SpecInvalid, job: Job) -> SpecInvalid:
    """The problems with the file and the lines that the job came from: the document that travels has none."""
    origin = job.origin
    if origin is None:
        return invalid
    lines = {dotted(at): line for at, line in origin.lines.items()}

    def placed(problem: Problem) -> Problem:
        if problem.file != "job" and not problem.file.startswith(type(job).__name__):
            return problem  # it is about another file, such as the entry script
        line = _line_of(problem.path, lines)
        return Problem(file=origin.file, line=line, path=problem.path, what=problem.what, remedy=problem.remedy)

    told = sorted(map(placed, invalid.problems), key=lambda one: (one.file != origin.file, one.file, one.line))
    return SpecInvalid(tuple(told))


def _line_of(path: str, lines: Mapping[str, int]) -> int:
    """The line of a place, or of the nearest around it; 0 for none."""
    while path:
        if path in lines:
            return lines[path]
        path = path[: max(path.rfind(mark) for mark in (".", "[", " "))] if any(c in path for c in ".[ ") else ""
    return lines.get("", 0)
