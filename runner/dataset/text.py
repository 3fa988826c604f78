"""Results as lines: plain text, CSV and JSON lines, as UTF-8 that depends on the result alone."""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from runner.dataset.columns import column_names, dict_keys
from runner.dataset.returns import IllegalReturn, Kind, has_rows_of_columns

_FULL = sys.maxsize
"""As NumPy's threshold: arrays of any length are written without an ellipsis."""


def to_utf8(text: str) -> bytes:
    """The text as it is written; names that are no UTF-8 reached the script by surrogateescape and leave so."""
    return text.encode("utf-8", "surrogateescape")


def lines_of(items: Iterable[object]) -> bytes:
    """One element a line, in the form of `str`; arrays, also nested ones, in full."""
    with np.printoptions(threshold=_FULL):
        text = "\n".join(map(str, items))
    return to_utf8(text + "\n")


def list_lines(items: Sequence[object]) -> bytes:
    """The lines of a list or tuple."""
    return lines_of(items) if items else b""


def array_lines(array: npt.NDArray[Any]) -> bytes:
    """The lines of a one-dimensional array; of more dimensions, one sub-array an element."""
    if not len(array):
        return b""
    # These print alike as Python objects, which is the quicker way. Shorter floats do not: 0.1 would gain digits.
    is_alike = array.dtype.kind in "biu" or array.dtype == np.float64
    return lines_of(array.tolist() if array.ndim == 1 and is_alike else array)


def series_lines(series: Any) -> bytes:
    """The lines of a pandas Series: NumPy's values where it has them, else what iterating gives."""
    values = series.to_numpy() if isinstance(series.dtype, np.dtype) and series.dtype.kind in "biufO" else list(series)
    return array_lines(values) if isinstance(values, np.ndarray) else list_lines(values)


def to_frame(kind: Kind, result: Any) -> Any | None:
    """The pandas frame of a result that is written as one, None for what is written by element."""
    if kind == "frame":
        return result
    if kind == "table":
        # Integers with nulls stay integers: `1` and nothing, never `1.0` because of what else is in the mini-batch.
        return result.to_pandas(integer_object_nulls=True)
    if kind == "array" and has_rows_of_columns(result):
        import pandas

        if result.dtype.names is not None:
            return pandas.DataFrame(
                {name: list(result[name]) if result[name].ndim > 1 else result[name] for name in result.dtype.names}
            )
        return pandas.DataFrame(result)
    return None


def element_lines(kind: Kind, result: Any) -> bytes:
    """The lines of a result that is written by element."""
    if kind == "array":
        return array_lines(result)
    if kind == "series":
        return series_lines(result)
    return list_lines(result.to_pylist() if kind == "column" else result)


def frame_lines(frame: Any, settings: dict[str, Any]) -> bytes:
    """The rows of a pandas frame by `to_csv`, without header; `settings` are its other arguments."""
    return to_utf8(frame.to_csv(None, header=False, **settings)) if len(frame) else b""


def header_cells(frame: Any, settings: dict[str, Any]) -> tuple[str, ...]:
    """The names that a header line of `frame` would show under these settings, index labels included."""
    plain = {name: value for name, value in settings.items() if name in ("columns", "index", "index_label")}
    if frame.columns.nlevels > 1:
        frame = frame.head(0)
        frame.columns = [str(label) for label in frame.columns]
    line = frame.head(0).to_csv(None, header=True, **plain)
    return tuple(next(csv.reader([line.rstrip("\n")] if "\n" not in line[:-1] else io.StringIO(line)), ()))


def header_line(cells: Sequence[str], settings: dict[str, Any]) -> bytes:
    """The header line that shows these names: separators and quotes as the rows have them."""
    import pandas

    formal = {name: value for name, value in settings.items() if name not in ("columns", "index", "index_label")}
    return to_utf8(pandas.DataFrame(columns=list(cells)).to_csv(None, header=True, index=False, **formal))


def csv_names(kind: Kind, result: Any, frame: Any | None) -> tuple[str, ...]:
    """The columns of a result in a CSV file."""
    if frame is not None:
        return column_names(frame.columns)
    if kind == "list" and result and all(isinstance(item, dict) for item in result):
        return tuple(dict_keys(result))
    return ("value",)


def csv_lines(kind: Kind, result: Any, frame: Any | None, names: Sequence[str]) -> bytes:
    """The rows of a result in a CSV file: separated by commas, quoted where needed."""
    if frame is not None:
        return frame_lines(frame, {"index": False})
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    with np.printoptions(threshold=_FULL):
        if names != ("value",) or (kind == "list" and result and isinstance(result[0], dict)):
            keys = dict_keys(result)
            writer.writerows([item.get(key) for key in keys] for item in result)
        else:
            values = result.to_pylist() if kind == "column" else result
            writer.writerows((value,) for value in values)
    return to_utf8(out.getvalue())


def _to_json(value: Any) -> Any:
    """JSON for what msgspec does not know: NumPy's scalars and arrays, pandas' missing values and times."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    if hasattr(value, "isoformat"):
        return None if value != value else value.isoformat()
    if type(value).__name__ == "NAType":
        return None
    raise IllegalReturn(f"run() returned a value of type {type(value).__name__}, which JSON lines cannot hold")


_json = msgspec.json.Encoder(enc_hook=_to_json)


def json_lines(kind: Kind, result: Any) -> bytes:
    """One JSON object a line: rows of frames by column name, dicts as they are, anything else as `value`."""
    frame = None if kind == "table" else to_frame(kind, result)
    if frame is not None:
        try:
            result = pa.Table.from_pandas(frame, preserve_index=False)
        except pa.ArrowException:
            # A column of several types, which JSON has no quarrel with.
            return _json.encode_lines(frame.to_dict("records"))
    if isinstance(result, pa.Table):
        return table_json_lines(result)
    values = result.to_pylist() if kind == "column" else list(result)
    return _json.encode_lines([item if isinstance(item, dict) else {"value": item} for item in values])


def table_json_lines(table: pa.Table) -> bytes:
    """The rows of an Arrow table as JSON objects."""
    names = table.column_names
    rows = zip(*(column.to_pylist() for column in table.columns), strict=True)
    return _json.encode_lines([dict(zip(names, row, strict=True)) for row in rows])
