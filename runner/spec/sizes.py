"""Amounts as users write them: `5`, `10kb`, `"1000 rows"`, `2gb`."""

from __future__ import annotations

import re
from typing import Any, Literal

from runner.entity.parallel import MiniBatchSize
from runner.spec.findings import Findings, Path
from runner.spec.shapes import kind_of, refuse_number

_SIZE = re.compile(r"\s*(\d+)\s*([a-z]*)\s*", re.IGNORECASE)
_BYTES = {"": 1, "b": 1, "kb": 1024, "mb": 1024**2, "gb": 1024**3}
_FORMS = '"10" files, "100kb", "10mb", "1gb" or "1000 rows"'


def mini_batch_text(value: Any, at: Path, found: Findings) -> Any:
    """The shape of `mini_batch_size`: a count, or a count with kb, mb, gb or rows; never 0."""
    if isinstance(value, bool) or not isinstance(value, int | str):
        return refuse_number(value, at, found, _FORMS)
    match = _SIZE.fullmatch(str(value))
    if match is None or match[2].lower() not in ("", "kb", "mb", "gb", "row", "rows"):
        return refuse_number(value, at, found, _FORMS)
    if int(match[1]) == 0:
        return found.problem(at, f"is {kind_of(value)}: a mini-batch holds at least one item", f"write {_FORMS}")
    return value


def mini_batch_size(value: str | int | None, kind: Literal["table", "files"]) -> MiniBatchSize | None:
    """What the size means for tables or for files; None when it makes no sense there."""
    if value is None:
        return MiniBatchSize(kind="bytes", value=1024**2) if kind == "table" else MiniBatchSize(kind="files", value=1)
    match = _SIZE.fullmatch(str(value))
    if match is None:
        return None
    count, unit = int(match[1]), match[2].lower()
    if kind == "files":
        return None if unit else MiniBatchSize(kind="files", value=count)
    if unit.startswith("row"):
        return MiniBatchSize(kind="rows", value=count)
    return MiniBatchSize(kind="bytes", value=count * _BYTES[unit])


def byte_count(value: Any, at: Path, found: Findings) -> Any:
    """The shape of a size in bytes: `128mb`, `2gb`, or a plain number."""
    match = _SIZE.fullmatch(str(value)) if isinstance(value, int | str) and not isinstance(value, bool) else None
    if match is None or match[2].lower() not in _BYTES or int(match[1]) == 0:
        return found.problem(at, f"is {kind_of(value)}, not a size", "write `64kb`, `128mb` or `2gb`")
    return str(value)


def bytes_of(value: str | int) -> int:
    """The bytes that a checked size stands for."""
    match = _SIZE.fullmatch(str(value))
    if match is None:
        raise ValueError(f"{value!r} is no size")
    return int(match[1]) * _BYTES[match[2].lower()]
