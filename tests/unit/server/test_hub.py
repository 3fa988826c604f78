"""A topic ends watches when nothing changes any more, and not those that come after a new run has begun."""

from __future__ import annotations

from dataclasses import replace

from runner.entity.job import JobState
from runner.entity.status import JobStatus
from runner.server.hub import Topic

JOB = JobState(name="sift", type="parallel", status=JobStatus.RUNNING, create_time=1.0, revision=1)


def test_a_topic_is_over_until_a_new_run_begins() -> None:
    topic = Topic(JOB)
    assert not topic.is_over
    topic.show(replace(JOB, status=JobStatus.FAILED, revision=2))
    assert topic.is_over
    topic.show(replace(JOB, status=JobStatus.STARTING, run_number=2, revision=3))
    assert not topic.is_over


def test_a_topic_of_a_step_that_never_starts_ends_without_a_change_of_it() -> None:
    topic = Topic(replace(JOB, status=JobStatus.NOT_STARTED))
    assert not topic.has_news(1)
    topic.end()
    assert topic.has_news(1)
    assert topic.is_over
