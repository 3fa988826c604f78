"""Results as columns: what `run` returned, taken over so that the script may change it afterwards, and later as Arrow.

Two forms, chosen by cost. `Arrays` are plain NumPy columns, copied; thousands of them become one batch when the segment
is written. Everything else is converted at once into serialised Arrow batches, so that whatever cannot be converted
fails the mini-batch that returned it, and writing a segment cannot fail for what it holds.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from runner.dataset.plain_numbers import array_of
from runner.dataset.returns import IllegalReturn, Kind, has_rows_of_columns
from runner.dataset.schemas import normal_schema

VALUE = "value"
"""The one column of what has no columns: lists and one-dimensional arrays."""


class Arrays(NamedTuple):
    """Named NumPy columns of one length that nobody else can change."""

    names: tuple[str, ...]
    arrays: tuple[npt.NDArray[Any], ...]
    nan_is_null: bool
    """Frames mark what is missing by NaN, arrays hold NaN as a number."""

    @property
    def nbytes(self) -> int:
        """What the loop counts against its buffer."""
        return sum([array.nbytes for array in self.arrays])


class Batches(NamedTuple):
    """Arrow batches as bytes of our own: serialised, because Arrow shares memory with what it was made from."""

    schema: pa.Schema
    buffers: tuple[pa.Buffer, ...]

    @property
    def nbytes(self) -> int:
        """What the loop counts against its buffer."""
        return sum([buffer.size for buffer in self.buffers])


class Ordered(NamedTuple):
    """Rows of a frame whose index says which item each belongs to."""

    rows: Arrays | Batches
    items: npt.NDArray[np.int64]

    @property
    def nbytes(self) -> int:
        """What the loop counts against its buffer."""
        return self.rows.nbytes + self.items.nbytes


def column_names(labels: Iterable[object]) -> tuple[str, ...]:
    """Labels as the names of columns. Raises IllegalReturn for a name that is there twice."""
    names = tuple([label if type(label) is str else str(label) for label in labels])
    if len(set(names)) != len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise IllegalReturn(f"run() returned a frame with two columns named {twice!r}; rename one of them")
    return names


def dict_keys(items: Sequence[dict[Any, Any]]) -> list[Any]:
    """All keys in the order in which they first appear."""
    return list(dict.fromkeys(key for item in items for key in item))


def take_over(kind: Kind, result: Any) -> Arrays | Batches:
    """The columns of a result; raises IllegalReturn for what Arrow has no type for."""
    try:
        if kind == "frame":
            rows = _frame_columns(result)
        elif kind == "array":
            rows = _array_columns(result)
        elif kind == "series":
            rows = _series_column(result)
        elif kind == "table":
            column_names(result.column_names)
            rows = _serialised(result)
        else:
            rows = _serialised(_table_of(kind, result))
    except (pa.ArrowException, OverflowError, UnicodeEncodeError) as error:
        raise IllegalReturn(
            f"run() returned what cannot be written as typed columns: {error}; "
            "return values of one type per column, for several columns a DataFrame or a list of dicts"
        ) from error
    if not (rows.names if isinstance(rows, Arrays) else rows.schema.names):
        raise IllegalReturn("run() returned rows without columns; return at least one column")
    return rows


@lru_cache(maxsize=64)
def check_parquet(schema: pa.Schema) -> None:
    """Raise IllegalReturn for a type that Arrow has and Parquet has not."""
    try:
        with pq.ParquetWriter(pa.BufferOutputStream(), schema) as writer:
            writer.write_table(schema.empty_table())
    except pa.ArrowException as error:
        raise IllegalReturn(f"run() returned a column that Parquet cannot hold: {error}") from error


def _frame_columns(frame: Any) -> Arrays | Batches:
    names = column_names(frame.columns)
    # The public ways to a column's values cost 10 us a column for the Series they build; this one, 1 us.
    found = (
        frame._iter_column_arrays() if hasattr(frame, "_iter_column_arrays") else (s.array for _, s in frame.items())
    )
    arrays = [_unwrapped(array) for array in found]
    if all(isinstance(array, np.ndarray) and _is_plain(array.dtype) for array in arrays):
        return Arrays(names, tuple([np.array(array) for array in arrays]), True)
    columns = [_pandas_column(array) for array in arrays]
    return _serialised(pa.Table.from_arrays(columns, list(names)))


def _unwrapped(array: Any) -> Any:
    """NumPy's own array below pandas' thin wrapper of it."""
    return array.to_numpy() if type(array).__name__ in ("NumpyExtensionArray", "PandasArray") else array


def _pandas_column(array: Any) -> pa.Array | pa.ChunkedArray:
    if isinstance(array, np.ndarray) or hasattr(array, "__arrow_array__"):
        return pa.array(array, from_pandas=True)
    if getattr(array, "tz", None) is not None:
        instants = array.tz_convert(None).to_numpy()
        return pa.array(instants, pa.timestamp(np.datetime_data(instants.dtype)[0], str(array.tz)))
    import pandas

    return pa.array(pandas.Series(array), from_pandas=True)


def _series_column(series: Any) -> Arrays | Batches:
    array = _unwrapped(series.array)
    if isinstance(array, np.ndarray) and _is_plain(array.dtype):
        return Arrays((VALUE,), (np.array(array),), True)
    return _serialised(pa.table({VALUE: _pandas_column(array)}))


def _is_plain(dtype: np.dtype[Any]) -> bool:
    """True for types whose arrays Arrow takes without looking at each value, so that converting them cannot fail."""
    if not dtype.isnative:
        return False
    if dtype.kind in "mM":
        return np.datetime_data(dtype)[0] in ("s", "ms", "us", "ns") and np.datetime_data(dtype)[1] == 1
    return dtype.kind in "biu" or (dtype.kind == "f" and dtype.itemsize <= 8)


def _array_columns(array: npt.NDArray[Any]) -> Arrays | Batches:
    if isinstance(array, np.ma.MaskedArray) or not has_rows_of_columns(array):
        return _flat_array(array)
    if array.dtype.names is not None:
        parts = {name: array[name] for name in array.dtype.names}
    else:
        # One copy turns rows into columns; each column is then a contiguous row of the copy.
        array = np.array(array.T, order="C", copy=True)
        if not _is_plain(array.dtype):
            parts = {str(i): row for i, row in enumerate(array)}
        else:
            return Arrays(tuple(map(str, range(len(array)))), tuple(array), False)
    if all(part.ndim == 1 and _is_plain(part.dtype) for part in parts.values()):
        return Arrays(tuple(parts), tuple([np.array(part) for part in parts.values()]), False)
    return _serialised(pa.table({name: _to_arrow(part) for name, part in parts.items()}))


def _flat_array(array: npt.NDArray[Any]) -> Arrays | Batches:
    if isinstance(array, np.ma.MaskedArray):
        if has_rows_of_columns(array):
            columns = array.dtype.names or range(array.shape[1])
            picked = {str(c): array[c] if array.dtype.names else array[:, c] for c in columns}
        else:
            picked = {VALUE: array}
        return _serialised(pa.table({name: _to_arrow(part) for name, part in picked.items()}))
    if array.ndim == 1 and _is_plain(array.dtype):
        return Arrays((VALUE,), (np.array(array),), False)
    return _serialised(pa.table({VALUE: _to_arrow(array)}))


def _to_arrow(array: npt.NDArray[Any]) -> pa.Array:
    if isinstance(array, np.ma.MaskedArray) and array.ndim == 1:
        return pa.array(np.ascontiguousarray(array.data), mask=np.ma.getmaskarray(array))
    if array.ndim > 1 or array.dtype.kind == "S":
        return pa.array(array.tolist())
    if not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    return pa.array(array)


def _table_of(kind: Kind, result: Any) -> pa.Table:
    if kind == "column":
        return pa.table({VALUE: result})
    if result and all(isinstance(item, dict) for item in result):
        keys = dict_keys(result)
        names = column_names(keys)
        return pa.Table.from_arrays([_list_column([item.get(key) for item in result]) for key in keys], list(names))
    return pa.table({VALUE: _list_column(result)})


def _list_column(items: Sequence[Any]) -> pa.Array:
    if any(isinstance(item, np.ndarray) and item.ndim != 1 for item in items):
        items = [item.tolist() if isinstance(item, np.ndarray) else item for item in items]
    return pa.array(items)


def _serialised(table: pa.Table) -> Batches:
    schema = normal_schema(table.schema)
    if schema != table.schema.remove_metadata():
        table = table.cast(schema)
    table = table.replace_schema_metadata(None)
    if any(field.metadata for field in table.schema):
        table = table.cast(schema)
    return Batches(schema, tuple([batch.serialize() for batch in table.to_batches() if batch.num_rows]))


def arrays_table(pieces: Sequence[Arrays]) -> pa.Table:
    """One table of pieces that all have the same names and types."""
    names, _, nan_is_null = pieces[0]
    columns = []
    for i in range(len(names)):
        array = pieces[0].arrays[i] if len(pieces) == 1 else np.concatenate([piece.arrays[i] for piece in pieces])
        has_nulls = nan_is_null and _has_nan(array)
        is_simple = _is_number(array) and not has_nulls
        columns.append(array_of(array) if is_simple else pa.array(array, from_pandas=has_nulls))
    return pa.Table.from_arrays(columns, list(names))


def _is_number(array: npt.NDArray[Any]) -> bool:
    return array.dtype.kind in "iuf" and array.dtype.isnative and array.flags.c_contiguous


def _has_nan(array: npt.NDArray[Any]) -> bool:
    """True if there may be a NaN. Adding up costs a tenth of letting Arrow look at each value."""
    if array.dtype.kind != "f":
        return False
    with np.errstate(all="ignore"):
        return bool(np.isnan(array.sum()))


def batches_table(pieces: Sequence[Batches]) -> pa.Table:
    """One table of pieces that all have the same schema; small batches are joined."""
    schema = pieces[0].schema
    batches = [pa.ipc.read_record_batch(buffer, schema) for piece in pieces for buffer in piece.buffers]
    table = pa.Table.from_batches(batches, schema)
    return table.combine_chunks() if len(batches) > 1 else table
