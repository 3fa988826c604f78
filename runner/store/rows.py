"""A JobState as a row of the store and back."""

from __future__ import annotations

import sqlite3

import msgspec

from runner.entity.job import JobError, JobState, OutputState, Progress
from runner.entity.status import JobStatus

COLUMNS = (
    "name, type, status, run_number, display_name, description, experiment_name, tags, properties, document, "
    "create_time, start_time, end_time, heartbeat_time, host, driver_pid, created_by, message, progress, outputs, "
    "error, revision, id, silent_status, parent_id, step, is_archived, reused_from, reuse_reason, "
    "(SELECT above.name FROM job AS above WHERE above.id = job.parent_id) AS parent"
)
_TEXTS = msgspec.json.Decoder(dict[str, str])
_DOCUMENT = msgspec.json.Decoder(dict[str, object])
_PROGRESS = msgspec.json.Decoder(Progress)
_OUTPUTS = msgspec.json.Decoder(tuple[OutputState, ...])
_ERROR = msgspec.json.Decoder(JobError)


def to_json(value: object) -> str:
    """A value as the text of a JSON column."""
    return msgspec.json.encode(value).decode()


def from_json(text: str) -> dict[str, str]:
    """The texts of a JSON column of texts by name."""
    return _TEXTS.decode(text)


def to_row(job: JobState) -> dict[str, object]:
    """The columns that a new job fills."""
    return {
        "name": job.name,
        "type": job.type,
        "status": str(job.status),
        "run_number": job.run_number,
        "display_name": job.display_name,
        "description": job.description,
        "experiment_name": job.experiment_name,
        "tags": to_json(job.tags),
        "properties": to_json(job.properties),
        "document": to_json(job.document),
        "create_time": job.create_time,
        "host": job.host,
        "created_by": job.created_by,
        "message": job.message,
        "progress": to_json(job.progress),
        "outputs": to_json(job.outputs),
        "step": job.step,
        "is_archived": int(job.is_archived),
        "reused_from": job.reused_from,
        "reuse_reason": job.reuse_reason,
    }


def from_row(row: sqlite3.Row, folders: str) -> JobState:
    """The job of a row that was selected with COLUMNS; `folders` is the URL that the name is put behind."""
    name, kind, status, run, display, description, experiment, tags, properties, document, *rest = row
    created, started, ended, beat, host, pid, owner, message, progress, outputs, error, revision, *more = rest
    _, _, _, step, is_archived, reused_from, reuse_reason, parent = more
    return JobState(
        name=name,
        type=kind,
        status=JobStatus(status),
        run_number=run,
        display_name=display,
        description=description,
        experiment_name=experiment,
        tags=_TEXTS.decode(tags),
        properties=_TEXTS.decode(properties),
        document=_DOCUMENT.decode(document),
        create_time=created,
        start_time=started,
        end_time=ended,
        heartbeat_time=beat,
        host=host,
        driver_pid=pid,
        created_by=owner,
        message=message,
        progress=_PROGRESS.decode(progress),
        outputs=_OUTPUTS.decode(outputs),
        error=None if error is None else _ERROR.decode(error),
        studio_url=f"{folders}/{name}",
        revision=revision,
        parent=parent or "",
        step=step,
        is_archived=bool(is_archived),
        reused_from=reused_from,
        reuse_reason=reuse_reason,
    )
