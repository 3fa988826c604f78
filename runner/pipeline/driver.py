"""The driver of a pipeline: a shell of I/O around the core, which decides.

Order of events: take the pipeline's lock; start the nursery; read where an earlier run has left each step; then wait
for ends of steps and do what follows. No user code runs here, and no step depends on this process: when it is killed
the steps go on, and the next driver attaches to them by their locks. What is true of a step is in its row and its
folder; nothing about it is only known here.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import msgspec

from runner.entity.job import JobError, JobState
from runner.entity.pipeline import PipelineSpec
from runner.entity.status import JobStatus
from runner.errors import (
    CommandLost,
    Defect,
    IllegalTransition,
    JobNotFound,
    JobStatusConflict,
    RunnerError,
    StepsFailed,
    StorageFailed,
)
from runner.pipeline.core import (
    RESUME_LIMIT,
    Abandon,
    Action,
    Attach,
    Core,
    Finish,
    Launch,
    Look,
    Phase,
    Prepare,
    Resume,
    Reuse,
    Stop,
)
from runner.pipeline.deaf import end_deaf, end_silent
from runner.pipeline.execution_log import ExecutionLog
from runner.pipeline.nursery import Nursery
from runner.pipeline.opening import Looked, Opening
from runner.pipeline.promoted import Promotions
from runner.pipeline.ray_share import RayShare
from runner.pipeline.reuse import ReuseDesk
from runner.pipeline.slots import default_limit, weigh
from runner.pipeline.step_drivers import StepDrivers
from runner.pipeline.watch import Hands, Watch
from runner.schedule.cancel import Canceled
from runner.schedule.catalog import StoreCatalog
from runner.schedule.contents import Contents
from runner.schedule.shell import Ending, Shell
from runner.spec.places import Places
from runner.store.home import Home, JobFolder
from runner.store.lock import JobLock

log = logging.getLogger(__name__)

TICK_S = 0.2
"""How often requests to cancel single steps are looked for; ends of steps are not found this way."""
LOOK_S = 1.0
"""The same while nothing changes: a driver that does not answer changes nothing."""
GLANCE_S = 1.0
"""A reader that looks whether a driver lives holds the lock for a moment."""
HANDS = 4
_S = JobStatus
_SPEC = msgspec.json.Decoder(PipelineSpec)
_MOVING = (_S.RUNNING, _S.FINALIZING, _S.COMPLETED)
_TO_END = (_S.CANCEL_REQUESTED, _S.NOT_RESPONDING)


class PipelineDriver:
    """Runs the pipeline `name` of a home. `nursery` is the command of a process that forks drivers of steps."""

    def __init__(self, home: Home, name: str, nursery: Sequence[str]) -> None:
        self._home, self._name = home, name
        self._shell = Shell(home, name)
        self._nursery = Nursery(nursery, {**os.environ, "RUNNER_HOME": str(home.root)})
        self._share = RayShare(home.ray)
        self._finish: Finish | None = None
        self._looked: dict[str, Looked] = {}
        self._began: dict[str, float] = {}
        self._confirming = 0
        self._is_running = False
        self._seen = 0
        self._next_look = 0.0

    def run(self) -> int:
        """Run the pipeline to a terminal status and return its exit code; 0 without a word when another driver does."""
        return self._shell.run(self)

    def cancel(self) -> None:
        """Ask for a cancel, as a signal handler does."""
        self._shell.cancelled.set()

    # ---- the journey ------------------------------------------------------------------------------------
    def travel(self) -> None:
        """Bring every step as far as it gets."""
        self._store = self._shell.store
        self._log = ExecutionLog(self._shell.folder.logs)
        self._shell.move(_S.PREPARING)
        self._nursery.open()
        self._watch, self._hands = Watch(), Hands(HANDS)
        self._drivers = StepDrivers(
            self._store, self._nursery, self._watch, on_ended=self._on_ended, on_lost=self._on_lost
        )
        try:
            self._begin()
            while self._finish is None:
                self._watch.wait(TICK_S)
                self._tick()
            self._conclude(self._finish)
        except Canceled:
            raise
        except Exception:
            self._store.cancel_steps(self._name)  # nobody would look after those that go on
            raise

    def arrive(self, status: JobStatus, error: JobError | None) -> Ending:
        """What is recorded with the last status."""
        if hasattr(self, "_log"):
            self._log.say(f"The pipeline is {status}" + (f": {error.message}" if error is not None else "."))
        if status is not _S.COMPLETED:
            return Ending()
        return Ending(records=tuple(self._promotions.records()))

    def leave(self, status: JobStatus) -> None:
        """Nothing more is to be done."""

    def close(self) -> None:
        """Let the nursery end. Threads that still look at something end with this process."""
        self._share.release()
        self._nursery.close()
        if hasattr(self, "_watch"):
            self._hands.close()
            self._watch.close()

    def _begin(self) -> None:
        spec = _read_spec(self._shell.folder)
        self._steps = {step.key: step for step in spec.steps}
        self._promotions = Promotions(self._store, spec)
        places = replace(Places.read(self._home.root, os.environ), catalog=StoreCatalog(self._store))
        desk = ReuseDesk(self._store, Contents(self._store), places, spec)
        self._opening = Opening(self._store, spec, places, desk, self._share)
        limit = spec.max_concurrent_steps or default_limit()
        cores = len(os.sched_getaffinity(0))
        weights = {step.key: weigh(step, places, cores) for step in spec.steps if step.type == "parallel"}
        self._core = Core(spec.steps, limit=limit, goes_on=spec.continue_on_step_failure, weights=weights)
        for notice in spec.notices:
            self._tell(notice)
        self._tell(
            f"continue_on_step_failure is {str(spec.continue_on_step_failure).lower()}: when a step fails, "
            + ("what does not need it goes on" if spec.continue_on_step_failure else "the others are cancelled")
            + f"; at most {limit} steps at a time"
        )
        found = {}
        for state in self._store.steps(self._name):
            found[state.step] = self._status_of(state)
            self._promotions.see(state)
            if state.status is _S.NOT_RESPONDING:  # this run takes over from whoever holds the lock and says nothing
                end_silent(self._home.job(state.name))
            elif state.status is _S.COMPLETED:
                self._confirm(state.step)  # it may have ended while no driver was there
        self._opening.check_targets()
        self._watch.on_cancel(self._shell.cancelled, lambda: self._do(self._core.on_cancel()))
        self._do(self._core.begin(found))

    def _conclude(self, finish: Finish) -> None:
        if finish.status is _S.CANCELED:
            raise Canceled
        if finish.status is _S.FAILED:
            while self._confirming:
                self._watch.wait(None)
            raise StepsFailed(", ".join(finish.failed), self._reason_of(finish.failed[0]))
        self._move_on()
        self._shell.move(_S.FINALIZING)
        while self._confirming:
            self._watch.wait(None)

    # ---- what the core wants ----------------------------------------------------------------------------
    def _do(self, actions: list[Action]) -> None:
        preparing = [(action.key, self._steps[action.key].job) for action in actions if isinstance(action, Prepare)]
        if preparing:
            self._log.submitting(preparing)
        for action in actions:
            match action:
                case Look(key):
                    self._look(key)
                case Reuse(key):
                    self._reuse(key)
                case Prepare(key):
                    self._prepare(key)
                case Launch(key):
                    self._launch(key)
                case Attach(key):
                    self._tell(f"Step {key} is in progress already.")
                    self._opening.keep_ray(self._steps[key])
                    self._drivers.attach(self._steps[key].job)
                case Resume(key, count):
                    self._resume(key, count)
                case Abandon(key, is_cancelled):
                    self._abandon(key, is_cancelled)
                case Stop():
                    self._store.cancel_steps(self._name)
                case Finish():
                    self._finish = action

    def _look(self, key: str) -> None:
        step = self._steps[key]

        def look() -> Callable[[], None]:
            looked = self._opening.look(step)

            def tell() -> None:
                self._looked[key] = looked
                self._do(self._core.on_looked(key, is_hit=looked.is_hit))

            return tell

        self._by_hand(key, look)

    def _reuse(self, key: str) -> None:
        looked = self._looked.pop(key)
        try:
            self._opening.reuse(self._steps[key], looked)
        except IllegalTransition:  # somebody has just cancelled it, which the next tick sees
            self._end_unbegun(key)
            return
        except JobNotFound:  # its source has just been deleted
            self._look(key)
            return
        assert looked.verdict is not None
        self._log.say(f"Step {key} need not run: {looked.verdict.reason}.")
        self._on_ended(self._store.get(self._steps[key].job), is_reused=True)

    def _prepare(self, key: str) -> None:
        step, looked = self._steps[key], self._looked.pop(key)

        def make() -> Callable[[], None]:
            try:
                self._opening.prepare(step, looked)
            except IllegalTransition:
                return lambda: self._end_unbegun(key)
            return lambda: self._on_prepared(key)

        self._by_hand(key, make, is_urgent=True)

    def _on_prepared(self, key: str) -> None:
        self._promotions.see(self._store.get(self._steps[key].job))
        self._queue()
        self._do(self._core.on_prepared(key))

    def _launch(self, key: str) -> None:
        self._began[key] = time.monotonic()
        try:
            self._drivers.launch(self._steps[key].job)
        except RunnerError as error:
            self._fail(key, error)

    def _resume(self, key: str, count: int) -> None:
        self._tell(f"Step {key} has lost its driver and is resumed, time {count}.")
        try:
            self._opening.begin_again(self._steps[key], f"its driver was lost; resumed, time {count}", wait_s=GLANCE_S)
        except (CommandLost, IllegalTransition):  # somebody was quicker: who holds the lock drives it, or it has ended
            self._drivers.look_at(self._steps[key].job)
            return
        self._launch(key)

    def _abandon(self, key: str, is_cancelled: bool) -> None:
        """End a step in the place of its driver, unless it has one after all."""
        job = self._steps[key].job
        lock = JobLock.take(self._home.job(job).lock, wait_s=GLANCE_S) if self._home.job(job).root.is_dir() else None
        if lock is None and self._home.job(job).root.is_dir():
            self._drivers.attach(job)
            return
        try:
            status = self._store.get(job).status
            if is_cancelled and not status.is_terminal:
                self._end_cancelled(key)
            elif not status.is_terminal:
                self._opening.fail(self._steps[key], _lost())
        except RunnerError as error:
            log.info("step %s was ended by somebody else: %s", key, error)
        finally:
            if lock is not None:
                lock.release()
        self._drivers.look_at(job)

    def _end_cancelled(self, key: str) -> None:
        """Canceled for a step without a driver; one that was being published has failed, as that was not taken back."""
        job = self._steps[key].job
        try:
            self._store.request_cancel(job)
        except JobStatusConflict:
            self._opening.fail(self._steps[key], CommandLost("its driver was lost while its outputs were published"))
        else:
            self._store.move(job, _S.CANCELED, "no driver was there to end it")

    def _fail(self, key: str, error: RunnerError) -> None:
        """A step that cannot begin."""
        if self._core.is_stopping and self._core.phase(key) is Phase.LOOKING:
            return  # nobody needs to know any more
        try:
            self._opening.fail(self._steps[key], error)
        except IllegalTransition:
            self._end_unbegun(key)
            return
        self._on_ended(self._store.get(self._steps[key].job))

    def _by_hand(self, key: str, work: Callable[[], Callable[[], None]], *, is_urgent: bool = False) -> None:
        """Have something done by another thread, and what it returns in this one. An error fails the step."""

        def do() -> None:
            try:
                news = work()
            except RunnerError as error:
                failed = error
                self._watch.tell(lambda: self._fail(key, failed))
            except Exception as error:  # the step fails by it, with the traceback in this driver's log
                log.exception("step %s", key)
                defect = Defect(f"{type(error).__name__}: {error}")
                self._watch.tell(lambda: self._fail(key, defect))
            else:
                self._watch.tell(news)

        self._hands.give(do, is_urgent=is_urgent)

    # ---- how steps end ----------------------------------------------------------------------------------
    def _on_lost(self, state: JobState) -> None:
        self._hear_cancel()
        self._do(self._core.on_lost(state.step, is_cancelled=self._status_of(state) is _S.CANCEL_REQUESTED))

    def _on_ended(self, state: JobState, *, is_reused: bool = False) -> None:
        key = state.step
        if not is_reused:
            took = f" after {time.monotonic() - self._began[key]:.1f} s" if key in self._began else ""
            why = f": {state.error.message}" if state.error is not None else ""
            self._log.say(f"Step {key} is {state.status}{took}{why}")
        self._promotions.see(state)
        if state.status is _S.COMPLETED:
            self._move_on()
            if not is_reused:
                self._confirm(key)
        self._hear_cancel()
        actions = self._core.on_ended(key, state.status)
        self._shell.pulse.say(f"{self._core.ended_count} of {len(self._steps)} steps have ended")
        self._do(actions)

    def _hear_cancel(self) -> None:
        """A step may have ended by a cancel, or after one, that this process has not heard of: nothing follows then."""
        if not self._core.is_stopping and self._store.is_cancel_requested(self._name):
            self._do(self._core.on_cancel())

    def _confirm(self, key: str) -> None:
        """Look again at the inputs of a step that has completed: if they are the same, later steps may reuse it."""
        self._confirming += 1

        def confirmed() -> None:
            self._confirming -= 1

        def confirm() -> None:
            try:
                self._opening.confirm(self._steps[key])
            except RunnerError as error:
                log.warning("step %s is not reused later: %s", key, error)
            finally:
                self._watch.tell(confirmed)

        self._hands.give(confirm)

    def _end_unbegun(self, key: str) -> None:
        """Canceled for a step without a driver that was asked to end."""
        job = self._steps[key].job
        try:
            if self._store.is_cancel_requested(job):
                self._store.move(job, _S.CANCELED, "cancelled before it began")
        except IllegalTransition:
            pass  # whoever else has seen the request was quicker
        self._on_ended(self._store.get(job))

    def _tick(self) -> None:
        """Look for what others have asked of single steps, and whether the first step has begun to run."""
        has_changed, self._seen = self._store.has_changed(self._seen)
        now = time.monotonic()
        if not has_changed and now < self._next_look:
            return
        self._next_look = now + LOOK_S
        if not self._is_running and self._store.list(parent=self._name, statuses=_MOVING, limit=1, archived=None).jobs:
            self._move_on()
        limit = len(self._steps)
        asked = self._store.list(parent=self._name, statuses=_TO_END, limit=limit, archived=None).jobs
        unbegun = set(self._core.unbegun()) if asked else set()
        for state in asked:
            if state.step in unbegun:
                self._end_unbegun(state.step)
            elif self._status_of(state) is _S.CANCEL_REQUESTED:
                end_deaf(self._store, state)  # whose end is heard of like any other

    # ---- what is told -----------------------------------------------------------------------------------
    def _tell(self, text: str) -> None:
        self._shell.pulse.say(text)
        self._log.say(text)

    def _status_of(self, state: JobState) -> JobStatus:
        """The status a step is in, also while its driver is silent."""
        if state.status is _S.NOT_RESPONDING and self._store.is_cancel_requested(state.name):
            return _S.CANCEL_REQUESTED
        return state.status

    def _queue(self) -> None:
        if not self._is_running and self._store.get(self._name).status is _S.PREPARING:
            self._move(_S.QUEUED)

    def _move_on(self) -> None:
        """Running: a step has left Queued, or need not run."""
        if not self._is_running:
            self._is_running = True
            self._move(_S.RUNNING)

    def _move(self, status: JobStatus) -> None:
        try:
            self._shell.move(status)
        except Canceled:
            pass  # the watch tells

    def _reason_of(self, key: str) -> str:
        state = self._store.get(self._steps[key].job)
        if state.status is _S.CANCELED:
            return f"{key} was cancelled"
        return f"{key}: {state.error.message if state.error is not None else state.message or state.status}"


def _lost() -> CommandLost:
    return CommandLost(f"its driver was lost {RESUME_LIMIT + 1} times; its logs/sys/driver.txt may say why")


def _read_spec(folder: JobFolder) -> PipelineSpec:
    try:
        return _SPEC.decode(folder.spec.read_bytes())
    except (OSError, msgspec.MsgspecError) as error:
        raise StorageFailed(str(folder.spec), f"cannot be read: {error}") from None
