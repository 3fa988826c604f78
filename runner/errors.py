"""Every error that leaves a room, and what each means on the wire and at the shell.

::

    RunnerError
    ├── InputError              the caller asked for something that cannot be
    │   ├── ValidationException     what its users catch, whichever of these it is
    │   │   ├── SpecInvalid             a job file or object, with all its problems
    │   │   ├── ArgumentInvalid         one argument of a call
    │   │   └── DestinationUnwritable   a stream that a job cannot be dumped to; an OSError too
    │   ├── JobNotFound, JobExists, JobStatusConflict, IllegalTransition
    │   ├── TargetExists, EmptyInput, InputUnreadable, SchemaMismatch, InputChanged
    │   ├── EntryInvalid            the entry script cannot be imported or has no run
    │   ├── ClusterTooSmall         more is asked than the cluster has
    │   ├── JournalDamaged, OutputMissing, OutputChanged, LogMissing, CursorExpired
    │   ├── PipelineChildJobError   what cannot be asked of a step, only of its pipeline
    │   ├── AssetNotFound, AssetExists, PublishedNotFound, ExperimentNotFound, JobInUse
    ├── WorldError              the cluster, the disk or the network did not do its part
    │   ├── ClusterUnavailable, ServerUnavailable, DriverGone
    │   ├── Unauthenticated, StoreBusy, StorageFailed, TooManyWatchers
    ├── RunError                the job ran and failed, by the rules of its own file
    │   ├── ThresholdExceeded, NothingSucceeded, InitFailed, ShutdownFailed
    │   ├── NoProgress, NoFirstTask, OutputInvalid
    │   ├── CommandFailed, CommandTimedOut, CommandLost, OutputNotMade, StepsFailed
    │   ├── JobException            a job that was followed to its end has failed
    │   │   └── DownloadRefused         it has not ended; a JobStatusConflict too
    │   ├── ActivityFailedException     the same, from a wait of the v1 handles
    │   └── ExperimentExecutionException    a wait of the v1 handles was interrupted; the run goes on
    ├── Defect                  our own mistake
    └── Told                    any of these, as another process told it: by reason and text

Constructor arguments go to ``Exception`` unchanged, so every error survives pickling; the text is made in
``__str__`` from the facts, which are attributes too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar


class RunnerError(Exception):
    """The root: a stable reason, the facts, and one message that says what happened, to what, what to do."""

    reason: ClassVar[str] = "INTERNAL"
    facts: ClassVar[tuple[str, ...]] = ()
    says: ClassVar[str] = ""

    def __init__(self, *values: object) -> None:
        super().__init__(*values)
        if len(values) != len(self.facts):
            raise TypeError(f"{type(self).__name__} takes {', '.join(self.facts) or 'nothing'}")
        for name, value in zip(self.facts, values, strict=True):
            setattr(self, name, value)

    def __str__(self) -> str:
        return self.says.format(**self.metadata())

    def metadata(self) -> dict[str, object]:
        """The facts by name, as they go on the wire."""
        return {name: getattr(self, name) for name in self.facts}


class InputError(RunnerError):
    """The caller asked for something that cannot be."""


class WorldError(RunnerError):
    """The cluster, the disk or the network did not do its part."""


class RunError(RunnerError):
    """The job ran and failed, by the rules of its own file."""


class Defect(RunnerError):
    """Our own mistake; the message has no internals, the driver's log has."""

    reason = "INTERNAL"
    facts = ("what",)
    says = "{what}; this is a defect of the runner, please report it with the job's driver log"


class Told(RunnerError):
    """An error that another process told by reason and text; `reason` is that of the error it stands for."""

    facts = ("reason", "message", "traceback")
    says = "{message}"
    message: str
    traceback: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing wrong in a job file: where, what, and what to write instead."""

    file: str
    line: int
    path: str
    what: str
    remedy: str = ""

    @property
    def message(self) -> str:
        """What is wrong and what to write instead, without its place."""
        return f"{self.what}; {self.remedy}" if self.remedy else self.what

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        return f"{place}: {self.message}"


class ValidationException(InputError):
    """A job, a file or an argument is not valid. Also known as ValidationError."""


ValidationError = ValidationException


class SpecInvalid(ValidationException):
    """All problems of a job file or object at once."""

    reason = "SPEC_INVALID"
    facts = ("problems",)
    problems: tuple[Problem, ...]

    def __str__(self) -> str:
        return "\n".join(map(str, self.problems))


class ArgumentInvalid(ValidationException):
    reason = "ARGUMENT_INVALID"
    facts = ("argument", "what")
    says = "{argument}: {what}"
    argument: str
    what: str


class DestinationUnwritable(ValidationException, OSError):
    """A stream that is not open for writing; both an OSError and a ValidationException, as callers rely on either."""

    reason = "DESTINATION_UNWRITABLE"
    facts = ("destination", "what")
    says = "{destination}: {what}; open it for writing text"
    destination: str
    what: str


class JobNotFound(InputError):
    reason = "JOB_NOT_FOUND"
    facts = ("name",)
    says = "there is no job {name!r}; `runner list` shows the jobs there are"
    name: str


class JobExists(InputError):
    reason = "JOB_EXISTS"
    facts = ("name",)
    says = (
        "a job named {name!r} exists already; choose another name, or leave it out to get a generated one. Of a job "
        "that exists only display_name, description, tags, properties and whether it is archived can change"
    )
    name: str


class JobStatusConflict(InputError):
    """The job's status does not allow what was asked."""

    reason = "JOB_STATUS_CONFLICT"
    facts: ClassVar[tuple[str, ...]] = ("name", "status", "verb", "remedy")
    says = "job {name!r} is {status} and cannot be {verb}; {remedy}"
    name: str
    status: str


class IllegalTransition(InputError):
    reason = "ILLEGAL_TRANSITION"
    facts = ("name", "old", "new")
    says = "job {name!r} cannot go from {old} to {new}"
    name: str
    old: str
    new: str


class TargetExists(InputError):
    reason = "TARGET_EXISTS"
    facts = ("path",)
    says = "the output target {path} exists already; remove it, write elsewhere, or submit with --overwrite"
    path: str


class EmptyInput(InputError):
    reason = "EMPTY_INPUT"
    facts = ("input", "path", "what")
    says = "input {input!r}: {path} {what}; give a path that holds data"
    input: str
    path: str


class InputUnreadable(InputError):
    """A file that cannot be read as what it claims to be."""

    reason = "INPUT_UNREADABLE"
    facts = ("path", "what")
    says = "{path} cannot be read: {what}"
    path: str


class SchemaMismatch(InputError):
    reason = "SCHEMA_MISMATCH"
    facts = ("first", "second", "what")
    says = "{first} and {second} do not fit together: {what}; give them the same columns and types, or make two jobs"
    first: str
    second: str


class InputChanged(InputError):
    reason = "INPUT_CHANGED"
    facts = ("path", "what")
    says = "{path} {what} since the job was planned; put the file back as it was and resume, or submit a new job"
    path: str


class EntryInvalid(InputError):
    """The entry script cannot be imported, or has no run; `traceback` is the user's own."""

    reason = "ENTRY_INVALID"
    facts = ("script", "what", "traceback")
    says = "{script}: {what}"
    script: str
    what: str
    traceback: str


class ClusterTooSmall(InputError):
    reason = "CLUSTER_TOO_SMALL"
    facts = ("what", "asked", "available", "remedy")
    says = "the job asks for {asked} {what}, the cluster has {available}; {remedy}"


class JournalDamaged(InputError):
    reason = "JOURNAL_DAMAGED"
    facts = ("offset", "what")
    says = "journal: byte {offset}: {what}; the record is not torn but damaged, so nothing after it can be trusted"
    offset: int


class OutputMissing(InputError):
    reason = "OUTPUT_MISSING"
    facts = ("name", "output", "available")
    says = "job {name!r} has no output {output}; it has: {available}"
    name: str


class OutputChanged(InputError):
    """A published file into which rows are to be put is not as it was published."""

    reason = "OUTPUT_CHANGED"
    facts = ("path", "what")
    says = "{path} {what} since it was published; put it back as it was, or submit a new job"
    path: str


class LogMissing(InputError):
    reason = "LOG_MISSING"
    facts = ("name", "log")
    says = "job {name!r} has no log file {log}; `runner logs {name} --list` shows the files there are"
    name: str
    log: str


class CursorExpired(InputError):
    reason = "CURSOR_EXPIRED"
    facts = ("cursor",)
    says = "the cursor {cursor} is older than what is kept; watch again without a cursor"


class PipelineChildJobError(InputError):
    """What was asked cannot be done to a step of a pipeline."""

    reason = "PIPELINE_CHILD_JOB"
    facts = ("name", "verb", "parent")
    says = "{name!r} is a step of the pipeline {parent!r} and cannot be {verb}; ask the pipeline"
    name: str


class AssetNotFound(InputError):
    reason = "ASSET_NOT_FOUND"
    facts = ("kind", "name")
    says = "there is no registered {kind} {name!r}; `runner {kind} list` shows what there is"
    kind: str
    name: str


class AssetExists(InputError):
    reason = "ASSET_EXISTS"
    facts = ("kind", "name")
    says = "the {kind} {name!r} is registered already and never changes; choose another version, or leave it out"
    kind: str
    name: str


class PublishedNotFound(InputError):
    reason = "PUBLISHED_NOT_FOUND"
    facts = ("id",)
    says = "there is no published pipeline with the id {id!r}; `PublishedPipeline.list` shows what there is"
    id: str


class ExperimentNotFound(InputError):
    reason = "EXPERIMENT_NOT_FOUND"
    facts = ("name",)
    says = "there is no experiment {name!r}; submitting a job to it makes it"
    name: str


class JobInUse(InputError):
    """A job that cannot be deleted because something else shows or holds its outputs."""

    reason = "JOB_IN_USE"
    facts = ("name", "user")
    says = "job {name!r} cannot be deleted: {user} refers to its outputs; delete that first"
    name: str


class ClusterUnavailable(WorldError):
    reason = "CLUSTER_UNAVAILABLE"
    facts = ("address", "what", "remedy")
    says = "no Ray cluster at {address}: {what}; {remedy}"
    address: str


class ServerUnavailable(WorldError):
    reason = "SERVER_UNAVAILABLE"
    facts = ("address", "what")
    says = "no runner service at {address}: {what}; start one with `runner serve`, or unset RUNNER_SERVER"
    address: str


class Unauthenticated(WorldError):
    reason = "UNAUTHENTICATED"
    facts = ("address", "what")
    says = (
        "{address} refuses the call: {what}; set RUNNER_TOKEN, or give the file RUNNER_HOME/token of the service's home"
    )
    address: str


class DriverGone(WorldError):
    reason = "DRIVER_GONE"
    facts = ("name",)
    says = (
        "the driver of job {name!r} is gone; what it committed is kept: `runner resume {name}` goes on from there, "
        "`runner logs {name} sys/driver.txt` may tell why"
    )
    name: str


class StoreBusy(WorldError):
    reason = "STORE_BUSY"
    facts = ("path",)
    says = "the store {path} is locked by another process for too long; try again"


class TooManyWatchers(WorldError):
    reason = "TOO_MANY_WATCHERS"
    facts = ("limit", "retry_s")
    says = "the service has all the {limit} watchers it takes; try again in {retry_s} s, or ask without watching"
    limit: int
    retry_s: float


class StorageFailed(WorldError):
    """The disk said no: full, read-only, no permission."""

    reason = "STORAGE_FAILED"
    facts = ("path", "what")
    says = "{path}: {what}"
    path: str


class ThresholdExceeded(RunError):
    """More failed than the job allows; `example` and `traceback` are of the first mini-batch that did."""

    reason = "THRESHOLD_EXCEEDED"
    facts = ("setting", "threshold", "count", "what", "example", "traceback")
    says = "{count} {what} failed, more than {setting} = {threshold} allows{example}"
    traceback: str


class NothingSucceeded(RunError):
    """No output can be made; `traceback` is that of the first mini-batch that failed, or empty."""

    reason = "NOTHING_SUCCEEDED"
    facts = ("what", "traceback")
    says = "{what}; a job needs at least one mini-batch that returns something"
    traceback: str


class InitFailed(RunError):
    """`init()` of the entry script raised, died or took too long; `traceback` is the user's own."""

    reason = "INIT_FAILED"
    facts = ("what", "traceback")
    says = "init() failed: {what}"
    traceback: str


class ShutdownFailed(RunError):
    reason = "SHUTDOWN_FAILED"
    facts = ("what", "traceback")
    says = "shutdown() failed: {what}"
    traceback: str


class NoProgress(RunError):
    reason = "NO_PROGRESS"
    facts = ("seconds",)
    says = "no mini-batch ended for {seconds:g} s (progress_update_timeout)"
    seconds: float


class NoFirstTask(RunError):
    reason = "NO_FIRST_TASK"
    facts = ("seconds",)
    says = "no mini-batch could be created within {seconds:g} s (first_task_creation_timeout)"
    seconds: float


class OutputInvalid(RunError):
    """What `run` returned in different mini-batches cannot stand in one output."""

    reason = "OUTPUT_INVALID"
    facts = ("what",)
    says = "{what}"


class CommandFailed(RunError):
    """A command that did not end with 0, could not be found, or was killed."""

    reason = "COMMAND_FAILED"
    facts = ("what",)
    says = "the command {what}; its output is in the logs user_logs/"


class CommandTimedOut(RunError):
    reason = "COMMAND_TIMED_OUT"
    facts = ("seconds",)
    says = "the command ran longer than limits.timeout = {seconds:g} s and was stopped"
    seconds: float


class CommandLost(RunError):
    """A driver or a rank of a command was lost too often."""

    reason = "COMMAND_LOST"
    facts = ("what",)
    says = "{what} (infrastructure)"
    what: str


class OutputNotMade(RunError):
    reason = "OUTPUT_NOT_MADE"
    facts = ("output", "path")
    says = "the command ended with 0, but has not written the output {output!r}: there is no file at {path}"
    output: str


class StepsFailed(RunError):
    """A pipeline of which steps failed; `first` is the message of the first."""

    reason = "STEPS_FAILED"
    facts = ("steps", "first")
    says = "steps failed: {steps}; {first}"
    steps: str


class ActivityFailedException(RunError):
    """A run that a v1 handle waited for has failed; `error` is what the run says of it, as JSON."""

    reason = "ACTIVITY_FAILED"
    facts = ("error",)
    says = "Activity Failed:\n{error}"
    error: str


class ExperimentExecutionException(RunError):
    """A wait of a v1 handle was interrupted; the run goes on."""

    reason = "WAIT_INTERRUPTED"
    facts = ("name",)
    says = (
        "The wait for the run {name} was interrupted.\nBut the run goes on.\n"
        "`runner cancel {name}` ends it, `runner watch {name}` follows it"
    )
    name: str


class JobException(RunError):
    """A job that was followed to its end has failed; `error` is what the job says of it, as JSON."""

    reason = "JOB_FAILED"
    facts: ClassVar[tuple[str, ...]] = ("name", "error")
    says = "Exception : \n {error}"
    name: str
    error: str


class DownloadRefused(JobStatusConflict, JobException):
    """A job that has not ended has nothing to download yet; users of SDK v2 catch it as a JobException."""


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a reason is on the wire (the name of a gRPC status code) and at the shell."""

    code: str
    exit_code: int


MEANINGS: dict[str, Meaning] = {
    "SPEC_INVALID": Meaning("INVALID_ARGUMENT", 2),
    "ARGUMENT_INVALID": Meaning("INVALID_ARGUMENT", 2),
    "DESTINATION_UNWRITABLE": Meaning("INVALID_ARGUMENT", 2),
    "JOB_NOT_FOUND": Meaning("NOT_FOUND", 2),
    "JOB_EXISTS": Meaning("ALREADY_EXISTS", 2),
    "JOB_STATUS_CONFLICT": Meaning("FAILED_PRECONDITION", 2),
    "ILLEGAL_TRANSITION": Meaning("FAILED_PRECONDITION", 2),
    "TARGET_EXISTS": Meaning("FAILED_PRECONDITION", 2),
    "EMPTY_INPUT": Meaning("FAILED_PRECONDITION", 2),
    "INPUT_UNREADABLE": Meaning("FAILED_PRECONDITION", 2),
    "SCHEMA_MISMATCH": Meaning("FAILED_PRECONDITION", 2),
    "INPUT_CHANGED": Meaning("FAILED_PRECONDITION", 2),
    "ENTRY_INVALID": Meaning("FAILED_PRECONDITION", 2),
    "CLUSTER_TOO_SMALL": Meaning("FAILED_PRECONDITION", 2),
    "JOURNAL_DAMAGED": Meaning("DATA_LOSS", 2),
    "OUTPUT_MISSING": Meaning("NOT_FOUND", 2),
    "OUTPUT_CHANGED": Meaning("FAILED_PRECONDITION", 2),
    "LOG_MISSING": Meaning("NOT_FOUND", 2),
    "CURSOR_EXPIRED": Meaning("OUT_OF_RANGE", 2),
    "PIPELINE_CHILD_JOB": Meaning("FAILED_PRECONDITION", 2),
    "ASSET_NOT_FOUND": Meaning("NOT_FOUND", 2),
    "ASSET_EXISTS": Meaning("ALREADY_EXISTS", 2),
    "PUBLISHED_NOT_FOUND": Meaning("NOT_FOUND", 2),
    "EXPERIMENT_NOT_FOUND": Meaning("NOT_FOUND", 2),
    "JOB_IN_USE": Meaning("FAILED_PRECONDITION", 2),
    "CLUSTER_UNAVAILABLE": Meaning("UNAVAILABLE", 3),
    "SERVER_UNAVAILABLE": Meaning("UNAVAILABLE", 3),
    "UNAUTHENTICATED": Meaning("UNAUTHENTICATED", 3),
    "DRIVER_GONE": Meaning("UNAVAILABLE", 3),
    "STORE_BUSY": Meaning("UNAVAILABLE", 3),
    "TOO_MANY_WATCHERS": Meaning("RESOURCE_EXHAUSTED", 3),
    "STORAGE_FAILED": Meaning("FAILED_PRECONDITION", 1),
    "THRESHOLD_EXCEEDED": Meaning("ABORTED", 1),
    "NOTHING_SUCCEEDED": Meaning("ABORTED", 1),
    "INIT_FAILED": Meaning("ABORTED", 1),
    "SHUTDOWN_FAILED": Meaning("ABORTED", 1),
    "NO_PROGRESS": Meaning("ABORTED", 1),
    "NO_FIRST_TASK": Meaning("ABORTED", 1),
    "OUTPUT_INVALID": Meaning("ABORTED", 1),
    "COMMAND_FAILED": Meaning("ABORTED", 1),
    "COMMAND_TIMED_OUT": Meaning("ABORTED", 1),
    "COMMAND_LOST": Meaning("ABORTED", 1),
    "OUTPUT_NOT_MADE": Meaning("ABORTED", 1),
    "STEPS_FAILED": Meaning("ABORTED", 1),
    "JOB_FAILED": Meaning("ABORTED", 1),
    "ACTIVITY_FAILED": Meaning("ABORTED", 1),
    "WAIT_INTERRUPTED": Meaning("ABORTED", 1),
    "INTERNAL": Meaning("INTERNAL", 1),
}
"""Reason to meaning; a contract test demands that every class has exactly one row."""
