"""How a table input is read: what an MLTable file says, or what holds without one."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Header = Literal["no_header", "from_first_file", "all_files_different_headers", "all_files_same_headers"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TableOptions:
    """How the files of one table are parsed, and which columns they give."""

    format: Literal["", "parquet", "delimited", "json_lines"] = ""
    """Empty: by the type of the data files."""
    delimiter: str = ""
    """Empty: a tab for .tsv, else a comma."""
    header: Header = "all_files_same_headers"
    encoding: str = "utf8"
    empty_as_string: bool = False
    infer_column_types: bool = True
    is_multi_line: bool = True
    """Whether a quoted field may hold line breaks."""
    include_path_column: bool = False
    path_column: str = "Path"
    """How the column of paths is called, where there is one."""
    paths: tuple[str, ...] = ()
    """Absolute files, folders and patterns; empty: everything below the input's path."""
    keep_columns: tuple[str, ...] | None = None
    drop_columns: tuple[str, ...] = ()
    column_types: dict[str, str] = field(default_factory=dict)
    """Arrow type names by column, from convert_column_types."""
    partition_format: str = ""
    skip: int = 0
    take: int | None = None

    def gives(self, column: str) -> bool:
        """Whether a column of the files, or of their paths, is one of the table."""
        return column not in self.drop_columns and (self.keep_columns is None or column in self.keep_columns)
