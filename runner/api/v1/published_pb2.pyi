import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class PublishedPipelineStatus(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PUBLISHED_PIPELINE_STATUS_UNSPECIFIED: _ClassVar[PublishedPipelineStatus]
    PUBLISHED_PIPELINE_STATUS_ACTIVE: _ClassVar[PublishedPipelineStatus]
    PUBLISHED_PIPELINE_STATUS_DEPRECATED: _ClassVar[PublishedPipelineStatus]
    PUBLISHED_PIPELINE_STATUS_DISABLED: _ClassVar[PublishedPipelineStatus]
PUBLISHED_PIPELINE_STATUS_UNSPECIFIED: PublishedPipelineStatus
PUBLISHED_PIPELINE_STATUS_ACTIVE: PublishedPipelineStatus
PUBLISHED_PIPELINE_STATUS_DEPRECATED: PublishedPipelineStatus
PUBLISHED_PIPELINE_STATUS_DISABLED: PublishedPipelineStatus

class PublishedPipeline(_message.Message):
    __slots__ = ("name", "display_name", "description", "version", "status", "document", "job", "continue_on_step_failure", "create_time")
    NAME_FIELD_NUMBER: _ClassVar[int]
    DISPLAY_NAME_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    DOCUMENT_FIELD_NUMBER: _ClassVar[int]
    JOB_FIELD_NUMBER: _ClassVar[int]
    CONTINUE_ON_STEP_FAILURE_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    name: str
    display_name: str
    description: str
    version: str
    status: PublishedPipelineStatus
    document: str
    job: str
    continue_on_step_failure: bool
    create_time: _timestamp_pb2.Timestamp
    def __init__(self, name: _Optional[str] = ..., display_name: _Optional[str] = ..., description: _Optional[str] = ..., version: _Optional[str] = ..., status: _Optional[_Union[PublishedPipelineStatus, str]] = ..., document: _Optional[str] = ..., job: _Optional[str] = ..., continue_on_step_failure: bool = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class PublishJobRequest(_message.Message):
    __slots__ = ("name", "display_name", "description", "version", "continue_on_step_failure")
    NAME_FIELD_NUMBER: _ClassVar[int]
    DISPLAY_NAME_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    CONTINUE_ON_STEP_FAILURE_FIELD_NUMBER: _ClassVar[int]
    name: str
    display_name: str
    description: str
    version: str
    continue_on_step_failure: bool
    def __init__(self, name: _Optional[str] = ..., display_name: _Optional[str] = ..., description: _Optional[str] = ..., version: _Optional[str] = ..., continue_on_step_failure: bool = ...) -> None: ...

class GetPublishedPipelineRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class ListPublishedPipelinesRequest(_message.Message):
    __slots__ = ("page_size", "page_token", "include_inactive")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    INCLUDE_INACTIVE_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    include_inactive: bool
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., include_inactive: bool = ...) -> None: ...

class ListPublishedPipelinesResponse(_message.Message):
    __slots__ = ("published_pipelines", "next_page_token")
    PUBLISHED_PIPELINES_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    published_pipelines: _containers.RepeatedCompositeFieldContainer[PublishedPipeline]
    next_page_token: str
    def __init__(self, published_pipelines: _Optional[_Iterable[_Union[PublishedPipeline, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class UpdatePublishedPipelineRequest(_message.Message):
    __slots__ = ("name", "status")
    NAME_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    name: str
    status: PublishedPipelineStatus
    def __init__(self, name: _Optional[str] = ..., status: _Optional[_Union[PublishedPipelineStatus, str]] = ...) -> None: ...

class SubmitPublishedPipelineRequest(_message.Message):
    __slots__ = ("name", "experiment", "parameters", "continue_on_step_failure")
    NAME_FIELD_NUMBER: _ClassVar[int]
    EXPERIMENT_FIELD_NUMBER: _ClassVar[int]
    PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    CONTINUE_ON_STEP_FAILURE_FIELD_NUMBER: _ClassVar[int]
    name: str
    experiment: str
    parameters: str
    continue_on_step_failure: bool
    def __init__(self, name: _Optional[str] = ..., experiment: _Optional[str] = ..., parameters: _Optional[str] = ..., continue_on_step_failure: bool = ...) -> None: ...
