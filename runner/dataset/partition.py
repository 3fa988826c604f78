"""Makes the files of an output in folders `name=value/`: rows by key, inside one folder in mini-batch order.

Theory of operation. Parts hold rows of all folders and are read once, in order. Of every block of rows the number of
each row's folder is found, and the rows are sorted by it, which keeps their order inside a folder; sorted blocks go to
files in staging, which are mapped. Then the folders are written one after the other, in the byte order of their paths,
from their slices of all blocks: one file is open at a time, and memory holds one block and what one file waits with.
A crash leaves litter in staging only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote_from_bytes

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from runner.dataset.encode import TableFile
from runner.dataset.final import Final, Made, part_name
from runner.dataset.lines import LineFile
from runner.dataset.output_schema import conform, plain, unify_returned
from runner.dataset.path_columns import NULL
from runner.dataset.render import text_settings
from runner.dataset.schemas import decode_schema
from runner.dataset.sources import RowSource
from runner.dataset.splice import Additions, Base, Piece, pieces_of
from runner.dataset.storage import HashedFile
from runner.dataset.text import csv_lines, header_line, table_json_lines
from runner.entity.parallel import OutputSpec
from runner.errors import OutputInvalid

MOST_FOLDERS = 100_000
COUNTED_FOLDERS = 1_000_000
"""How many are counted for the message; more are as bad."""
BLOCK_BYTES = 64 << 20
LINES = 4_096
"""Rows that are turned into lines at once."""
NAME_BYTES = 255
"""The longest name of a folder that file systems take."""


class _Stretch(NamedTuple):
    """Rows of one folder in one block."""

    block: int
    start: int
    stop: int


def join_partitions(output: OutputSpec, staging: Path, base: Base, additions: Additions) -> Made:
    """The files of all folders, named below the target; OutputInvalid for keys that no folder can be named by."""
    parts = [part for part in (*base.parts, *additions.sources) if part.row_count]
    parts.sort(key=lambda part: part.frame_mini_batch)
    schema = plain(unify_returned((decode_schema(part.schema), part.frame_mini_batch) for part in parts))
    check_folder_columns(schema, output.partition_by)
    rest = pa.schema([field for field in schema if field.name not in output.partition_by])
    scatter = _Scatter(staging, schema, output.partition_by)
    for index, part in enumerate(base.parts):
        for piece in pieces_of(part, base.own(index, additions), additions, staging, is_text=False):
            if isinstance(piece, Piece):
                source = RowSource(piece.path, "ipc")  # mapped, so what is passed over is not read
                for table in source.read(piece.start_row, piece.end_row):
                    scatter.add(conform(table, schema))
                source.close()
    files: list[Final] = []
    for folder, tables in scatter.folders():
        for number, (path, rows, size, sha256) in enumerate(_written(output, staging, len(files), tables, rest)):
            files.append(Final(path.name, f"{folder}/{part_name(number, output)}", rows, size, sha256))
    scatter.close()
    return Made(files, [], [])


def check_folder_columns(schema: pa.Schema, names: Sequence[str]) -> None:
    """Raise OutputInvalid if no folders can be named by these columns, or nothing is left beside them."""
    for name in names:
        at = schema.get_field_index(name)
        if at < 0:
            raise OutputInvalid(f"partition_by names {name!r}, and there are the columns {', '.join(schema.names)}")
        kind = schema.field(at).type
        if not names_folders(kind):
            raise OutputInvalid(
                f"partition_by names {name!r}, a column of {kind}, and folders are not named by such values; "
                "return integers or text in it"
            )
    if not set(schema.names) - set(names):
        raise OutputInvalid("partition_by takes every column of the rows, and files cannot be without any")


def names_folders(kind: pa.DataType) -> bool:
    """Whether folders can be named by values of a type."""
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return not (pa.types.is_floating(kind) or pa.types.is_nested(kind))


class _Scatter:
    """Sorts rows by folder, block by block."""

    def __init__(self, staging: Path, schema: pa.Schema, names: Sequence[str]) -> None:
        self._staging, self._schema, self._names = staging, schema, tuple(names)
        self._numbers: dict[tuple[str, ...], int] = {}
        self._stretches: list[list[_Stretch]] = []
        self._pending: list[pa.Table] = []
        self._pending_bytes = 0
        self._blocks: list[pa.Table] = []

    def add(self, table: pa.Table) -> None:
        """Rows that follow those before."""
        for at in range(0, table.num_rows, 1 << 18):
            piece = table.slice(at, 1 << 18)
            self._pending.append(piece)
            self._pending_bytes += piece.nbytes
            if self._pending_bytes >= BLOCK_BYTES:
                self._blocks.append(self._kept(self._sorted()))

    def folders(self) -> Iterator[tuple[str, list[pa.Table]]]:
        """Every folder with its rows, in the byte order of their paths."""
        if self._pending:
            self._blocks.append(self._sorted())
        if len(self._numbers) > MOST_FOLDERS:
            found = len(self._numbers)
            said = f"{found:,}" if found <= COUNTED_FOLDERS else f"more than {COUNTED_FOLDERS:,}"
            raise OutputInvalid(
                f"partition_by {', '.join(self._names)} makes {said} folders, and {MOST_FOLDERS:,} is the most; "
                "partition by columns with fewer values"
            )
        paths = {"/".join(values): number for values, number in self._numbers.items()}
        for path in sorted(paths):
            yield (
                path,
                [
                    self._blocks[one.block].slice(one.start, one.stop - one.start)
                    for one in self._stretches[paths[path]]
                ],
            )

    def close(self) -> None:
        """Remove the sorted blocks."""
        self._blocks = []
        for path in self._staging.glob("sorted-*"):
            path.unlink()

    def _sorted(self) -> pa.Table:
        rows = pa.concat_tables(self._pending).combine_chunks()
        self._pending, self._pending_bytes = [], 0
        numbers = self._folder_numbers(rows)
        order = np.argsort(numbers, kind="stable")
        in_order = numbers[order]
        starts = np.flatnonzero(np.append(True, in_order[1:] != in_order[:-1]))
        stops = np.append(starts[1:], len(in_order))
        for number, start, stop in zip(in_order[starts].tolist(), starts.tolist(), stops.tolist(), strict=True):
            self._stretches[number].append(_Stretch(len(self._blocks), start, stop))
        rest = rows.drop_columns(list(self._names))
        return rest if (order[1:] > order[:-1]).all() else rest.take(pa.array(order)).combine_chunks()

    def _folder_numbers(self, rows: pa.Table) -> npt.NDArray[np.int64]:
        codes = np.zeros(rows.num_rows, np.int64)
        texts: list[list[str]] = []
        for name in self._names:
            column = rows.column(name)
            if pa.types.is_dictionary(column.type):
                column = pc.cast(column, column.type.value_type)
            encoded = pc.dictionary_encode(column, null_encoding="encode").combine_chunks()
            encoded = encoded.chunk(0) if isinstance(encoded, pa.ChunkedArray) else encoded
            texts.append([f"{_quoted(name)}={value}" for value in folder_values(encoded.dictionary, name)])
            codes = codes * len(texts[-1]) + encoded.indices.to_numpy(zero_copy_only=False)
        here, places = np.unique(codes, return_inverse=True)
        numbers = np.empty(len(here), np.int64)
        for at, code in enumerate(here.tolist()):
            values: list[str] = []
            for column_texts in reversed(texts):
                code, index = divmod(code, len(column_texts))
                values.append(column_texts[index])
            numbers[at] = self._number(tuple(reversed(values)))
        return numbers[places.reshape(-1)]

    def _number(self, values: tuple[str, ...]) -> int:
        number = self._numbers.get(values)
        if number is not None:
            return number
        if len(self._numbers) > COUNTED_FOLDERS:
            return 0
        for value in values:
            if len(value) > NAME_BYTES:
                raise OutputInvalid(
                    f"partition_by makes a folder {value[:60]}..., whose name has {len(value)} bytes, "
                    f"and {NAME_BYTES} is the most; return shorter values in that column"
                )
        self._stretches.append([])
        return self._numbers.setdefault(values, len(self._numbers))

    def _kept(self, rows: pa.Table) -> pa.Table:
        """The rows of a block from a file that is mapped, so that they need no memory."""
        path = self._staging / f"sorted-{len(self._blocks):06d}"
        with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, rows.schema) as writer:
            writer.write_table(rows)
        with pa.memory_map(str(path)) as source, pa.ipc.open_file(source) as reader:
            return reader.read_all()


def folder_values(values: pa.Array, name: str) -> list[str]:
    """How values are written in names of folders: percent-encoded UTF-8 but for letters, digits and `-_.`."""
    kind = values.type
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind):
        return [NULL if value is None else _quoted(value) for value in values.to_pylist()]
    if pa.types.is_timestamp(kind) and kind.tz is not None:
        values = values.cast(pa.timestamp(kind.unit, "UTC"))
    try:
        texts = values if pa.types.is_string(kind) else values.cast(pa.string())
    except (pa.ArrowNotImplementedError, pa.ArrowInvalid) as error:
        raise OutputInvalid(
            f"partition_by names {name!r}, a column of {kind}, which cannot be written as text; return text in it"
        ) from error
    return [NULL if value is None else _quoted(value) for value in texts.to_pylist()]


def _quoted(value: str | bytes) -> str:
    data = value.encode("utf-8", "surrogateescape") if isinstance(value, str) else value
    # Text that reads like the name of null must not be taken for it.
    text = quote_from_bytes(data, safe="-_.").replace("~", "%7E")
    return text.replace("_", "%5F", 1) if text == NULL else text


Written = tuple[Path, int, int, str]
"""A file in staging, its rows, bytes and digest."""


def _written(
    output: OutputSpec, staging: Path, first: int, tables: Sequence[pa.Table], schema: pa.Schema
) -> Iterator[Written]:
    """The files of one folder, the `first` and following of the output."""
    write = _line_files if output.format in ("csv", "jsonl") else _table_files
    return write(output, (staging / f"folders-{number:08d}" for number in count(first)), tables, schema)


def _table_files(
    output: OutputSpec, paths: Iterator[Path], tables: Sequence[pa.Table], schema: pa.Schema
) -> Iterator[Written]:
    """Files of about `part_size`, all of as many rows."""
    file_count = max(1, -(-sum(table.nbytes for table in tables) // output.part_size_bytes))
    most = -(-sum(table.num_rows for table in tables) // file_count)
    waiting = list(reversed(tables))
    while waiting:
        writer = TableFile(HashedFile(next(paths)), schema, output)
        try:
            room = most
            while waiting and room:
                table = waiting.pop()
                writer.write(table.slice(0, room))
                if table.num_rows > room:
                    waiting.append(table.slice(room))
                room -= min(room, table.num_rows)
            writer.finish()
        finally:
            writer.close()
        yield writer.file.path, writer.row_count, writer.file.size_bytes, writer.file.sha256


def _line_files(
    output: OutputSpec, paths: Iterator[Path], tables: Sequence[pa.Table], schema: pa.Schema
) -> Iterator[Written]:
    """Files that end with the first row after `part_size`, wherever parts and blocks ended."""
    render = _json_lines if output.format == "jsonl" else _csv_lines
    header = b"" if output.format == "jsonl" else header_line(schema.names, text_settings(output))
    waiting = list(reversed(tables))
    while waiting:
        with LineFile(next(paths), output.compression) as file:
            file.write(header)
            rows = 0
            while waiting and file.line_bytes - len(header) < output.part_size_bytes:
                table = waiting.pop()
                room = output.part_size_bytes + len(header) - file.line_bytes
                taken, lines = _up_to(table.slice(0, LINES), room, render)
                file.write(lines)
                rows += taken
                if table.num_rows > taken:
                    waiting.append(table.slice(taken))
            file.finish()
        yield file.file.path, rows, file.file.size_bytes, file.file.sha256


def _up_to(table: pa.Table, room: int, render: Callable[[pa.Table], bytes]) -> tuple[int, bytes]:
    """The first rows whose lines fill the room, all if they do not, and their lines."""
    lines = render(table)
    low, high = 0, table.num_rows
    if len(lines) < room or high == 1:
        return high, lines
    while high - low > 1:
        middle = (low + high) // 2
        if len(render(table.slice(0, middle))) < room:
            low = middle
        else:
            high = middle
    return high, render(table.slice(0, high))


def _csv_lines(table: pa.Table) -> bytes:
    """Rows as CSV, each as it would be alone: pandas writes times without their hours if no row beside has any."""
    frame = table.to_pandas(integer_object_nulls=True)
    for name, kind in zip(table.column_names, table.schema.types, strict=True):
        if pa.types.is_timestamp(kind):
            frame[name] = frame[name].astype(object)
    return csv_lines("frame", None, frame, ())


def _json_lines(table: pa.Table) -> bytes:
    return table_json_lines(table)
