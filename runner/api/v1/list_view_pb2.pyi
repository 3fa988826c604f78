from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from typing import ClassVar as _ClassVar

DESCRIPTOR: _descriptor.FileDescriptor

class ListView(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    LIST_VIEW_UNSPECIFIED: _ClassVar[ListView]
    LIST_VIEW_ACTIVE_ONLY: _ClassVar[ListView]
    LIST_VIEW_ARCHIVED_ONLY: _ClassVar[ListView]
    LIST_VIEW_ALL: _ClassVar[ListView]
LIST_VIEW_UNSPECIFIED: ListView
LIST_VIEW_ACTIVE_ONLY: ListView
LIST_VIEW_ARCHIVED_ONLY: ListView
LIST_VIEW_ALL: ListView
