"""Arrow arrays of plain numbers as NumPy arrays and back, without copying and without Arrow's own converters.

Those import pandas at their first call, which costs 0.3 s in every process that has no other use for it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Numbers = npt.NDArray[Any]


def is_plain(kind: pa.DataType) -> bool:
    """Whether values of this type lie in memory as NumPy has them: integers and floats."""
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))


def numbers_of(array: pa.Array) -> Numbers:
    """The values of an array of a plain type without nulls: a view that cannot be written to."""
    kind = _dtype(array.type)
    if not len(array):
        return np.empty(0, kind)
    values = np.frombuffer(array.buffers()[1], kind, count=len(array), offset=array.offset * kind.itemsize)
    values.flags.writeable = False
    return values


def _dtype(kind: pa.DataType) -> np.dtype[Any]:
    letter = "f" if pa.types.is_floating(kind) else "i" if pa.types.is_signed_integer(kind) else "u"
    return np.dtype(f"{letter}{kind.bit_width // 8}")


def array_of(numbers: Numbers) -> pa.Array:
    """An array without nulls whose values are `numbers`, which must be contiguous and of a plain type."""
    return pa.Array.from_buffers(
        pa.from_numpy_dtype(numbers.dtype), len(numbers), [None, pa.py_buffer(numbers)], null_count=0
    )
