"""The report of what was tried again: counts as differences, places of what it comes from, and nothing left out."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from runner.entity.lease import Failure, ItemRange, Mend, Part, Report, Tally
from runner.entity.plan import Plan, PlanFile, Unit
from runner.entity.status import FailureClass
from runner.errors import Defect
from runner.schedule.book import Ledgerbook
from runner.schedule.failures import OpenItems
from runner.schedule.mending import Mending, is_mend, mending_of

CRASH, USER = FailureClass.CRASH, FailureClass.USER_ERROR
PLAN = Plan(
    kind="table",
    inputs=("t",),
    files=(PlanFile(path="/t", size_bytes=1, mtime_ns=1, row_count=100, rows_per_mini_batch=10),),
    units=(Unit(file=0, first_mini_batch=0, mini_batch_count=10, row_count=100),),
    mini_batch_count=10,
    item_count=100,
    fingerprint="f",
)
WHOLE = OpenItems(3, 0, 10, CRASH, 30, 300, 0)
PARTS = [OpenItems(5, 2, 1, USER, 52, 520, 100), OpenItems(5, 6, 2, USER, 55, 550, 200)]


def items(mini_batch: int, first: int, count: int) -> ItemRange:
    return ItemRange(mini_batch=mini_batch, first_item=first, item_count=count)


def failure(mini_batch: int, first: int, count: int, cls: FailureClass = USER) -> Failure:
    return Failure(
        mini_batch=mini_batch,
        first_item=first,
        item_count=count,
        unit=0,
        file="/t",
        row=mini_batch * 10 + first,
        cls=cls,
        exception_type="E",
        message="",
        traceback="",
        attempts=1,
        instance="",
        worker="",
        time=0.0,
    )


def report(mends: Sequence[tuple[int, int, int]], failures: Sequence[Failure]) -> Report:
    """Each mended item gives one row of ten bytes."""
    done = sum(count for *_, count in mends)
    failed = sum(one.item_count for one in failures)
    part = Part(file="p", size_bytes=done * 10, sha256="", row_count=done) if done else None
    return Report(
        instance=0,
        first=3,
        end=6,
        epoch=2,
        lending=0,
        part=part,
        tally=Tally(item_count=done + failed, failed_item_count=failed, row_count=done),
        failures=tuple(failures),
        mends=tuple(Mend(items=items(*one), row_count=one[2], byte_count=one[2] * 10) for one in mends),
    )


def mended(mends: Sequence[tuple[int, int, int]], failures: Sequence[Failure]) -> Mending:
    return mending_of(report(mends, failures), {3: [WHOLE], 5: PARTS}, PLAN)


def test_a_whole_mini_batch_that_succeeds_has_not_failed_any_more() -> None:
    found = mended([(3, 0, 10)], [])
    assert found.tally == Tally(
        failed_mini_batch_count=-1, failed_item_count=-10, row_count=10, failed_by_class={CRASH: -1}
    )
    assert found.mini_batches == (3,)
    assert [(one.at_row, one.at_byte, one.rows, one.size) for one in found.mends] == [(30, 300, 10, 100)]


def test_what_fails_again_in_part_stands_where_the_whole_stood() -> None:
    found = mended([(3, 0, 4), (3, 5, 5)], [failure(3, 4, 1)])
    assert found.tally == Tally(
        failed_mini_batch_count=-1, failed_item_count=-9, row_count=9, failed_by_class={CRASH: -1, USER: 1}
    )
    assert {(one.at_row, one.at_byte) for one in found.mends} == {(30, 300)}
    assert {(one.at_row, one.at_byte) for one in found.failures} == {(30, 300)}


def test_what_fails_again_as_a_whole_changes_its_class_only() -> None:
    assert mended([], [failure(3, 0, 10)]).tally == Tally(failed_by_class={CRASH: -1, USER: 1})


def test_a_mini_batch_with_survivors_had_not_failed_and_does_not_now() -> None:
    found = mended([(5, 2, 1), (5, 7, 1)], [failure(5, 6, 1)])
    assert found.tally == Tally(failed_item_count=-2, row_count=2, failed_by_class={USER: -1})
    assert [(one.first_item, one.at_row) for one in found.mends] == [(2, 52), (7, 55)]
    assert found.failures[0].at_byte == 550


def test_a_report_that_leaves_items_out_is_a_defect() -> None:
    with pytest.raises(Defect, match="does not tell of all its items"):
        mended([(3, 0, 9)], [])
    with pytest.raises(Defect, match="does not tell of all its items"):
        mended([(5, 2, 1)], [])


def test_a_mend_is_known_by_what_is_being_tried_again() -> None:
    assert is_mend(report([], [failure(3, 0, 10)]), {3: [WHOLE]}) and is_mend(report([(4, 0, 1)], []), {})
    assert not is_mend(report([], [failure(3, 0, 10)]), {7: [WHOLE]})
    assert is_mend(report([], []), dict.fromkeys(range(5, 100)))


def test_what_is_being_tried_again_is_not_held_against_the_job() -> None:
    committed = Tally(
        mini_batch_count=10,
        failed_mini_batch_count=1,
        item_count=100,
        failed_item_count=13,
        row_count=87,
        failed_by_class={CRASH: 1, USER: 2},
    )
    book = Ledgerbook(tally=committed)
    assert book.judged == committed
    book.retry([WHOLE, *PARTS], PLAN)
    assert book.judged == Tally(mini_batch_count=9, item_count=87, row_count=87)
    book.enter_mend(2, mended([(3, 0, 4), (3, 5, 5)], [failure(3, 4, 1)]).tally, 0)
    book.settle(3, 10)
    assert (book.judged.failed_item_count, book.judged.failed_by_class) == (1, {USER: 1})
    book.enter_mend(2, mended([(5, 2, 1), (5, 6, 2)], []).tally, 0)
    book.settle(5, 10)
    assert (
        book.judged
        == book.tally
        == Tally(mini_batch_count=10, item_count=100, failed_item_count=1, row_count=99, failed_by_class={USER: 1})
    )
