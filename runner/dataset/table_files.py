"""Table files whatever their format: which format a file is of, what its rows are, how it is opened.

A new format is one more module with the names of `TableFormat`, listed in `FORMATS`.
"""

from __future__ import annotations

import lzma
import os
import zlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import pyarrow as pa

from runner.dataset import csv_files, ipc_files, jsonl_files, orc_files, parquet_files
from runner.dataset.listing import ListedFile, shown
from runner.dataset.table_layout import How, Layout, TableFormat, TableReader
from runner.entity.table import TableOptions
from runner.errors import InputUnreadable, SchemaMismatch

FORMATS: tuple[TableFormat, ...] = (parquet_files, ipc_files, csv_files, jsonl_files, orc_files)
_TEXT = (csv_files.NAME, jsonl_files.NAME)
_SAID = {"parquet": parquet_files, "delimited": csv_files, "json_lines": jsonl_files}

UNREADABLE = (OSError, ValueError, EOFError, zlib.error, lzma.LZMAError, pa.ArrowException)
"""What reading a file that is damaged, or not what it claims to be, may raise."""
_HEAD_BYTES = 8
_COMPRESSED = frozenset({".gz", ".gzip", ".zst", ".zstd", ".bz2", ".xz", ".lz4"})
_REFUSED = {
    ".avro": "Avro is not read; convert it to Parquet, or give it as uri_folder",
    ".xls": "Excel files are not read; save the sheet as CSV",
    ".xlsx": "Excel files are not read; save the sheet as CSV",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class TableFile:
    """A listed file with what it says about its rows."""

    file: ListedFile
    layout: Layout

    @property
    def row_count(self) -> int:
        return sum(group.row_count for group in self.layout.row_groups)

    def renamed(self, names: Sequence[str]) -> TableFile:
        """The same with other names of its columns. ValueError as InputUnreadable when it has more or fewer."""
        if len(names) != len(self.layout.names):
            what = f"it has {len(self.layout.names)} columns, the header of the first file {len(names)}"
            raise InputUnreadable(shown(self.file.path), what)
        schema = pa.schema([(name, field.type) for name, field in zip(names, self.layout.schema, strict=True)])
        sizes = dict(zip(names, self.layout.row_bytes.values(), strict=True))
        layout = replace(self.layout, schema=schema, names=tuple(names), nullable=tuple(names), row_bytes=sizes)
        return replace(self, layout=layout)


def format_of(path: str, options: TableOptions = TableOptions()) -> TableFormat:  # noqa: B008 - it is frozen
    """The format of a file: as the options say, else by its extension, else by its first bytes; others are refused."""
    if options.format:
        return _SAID[options.format]
    stem, extension = os.path.splitext(path.lower())
    compression = extension if extension in _COMPRESSED else ""
    if compression:
        extension = os.path.splitext(stem)[1]
    for known in FORMATS:
        if extension in known.EXTENSIONS:
            if compression and known.NAME not in _TEXT:
                what = f"a {known.NAME} file compressed as a whole cannot be entered in the middle; uncompress it"
                raise InputUnreadable(shown(path), what)
            return known
    if extension in _REFUSED:
        raise InputUnreadable(shown(path), _REFUSED[extension])
    return _format_by_content(path)


def _format_by_content(path: str) -> TableFormat:
    try:
        with open(path, "rb") as file:
            head = file.read(_HEAD_BYTES)
    except OSError as error:
        raise InputUnreadable(shown(path), error.strerror or str(error)) from error
    for known in FORMATS:
        if known.is_mine(head):
            return known
    names = " or ".join(known.NAME for known in FORMATS)
    raise InputUnreadable(shown(path), f"neither its extension nor its first bytes say {names}")


def check_one_format(files: Sequence[ListedFile], options: TableOptions) -> TableFormat:
    """The format of all files of one input; two formats in one input are refused, naming a file of each."""
    first = format_of(files[0].path, options)
    for file in files[1:]:
        other = format_of(file.path, options)
        if other is not first:
            what = f"the first is {first.NAME}, the second {other.NAME}"
            raise SchemaMismatch(shown(files[0].path), shown(file.path), what)
    return first


def probe_table_file(
    file: ListedFile,
    columns: Collection[str] | None = None,
    options: TableOptions = TableOptions(),  # noqa: B008 - it is frozen
) -> TableFile:
    """What the file says about its rows, from footer or headers alone; a file that is damaged there is refused.

    Given `columns`, only theirs may be looked at for nulls and sizes, which matters for files of thousands.
    """
    known = format_of(file.path, options)
    try:
        layout = known.layout(file.path, columns, options)
    except UNREADABLE as error:
        raise unreadable(file.path, error) from error
    _check_same(file)
    names = layout.schema.names
    doubled = sorted({name for name in names if names.count(name) > 1}) if len(set(names)) < len(names) else []
    if doubled:
        raise InputUnreadable(shown(file.path), f"it has two columns named {doubled[0]!r}; rename one")
    return TableFile(file=file, layout=layout)


def _check_same(file: ListedFile) -> None:
    """Refuse a file that was written to between the listing and the end of looking at it."""
    try:
        now = os.stat(file.path)
    except OSError as error:
        raise InputUnreadable(shown(file.path), f"it vanished while it was looked at ({error.strerror})") from error
    if (now.st_size, now.st_mtime_ns) != (file.size_bytes, file.mtime_ns):
        raise InputUnreadable(
            shown(file.path), "it was written to while it was looked at; submit again when it is done"
        )


def open_table_file(path: str, how: How = How()) -> TableReader:  # noqa: B008 - it is frozen
    """Open a file for reading its rows."""
    try:
        return format_of(path, how.options).open_reader(path, how)
    except UNREADABLE as error:
        raise unreadable(path, error) from error


def unreadable(path: str, error: BaseException) -> InputUnreadable:
    """The error that names the file for what Arrow or the system said about its bytes."""
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return InputUnreadable(shown(path), " ".join(text.split()) or type(error).__name__)
