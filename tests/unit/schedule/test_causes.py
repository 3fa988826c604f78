"""Of each class the failure with the lowest number is told, in one line, whatever order they are committed in."""

from __future__ import annotations

import pytest

from runner.entity.lease import Failure
from runner.entity.status import FailureClass
from runner.schedule.causes import TEXT_LIMIT, Causes


def failure(number: int, cls: FailureClass = FailureClass.USER_ERROR, message: str = "no oil") -> Failure:
    return Failure(
        mini_batch=number,
        unit=0,
        file="/data/a",
        row=None,
        item_count=1,
        cls=cls,
        exception_type="ValueError",
        message=message,
        traceback=f"traceback of {number}",
        attempts=1,
        instance="node-000",
        worker="process000",
        time=0.0,
    )


def test_the_lowest_of_each_class_is_kept() -> None:
    causes = Causes()
    assert causes.first is None and causes.lines == {}
    for number, cls in ((9, FailureClass.CRASH), (5, FailureClass.USER_ERROR), (7, FailureClass.USER_ERROR)):
        causes.see(failure(number, cls))
    causes.see(failure(8, FailureClass.CRASH))
    assert causes.lines == {"crash": "mini-batch 8: no oil", "user_error": "mini-batch 5: ValueError: no oil"}
    assert causes.first is not None and causes.first.traceback == "traceback of 5"


@pytest.mark.parametrize(
    ("message", "told"),
    [
        ("", "ValueError"),
        ("one\ntwo", "ValueError: one"),
        ("caf\udce9", "ValueError: caf\\udce9"),
        ("x" * 1000, "ValueError: " + "x" * (TEXT_LIMIT - 12) + " ..."),
    ],
)
def test_a_message_is_one_short_line_that_can_go_on_the_wire(message: str, told: str) -> None:
    causes = Causes()
    causes.see(failure(3, message=message))
    assert causes.lines == {"user_error": f"mini-batch 3: {told}"}
