"""Admission of a pipeline: all its steps become jobs from the beginning, and every code tree is kept once."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec

from runner.entity.job import JobState, OutputState
from runner.entity.pipeline import StepSpec
from runner.entity.status import JobStatus
from runner.errors import TargetExists
from runner.schedule.prepare import is_taken, write_document
from runner.server.admission import Admitted, state_of, texts
from runner.server.worktree import Worktrees
from runner.spec.code_trees import pin_document_code
from runner.spec.flatten import Flattened, flatten
from runner.spec.jobs import Job
from runner.spec.pipeline_job import PipelineJob
from runner.spec.places import Places
from runner.spec.validate import validate
from runner.store.home import Home, JobFolder
from runner.store.store import Store


def admit_pipeline(store: Store, job: Job, draft: JobFolder, places: Places) -> Admitted:
    """Check the pipeline with all its steps and write its folder; the rows to insert. See `admit`."""
    assert isinstance(job, PipelineJob)
    found = validate(job, places=places)
    found.raise_if_any()
    name = str(job.name)
    flat = flatten(job, name=name, places=places, checked=found)
    _check_targets(store, flat)
    spec = replace(flat.spec, steps=tuple(_pinned(store.home, flat)))
    draft.logs.mkdir()
    draft.lock.touch(mode=0o600)
    draft.spec.write_bytes(msgspec.json.encode(spec))
    made = state_of(job, name, store.now(), flat.outputs)
    write_document(draft, made.document)
    trees = Worktrees(os.environ)
    steps = tuple(_step_state(made, step, flat.step_outputs.get(step.key, ()), trees) for step in spec.steps)
    return Admitted(job=made, steps=steps)


def _check_targets(store: Store, flat: Flattened) -> None:
    """Refuse what a step without producers would write over; the others' targets are looked at before they run.

    Reuse goes before: where an earlier job left what is there, its step may not have to write at all.
    """
    for step in flat.spec.steps:
        if step.sources or _mapping(step.document.get("runner")).get("overwrite") or flat.spec.overwrite:
            continue
        may_be_reused = step.is_deterministic and not flat.spec.force_rerun
        for output in flat.step_outputs.get(step.key, ()):
            if not is_taken(output.path, output.type != "uri_file"):
                continue
            if not (may_be_reused and store.reuse.makers(output.path)):
                raise TargetExists(output.path)


def _pinned(home: Home, flat: Flattened) -> Iterator[StepSpec]:
    """The steps with their code kept; what several of them share is looked at once."""
    kept: dict[str, str] = {}
    for step in flat.spec.steps:
        document = step.document
        said = (document.get("code"), document.get("additional_includes"), document.get("task"), step.type)
        if repr(said) not in kept:
            tree = pin_document_code(document, Path("/"), home.code, home=home.root)
            kept[repr(said)] = "" if tree is None else str(tree.path)
        yield replace(step, code=kept[repr(said)])


def _step_state(above: JobState, step: StepSpec, outputs: tuple[OutputState, ...], trees: Worktrees) -> JobState:
    document = step.document
    return JobState(
        name=step.job,
        type=step.type,
        status=JobStatus.NOT_STARTED,
        display_name=str(document.get("display_name") or step.key),
        description=str(document.get("description") or ""),
        experiment_name=above.experiment_name,
        tags=texts(_mapping(document.get("tags"))),
        properties={**trees.properties(document, Path("/")), **texts(_mapping(document.get("properties")))},
        document=document,
        create_time=above.create_time,
        created_by=above.created_by,
        outputs=outputs,
        parent=above.name,
        step=step.key,
    )


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
