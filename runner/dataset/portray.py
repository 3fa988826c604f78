"""Shows what `run` gets: its type, its columns with theirs, and its first items, whatever the format."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from runner.dataset.listing import shown

ITEMS = 10
"""Items that are shown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Portrait:
    """A mini-batch for people and programs to look at."""

    type: str
    item_count: int
    columns: tuple[tuple[str, str, str], ...]
    """Name, type in the data, type as `run` sees it; none for files."""
    items: tuple[tuple[Any, ...], ...]
    """The first items: values by column, numbers and booleans as they are, null as None, anything else as text."""


def portray(mini_batch: Any, schema: pa.Schema) -> Portrait:
    """The portrait of a mini-batch of any format; `schema` is that of its data."""
    if isinstance(mini_batch, list):
        items = tuple((shown(str(path)),) for path in mini_batch[:ITEMS])
        return Portrait(type="list of paths", item_count=len(mini_batch), columns=(), items=items)
    if isinstance(mini_batch, dict):
        first = next(iter(mini_batch.values()), ())
        name, count = "dict of arrays", len(first)
        kinds = [_array_type(array) for array in mini_batch.values()]
        columns = [[_scalar(value) for value in array[:ITEMS]] for array in mini_batch.values()]
    else:
        kind = type(mini_batch)
        name, count = f"{kind.__module__.partition('.')[0]}.{kind.__name__}", len(mini_batch)
        kinds, columns = _frame(mini_batch)
    types = zip(schema.names, map(str, schema.types), kinds, strict=True)
    return Portrait(type=name, item_count=count, columns=tuple(types), items=tuple(zip(*columns, strict=True)))


def _frame(frame: Any) -> tuple[list[str], list[list[Any]]]:
    if isinstance(frame, pa.Table):
        head = frame.slice(0, ITEMS)
        return [str(kind) for kind in frame.schema.types], [[*map(_value, c.to_pylist())] for c in head.columns]
    names = list(frame.columns)
    head = frame.head(ITEMS)
    return [str(frame[name].dtype) for name in names], [[_scalar(value) for value in head[name]] for name in names]


def _array_type(array: Any) -> str:
    return f"masked {array.dtype}" if isinstance(array, np.ma.MaskedArray) else str(array.dtype)


def _scalar(value: Any) -> Any:
    if value is np.ma.masked or type(value).__name__ in ("NAType", "NaTType"):
        return None
    return _value(value.item() if isinstance(value, np.generic) and value.dtype.kind in "biuf" else value)


def _value(value: Any) -> Any:
    if isinstance(value, float):
        return value if np.isfinite(value) else str(value)
    return value if value is None or isinstance(value, bool | int | str) else str(value)
