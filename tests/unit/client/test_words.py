"""The three vocabularies of status: every status has a word in each, and no wait ends before its run."""

from __future__ import annotations

import pytest

from runner.client.words import PIPELINE_WORDS, RUNNING_STATES, STEP_WORDS
from runner.entity.status import JobStatus

S = JobStatus


@pytest.mark.parametrize("words", [PIPELINE_WORDS, STEP_WORDS], ids=["pipeline", "step"])
def test_a_wait_goes_on_exactly_as_long_as_the_run(words: dict[JobStatus, str]) -> None:
    assert set(words) == set(S)
    assert {status for status, word in words.items() if word not in RUNNING_STATES} == {
        status for status in S if status.is_terminal
    }


def test_what_is_finished_is_completed() -> None:
    assert PIPELINE_WORDS[S.COMPLETED] == STEP_WORDS[S.COMPLETED] == "Finished"


def test_a_step_is_queued_while_its_pipeline_runs() -> None:
    for status in (S.STARTING, S.PROVISIONING, S.PREPARING, S.QUEUED):
        assert (STEP_WORDS[status], PIPELINE_WORDS[status]) == ("Queued", "Running")
    for status in (S.RUNNING, S.FINALIZING, S.CANCEL_REQUESTED, S.NOT_RESPONDING):
        assert (STEP_WORDS[status], PIPELINE_WORDS[status]) == ("Running", "Running")
