"""Which ends of a command are successes."""

from __future__ import annotations

import pytest

from runner.schedule.command_environment import is_success

CONDITION, CODES = "AZUREML_SUCCESSFUL_RETURN_CODE_CONDITION", "AZUREML_SUCCESSFUL_ADDITIONAL_RETURN_CODES"


@pytest.mark.parametrize(
    ("code", "variables", "expected"),
    [
        (0, {}, True),
        (1, {}, False),
        (-9, {}, False),
        (3, {CONDITION: "Zero"}, False),
        (3, {CONDITION: "ZeroOrGreater"}, True),
        (-15, {CONDITION: "ZeroOrGreater"}, False),
        (3, {CODES: "[1, 3]"}, True),
        (3, {CODES: "1,3"}, True),
        (3, {CODES: "13"}, False),
        (0, {CODES: "3"}, True),
    ],
)
def test_zero_is_success_unless_variables_say_more(code: int, variables: dict[str, str], expected: bool) -> None:
    assert is_success(code, variables) is expected
