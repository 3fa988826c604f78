"""Admission of a command or parallel job of its own."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from runner.entity.job import JobState
from runner.errors import SpecInvalid, TargetExists
from runner.schedule.prepare import is_taken, prepare
from runner.server.admission import state_of
from runner.server.worktree import Worktrees
from runner.spec.jobs import Job, ParallelJob
from runner.spec.load import job_of_document
from runner.spec.places import Places
from runner.spec.targets import Unplaceable, place_output
from runner.spec.validate import validate
from runner.store.home import Home, JobFolder
from runner.store.store import Store


def admit_single(store: Store, job: Job, draft: JobFolder, places: Places) -> JobState:
    """Check the job and write its folder; the row to insert. See `admit`."""
    name = str(job.name)
    check_job(job, places)
    document: dict[str, Any] = job.absolute_document()
    code = _code(store.home, job, document, draft, places)
    final = store.home.job(name)
    outputs = prepare(job, name=name, root_name=name, places=places, code=code, folder=draft, final=final)
    state = state_of(job, name, store.now(), outputs)
    return replace(state, properties={**Worktrees(os.environ).properties(document, job.base_path), **state.properties})


def check_job(job: Job, places: Places) -> None:
    """Everything at once; a target that exists is an error of its own when it is all that is wrong."""
    problems = validate(job, places=places).problems
    if not problems:
        return
    document: dict[str, Any] = job.absolute_document()
    runner = document.get("runner") or {}
    willing = job_of_document({**document, "runner": {**runner, "overwrite": True}}, job.base_path)
    if validate(willing, places=places).problems or runner.get("overwrite"):
        raise SpecInvalid(problems)
    raise TargetExists(_taken(job, document, places) or problems[0].path)


def _taken(job: Job, document: dict[str, Any], places: Places) -> str | None:
    """The target that exists, else the place of the failures beside one."""
    beside = None
    for name, value in document.get("outputs", {}).items():
        try:
            target = place_output(name, value, str(job.name), job.base_path, places)
        except Unplaceable:
            continue
        if is_taken(target.path, target.is_folder):
            return target.path
        if os.path.lexists(f"{target.path}.failures"):
            beside = f"{target.path}.failures"
    return beside


def _code(home: Home, job: Job, document: dict[str, Any], draft: JobFolder, places: Places) -> Path | None:
    """The snapshot of the code: of a parallel job a copy in its folder, of a command a tree that is kept once."""
    if isinstance(job, ParallelJob):
        from runner.spec.resolve import snapshot_code

        return snapshot_code(job, draft.code, places)
    from runner.spec.code_trees import pin_document_code

    tree = pin_document_code(document, job.base_path, home.code, home=home.root)
    return None if tree is None else tree.path
