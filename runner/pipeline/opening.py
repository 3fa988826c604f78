"""What makes a step ready for its driver: real paths for its bindings, a look for an earlier result, folder and row.

A step that no driver has seen yet is made anew from the pipeline; one that has run goes on as the job it was. Whatever
is written here can be written again after a crash: the row says Starting only when the folder is whole.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import msgspec

from runner.entity.command import CommandSpec
from runner.entity.job import JobError, JobState, OutputState
from runner.entity.parallel import ParallelSpec
from runner.entity.pipeline import PipelineSpec, StepSpec
from runner.entity.status import JobStatus
from runner.errors import MEANINGS, CommandLost, RunnerError, TargetExists
from runner.pipeline.ray_share import RayShare
from runner.pipeline.reuse import ReuseDesk, Verdict
from runner.schedule.prepare import is_taken, prepare
from runner.spec.flatten import fill_step
from runner.spec.load import job_of_document
from runner.spec.places import Places
from runner.store.lock import JobLock
from runner.store.store import Store

log = logging.getLogger(__name__)

CLOSING_S = 5.0
"""A driver holds the lock for a moment after it has recorded the end."""
_S = JobStatus


@dataclass(frozen=True, slots=True)
class Looked:
    """A step with real paths in it, and whether it need not run; no verdict for one that goes on."""

    document: dict[str, object]
    verdict: Verdict | None

    @property
    def is_hit(self) -> bool:
        """Whether an earlier result may stand in."""
        return self.verdict is not None and self.verdict.hit is not None


class Opening:
    """Opens the steps of one pipeline. Threads may share it."""

    def __init__(self, store: Store, spec: PipelineSpec, places: Places, desk: ReuseDesk, share: RayShare) -> None:
        self._store, self._spec, self._places, self._desk, self._share = store, spec, places, desk, share
        self._jobs: Mapping[str, str] = {step.key: step.job for step in spec.steps}

    def look(self, step: StepSpec) -> Looked:
        """Fill in what the step's producers have made, and look for an earlier result."""
        document = fill_step(step, self._place_of)
        if self._has_run(self._store.get(step.job)):
            return Looked(document, None)
        return Looked(document, self._desk.look(step, document))

    def check_targets(self) -> None:
        """Raise TargetExists when a step without producers would have to replace something, before anything has run.

        Reuse is decided first: a step that need not run writes nothing.
        """
        states = {state.step: state for state in self._store.steps(self._spec.name)}
        if any(state.status is not _S.NOT_STARTED for state in states.values()):
            return  # this is no first run
        for step in self._spec.steps:
            runner = step.document.get("runner")
            if step.needs or (isinstance(runner, Mapping) and runner.get("overwrite")):
                continue
            outputs = states[step.key].outputs
            taken = [one.path for one in outputs if is_taken(one.path, one.type != "uri_file")]
            if taken and not self.look(step).is_hit:
                raise TargetExists(taken[0])

    def reuse(self, step: StepSpec, looked: Looked) -> None:
        """Let the earlier result stand in for the step. IllegalTransition when it was cancelled meanwhile."""
        verdict = looked.verdict
        assert verdict is not None
        assert verdict.hit is not None
        if self._store.get(step.job).status.is_terminal:
            self._store.begin_run(step.job)  # it was cancelled before anything of it ran
        records = verdict.hit.records
        outputs = [OutputState(name=one.name, type=one.type, path=one.path) for one in records]
        self._store.complete_reused(step.job, verdict.hit.job, verdict.reason, outputs, records)

    def prepare(self, step: StepSpec, looked: Looked) -> None:
        """Make the folder of a step and let its row say Starting. IllegalTransition when it was cancelled meanwhile."""
        state = self._store.get(step.job)
        if self._has_run(state):
            if step.type == "command" and any(source.is_optional for source in step.sources):
                with suppress(TargetExists):  # of an earlier attempt; then all stays as it was
                    self._make_folder(step, looked.document)  # what was absent may be there now
            self.keep_ray(step)
            self.begin_again(step, "resumed with its pipeline", wait_s=CLOSING_S)
            return
        outputs = self._make_folder(step, looked.document)
        self.keep_ray(step)
        if state.status is _S.NOT_STARTED:
            self._store.move(step.job, _S.STARTING, outputs=outputs)
        else:
            self._store.begin_run(step.job, "resumed with its pipeline")
            self._store.set_outputs(step.job, outputs)
        if looked.verdict is not None:
            self._store.set_reuse(step.job, looked.verdict.key, is_source=False, reason=looked.verdict.reason)

    def keep_ray(self, step: StepSpec) -> None:
        """See to it that the embedded Ray stays from here on, if the step runs there."""
        kind = ParallelSpec if step.type == "parallel" else CommandSpec
        try:
            self._share.take_for(self._store.home.job(step.job).spec, kind)
        except (OSError, msgspec.MsgspecError) as error:
            log.warning("what %s runs on is not known: %s", step.key, error)

    def begin_again(self, step: StepSpec, message: str, *, wait_s: float) -> None:
        """Begin a new run of a step that has run. CommandLost when somebody holds its lock."""
        state = self._store.get(step.job)
        lock = JobLock.take(self._store.home.job(step.job).lock, wait_s=wait_s)
        if lock is None:
            raise CommandLost(f"an earlier driver of {step.job} is still there")
        with lock:
            self._store.begin_run(step.job, message)
            if (key := self._store.reuse.key_of(step.job)) is not None:
                self._store.set_reuse(step.job, key, is_source=False, reason=state.reuse_reason)

    def fail(self, step: StepSpec, error: RunnerError) -> None:
        """Record that a step cannot go on; it has no driver that could."""
        status = self._store.get(step.job).status
        if status is _S.NOT_STARTED:
            self._store.move(step.job, _S.STARTING)
        elif status.is_terminal:
            self._store.begin_run(step.job)
        text, code = str(error), MEANINGS[error.reason].exit_code
        failed = JobError(reason=error.reason, message=text, exit_code=code)
        self._store.move(step.job, _S.FAILED, text, error=failed)

    def confirm(self, step: StepSpec) -> None:
        """Make a completed step a source for later ones, if its inputs are what they were when it was looked up."""
        state = self._store.get(step.job)
        if self._spec.force_rerun or not step.is_deterministic or state.reused_from:
            return
        if self._store.reuse.is_source(step.job):
            return
        if state.progress.failed_mini_batch_count or state.progress.failed_item_count:
            return
        key = self._store.reuse.key_of(step.job)
        if key is not None and self._desk.is_still_same(step, key):
            self._store.set_reuse(step.job, key, is_source=True, reason=state.reuse_reason)

    def _has_run(self, state: JobState) -> bool:
        """Whether a driver has had the job: then its folder is whole, and holds what it has done."""
        return state.status.is_terminal and bool(state.host) and self._store.home.job(state.name).spec.is_file()

    def _make_folder(self, step: StepSpec, document: dict[str, object]) -> tuple[OutputState, ...]:
        folder = self._store.home.job(step.job)
        nameless = {key: value for key, value in document.items() if key != "name"}  # a step's is no job's otherwise
        return prepare(
            job_of_document(nameless),
            name=step.job,
            root_name=self._spec.name,
            places=self._places,
            code=Path(step.code) if step.code else None,
            folder=folder,
            final=folder,
        )

    def _place_of(self, key: str, output: str) -> str | None:
        """Where an output of a step is; None when the step has not completed."""
        state = self._store.get(self._jobs[key])
        if state.status is not _S.COMPLETED:
            return None
        return next((one.path for one in state.outputs if one.name == output), None)
