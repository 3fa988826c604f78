import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class FailureClass(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    FAILURE_CLASS_UNSPECIFIED: _ClassVar[FailureClass]
    FAILURE_CLASS_USER_ERROR: _ClassVar[FailureClass]
    FAILURE_CLASS_CRASH: _ClassVar[FailureClass]
    FAILURE_CLASS_TIMEOUT: _ClassVar[FailureClass]
    FAILURE_CLASS_READ: _ClassVar[FailureClass]
    FAILURE_CLASS_INFRASTRUCTURE: _ClassVar[FailureClass]
FAILURE_CLASS_UNSPECIFIED: FailureClass
FAILURE_CLASS_USER_ERROR: FailureClass
FAILURE_CLASS_CRASH: FailureClass
FAILURE_CLASS_TIMEOUT: FailureClass
FAILURE_CLASS_READ: FailureClass
FAILURE_CLASS_INFRASTRUCTURE: FailureClass

class Failure(_message.Message):
    __slots__ = ("mini_batch", "first_item", "item_count", "unit", "file", "row", "key", "failure_class", "exception_type", "message", "traceback", "attempt_count", "instance", "worker", "create_time", "is_open")
    MINI_BATCH_FIELD_NUMBER: _ClassVar[int]
    FIRST_ITEM_FIELD_NUMBER: _ClassVar[int]
    ITEM_COUNT_FIELD_NUMBER: _ClassVar[int]
    UNIT_FIELD_NUMBER: _ClassVar[int]
    FILE_FIELD_NUMBER: _ClassVar[int]
    ROW_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    FAILURE_CLASS_FIELD_NUMBER: _ClassVar[int]
    EXCEPTION_TYPE_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    TRACEBACK_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_COUNT_FIELD_NUMBER: _ClassVar[int]
    INSTANCE_FIELD_NUMBER: _ClassVar[int]
    WORKER_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    IS_OPEN_FIELD_NUMBER: _ClassVar[int]
    mini_batch: int
    first_item: int
    item_count: int
    unit: int
    file: str
    row: int
    key: str
    failure_class: FailureClass
    exception_type: str
    message: str
    traceback: str
    attempt_count: int
    instance: str
    worker: str
    create_time: _timestamp_pb2.Timestamp
    is_open: bool
    def __init__(self, mini_batch: _Optional[int] = ..., first_item: _Optional[int] = ..., item_count: _Optional[int] = ..., unit: _Optional[int] = ..., file: _Optional[str] = ..., row: _Optional[int] = ..., key: _Optional[str] = ..., failure_class: _Optional[_Union[FailureClass, str]] = ..., exception_type: _Optional[str] = ..., message: _Optional[str] = ..., traceback: _Optional[str] = ..., attempt_count: _Optional[int] = ..., instance: _Optional[str] = ..., worker: _Optional[str] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., is_open: bool = ...) -> None: ...
