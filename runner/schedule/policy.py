"""When a job must end: thresholds, failing starts, missing progress. Functions of counts and times, without I/O."""

from __future__ import annotations

from dataclasses import dataclass, field

from runner.entity.lease import InitFailure, Tally
from runner.entity.parallel import ParallelSpec
from runner.errors import (
    ClusterUnavailable,
    EntryInvalid,
    InitFailed,
    NoFirstTask,
    NoProgress,
    NothingSucceeded,
    RunnerError,
    ThresholdExceeded,
)
from runner.schedule.causes import Cause

_ITEMS = ("item", "items")
_BATCHES = ("mini-batch", "mini-batches")


def exceeded_threshold(
    spec: ParallelSpec, tally: Tally, mini_batch_count: int, first: Cause | None = None
) -> ThresholdExceeded | None:
    """The first threshold that the counts are above; strictly, and -1 ignores. `first` is told as an example."""
    failed, items = tally.failed_mini_batch_count, tally.failed_item_count
    if 0 <= spec.mini_batch_error_threshold < failed:
        setting, limit, count, what = "mini_batch_error_threshold", spec.mini_batch_error_threshold, failed, _BATCHES
    elif 0 <= spec.error_threshold < items:
        setting, limit, count, what = "error_threshold", spec.error_threshold, items, _ITEMS
    elif failed and failed * 100 > spec.allowed_failed_percent * mini_batch_count:
        percent = f"{spec.allowed_failed_percent:g} % of {mini_batch_count}"
        return _exceeded("allowed_failed_percent", percent, failed, _BATCHES, first)
    else:
        return None
    return _exceeded(setting, str(limit), count, what, first)


def _exceeded(setting: str, limit: str, count: int, what: tuple[str, str], first: Cause | None) -> ThresholdExceeded:
    # Items that are missing in short returns have no failure that could be shown.
    example = f"; the first is {first}" if first else ""
    return ThresholdExceeded(setting, limit, count, what[count != 1], example, first.traceback if first else "")


def nothing_succeeded(spec: ParallelSpec, tally: Tally, first: Cause | None = None) -> NothingSucceeded | None:
    """A job without one successful mini-batch fails, and with `append_row_to` one that returned nothing at all."""
    failed, total = tally.failed_mini_batch_count, tally.mini_batch_count
    if failed == total:
        what = "the only mini-batch failed" if total == 1 else f"all {total} mini-batches failed"
        return NothingSucceeded(f"{what}: {first}" if first else what, first.traceback if first else "")
    if spec.output is not None and tally.row_count == 0:
        but = f" that did not fail (of {total}, {failed} failed)" if failed else ""
        return NothingSucceeded(f"every run(){but} returned an empty result, so there is nothing to append", "")
    return None


@dataclass(slots=True)
class InitWatch:
    """Counts failing starts: the script's own fault, never charged to a mini-batch."""

    worker_count: int
    """Workers of all instances together."""
    is_ready: bool = False
    _failed_workers: set[tuple[int, str]] = field(default_factory=set)

    def ready(self) -> None:
        """A worker has ended init()."""
        self.is_ready = True

    def failed(self, failure: InitFailure, script: str) -> RunnerError | None:
        """Count one; the error that ends the job, once every first start failed or the limit is reached."""
        self._failed_workers.add((failure.instance, failure.worker))
        count = len(self._failed_workers)
        if failure.is_import and not self.is_ready:
            return EntryInvalid(script, failure.what, failure.traceback)
        if (count >= self.worker_count and not self.is_ready) or count >= 2 * self.worker_count:
            return InitFailed(failure.what, failure.traceback)
        return None


UNREADY_IN_A_ROW = 5
"""Instances lost in one place before any of them was ready: then none is started there any more."""
LOSSES_IN_A_ROW = 12
"""Instances lost without a single commit between them. To find a mini-batch that takes its instance down costs up to
ten: its lease is lost four times, then in smaller pieces, then it alone twice more."""
CHARGES_IN_A_ROW = 5
"""Mini-batches charged with the loss of their instance without a single commit between them: it is not they."""


@dataclass(slots=True)
class Setbacks:
    """Counts lost instances. As long as leases are committed, any number of them may be lost."""

    where: str
    _unready: dict[int, int] = field(default_factory=dict)
    _losses: int = 0
    _charges: int = 0

    def ready(self, place: int) -> None:
        """An instance got ready in a place."""
        self._unready.pop(place, None)

    def committed(self) -> None:
        """A report of an instance was committed."""
        self._losses = self._charges = 0

    def lost(self, place: int, what: str, was_ready: bool, charged_count: int, member_count: int) -> RunnerError | None:
        """Count one, of which `charged_count` mini-batches were charged; the error that ends the job, if it must end.

        `member_count` instances are left.
        """
        self._losses += 1
        if charged_count:
            self._losses = 0
            self._charges += charged_count
        if not was_ready:
            self._unready[place] = self._unready.get(place, 0) + 1
        if self._charges > CHARGES_IN_A_ROW:
            said = f"{self._charges} mini-batches in a row took their instance down, the last one because {what}"
        elif self._losses > LOSSES_IN_A_ROW:
            said = f"{self._losses} instances were lost in a row, the last one because {what}"
        elif self.is_hopeless(place) and not member_count:
            said = f"{self._unready[place]} instances in a row were lost before they were ready, the last one: {what}"
        else:
            return None
        return ClusterUnavailable(self.where, said, "look at the driver's log")

    def is_hopeless(self, place: int) -> bool:
        """Whether none should be started there any more."""
        return self._unready.get(place, 0) > UNREADY_IN_A_ROW


@dataclass(slots=True)
class Clocks:
    """The clocks of two program arguments. They stand while no instance is alive."""

    spec: ParallelSpec
    _attempts: int = -1
    _begun: bool = False
    _since: float | None = None

    def stand(self) -> None:
        """Nobody can make progress now."""
        self._since = None

    def moved(self, now: float, attempts: int, in_flight: bool) -> None:
        """What the instances say: attempts ended so far, and whether any worker is at a mini-batch."""
        if attempts != self._attempts or (in_flight and not self._begun) or self._since is None:
            self._since = now
        self._attempts = attempts
        self._begun = self._begun or in_flight or attempts > 0

    def late(self, now: float) -> RunnerError | None:
        """The error that ends the job, when a clock has run out."""
        if self._since is None:
            return None
        waited = now - self._since
        if not self._begun and waited > self.spec.first_task_creation_timeout_s:
            return NoFirstTask(self.spec.first_task_creation_timeout_s)
        if waited > self.spec.progress_limit_s:
            return NoProgress(self.spec.progress_limit_s)
        return None
