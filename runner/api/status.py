"""Errors as `google.rpc.Status` and back, by the one table in runner.errors.

A status holds exactly one ErrorInfo: the reason, and every fact that the message names. The details travel in the
trailing metadata of a call, which peers limit to 8 KiB by default, so long texts are cut to fit.
"""

from __future__ import annotations

import typing
from collections.abc import Iterator

import msgspec
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc import code_pb2, error_details_pb2
from google.rpc.status_pb2 import Status

from runner.entity.job import JobError
from runner.errors import MEANINGS, Problem, RunnerError, SpecInvalid, Told

DOMAIN = "runner"
_TEXT_LIMIT = 1500
_PROBLEMS_LIMIT = 2500
"""Told twice: as one fact, and as the violations of a BadRequest."""
_RETRYABLE = {"STORE_BUSY": 1.0, "TOO_MANY_WATCHERS": 5.0}


def classes(root: type[RunnerError] = RunnerError) -> Iterator[type[RunnerError]]:
    """Every class of the tree that has a reason of its own."""
    if "reason" in vars(root) and root is not RunnerError:
        yield root
    for child in root.__subclasses__():
        yield from classes(child)


def status_of(error: RunnerError) -> Status:
    """The status of a call that failed."""
    if isinstance(error, SpecInvalid):
        problems = _that_fit(error.problems)
        status = _status(error.reason, _text(error), {"problems": msgspec.json.encode(problems).decode()})
        told = error_details_pb2.BadRequest()
        for problem in problems:
            told.field_violations.add(field=problem.path, description=str(problem))
        _attach(status, told)
        return status
    facts = {name: _text(value) for name, value in error.metadata().items() if name != "reason"}
    status = _status(error.reason, _text(error), facts)
    if error.reason in _RETRYABLE:
        wait = Duration()
        wait.FromNanoseconds(int(_RETRYABLE[error.reason] * 1e9))
        _attach(status, error_details_pb2.RetryInfo(retry_delay=wait))
    return status


def error_of(status: Status) -> RunnerError:
    """The error that a status stands for; of a reason that is not known here, what it says."""
    info = _detail(status, error_details_pb2.ErrorInfo())
    if info is None or info.domain != DOMAIN:
        return Told("INTERNAL", status.message or "the service gave no reason", "")
    if info.reason == SpecInvalid.reason:
        return SpecInvalid(msgspec.json.decode(info.metadata["problems"], type=tuple[Problem, ...]))
    kind = next((kind for kind in classes() if kind.reason == info.reason), None)
    if kind is not None and set(kind.facts) <= set(info.metadata):
        types = typing.get_type_hints(kind)
        try:
            error = kind(*(_value(info.metadata[fact], types.get(fact, str)) for fact in kind.facts))
            str(error)
            return error
        except (TypeError, ValueError):
            pass  # facts of another version: the text says the same
    return Told(info.reason, status.message, info.metadata.get("traceback", ""))


def job_error_to_wire(error: JobError) -> Status:
    """Why a job failed; in the body of a reply, so nothing is cut."""
    status = _status(error.reason, error.message, {"exit_code": str(error.exit_code)})
    if error.traceback:
        _attach(status, error_details_pb2.DebugInfo(detail=error.traceback))
    return status


def job_error_from_wire(status: Status) -> JobError:
    """Why a job failed."""
    info = _detail(status, error_details_pb2.ErrorInfo()) or error_details_pb2.ErrorInfo(reason="INTERNAL")
    debug = _detail(status, error_details_pb2.DebugInfo())
    return JobError(
        reason=info.reason,
        message=status.message,
        traceback=debug.detail if debug is not None else "",
        exit_code=int(info.metadata.get("exit_code") or 1),
    )


def _status(reason: str, message: str, facts: dict[str, str]) -> Status:
    meaning = MEANINGS.get(reason, MEANINGS["INTERNAL"])
    status = Status(code=code_pb2.Code.Value(meaning.code), message=message)
    _attach(status, error_details_pb2.ErrorInfo(reason=reason, domain=DOMAIN, metadata=facts))
    return status


def _attach(status: Status, detail: Message) -> None:
    packed = AnyMessage()
    packed.Pack(detail)
    status.details.append(packed)


Detail = typing.TypeVar("Detail", bound=Message)


def _detail(status: Status, into: Detail) -> Detail | None:
    return next((into for packed in status.details if packed.Unpack(into)), None)


def _text(value: object) -> str:
    text = str(value)
    if len(text) <= _TEXT_LIMIT:
        return text
    half = _TEXT_LIMIT // 2
    return f"{text[:half]} ... {text[-half:]}"


def _value(text: str, kind: object) -> object:
    return kind(text) if kind in (int, float) and callable(kind) else text


def _that_fit(problems: tuple[Problem, ...]) -> tuple[Problem, ...]:
    """As many as there is room for, and a last one that counts the others."""
    room = _PROBLEMS_LIMIT
    for count, problem in enumerate(problems):
        room -= len(str(problem)) + len(problem.path) + 60
        if room < 0 and count:
            more = Problem(
                file=problem.file, line=0, path="", what=f"{len(problems) - count} more problems are not shown"
            )
            return (*problems[:count], more)
    return problems
