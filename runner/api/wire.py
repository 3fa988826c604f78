"""Entities as messages and back. `to_wire(from_wire(message))` is the message, and the other way round."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import cast

import msgspec
from google.protobuf.timestamp_pb2 import Timestamp

from runner.api.names import job_name, parse_job_name, parse_name, parse_step_name, step_name
from runner.api.status import job_error_from_wire, job_error_to_wire
from runner.api.v1 import event_pb2, failure_pb2, job_pb2
from runner.entity.failure import FailureRow
from runner.entity.job import Event, JobState, OutputState, Progress
from runner.entity.page import LogFile
from runner.entity.status import FailureClass, JobStatus
from runner.errors import ArgumentInvalid

_NUMBERS: dict[JobStatus, job_pb2.JobStatus] = {
    status: cast("job_pb2.JobStatus", job_pb2.JobStatus.Value(f"JOB_STATUS_{status.name}")) for status in JobStatus
}
_STATUSES: dict[int, JobStatus] = {number: status for status, number in _NUMBERS.items()}

_CLASS_NUMBERS: dict[FailureClass, failure_pb2.FailureClass] = {
    cls: cast("failure_pb2.FailureClass", failure_pb2.FailureClass.Value(f"FAILURE_CLASS_{cls.name}"))
    for cls in FailureClass
}
_CLASSES: dict[int, FailureClass] = {number: cls for cls, number in _CLASS_NUMBERS.items()}


def job_to_wire(job: JobState) -> job_pb2.Job:
    """A job as a message."""
    message = job_pb2.Job(
        name=job_name(job.name),
        spec=job_pb2.JobSpec(
            type=job.type,
            document=msgspec.json.encode(job.document).decode(),
            display_name=job.display_name,
            description=job.description,
            experiment_name=job.experiment_name,
            tags=job.tags,
            properties=job.properties,
        ),
        status=status_to_wire(job.status),
        message=job.message,
        progress=progress_to_wire(job.progress),
        outputs=[output_to_wire(job.name, output) for output in job.outputs],
        run_number=job.run_number,
        create_time=time_to_wire(job.create_time),
        start_time=time_to_wire(job.start_time),
        end_time=time_to_wire(job.end_time),
        heartbeat_time=time_to_wire(job.heartbeat_time),
        host=job.host,
        driver_pid=job.driver_pid,
        created_by=job.created_by,
        revision=job.revision,
        studio_url=job.studio_url,
        step=step_name(job.parent, job.step) if job.parent else "",
        is_archived=job.is_archived,
        reused_from=job_name(job.reused_from) if job.reused_from else "",
        reuse_reason=job.reuse_reason,
    )
    if job.error is not None:
        message.error.CopyFrom(job_error_to_wire(job.error))
    return message


def job_from_wire(message: job_pb2.Job) -> JobState:
    """A message as a job."""
    spec = message.spec
    parent, step = parse_step_name(message.step) if message.step else ("", "")
    return JobState(
        name=parse_job_name(message.name),
        type=spec.type,
        status=status_from_wire(message.status),
        run_number=message.run_number,
        display_name=spec.display_name,
        description=spec.description,
        experiment_name=spec.experiment_name,
        tags=dict(spec.tags),
        properties=dict(spec.properties),
        document=document_from_wire(spec.document),
        create_time=time_from_wire(message.create_time),
        start_time=time_from_wire(message.start_time) if message.HasField("start_time") else None,
        end_time=time_from_wire(message.end_time) if message.HasField("end_time") else None,
        heartbeat_time=time_from_wire(message.heartbeat_time) if message.HasField("heartbeat_time") else None,
        host=message.host,
        driver_pid=message.driver_pid,
        created_by=message.created_by,
        message=message.message,
        progress=progress_from_wire(message.progress),
        outputs=tuple(map(output_from_wire, message.outputs)),
        error=job_error_from_wire(message.error) if message.HasField("error") else None,
        studio_url=message.studio_url,
        revision=message.revision,
        parent=parent,
        step=step,
        is_archived=message.is_archived,
        reused_from=parse_job_name(message.reused_from) if message.reused_from else "",
        reuse_reason=message.reuse_reason,
    )


def progress_to_wire(progress: Progress) -> job_pb2.Progress:
    """Counters as a message; totals that are not planned yet are not set."""
    return job_pb2.Progress(
        item_count=progress.item_count,
        failed_item_count=progress.failed_item_count,
        done_item_count=progress.done_item_count,
        mini_batch_count=progress.mini_batch_count,
        done_mini_batch_count=progress.done_mini_batch_count,
        failed_mini_batch_count=progress.failed_mini_batch_count,
        failed_by_class=progress.failed_by_class,
        first_failures=progress.first_failures,
        instance_count=progress.instance_count,
        worker_count=progress.worker_count,
    )


def progress_from_wire(message: job_pb2.Progress) -> Progress:
    """A message as counters."""
    return Progress(
        item_count=message.item_count if message.HasField("item_count") else None,
        failed_item_count=message.failed_item_count,
        done_item_count=message.done_item_count,
        mini_batch_count=message.mini_batch_count if message.HasField("mini_batch_count") else None,
        done_mini_batch_count=message.done_mini_batch_count,
        failed_mini_batch_count=message.failed_mini_batch_count,
        failed_by_class=dict(message.failed_by_class),
        first_failures=dict(message.first_failures),
        instance_count=message.instance_count,
        worker_count=message.worker_count,
    )


def event_to_wire(job: str, number: int, event: Event) -> event_pb2.Event:
    """The event that is `number`th (from 1) in its job, as a message."""
    return event_pb2.Event(
        name=f"{job_name(job)}/events/{number}",
        create_time=time_to_wire(event.time),
        status=status_to_wire(event.status),
        message=event.message,
    )


def event_from_wire(message: event_pb2.Event) -> Event:
    """A message as an event."""
    time = time_from_wire(message.create_time)
    return Event(time=time, status=status_from_wire(message.status), message=message.message)


def output_to_wire(job: str, output: OutputState) -> job_pb2.Output:
    """An output as a message."""
    return job_pb2.Output(name=f"{job_name(job)}/outputs/{output.name}", type=output.type, path=output.path)


def output_from_wire(message: job_pb2.Output) -> OutputState:
    """A message as an output."""
    return OutputState(name=parse_name(message.name, "outputs")[1], type=message.type, path=message.path)


def log_to_wire(job: str, log: LogFile) -> job_pb2.LogFile:
    """A log file as a message."""
    return job_pb2.LogFile(name=f"{job_name(job)}/logs/{log.path}", size_bytes=log.size_bytes)


def log_from_wire(message: job_pb2.LogFile) -> LogFile:
    """A message as a log file."""
    return LogFile(path=parse_name(message.name, "logs")[1], size_bytes=message.size_bytes)


def failure_to_wire(row: FailureRow) -> failure_pb2.Failure:
    """A failure as a message."""
    return failure_pb2.Failure(
        mini_batch=row.mini_batch,
        first_item=row.first_item,
        item_count=row.item_count,
        unit=row.unit,
        file=row.file,
        row=row.row,
        key=row.key,
        failure_class=class_to_wire(row.cls),
        exception_type=row.exception_type,
        message=row.message,
        traceback=row.traceback,
        attempt_count=row.attempts,
        instance=row.instance,
        worker=row.worker,
        create_time=time_to_wire(row.time),
        is_open=row.is_open,
    )


def failure_from_wire(message: failure_pb2.Failure) -> FailureRow:
    """A message as a failure; a class that a newer service has added is none that the script is to blame for."""
    return FailureRow(
        mini_batch=message.mini_batch,
        first_item=message.first_item,
        item_count=message.item_count,
        unit=message.unit,
        file=message.file,
        row=message.row if message.HasField("row") else None,
        key=message.key if message.HasField("key") else None,
        cls=_CLASSES.get(message.failure_class, FailureClass.INFRASTRUCTURE),
        exception_type=message.exception_type,
        message=message.message,
        traceback=message.traceback,
        attempts=message.attempt_count,
        instance=message.instance,
        worker=message.worker,
        time=time_from_wire(message.create_time),
        is_open=message.is_open,
    )


def class_to_wire(cls: FailureClass) -> failure_pb2.FailureClass:
    """The number of a class of failures."""
    return _CLASS_NUMBERS[cls]


def classes_from_request(numbers: Iterable[int]) -> tuple[FailureClass, ...]:
    """The classes a caller asks for; ArgumentInvalid for one that does not exist."""
    wanted = tuple(numbers)
    for number in wanted:
        if number not in _CLASSES:
            raise ArgumentInvalid("failure_classes", f"{number} is no class; write values of FailureClass above 0")
    return tuple(_CLASSES[number] for number in wanted)


def status_to_wire(status: JobStatus) -> job_pb2.JobStatus:
    """The number of a status."""
    return _NUMBERS[status]


def status_from_wire(number: int) -> JobStatus:
    """The status of a number; one that a newer service has added is taken for a job in progress."""
    return _STATUSES.get(number, JobStatus.RUNNING)


def statuses_from_request(numbers: Iterable[int]) -> tuple[JobStatus, ...]:
    """The statuses a caller asks for; ArgumentInvalid for one that does not exist."""
    wanted = tuple(numbers)
    for number in wanted:
        if number not in _STATUSES:
            raise ArgumentInvalid("statuses", f"{number} is no status; write values of JobStatus above 0")
    return tuple(_STATUSES[number] for number in wanted)


def document_from_wire(text: str, argument: str = "document") -> dict[str, object]:
    """A document, such as that of a job; ArgumentInvalid when it is no JSON object."""
    try:
        return msgspec.json.decode(text or "{}", type=dict[str, object])
    except msgspec.DecodeError as error:
        raise ArgumentInvalid(argument, f"{error}; write a JSON object") from None


def changes_to_wire(changes: Mapping[str, str | None] | None) -> tuple[dict[str, str], list[str]]:
    """Tags or properties to merge as a message has them: those with a value, and the names of those to remove."""
    given = (changes or {}).items()
    return {k: v for k, v in given if v is not None}, [k for k, v in given if v is None]


def changes_from_wire(given: Mapping[str, str], removed: Iterable[str]) -> dict[str, str | None] | None:
    """What `changes_to_wire` was given; None when that was nothing."""
    changes: dict[str, str | None] = {**given, **dict.fromkeys(removed)}
    return changes or None


def time_to_wire(seconds: float | None) -> Timestamp | None:
    """Seconds since 1970, to the microsecond: what a float of this size can hold."""
    if seconds is None:
        return None
    whole, micros = divmod(round(seconds * 1e6), 1_000_000)
    return Timestamp(seconds=whole, nanos=micros * 1000)


def time_from_wire(message: Timestamp) -> float:
    """Seconds since 1970."""
    return (message.seconds * 1_000_000 + message.nanos // 1000) / 1e6
