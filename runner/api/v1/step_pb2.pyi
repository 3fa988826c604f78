from runner.api.v1 import job_pb2 as _job_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Step(_message.Message):
    __slots__ = ("name", "key", "job")
    NAME_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    JOB_FIELD_NUMBER: _ClassVar[int]
    name: str
    key: str
    job: _job_pb2.Job
    def __init__(self, name: _Optional[str] = ..., key: _Optional[str] = ..., job: _Optional[_Union[_job_pb2.Job, _Mapping]] = ...) -> None: ...

class GetStepRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class ListStepsRequest(_message.Message):
    __slots__ = ("parent", "page_size", "page_token")
    PARENT_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    parent: str
    page_size: int
    page_token: str
    def __init__(self, parent: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListStepsResponse(_message.Message):
    __slots__ = ("steps", "next_page_token")
    STEPS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    steps: _containers.RepeatedCompositeFieldContainer[Step]
    next_page_token: str
    def __init__(self, steps: _Optional[_Iterable[_Union[Step, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class GetJobGraphRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class JobGraph(_message.Message):
    __slots__ = ("name", "experiment_name", "steps", "outputs", "continue_on_step_failure", "force_rerun", "max_concurrent_steps", "overwrite", "notices", "literals")
    NAME_FIELD_NUMBER: _ClassVar[int]
    EXPERIMENT_NAME_FIELD_NUMBER: _ClassVar[int]
    STEPS_FIELD_NUMBER: _ClassVar[int]
    OUTPUTS_FIELD_NUMBER: _ClassVar[int]
    CONTINUE_ON_STEP_FAILURE_FIELD_NUMBER: _ClassVar[int]
    FORCE_RERUN_FIELD_NUMBER: _ClassVar[int]
    MAX_CONCURRENT_STEPS_FIELD_NUMBER: _ClassVar[int]
    OVERWRITE_FIELD_NUMBER: _ClassVar[int]
    NOTICES_FIELD_NUMBER: _ClassVar[int]
    LITERALS_FIELD_NUMBER: _ClassVar[int]
    name: str
    experiment_name: str
    steps: _containers.RepeatedCompositeFieldContainer[GraphStep]
    outputs: _containers.RepeatedCompositeFieldContainer[PromotedOutput]
    continue_on_step_failure: bool
    force_rerun: bool
    max_concurrent_steps: int
    overwrite: bool
    notices: _containers.RepeatedScalarFieldContainer[str]
    literals: str
    def __init__(self, name: _Optional[str] = ..., experiment_name: _Optional[str] = ..., steps: _Optional[_Iterable[_Union[GraphStep, _Mapping]]] = ..., outputs: _Optional[_Iterable[_Union[PromotedOutput, _Mapping]]] = ..., continue_on_step_failure: bool = ..., force_rerun: bool = ..., max_concurrent_steps: _Optional[int] = ..., overwrite: bool = ..., notices: _Optional[_Iterable[str]] = ..., literals: _Optional[str] = ...) -> None: ...

class GraphStep(_message.Message):
    __slots__ = ("key", "job", "type", "document", "code", "component", "sources", "depends_on", "is_deterministic")
    KEY_FIELD_NUMBER: _ClassVar[int]
    JOB_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    DOCUMENT_FIELD_NUMBER: _ClassVar[int]
    CODE_FIELD_NUMBER: _ClassVar[int]
    COMPONENT_FIELD_NUMBER: _ClassVar[int]
    SOURCES_FIELD_NUMBER: _ClassVar[int]
    DEPENDS_ON_FIELD_NUMBER: _ClassVar[int]
    IS_DETERMINISTIC_FIELD_NUMBER: _ClassVar[int]
    key: str
    job: str
    type: str
    document: str
    code: str
    component: str
    sources: _containers.RepeatedCompositeFieldContainer[StepSource]
    depends_on: _containers.RepeatedScalarFieldContainer[str]
    is_deterministic: bool
    def __init__(self, key: _Optional[str] = ..., job: _Optional[str] = ..., type: _Optional[str] = ..., document: _Optional[str] = ..., code: _Optional[str] = ..., component: _Optional[str] = ..., sources: _Optional[_Iterable[_Union[StepSource, _Mapping]]] = ..., depends_on: _Optional[_Iterable[str]] = ..., is_deterministic: bool = ...) -> None: ...

class StepSource(_message.Message):
    __slots__ = ("input", "step", "output", "is_optional")
    INPUT_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_FIELD_NUMBER: _ClassVar[int]
    IS_OPTIONAL_FIELD_NUMBER: _ClassVar[int]
    input: str
    step: str
    output: str
    is_optional: bool
    def __init__(self, input: _Optional[str] = ..., step: _Optional[str] = ..., output: _Optional[str] = ..., is_optional: bool = ...) -> None: ...

class PromotedOutput(_message.Message):
    __slots__ = ("name", "type", "step", "output")
    NAME_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_FIELD_NUMBER: _ClassVar[int]
    name: str
    type: str
    step: str
    output: str
    def __init__(self, name: _Optional[str] = ..., type: _Optional[str] = ..., step: _Optional[str] = ..., output: _Optional[str] = ...) -> None: ...
