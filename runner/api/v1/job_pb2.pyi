import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.rpc import status_pb2 as _status_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class JobStatus(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    JOB_STATUS_UNSPECIFIED: _ClassVar[JobStatus]
    JOB_STATUS_NOT_STARTED: _ClassVar[JobStatus]
    JOB_STATUS_STARTING: _ClassVar[JobStatus]
    JOB_STATUS_PROVISIONING: _ClassVar[JobStatus]
    JOB_STATUS_PREPARING: _ClassVar[JobStatus]
    JOB_STATUS_QUEUED: _ClassVar[JobStatus]
    JOB_STATUS_RUNNING: _ClassVar[JobStatus]
    JOB_STATUS_FINALIZING: _ClassVar[JobStatus]
    JOB_STATUS_CANCEL_REQUESTED: _ClassVar[JobStatus]
    JOB_STATUS_COMPLETED: _ClassVar[JobStatus]
    JOB_STATUS_FAILED: _ClassVar[JobStatus]
    JOB_STATUS_CANCELED: _ClassVar[JobStatus]
    JOB_STATUS_NOT_RESPONDING: _ClassVar[JobStatus]
JOB_STATUS_UNSPECIFIED: JobStatus
JOB_STATUS_NOT_STARTED: JobStatus
JOB_STATUS_STARTING: JobStatus
JOB_STATUS_PROVISIONING: JobStatus
JOB_STATUS_PREPARING: JobStatus
JOB_STATUS_QUEUED: JobStatus
JOB_STATUS_RUNNING: JobStatus
JOB_STATUS_FINALIZING: JobStatus
JOB_STATUS_CANCEL_REQUESTED: JobStatus
JOB_STATUS_COMPLETED: JobStatus
JOB_STATUS_FAILED: JobStatus
JOB_STATUS_CANCELED: JobStatus
JOB_STATUS_NOT_RESPONDING: JobStatus

class Job(_message.Message):
    __slots__ = ("name", "spec", "status", "error", "message", "progress", "outputs", "run_number", "create_time", "start_time", "end_time", "heartbeat_time", "host", "driver_pid", "created_by", "revision", "studio_url", "has_driver", "step", "is_archived", "reused_from", "reuse_reason")
    NAME_FIELD_NUMBER: _ClassVar[int]
    SPEC_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    OUTPUTS_FIELD_NUMBER: _ClassVar[int]
    RUN_NUMBER_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    START_TIME_FIELD_NUMBER: _ClassVar[int]
    END_TIME_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_TIME_FIELD_NUMBER: _ClassVar[int]
    HOST_FIELD_NUMBER: _ClassVar[int]
    DRIVER_PID_FIELD_NUMBER: _ClassVar[int]
    CREATED_BY_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    STUDIO_URL_FIELD_NUMBER: _ClassVar[int]
    HAS_DRIVER_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    IS_ARCHIVED_FIELD_NUMBER: _ClassVar[int]
    REUSED_FROM_FIELD_NUMBER: _ClassVar[int]
    REUSE_REASON_FIELD_NUMBER: _ClassVar[int]
    name: str
    spec: JobSpec
    status: JobStatus
    error: _status_pb2.Status
    message: str
    progress: Progress
    outputs: _containers.RepeatedCompositeFieldContainer[Output]
    run_number: int
    create_time: _timestamp_pb2.Timestamp
    start_time: _timestamp_pb2.Timestamp
    end_time: _timestamp_pb2.Timestamp
    heartbeat_time: _timestamp_pb2.Timestamp
    host: str
    driver_pid: int
    created_by: str
    revision: int
    studio_url: str
    has_driver: bool
    step: str
    is_archived: bool
    reused_from: str
    reuse_reason: str
    def __init__(self, name: _Optional[str] = ..., spec: _Optional[_Union[JobSpec, _Mapping]] = ..., status: _Optional[_Union[JobStatus, str]] = ..., error: _Optional[_Union[_status_pb2.Status, _Mapping]] = ..., message: _Optional[str] = ..., progress: _Optional[_Union[Progress, _Mapping]] = ..., outputs: _Optional[_Iterable[_Union[Output, _Mapping]]] = ..., run_number: _Optional[int] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., start_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., end_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., heartbeat_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., host: _Optional[str] = ..., driver_pid: _Optional[int] = ..., created_by: _Optional[str] = ..., revision: _Optional[int] = ..., studio_url: _Optional[str] = ..., has_driver: bool = ..., step: _Optional[str] = ..., is_archived: bool = ..., reused_from: _Optional[str] = ..., reuse_reason: _Optional[str] = ...) -> None: ...

class JobSpec(_message.Message):
    __slots__ = ("type", "document", "display_name", "description", "experiment_name", "tags", "properties")
    class TagsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    class PropertiesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    TYPE_FIELD_NUMBER: _ClassVar[int]
    DOCUMENT_FIELD_NUMBER: _ClassVar[int]
    DISPLAY_NAME_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    EXPERIMENT_NAME_FIELD_NUMBER: _ClassVar[int]
    TAGS_FIELD_NUMBER: _ClassVar[int]
    PROPERTIES_FIELD_NUMBER: _ClassVar[int]
    type: str
    document: str
    display_name: str
    description: str
    experiment_name: str
    tags: _containers.ScalarMap[str, str]
    properties: _containers.ScalarMap[str, str]
    def __init__(self, type: _Optional[str] = ..., document: _Optional[str] = ..., display_name: _Optional[str] = ..., description: _Optional[str] = ..., experiment_name: _Optional[str] = ..., tags: _Optional[_Mapping[str, str]] = ..., properties: _Optional[_Mapping[str, str]] = ...) -> None: ...

class Progress(_message.Message):
    __slots__ = ("item_count", "failed_item_count", "done_item_count", "mini_batch_count", "done_mini_batch_count", "failed_mini_batch_count", "failed_by_class", "instance_count", "worker_count", "first_failures")
    class FailedByClassEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    class FirstFailuresEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    ITEM_COUNT_FIELD_NUMBER: _ClassVar[int]
    FAILED_ITEM_COUNT_FIELD_NUMBER: _ClassVar[int]
    DONE_ITEM_COUNT_FIELD_NUMBER: _ClassVar[int]
    MINI_BATCH_COUNT_FIELD_NUMBER: _ClassVar[int]
    DONE_MINI_BATCH_COUNT_FIELD_NUMBER: _ClassVar[int]
    FAILED_MINI_BATCH_COUNT_FIELD_NUMBER: _ClassVar[int]
    FAILED_BY_CLASS_FIELD_NUMBER: _ClassVar[int]
    INSTANCE_COUNT_FIELD_NUMBER: _ClassVar[int]
    WORKER_COUNT_FIELD_NUMBER: _ClassVar[int]
    FIRST_FAILURES_FIELD_NUMBER: _ClassVar[int]
    item_count: int
    failed_item_count: int
    done_item_count: int
    mini_batch_count: int
    done_mini_batch_count: int
    failed_mini_batch_count: int
    failed_by_class: _containers.ScalarMap[str, int]
    instance_count: int
    worker_count: int
    first_failures: _containers.ScalarMap[str, str]
    def __init__(self, item_count: _Optional[int] = ..., failed_item_count: _Optional[int] = ..., done_item_count: _Optional[int] = ..., mini_batch_count: _Optional[int] = ..., done_mini_batch_count: _Optional[int] = ..., failed_mini_batch_count: _Optional[int] = ..., failed_by_class: _Optional[_Mapping[str, int]] = ..., instance_count: _Optional[int] = ..., worker_count: _Optional[int] = ..., first_failures: _Optional[_Mapping[str, str]] = ...) -> None: ...

class Output(_message.Message):
    __slots__ = ("name", "type", "path")
    NAME_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    name: str
    type: str
    path: str
    def __init__(self, name: _Optional[str] = ..., type: _Optional[str] = ..., path: _Optional[str] = ...) -> None: ...

class LogFile(_message.Message):
    __slots__ = ("name", "size_bytes")
    NAME_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    name: str
    size_bytes: int
    def __init__(self, name: _Optional[str] = ..., size_bytes: _Optional[int] = ...) -> None: ...
