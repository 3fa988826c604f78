"""Thresholds trip strictly above the count; init failures and clocks end a job when they should and not before."""

from __future__ import annotations

import pytest

from runner.entity.lease import InitFailure, Tally
from runner.entity.parallel import MiniBatchSize, OutputSpec, ParallelSpec, SplitInput
from runner.errors import EntryInvalid, InitFailed, NoFirstTask, NoProgress
from runner.schedule.policy import Clocks, InitWatch, exceeded_threshold, nothing_succeeded


def spec(**kw: object) -> ParallelSpec:
    return ParallelSpec(
        name="job",
        entry_script="score.py",
        code=None,
        inputs=(SplitInput(name="in", kind="files", path="/data"),),
        mini_batch_size=MiniBatchSize(kind="files", value=1),
        **kw,  # type: ignore[arg-type]
    )


def tally(failed: int = 0, items: int = 0, rows: int = 1, total: int = 10) -> Tally:
    return Tally(
        mini_batch_count=total,
        failed_mini_batch_count=failed,
        failed_item_count=items,
        item_count=total,
        row_count=rows,
    )


@pytest.mark.parametrize("threshold", [0, 1, 3])
def test_counts_must_be_above_the_threshold(threshold: int) -> None:
    by_batch, by_item = spec(mini_batch_error_threshold=threshold), spec(error_threshold=threshold)
    assert exceeded_threshold(by_batch, tally(failed=threshold), 10) is None
    assert exceeded_threshold(by_item, tally(items=threshold), 10) is None
    assert exceeded_threshold(by_batch, tally(failed=threshold + 1), 10) is not None
    error = exceeded_threshold(by_item, tally(items=threshold + 1), 10)
    assert error is not None and f"error_threshold = {threshold}" in str(error)


def test_minus_one_ignores() -> None:
    assert exceeded_threshold(spec(), tally(failed=10, items=10**9), 10) is None


def test_percent_is_of_the_planned_mini_batches_from_the_first_failure_on() -> None:
    job = spec(allowed_failed_percent=10.0)
    assert exceeded_threshold(job, tally(failed=4), 40) is None
    assert exceeded_threshold(job, tally(failed=5), 40) is not None
    assert exceeded_threshold(spec(allowed_failed_percent=0.0), tally(), 40) is None
    assert exceeded_threshold(spec(allowed_failed_percent=0.0), tally(failed=1), 10**6) is not None


def test_a_job_in_which_nothing_succeeded_fails() -> None:
    assert nothing_succeeded(spec(), tally(failed=10)) is not None
    assert nothing_succeeded(spec(), tally(failed=9)) is None
    output = OutputSpec(name="o", target="/o", is_folder=False)
    assert nothing_succeeded(spec(output=output), tally(rows=0)) is not None
    assert nothing_succeeded(spec(), tally(rows=0)) is None, "summary only: empty returns are successes"


def failure(worker: str, is_import: bool = False) -> InitFailure:
    return InitFailure(
        instance=0, worker=worker, is_import=is_import, what="boom", traceback="tb", ever_ready=False, failure_count=1
    )


def test_a_failing_import_ends_the_job_at_once() -> None:
    error = InitWatch(4).failed(failure("process000", is_import=True), "score.py")
    assert isinstance(error, EntryInvalid) and error.traceback == "tb"


def test_the_job_ends_when_every_first_init_failed() -> None:
    watch = InitWatch(2)
    assert watch.failed(failure("process000"), "score.py") is None
    assert isinstance(watch.failed(failure("process001"), "score.py"), InitFailed)


def test_one_good_worker_allows_twice_the_workers_of_failures() -> None:
    watch = InitWatch(2)
    watch.ready()
    assert [watch.failed(failure(f"process{i:03d}"), "s") for i in range(3)] == [None, None, None]
    assert isinstance(watch.failed(failure("process003"), "s"), InitFailed)


def test_no_progress_is_told_after_its_time_and_any_ended_attempt_resets_it() -> None:
    clocks = Clocks(spec(progress_update_timeout_s=10.0))
    clocks.moved(0.0, 0, in_flight=True)
    clocks.moved(9.0, 1, in_flight=True)
    clocks.moved(18.0, 1, in_flight=True)
    assert clocks.late(18.0) is None
    assert isinstance(clocks.late(19.5), NoProgress)


def test_the_clock_stands_while_no_instance_is_alive() -> None:
    clocks = Clocks(spec(progress_update_timeout_s=10.0))
    clocks.moved(0.0, 0, in_flight=True)
    clocks.stand()
    assert clocks.late(100.0) is None
    clocks.moved(100.0, 0, in_flight=True)
    assert clocks.late(105.0) is None


def test_the_first_task_has_a_clock_of_its_own() -> None:
    clocks = Clocks(spec(first_task_creation_timeout_s=5.0))
    clocks.moved(0.0, 0, in_flight=False)
    assert clocks.late(4.0) is None
    assert isinstance(clocks.late(6.0), NoFirstTask)
    clocks.moved(6.0, 0, in_flight=True)
    assert clocks.late(12.0) is None
