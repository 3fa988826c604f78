"""Every error has one meaning, survives pickling and the wire, and keeps its message short enough to travel."""

from __future__ import annotations

import pickle
import typing
from pathlib import Path

import pytest

from runner import errors
from runner.api.status import classes, error_of, job_error_from_wire, job_error_to_wire, status_of
from runner.api.v1 import error_reason_pb2
from runner.entity.job import JobError
from runner.errors import MEANINGS, ArgumentInvalid, InitFailed, Problem, RunnerError, SpecInvalid, Told

PROTO = Path(__file__).parents[2] / "protos/runner/api/v1/error_reason.proto"
PROBLEMS = (
    Problem(file="a.yml", line=3, path="task.code", what="is missing", remedy="write it"),
    Problem(file="C:x", line=0, path="", what="is odd"),
)
EXIT_CODES = {0, 1, 2, 3, 130}
CODES = {
    "INVALID_ARGUMENT",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "FAILED_PRECONDITION",
    "DATA_LOSS",
    "OUT_OF_RANGE",
    "UNAVAILABLE",
    "UNAUTHENTICATED",
    "RESOURCE_EXHAUSTED",
    "ABORTED",
    "INTERNAL",
}


def example(kind: type[RunnerError]) -> RunnerError:
    types = typing.get_type_hints(kind)
    values: list[object] = []
    for fact in kind.facts:
        if fact == "problems":
            values.append(PROBLEMS)
        else:
            values.append({int: 7, float: 2.5}.get(types.get(fact, str), f"the {fact}"))
    return kind(*values)


ALL = sorted((kind for kind in classes() if kind is not Told), key=lambda kind: kind.reason)


def test_the_table_is_total_and_each_reason_has_one_class() -> None:
    assert [kind.reason for kind in ALL] == sorted(MEANINGS)
    assert all(meaning.code in CODES and meaning.exit_code in EXIT_CODES - {0} for meaning in MEANINGS.values())


def test_every_class_is_drawn_in_the_tree() -> None:
    assert errors.__doc__ is not None
    missing = [kind.__name__ for kind in ALL if kind.__name__ not in errors.__doc__]
    assert not missing


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.__name__)
def test_an_error_survives_pickling(kind: type[RunnerError]) -> None:
    error = example(kind)
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is kind
    assert str(again) == str(error) != ""
    assert again.metadata() == error.metadata()


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.__name__)
def test_an_error_survives_the_wire(kind: type[RunnerError]) -> None:
    error = example(kind)
    status = status_of(error)
    infos = [detail for detail in status.details if detail.type_url.endswith("google.rpc.ErrorInfo")]
    assert len(infos) == 1
    again = error_of(status)
    assert type(again) is kind
    assert str(again) == str(error)
    assert again.metadata() == error.metadata()


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.__name__)
def test_the_wire_lists_the_reason_with_its_code_and_metadata(kind: type[RunnerError]) -> None:
    name = f"ERROR_REASON_{kind.reason}"
    assert name in error_reason_pb2.ErrorReason.DESCRIPTOR.values_by_name
    before = PROTO.read_text().split(f"  {name} = ")[0]
    comment = before[before.rindex(";") :]
    for word in (MEANINGS[kind.reason].code, *kind.facts):
        assert f"`{word}`" in comment


def test_the_wire_lists_no_reason_of_nothing() -> None:
    names = set(error_reason_pb2.ErrorReason.DESCRIPTOR.values_by_name) - {"ERROR_REASON_UNSPECIFIED"}
    assert names == {f"ERROR_REASON_{reason}" for reason in MEANINGS}


def test_an_error_with_long_facts_fits_into_the_trailer_of_a_call() -> None:
    many = tuple(Problem(file="job.yml", line=n, path=f"key{n}", what="x" * 100, remedy="y" * 80) for n in range(300))
    for error in (SpecInvalid(many), ArgumentInvalid("a", "z" * 100_000), InitFailed("w" * 9000, "t" * 100_000)):
        status = status_of(error)
        assert status.ByteSize() < 6_500
        assert error_of(status).reason == error.reason
    shown = error_of(status_of(SpecInvalid(many)))
    assert isinstance(shown, SpecInvalid)
    assert shown.problems[0] == many[0]
    assert "more problems" in str(shown.problems[-1])


def test_a_reason_that_is_not_known_is_told_as_it_is() -> None:
    status = status_of(Told("BRAND_NEW", "the moon is full", ""))
    told = error_of(status)
    assert (told.reason, str(told)) == ("BRAND_NEW", "the moon is full")
    status.ClearField("details")
    assert error_of(status).reason == "INTERNAL"


@pytest.mark.parametrize("traceback", ["", "Traceback (most recent call last):\n" + "  a\n" * 50_000])
def test_why_a_job_failed_survives_the_wire_whole(traceback: str) -> None:
    error = JobError(reason="INIT_FAILED", message="no model", traceback=traceback, exit_code=2)
    assert job_error_from_wire(job_error_to_wire(error)) == error
