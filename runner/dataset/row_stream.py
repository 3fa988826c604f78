"""Rows of one table file as batches of the plan's columns and types."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

import pyarrow as pa

from runner.dataset.path_columns import Values
from runner.dataset.schemas import normal_type
from runner.dataset.table_files import open_table_file
from runner.dataset.table_layout import How, TableReader
from runner.entity.plan import PlanFile
from runner.entity.table import TableOptions


class RowStream:
    """Rows of one file in order, as batches of the plan's types; `seek` goes where the next rows are wanted."""

    def __init__(
        self,
        file: PlanFile,
        schema: pa.Schema,
        names: tuple[str, ...],
        constants: Values,
        options: TableOptions,
    ) -> None:
        self._path = file.path
        how = How(
            options=options,
            schema=schema,
            marks=file.marks,
            names=file.names,
            row_count=-1 if file.is_cut else file.row_count,
        )
        self._reader: TableReader = open_table_file(file.path, how)
        self._conform = Conform(self._reader.schema, schema, names, constants, options)
        self._batches: Iterator[pa.RecordBatch] | None = None
        self._pieces: deque[pa.RecordBatch] = deque()
        self._row = 0
        """The row of the file that the first waiting piece begins with."""
        self._end = 0
        """The row after the last waiting piece."""

    def close(self) -> None:
        self._batches = None
        self._pieces.clear()
        self._reader.close()

    def bad_rows(self, start: int, end: int) -> list[tuple[int, str]]:
        """Rows among [start, end), already read, that cannot be given to anybody, and why."""
        known: dict[int, str] = getattr(self._reader, "bad_rows", {})
        return sorted((row, what) for row, what in known.items() if start <= row < end)

    def waiting_rows(self, row: int) -> int:
        """How many rows from `row` on are decoded already."""
        return self._end - row if self._row <= row < self._end else 0

    def seek(self, row: int, batch_rows: int) -> int:
        """Go to `row`; how many rows can be taken there without joining two batches."""
        if row < self._row or self._batches is None or self._reader.entry_before(row) > self._end:
            start = self._reader.entry_before(row)
            self._pieces.clear()
            self._batches = self._reader.stream(start, self._conform.columns, batch_rows)
            self._row = self._end = start
        while True:
            while self._pieces and self._row + self._pieces[0].num_rows <= row:
                self._row += self._pieces.popleft().num_rows
            if self._pieces:
                break
            self._pull()
        if row > self._row:
            self._pieces[0] = self._pieces[0].slice(row - self._row)
            self._row = row
        return int(self._pieces[0].num_rows)

    def take(self, count: int) -> pa.RecordBatch:
        """The next `count` rows as one batch."""
        parts = []
        while count:
            if not self._pieces:
                self._pull()
            piece = self._pieces.popleft()
            if piece.num_rows > count:
                self._pieces.appendleft(piece.slice(count))
                piece = piece.slice(0, count)
            parts.append(piece)
            count -= piece.num_rows
            self._row += piece.num_rows
        return self._conform(parts[0] if len(parts) == 1 else pa.concat_batches(parts))

    def _pull(self) -> None:
        assert self._batches is not None
        batch = next(self._batches, None)
        if batch is None:
            raise ValueError(f"it ends at row {self._end}, before the rows that its header promises")
        if batch.num_rows:
            self._pieces.append(batch)
            self._end += batch.num_rows


class Conform:
    """Gives batches of one file the columns and types of the plan: casts, nulls for what is missing, path columns."""

    def __init__(
        self, own: pa.Schema, unified: pa.Schema, names: tuple[str, ...], constants: Values, options: TableOptions
    ) -> None:
        self._target = pa.schema([unified.field(name) for name in names])
        self._constants = {name: value for name, value in constants.items() if options.gives(name)}
        self._lenient = options.column_types
        own_names = frozenset(name for name in own.names if options.gives(name))
        self.columns = [name for name in names if name not in self._constants and name in own_names]
        """What is to be read from the file."""
        fields = [own.field(name) for name in self.columns]
        self._is_plain = self.columns == list(names) and all(
            field.type == unified.field(field.name).type for field in fields
        )

    def __call__(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        if self._is_plain:
            columns = [batch.column(name) for name in self.columns]
        else:
            columns = [self._column(batch, field) for field in self._target]
        return pa.RecordBatch.from_arrays(columns, schema=self._target)

    def _column(self, batch: pa.RecordBatch, field: pa.Field) -> pa.Array:
        if field.name in self._constants:
            return pa.repeat(pa.scalar(self._constants[field.name], field.type), batch.num_rows)
        if field.name not in self.columns:
            return pa.nulls(batch.num_rows, field.type)
        column = batch.column(field.name)
        if isinstance(column, pa.ExtensionArray):
            column = column.storage
        if column.type != normal_type(column.type):
            column = column.cast(normal_type(column.type))
        if column.type == field.type:
            return column
        try:
            return column.cast(field.type)
        except pa.ArrowInvalid as error:
            if field.name in self._lenient:
                return cast_or_null(column, field.type)
            raise ValueError(f"column {field.name!r} as {field.type}, the type of all files: {error}") from error


def cast_or_null(column: pa.Array, kind: pa.DataType) -> pa.Array:
    """Each value in another type; null for those that have no form there."""

    def value(scalar: pa.Scalar) -> object:
        try:
            return scalar.cast(kind).as_py()
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            return None

    return pa.array([value(scalar) for scalar in column], kind)
