"""What `run` may return, and what it counts as: the legal kinds, told apart without importing pandas or Polars.

Neither library is imported here: a result can only be a frame of a library that the script has imported already.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import Any, Literal

import numpy as np
import pyarrow as pa

Kind = Literal["list", "array", "frame", "series", "table", "column"]

_LEGAL = "a list, a tuple, a pandas DataFrame or Series, a NumPy array, an Arrow table or a Polars DataFrame"


class IllegalReturn(TypeError):
    """`run` returned something that cannot be counted or written; fails the mini-batch."""


def settle(result: object) -> tuple[Kind, Any]:
    """The kind of a result and the result itself, generators and other iterators run to their end.

    `table` covers everything two-dimensional that Arrow takes over as it is: Arrow tables and batches, Polars frames;
    `column` is its one-dimensional twin. Raises IllegalReturn for everything else.
    """
    if isinstance(result, list | tuple):
        return "list", result
    if isinstance(result, np.ndarray):
        if result.ndim == 0:
            raise IllegalReturn(
                "run() returned an array of no dimension, which has no length; return one of shape (1,)"
            )
        return "array", result
    pandas = sys.modules.get("pandas")
    if pandas is not None:
        if isinstance(result, pandas.DataFrame):
            return "frame", result
        if isinstance(result, pandas.Series | pandas.Index):
            return "series", result if isinstance(result, pandas.Series) else result.to_series()
    if isinstance(result, pa.RecordBatch):
        return "table", pa.Table.from_batches([result])
    if isinstance(result, pa.Table):
        return "table", result
    if isinstance(result, pa.Array | pa.ChunkedArray):
        return "column", result
    polars = sys.modules.get("polars")
    if polars is not None:
        if isinstance(result, polars.DataFrame):
            return "table", result.to_arrow()
        if isinstance(result, polars.Series):
            return "column", result.to_arrow()
    if isinstance(result, Iterator) or (
        isinstance(result, Sequence) and not isinstance(result, str | bytes | bytearray | memoryview)
    ):
        return "list", list(result)
    raise IllegalReturn(f"run() returned {_described(result)}; it must return {_LEGAL}, one element or row per item")


def _described(result: object) -> str:
    if result is None:
        return "NoneType (is a `return` missing?)"
    kind = type(result)
    return kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def has_rows_of_columns(array: np.ndarray[Any, Any]) -> bool:
    """True for arrays that are frames in disguise: two-dimensional or structured."""
    return array.ndim == 2 or (array.ndim == 1 and array.dtype.names is not None)
