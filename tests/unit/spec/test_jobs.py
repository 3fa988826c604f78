"""Job objects: how they are built, what they show, when they are equal."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

from runner.entity.status import JobStatus
from runner.spec.jobs import Job, ParallelJob, Submitted
from runner.spec.load import job_of_document
from runner.spec.pieces import Input, JobResourceConfiguration, Output, RetrySettings, RunFunction


def job(**says: Any) -> ParallelJob:
    fields: dict[str, Any] = {
        "inputs": {"cargo": Input(type="mltable", path="/data", mode="direct"), "n": 3},
        "outputs": {"scores": Output(type="uri_file", path="/out/scores.txt")},
        "input_data": "${{inputs.cargo}}",
        "task": RunFunction(code="/code", entry_script="score.py", append_row_to="${{outputs.scores}}"),
        "retry_settings": {"max_retries": 0, "timeout": 30},
    }
    return ParallelJob(**{**fields, **says})


def test_a_job_as_such_cannot_be_made() -> None:
    with pytest.raises(TypeError):
        Job()  # type: ignore[abstract]


def test_everything_is_a_keyword_and_only_known_ones() -> None:
    build: Any = ParallelJob
    with pytest.raises(TypeError):
        build("x")
    with pytest.raises(TypeError, match="mini_batch_sizes"):
        ParallelJob(mini_batch_sizes=5)
    with pytest.raises(TypeError, match="pth"):
        Input(pth="x")  # type: ignore[call-arg]


def test_nothing_is_required_and_nothing_is_set() -> None:
    empty = ParallelJob()
    always = {"tags", "properties", "inputs", "outputs", "environment_variables", "runner"}
    fields = {name for name in vars(empty) if not name.startswith("_")}
    assert {name for name in fields if getattr(empty, name) is not None} == always
    assert all(getattr(empty, name) == {} for name in always)
    assert empty.type == "parallel"
    assert empty.to_document() == {
        "type": "parallel", "inputs": {}, "outputs": {}, "tags": {}, "properties": {}, "environment_variables": {},
    }  # fmt: skip


def test_what_only_a_submitted_job_has_is_none_before_and_never_writable() -> None:
    made = ParallelJob(id="the-id", version="7")
    assert (made.id, made.version) == ("the-id", "7")
    for name in ("status", "creation_context", "log_files", "studio_url"):
        assert getattr(made, name) is None
        with pytest.raises(AttributeError):
            setattr(made, name, "x")
    seen = job_of_document(job().to_document(), submitted=Submitted(status=JobStatus.RUNNING, studio_url="file:///x"))
    assert str(seen.status) == "Running"
    assert seen.studio_url == "file:///x"


def test_arguments_are_copied() -> None:
    tags = {"a": "1"}
    made = ParallelJob(tags=tags)
    tags["b"] = "2"
    assert made.tags == {"a": "1"}


def test_jobs_are_equal_when_they_say_the_same() -> None:
    assert job() == job()
    assert job(retry_settings=RetrySettings(max_retries=0, timeout=30)) == job()
    assert job(task={"code": "/code", "entry_script": "score.py", "append_row_to": "${{outputs.scores}}"}) != job(
        task={"code": "/code", "entry_script": "other.py", "append_row_to": "${{outputs.scores}}"}
    )
    assert job(compute="azureml:foo") == job(compute="foo")
    assert job(error_threshold="5") == job(error_threshold=5)
    assert job(error_threshold=0) != job()
    assert job() != "a job"
    with pytest.raises(TypeError):
        hash(job())


def test_text_and_representation_tell_the_job() -> None:
    made = job(name="early", resources=JobResourceConfiguration(instance_count=2))
    assert "instance_count: 2" in str(made)
    assert str(made).startswith("environment_variables: {}\n")
    assert repr(made).startswith("ParallelJob(name='early', ")
    assert repr(ParallelJob()) == "ParallelJob()"


def test_values_of_tags_and_variables_become_text() -> None:
    document = job(tags={"a": 1, "b": None}, environment_variables={"A": True, "B": 2.5}).to_document()
    assert document["tags"] == {"a": "1", "b": ""}
    assert document["environment_variables"] == {"A": "True", "B": "2.5"}


def test_zero_false_and_empty_text_are_values() -> None:
    document = job(error_threshold=0, inputs={"a": "", "b": False, "c": 0}).to_document()
    assert document["error_threshold"] == 0
    assert document["inputs"] == {"a": "", "b": False, "c": 0}


def test_a_document_makes_the_same_job_again_and_a_wrong_one_is_kept_as_it_is() -> None:
    assert job_of_document(job().absolute_document()) == job()
    wrong = job(retry_settings={"timeout": 0}).to_document()
    assert wrong["retry_settings"] == {"timeout": 0}


def test_a_job_survives_pickling() -> None:
    assert pickle.loads(pickle.dumps(job())) == job()
