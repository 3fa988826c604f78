"""Turns decoded batches into what `run` gets: pandas or Polars frames, Arrow tables, NumPy arrays.

Types are fixed by the file's schema and by which of its columns may hold nulls, never by the rows at hand: an integer
column that may hold nulls is float64 in every mini-batch of its file. A batch is converted once and its mini-batches
are slices. Nested values become Python objects that a script could change in place, so they are converted anew for each
mini-batch.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import lru_cache
from importlib.util import find_spec
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from runner.dataset.plain_numbers import is_plain, numbers_of
from runner.entity.parallel import MiniBatchFormat, ParallelSpec
from runner.errors import ArgumentInvalid

Cut = Callable[[int, int, int], Any]
Columns = tuple[tuple[str, npt.NDArray[Any]], ...]
Convert = Callable[[pa.RecordBatch], tuple[Columns | None, Cut | None]]
"""A batch to either arrays that are sliced natively, or a function (start, stop, mini-batch) that makes the slice."""


def check_format(mini_batch_format: MiniBatchFormat) -> None:
    """Refuse a format whose library is not installed."""
    if mini_batch_format == "polars" and find_spec("polars") is None:
        raise ArgumentInvalid(
            "mini_batch_format",
            "polars is not installed for this interpreter; install it, or ask for pandas, arrow or numpy",
        )


def converter(spec: ParallelSpec, schema: pa.Schema, nullable: Collection[str], shared: bool) -> Convert:
    """How batches of `schema` become mini-batches of the format that the job asks for.

    `shared` says that others look at the memory of the batches too, so nothing writable may be made over it.
    """
    if spec.mini_batch_format == "numpy":
        return _numpy_converter(schema, frozenset(nullable), spec.writable)
    if spec.mini_batch_format == "arrow":
        return _to_writable_arrow if spec.writable else _to_arrow
    if spec.mini_batch_format == "polars":
        return _to_polars
    return _pandas_converter(schema, frozenset(nullable), spec.frame_types == "arrow", shared)


def _to_arrow(batch: pa.RecordBatch) -> tuple[None, Cut]:
    table = pa.Table.from_batches([batch])
    return None, lambda start, stop, _: table.slice(start, stop - start)


def _to_writable_arrow(batch: pa.RecordBatch) -> tuple[None, Cut]:
    def cut(start: int, stop: int, _: int) -> pa.Table:
        return pa.Table.from_batches([batch.take(pa.array(np.arange(start, stop)))])

    return None, cut


def _to_polars(batch: pa.RecordBatch) -> tuple[None, Cut]:
    import polars

    frame: Any = polars.from_arrow(pa.Table.from_batches([batch]))
    return None, lambda start, stop, _: frame.slice(start, stop - start)


@lru_cache(maxsize=8)
def _row_labels(row_count: int) -> Any:
    """The index 0..n-1, one object for all mini-batches of that length."""
    import pandas

    return pandas.RangeIndex(row_count)


@lru_cache(maxsize=1)
def _copies_on_write() -> bool:
    import pandas

    return int(pandas.__version__.split(".")[0]) >= 3 or pandas.options.mode.copy_on_write is True


def _pandas_converter(schema: pa.Schema, nullable: frozenset[str], arrow_types: bool, shared: bool) -> Convert:
    to_frame = _arrow_frame if arrow_types else _numpy_frame(schema, nullable, shared)
    if any(pa.types.is_nested(kind) for kind in schema.types) and not arrow_types:
        return lambda batch: (None, lambda start, stop, _: to_frame(batch.slice(start, stop - start)))
    must_copy = not _copies_on_write()

    def convert(batch: pa.RecordBatch) -> tuple[None, Cut]:
        frame = to_frame(batch)

        def cut(start: int, stop: int, _: int) -> Any:
            rows = frame[start:stop]
            if must_copy:
                rows = rows.copy()
            rows.index = _row_labels(stop - start)
            return rows

        return None, cut

    return convert


def _arrow_frame(batch: pa.RecordBatch) -> Any:
    import pandas

    return batch.to_pandas(types_mapper=pandas.ArrowDtype)


def _numpy_frame(schema: pa.Schema, nullable: frozenset[str], shared: bool) -> Callable[[pa.RecordBatch], Any]:
    to_float = [field.name for field in schema if field.name in nullable and pa.types.is_integer(field.type)]
    to_object = [field.name for field in schema if field.name in nullable and pa.types.is_boolean(field.type)]
    target = pa.schema([(field.name, pa.float64() if field.name in to_float else field.type) for field in schema])
    is_simple = len(schema) <= _MOST_BLOCKS and all(map(is_plain, schema.types))

    def convert(batch: pa.RecordBatch) -> Any:
        if to_float:
            batch = batch.cast(target, safe=False)
        if is_simple:
            return _frame_of_numbers(batch, shared)
        frame = batch.to_pandas(use_threads=False)
        for name in to_object:
            frame[name] = frame[name].astype(object)
        return frame

    return convert


_MOST_BLOCKS = 32
"""Above this many columns a frame is made of joined blocks, since pandas calls a frame of 100 blocks fragmented."""


def _frame_of_numbers(batch: pa.RecordBatch, shared: bool) -> Any:
    """A frame over the memory that was decoded into: a third of the time of `to_pandas`, which copies."""
    import pandas

    names = batch.schema.names
    columns = {name: _owned_numbers(batch.column(index), shared) for index, name in enumerate(names)}
    return pandas.DataFrame(columns, copy=False)


def _owned_numbers(column: pa.Array, shared: bool) -> npt.NDArray[Any]:
    """The numbers as an array that may be written to, nulls as NaN.

    pandas writes in place once nothing else refers to the values, so the memory must be writable, and nobody else's.
    """
    if column.null_count:
        return np.array(column.to_numpy(zero_copy_only=False))
    kind = np.dtype(column.type.to_pandas_dtype())
    values = np.frombuffer(column.buffers()[1], kind, count=len(column), offset=column.offset * kind.itemsize)
    return values.copy() if shared or not values.flags.writeable else values


def _numpy_converter(schema: pa.Schema, nullable: frozenset[str], writable: bool) -> Convert:
    arrays = [(index, field.name, _array_maker(field, field.name in nullable)) for index, field in enumerate(schema)]
    nested = any(pa.types.is_nested(kind) for kind in schema.types)
    masked = any(field.name in nullable and not _is_object(field.type) for field in schema)

    def columns(batch: pa.RecordBatch) -> Columns:
        return tuple((name, make(batch.column(index))) for index, name, make in arrays)

    def convert(batch: pa.RecordBatch) -> tuple[Columns | None, Cut | None]:
        if nested:
            copied = writable

            def cut_anew(start: int, stop: int, _: int) -> dict[str, Any]:
                made = columns(batch.slice(start, stop - start))
                return {name: array.copy() if copied else array for name, array in made}

            return None, cut_anew
        made = columns(batch)
        if writable:
            return None, lambda start, stop, _: {name: array[start:stop].copy() for name, array in made}
        if masked:
            return None, lambda start, stop, _: {name: array[start:stop] for name, array in made}
        return made, None

    return convert


def _is_object(kind: pa.DataType) -> bool:
    """Whether values of this type have no NumPy type of their own and become Python objects, nulls None."""
    types = pa.types
    return not (
        types.is_integer(kind)
        or types.is_floating(kind)
        or types.is_boolean(kind)
        or types.is_date(kind)
        or types.is_timestamp(kind)
        or types.is_duration(kind)
    )


def _array_maker(field: pa.Field, may_hold_nulls: bool) -> Callable[[pa.Array], npt.NDArray[Any]]:
    if _is_object(field.type):
        return _objects
    return _masked if may_hold_nulls else _values


def _values(column: pa.Array) -> npt.NDArray[Any]:
    if is_plain(column.type) and not column.null_count:
        return numbers_of(column)
    array: npt.NDArray[Any] = column.to_numpy(zero_copy_only=False)
    array.flags.writeable = False
    return array


def _masked(column: pa.Array) -> npt.NDArray[Any]:
    mask = column.is_null().to_numpy(zero_copy_only=False)
    filled = column.fill_null(_zero(column.type)) if column.null_count else column
    array: npt.NDArray[Any] = np.ma.array(_values(filled), mask=mask, copy=False)
    array.flags.writeable = False
    mask.flags.writeable = False
    return array


def _zero(kind: pa.DataType) -> pa.Scalar:
    return (
        pa.scalar(False, kind) if pa.types.is_boolean(kind) else pa.scalar(0, pa.int64()).cast(_plain(kind)).cast(kind)
    )


def _plain(kind: pa.DataType) -> pa.DataType:
    """The number type that a zero of `kind` is made from."""
    if pa.types.is_floating(kind):
        return kind
    return pa.int32() if kind.bit_width == 32 and pa.types.is_temporal(kind) else pa.int64()


def _objects(column: pa.Array) -> npt.NDArray[Any]:
    if _is_text_like(column.type):
        array: npt.NDArray[Any] = column.to_numpy(zero_copy_only=False)
    else:
        array = np.empty(len(column), dtype=object)
        array[:] = column.to_pylist()
    array.flags.writeable = False
    return array


def _is_text_like(kind: pa.DataType) -> bool:
    """Whether Arrow itself makes the objects that `to_pylist` would give, and faster."""
    types = pa.types
    return bool(types.is_string(kind) or types.is_large_string(kind) or types.is_decimal(kind) or types.is_time(kind))
