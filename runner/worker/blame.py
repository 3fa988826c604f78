"""Turns an exception into texts: the user's own frames, of bounded length, whatever the exception does."""

from __future__ import annotations

import importlib
import os
import traceback
from dataclasses import dataclass

TRACEBACK_BYTES = 64 * 1024
MESSAGE_BYTES = 4 * 1024
TYPE_BYTES = 256
MAX_FRAMES = 400
"""Of one exception: the outermost ones. Deeper recursion only repeats itself."""

_CONTROLS = {n: f"\\x{n:02x}" for n in range(32) if chr(n) not in "\n\t"}
"""JSON would make six bytes of each, and terminals other things."""
_OWN_FOLDER = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
_IMPORT_FOLDER = os.path.dirname(importlib.__file__) + os.sep


@dataclass(frozen=True, slots=True)
class Blame:
    """What is told of an exception."""

    exception_type: str
    message: str
    traceback: str

    @property
    def what(self) -> str:
        """One line: type and message."""
        return f"{self.exception_type}: {self.message}" if self.message else self.exception_type


def describe(error: BaseException) -> Blame:
    """The exception in texts that fit a packet; never raises."""
    return Blame(
        exception_type=cut_text(_type_name(error), TYPE_BYTES),
        message=cut_text(_message(error), MESSAGE_BYTES),
        traceback=cut_text(_traceback(error), TRACEBACK_BYTES),
    )


def cut_text(text: str, limit_bytes: int) -> str:
    """The text as printable UTF-8 of at most `limit_bytes`; of a long one a quarter is its begin, the rest its end."""
    if len(text) > 2 * limit_bytes:  # whatever of it is kept, it is of these
        text = text[:limit_bytes] + text[-limit_bytes:]
    data = text.translate(_CONTROLS).encode("utf-8", "backslashreplace")
    if len(data) <= limit_bytes:
        return data.decode()
    head = data[: limit_bytes // 4].decode(errors="ignore")
    tail = data[-(limit_bytes - limit_bytes // 4 - 32) :].decode(errors="ignore")
    return f"{head}\n... much is left out here ...\n{tail}"


def _type_name(error: BaseException) -> str:
    kind = type(error)
    return (
        kind.__qualname__ if kind.__module__ in ("builtins", "__main__") else f"{kind.__module__}.{kind.__qualname__}"
    )


def _message(error: BaseException) -> str:
    try:
        return str(error)
    except BaseException as second:  # noqa: BLE001 - the script's own __str__
        return f"<str() of the exception raised {type(second).__name__}>"


def _traceback(error: BaseException) -> str:
    try:
        found = traceback.TracebackException.from_exception(error, limit=MAX_FRAMES, compact=True)
        _strip(found, set())
        return "".join(found.format())
    except BaseException as second:  # noqa: BLE001 - the script's own __str__, or no memory
        return f"{type(error).__name__}, whose traceback could not be made: {type(second).__name__}\n"


def _strip(found: traceback.TracebackException, seen: set[int]) -> None:
    """Take frames of the runner and of the import machinery out of an exception and those it came from."""
    if id(found) in seen:
        return
    seen.add(id(found))
    found.stack = traceback.StackSummary.from_list([frame for frame in found.stack if not _is_own(frame.filename)])
    for other in (found.__cause__, found.__context__, *(found.exceptions or ())):
        if other is not None:
            _strip(other, seen)


def _is_own(file: str) -> bool:
    return file.startswith((_OWN_FOLDER, _IMPORT_FOLDER, "<frozen importlib")) or (
        file.endswith(".pyx") and "runner/" in file
    )
