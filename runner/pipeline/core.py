"""Which step of a pipeline is to be decided on, started, resumed or stopped, and when it is over. No I/O, no clock.

A step waits until what it needs has ended, is looked up for an earlier result, waits for slots, is prepared, and runs.
What happens outside is told by the `on_` methods; each returns what is to be done now. Every step passes through each
phase at most once between two losses of its driver, so the work for a pipeline grows with its steps and bindings.
"""

from __future__ import annotations

import heapq
from bisect import bisect_left, insort
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Literal

from runner.entity.pipeline import StepSpec
from runner.entity.status import JobStatus
from runner.pipeline.slots import Slots

RESUME_LIMIT = 3
"""How often a step that has lost its driver is resumed within one run of its pipeline."""


class Phase(Enum):
    """Where a step stands in this run of its pipeline."""

    WAITING = auto()
    """Not everything that it needs has ended."""
    LOOKING = auto()
    """Somebody looks for an earlier result."""
    READY = auto()
    """It has to run, and waits for slots."""
    PREPARING = auto()
    """Its folder is made; it has no driver yet."""
    RUNNING = auto()
    """It has a driver, or had one until a moment ago."""
    ENDING = auto()
    """It was asked to end in an earlier run of the pipeline; when it has, it begins anew."""
    COMPLETED = auto()
    FAILED = auto()
    """Failed, or cancelled by itself."""
    STOPPED = auto()
    """Cancelled because the pipeline was to end."""
    BARRED = auto()
    """It cannot run, because something it must have did not complete."""


_OVER = frozenset({Phase.COMPLETED, Phase.FAILED, Phase.STOPPED, Phase.BARRED})
_OUT = frozenset({Phase.PREPARING, Phase.RUNNING, Phase.ENDING})
_UNBEGUN = frozenset({Phase.WAITING, Phase.LOOKING, Phase.READY})


@dataclass(frozen=True, slots=True)
class Look:
    """Look for an earlier result; `on_looked` tells."""

    key: str


@dataclass(frozen=True, slots=True)
class Reuse:
    """Let the earlier result stand in; `on_ended` follows."""

    key: str


@dataclass(frozen=True, slots=True)
class Prepare:
    """Make the step's folder; `on_prepared` follows, or `on_ended` when that fails."""

    key: str


@dataclass(frozen=True, slots=True)
class Launch:
    """Start a driver; `on_ended` or `on_lost` follows."""

    key: str


@dataclass(frozen=True, slots=True)
class Attach:
    """Watch a driver that somebody else has started; `on_ended` or `on_lost` follows."""

    key: str


@dataclass(frozen=True, slots=True)
class Resume:
    """Begin a new run of a step that has lost its driver, and start another one."""

    key: str
    count: int


@dataclass(frozen=True, slots=True)
class Abandon:
    """End a step that has lost its driver: Canceled when it was to end, else Failed; `on_ended` follows."""

    key: str
    is_cancelled: bool


@dataclass(frozen=True, slots=True)
class Stop:
    """Ask all steps in progress to end."""


@dataclass(frozen=True, slots=True)
class Finish:
    """Nothing goes on any more: how the pipeline ends, and the steps that failed, the first to fail first."""

    status: Literal[JobStatus.COMPLETED, JobStatus.FAILED, JobStatus.CANCELED]
    failed: tuple[str, ...] = ()


Action = Look | Reuse | Prepare | Launch | Attach | Resume | Abandon | Stop | Finish


@dataclass(slots=True)
class _Step:
    place: int
    weight: int
    must: frozenset[str]
    """Steps that have to complete."""
    open_count: int
    phase: Phase = Phase.WAITING
    loss_count: int = 0


class Core:
    """The state of one run of a pipeline."""

    def __init__(
        self, steps: Sequence[StepSpec], *, limit: int, goes_on: bool, weights: Mapping[str, int] | None = None
    ) -> None:
        self._slots = Slots(limit)
        self._goes_on = goes_on
        self._steps: dict[str, _Step] = {}
        self._consumers: dict[str, list[str]] = {step.key: [] for step in steps}
        for place, step in enumerate(steps):
            weight = (weights or {}).get(step.key, 1)
            must = frozenset(source.step for source in step.sources if not source.is_optional)
            needs = step.needs
            self._steps[step.key] = _Step(place, weight, must | frozenset(step.depends_on), len(needs))
            for need in needs:
                self._consumers[need].append(step.key)
        self._weights = [step.weight for step in self._steps.values()]
        self._looking: list[int] = []
        """The places of the steps in that phase, in order."""
        self._ready: list[tuple[int, str]] = []
        self._failed: list[str] = []
        self._over_count = 0
        self._barred_count = 0
        self._out_count = 0
        self._is_cancelled = False
        self._is_stopped = False
        self._is_finished = False

    # ---- what is known ----------------------------------------------------------------------------------
    def phase(self, key: str) -> Phase:
        """Where a step stands."""
        return self._steps[key].phase

    @property
    def is_stopping(self) -> bool:
        """Whether nothing is started any more."""
        return self._is_stopped

    @property
    def ended_count(self) -> int:
        """Steps that are Completed, Failed or Canceled."""
        return self._over_count - self._barred_count

    def unbegun(self) -> Iterable[str]:
        """Steps that have no driver and may still get one, or that never will."""
        return [key for key, step in self._steps.items() if step.phase in _UNBEGUN or step.phase is Phase.BARRED]

    # ---- what happens -----------------------------------------------------------------------------------
    def begin(self, found: Mapping[str, JobStatus]) -> list[Action]:
        """Begin with the steps as an earlier run of the pipeline has left them.

        What completed is kept; what is in progress is attached to; what was asked to end is waited for, and begins
        anew; so does what failed or was cancelled, and what never started is decided on.
        """
        actions: list[Action] = []
        completed = []
        for key, step in self._steps.items():
            status = found.get(key, JobStatus.NOT_STARTED)
            if status is JobStatus.COMPLETED:
                completed.append(key)
            elif status not in (JobStatus.NOT_STARTED, JobStatus.FAILED, JobStatus.CANCELED):
                is_ending = status is JobStatus.CANCEL_REQUESTED
                self._enter(step, Phase.ENDING if is_ending else Phase.RUNNING)
                self._slots.occupy(key, step.weight)
                actions.append(Attach(key))
        for key in completed:
            self._enter(self._steps[key], Phase.COMPLETED)
        for key in completed:
            actions += self._settle(key)
        for key, step in self._steps.items():
            if step.open_count == 0 and step.phase is Phase.WAITING:
                actions += self._look(key)
        return actions + self._go_on()

    def on_looked(self, key: str, *, is_hit: bool) -> list[Action]:
        """Whether there is an earlier result that may stand in for running a step."""
        step = self._steps[key]
        if step.phase is not Phase.LOOKING or self._is_stopped:
            return []
        if is_hit:
            return [Reuse(key)]
        self._enter(step, Phase.READY)
        heapq.heappush(self._ready, (step.place, key))
        return self._go_on()

    def on_prepared(self, key: str) -> list[Action]:
        """A step's folder is there, and its row says Starting."""
        step = self._steps[key]
        if step.phase is not Phase.PREPARING:
            return []
        self._enter(step, Phase.RUNNING)
        return [Abandon(key, is_cancelled=True)] if self._is_stopped else [Launch(key)]

    def on_ended(self, key: str, status: JobStatus) -> list[Action]:
        """A step is Completed, Failed or Canceled, by whomever; a second telling is ignored."""
        step = self._steps[key]
        if step.phase in _OVER:
            return []
        was_ending = step.phase is Phase.ENDING
        self._slots.give(key)
        if status is not JobStatus.COMPLETED and was_ending and not self._is_stopped:
            self._enter(step, Phase.WAITING)
            return (self._look(key) if step.open_count == 0 else []) + self._go_on()
        if status is JobStatus.COMPLETED:
            self._enter(step, Phase.COMPLETED)
        elif status is JobStatus.CANCELED and self._is_stopped:
            self._enter(step, Phase.STOPPED)
        else:
            self._enter(step, Phase.FAILED)
            self._failed.append(key)
        actions = self._settle(key)
        if self._failed and not self._goes_on:
            actions += self._stop()
        return actions + self._go_on()

    def on_lost(self, key: str, *, is_cancelled: bool) -> list[Action]:
        """A step in progress has no driver any more; `is_cancelled` when it was asked to end."""
        step = self._steps[key]
        if step.phase not in (Phase.RUNNING, Phase.ENDING):
            return []
        if is_cancelled or self._is_stopped or step.phase is Phase.ENDING:
            return [Abandon(key, is_cancelled=True)]
        step.loss_count += 1
        if step.loss_count > RESUME_LIMIT:
            return [Abandon(key, is_cancelled=False)]
        return [Resume(key, step.loss_count)]

    def on_cancel(self) -> list[Action]:
        """The pipeline is to end."""
        self._is_cancelled = True
        return self._stop() + self._go_on()

    # ---- what follows -----------------------------------------------------------------------------------
    def _enter(self, step: _Step, phase: Phase) -> None:
        self._out_count += (phase in _OUT) - (step.phase in _OUT)
        self._over_count += (phase in _OVER) - (step.phase in _OVER)
        if step.phase is Phase.LOOKING:
            del self._looking[bisect_left(self._looking, step.place)]
        if phase is Phase.LOOKING:
            insort(self._looking, step.place)
        step.phase = phase

    def _settle(self, key: str) -> list[Action]:
        """Tell the consumers of a step that nothing more is expected of it, and theirs if they cannot run."""
        actions: list[Action] = []
        settled = [key]
        while settled:
            one = settled.pop()
            is_completed = self._steps[one].phase is Phase.COMPLETED
            for consumer in self._consumers[one]:
                step = self._steps[consumer]
                step.open_count -= 1
                if step.phase is not Phase.WAITING:
                    continue
                if one in step.must and not is_completed:
                    self._enter(step, Phase.BARRED)
                    self._barred_count += 1
                    settled.append(consumer)
                elif step.open_count == 0:
                    actions += self._look(consumer)
        return actions

    def _look(self, key: str) -> list[Action]:
        if self._is_stopped:
            return []
        self._enter(self._steps[key], Phase.LOOKING)
        return [Look(key)]

    def _stop(self) -> list[Action]:
        if self._is_stopped:
            return []
        self._is_stopped = True
        self._ready.clear()
        return [Stop()] if self._out_count else []

    def _go_on(self) -> list[Action]:
        """Prepare what has to run and finds slots, in the order of the file; finish when nothing is left to wait for.

        Nobody overtakes: a heavy step would wait for ever behind light ones. And for steps before it that are still
        being looked up a step leaves slots, so that which of them are first is not a matter of who looks faster.
        """
        actions: list[Action] = []
        while self._ready and not self._is_stopped:
            key = self._ready[0][1]
            step = self._steps[key]
            if step.phase is Phase.READY:
                if not self._slots.take(key, step.weight, leaving=self._reserved_before(step.place)):
                    break
                self._enter(step, Phase.PREPARING)
                actions.append(Prepare(key))
            heapq.heappop(self._ready)
        if not self._is_finished and self._is_over:
            self._is_finished = True
            actions.append(self._finish())
        return actions

    def _reserved_before(self, place: int) -> int:
        """What steps that are looked up would take, counted no further than there are free slots."""
        wanted, free = 0, self._slots.free_count
        for one in self._looking:
            if one > place or wanted >= free:
                break
            wanted += self._weights[one]
        return wanted

    @property
    def _is_over(self) -> bool:
        if self._is_stopped:
            return self._out_count == 0
        return self._over_count == len(self._steps)

    def _finish(self) -> Finish:
        if self._is_cancelled:
            return Finish(JobStatus.CANCELED, tuple(self._failed))
        if self._failed:
            return Finish(JobStatus.FAILED, tuple(self._failed))
        return Finish(JobStatus.COMPLETED)
