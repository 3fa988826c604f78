"""MLTable files: which files a table has, how they are parsed, and what becomes of their columns."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from runner.entity.table import TableOptions
from runner.errors import SpecInvalid
from runner.spec.document import read_document
from runner.spec.findings import Findings, did_you_mean
from runner.spec.findings import Path as Place
from runner.spec.paths import is_local, plain_path
from runner.spec.shapes import kind_of

FILE = "MLTable"
HEADERS = ("no_header", "from_first_file", "all_files_different_headers", "all_files_same_headers")
ENCODINGS = ("utf8", "utf8bom", "ascii", "latin1", "iso88591", "windows1252", "utf16", "utf32")
TYPES = {
    "string": "string",
    "int": "int64",
    "integer": "int64",
    "long": "int64",
    "float": "float64",
    "double": "float64",
    "number": "float64",
    "boolean": "bool",
    "bool": "bool",
    "datetime": "timestamp[us]",
    "date": "date32",
}
_READS = ("read_delimited", "read_parquet", "read_json_lines")
_REFUSED = {
    "filter": "filters of rows are not applied by this version; filter in run()",
    "take_random_sample": "a random sample would differ from run to run; write the sample to a file",
    "random_split": "a random split would differ from run to run; write the parts to files",
    "read_delta_lake": "Delta tables are not read; write the rows as Parquet",
}
_DELIMITED = (
    "delimiter",
    "header",
    "encoding",
    "empty_as_string",
    "include_path_column",
    "infer_column_types",
    "support_multi_line",
    "partition_size",
)
_ON_COLUMNS = ("keep_columns", "drop_columns", "convert_column_types", "skip", "take")
"""What makes sense for rows alone."""
_KNOWN = (
    *_READS,
    "extract_columns_from_partition_format",
    *_ON_COLUMNS,
    *_REFUSED,
)


@dataclass(slots=True)
class TableDefinition:
    """What an MLTable file says; without a `reads` it is a list of files."""

    options: TableOptions
    reads: bool
    notices: list[str] = field(default_factory=list)


def find_mltable(path: str | os.PathLike[str]) -> Path | None:
    """The MLTable file of an input's path: the path itself, or one in the folder."""
    given = Path(path)
    if given.name == FILE and given.is_file():
        return given
    inside = given / FILE
    return inside if inside.is_file() else None


def read_mltable(file: Path) -> TableDefinition:
    """Read and check an MLTable file.

    Raises:
        SpecInvalid: everything that is wrong with it, each with its line.
    """
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        found = Findings(str(file))
        found.problem((), f"cannot be read: {error}", "save it as UTF-8 text")
        raise SpecInvalid(found.problems) from None
    document = read_document(text, str(file))
    found = Findings(str(file), document.lines)
    for problem in document.problems:
        found.add(problem)
    definition = _Reader(document.values, file.parent, found).read()
    found.raise_if_any()
    return replace_notices(definition, found)


def replace_notices(definition: TableDefinition, found: Findings) -> TableDefinition:
    """The definition with what was noticed."""
    definition.notices = list(found.notices)
    return definition


class _Reader:
    def __init__(self, values: Mapping[str, Any], base: Path, found: Findings) -> None:
        self._values, self._base, self._found = values, base, found
        self._options = TableOptions()
        self._reads = False
        self._before: list[Place] = []
        """Transformations of rows that came before any way to read them."""

    def read(self) -> TableDefinition:
        known = ("$schema", "type", "paths", "transformations", "name", "version", "description", "tags", "metadata")
        for key in self._values:
            if key not in known:
                self._found.problem((key,), "is no key of an MLTable file", did_you_mean(key, known, "leave it out"))
        self._options = replace(self._options, paths=tuple(self._paths()))
        steps = self._values.get("transformations") or []
        if not isinstance(steps, list):
            self._found.problem(("transformations",), f"is {kind_of(steps)}", "write a list of transformations")
            steps = []
        for index, step in enumerate(steps):
            self._step(step, ("transformations", index))
        for at in self._before:
            remedy = "write read_delimited, read_parquet or read_json_lines before it"
            self._found.problem(at, "is for tables, and nothing before it reads the files as one", remedy)
        return TableDefinition(self._options, self._reads)

    # ---- paths ------------------------------------------------------------------------------------------
    def _paths(self) -> list[str]:
        given = self._values.get("paths")
        if not isinstance(given, list) or not given:
            self._found.problem(
                ("paths",) if given is not None else (),
                "names no paths",
                "write `paths:` with `- file: ./data.csv`, `folder` or `pattern`",
            )
            return []
        placed: list[str] = []
        for index, entry in enumerate(given):
            path = self._path(entry, ("paths", index))
            if path is None:
                continue
            if path in placed:
                self._found.notice(("paths", index), f"names {path} again: it is read twice")
            placed.append(path)
        return placed

    def _path(self, entry: Any, at: Place) -> str | None:
        if not isinstance(entry, Mapping) or len(entry) != 1 or next(iter(entry)) not in ("file", "folder", "pattern"):
            self._found.problem(at, f"is {kind_of(entry)}", "write `file:`, `folder:` or `pattern:` with a path")
            return None
        kind, value = next(iter(entry.items()))
        here = (*at, kind)
        if not isinstance(value, str) or not value.strip():
            self._found.problem(here, f"is {kind_of(value)}", "write a path relative to the MLTable's folder")
            return None
        path = plain_path(value)
        if not is_local(path):
            self._found.problem(here, f"is {value!r}, which is no place on this machine", "write a local path")
            return None
        base = os.path.abspath(self._base)
        whole = os.path.normpath(os.path.join(base, path))
        if kind == "pattern":
            whole = os.path.normpath(os.path.join(glob.escape(base), path))
            if not glob.glob(whole, recursive=True):
                self._found.problem(here, f"is {value!r}, and no file matches it", "mend the pattern")
            return whole
        if not os.path.exists(whole):
            self._found.problem(here, f"leads to {whole}, and there is nothing", "mend the path")
        return whole

    # ---- transformations --------------------------------------------------------------------------------
    def _step(self, step: Any, at: Place) -> None:
        name, said = (step, None) if isinstance(step, str) else (None, None)
        if isinstance(step, Mapping) and len(step) == 1:
            name, said = next(iter(step.items()))
        if not isinstance(name, str):
            self._found.problem(at, f"is {kind_of(step)}", "write one transformation, such as `read_delimited:`")
            return
        here = (*at, name)
        if name in _REFUSED:
            self._found.problem(here, "is not supported", _REFUSED[name])
        elif name not in _KNOWN:
            self._found.problem(
                here, "is no transformation that is known", did_you_mean(name, _KNOWN, f"there are {', '.join(_KNOWN)}")
            )
        else:
            if name in _ON_COLUMNS and not self._reads:
                self._before.append(here)
            getattr(self, f"_on_{name}")(said, here)

    def _set(self, **changes: Any) -> None:
        self._options = replace(self._options, **changes)

    def _settings(self, said: Any, at: Place, known: tuple[str, ...]) -> Mapping[str, Any]:
        if said is None:
            return {}
        if not isinstance(said, Mapping):
            self._found.problem(at, f"is {kind_of(said)}", f"write keys below it, such as {known[0]}")
            return {}
        for key in said:
            if key not in known:
                self._found.problem(
                    (*at, key), "is no setting that is known", did_you_mean(key, known, f"there are {', '.join(known)}")
                )
        return {key: value for key, value in said.items() if key in known and value is not None}

    def _begin(self, kind: str, at: Place) -> None:
        if self._reads:
            self._found.problem(at, "is a second way to read the files", "keep one read_ transformation")
        self._reads = True
        self._set(format=kind)

    def _on_read_delimited(self, said: Any, at: Place) -> None:
        self._begin("delimited", at)
        given = self._settings(said, at, _DELIMITED)
        delimiter = given.get("delimiter", "")
        if delimiter == "\\t":
            delimiter = "\t"
        if "delimiter" in given and (
            not isinstance(delimiter, str) or len(delimiter.encode()) != 1 or delimiter in '"\r\n'
        ):
            self._found.problem(
                (*at, "delimiter"), f"is {kind_of(delimiter)}", "write one character, such as ',' or \"\\t\""
            )
            delimiter = ""
        self._set(
            delimiter=delimiter,
            header=self._choice(given, at, "header", HEADERS, "all_files_same_headers"),
            encoding=self._choice(given, at, "encoding", ENCODINGS, "utf8"),
            empty_as_string=self._truth(given, at, "empty_as_string", False),
            infer_column_types=self._truth(given, at, "infer_column_types", True),
            is_multi_line=self._truth(given, at, "support_multi_line", True),
            include_path_column=self._truth(given, at, "include_path_column", False),
        )

    def _on_read_parquet(self, said: Any, at: Place) -> None:
        self._begin("parquet", at)
        given = self._settings(said, at, ("include_path_column",))
        self._set(include_path_column=self._truth(given, at, "include_path_column", False))

    def _on_read_json_lines(self, said: Any, at: Place) -> None:
        self._begin("json_lines", at)
        given = self._settings(said, at, ("include_path_column", "encoding", "invalid_lines", "partition_size"))
        if given.get("invalid_lines", "error") != "error":
            self._found.problem(
                (*at, "invalid_lines"), f"is {given['invalid_lines']!r}", "write `error`: no line is dropped silently"
            )
        self._set(
            encoding=self._choice(given, at, "encoding", ENCODINGS, "utf8"),
            include_path_column=self._truth(given, at, "include_path_column", False),
        )

    def _on_extract_columns_from_partition_format(self, said: Any, at: Place) -> None:
        given = {"partition_format": said} if isinstance(said, str) else self._settings(said, at, ("partition_format",))
        form = given.get("partition_format")
        if not isinstance(form, str) or not re.search(r"\{[^{}]+\}", form):
            self._found.problem(
                at, "has no partition_format with a {name}", "write `partition_format: '/{Store}/{Brand}/x.csv'`"
            )
            return
        if self._options.partition_format:
            self._found.problem(at, "is a second partition format", "keep one")
        self._set(partition_format=form)
        kept = self._options.keep_columns
        if kept is not None:  # columns that come later are not what was chosen from
            names = [name.strip() for name in re.findall(r"\{([^{}:]+)", form)]
            self._set(keep_columns=tuple(dict.fromkeys((*kept, *names))))

    def _check_there(self, names: list[str], at: Place) -> None:
        gone = [name for name in names if not self._options.gives(name)]
        if gone:
            self._found.problem(at, f"names {gone[0]!r}, which a transformation before has taken away", "leave it out")

    def _on_keep_columns(self, said: Any, at: Place) -> None:
        names = self._names(said, at)
        self._check_there(names, at)
        self._set(keep_columns=tuple(dict.fromkeys(names)))

    def _on_drop_columns(self, said: Any, at: Place) -> None:
        names = self._names(said, at)
        self._check_there(names, at)
        if self._options.keep_columns is not None:
            self._set(keep_columns=tuple(name for name in self._options.keep_columns if name not in names))
        self._set(drop_columns=(*self._options.drop_columns, *names))

    def _names(self, said: Any, at: Place) -> list[str]:
        names = [said] if isinstance(said, str) else said
        if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
            self._found.problem(at, f"is {kind_of(said)}", "write a list of columns")
            return []
        return names

    def _on_convert_column_types(self, said: Any, at: Place) -> None:
        if not isinstance(said, list):
            self._found.problem(at, f"is {kind_of(said)}", "write a list of `{columns: name, column_type: int}`")
            return
        types = dict(self._options.column_types)
        for index, entry in enumerate(said):
            here = (*at, index)
            given = self._settings(entry, here, ("columns", "column_type"))
            kind = given.get("column_type")
            word = next(iter(kind)) if isinstance(kind, Mapping) and kind else kind
            if word not in TYPES:
                self._found.problem((*here, "column_type"), f"is {kind_of(kind)}", f"write one of {', '.join(TYPES)}")
                continue
            names = self._names(given.get("columns"), (*here, "columns"))
            self._check_there(names, (*here, "columns"))
            types.update(dict.fromkeys(names, TYPES[word]))
        self._set(column_types=types)

    def _on_skip(self, said: Any, at: Place) -> None:
        count = self._count(said, at)
        taken = self._options.take
        self._set(skip=self._options.skip + (count if taken is None else min(count, taken)))
        if taken is not None:
            self._set(take=max(taken - count, 0))

    def _on_take(self, said: Any, at: Place) -> None:
        count = self._count(said, at)
        self._set(take=count if self._options.take is None else min(count, self._options.take))

    def _count(self, said: Any, at: Place) -> int:
        count = said.get("count") if isinstance(said, Mapping) else said
        if isinstance(count, bool) or not isinstance(count, int) or count < 0:
            self._found.problem(at, f"is {kind_of(said)}", "write a number of rows")
            return 0
        return count

    def _choice(self, given: Mapping[str, Any], at: Place, key: str, words: tuple[str, ...], default: str) -> Any:
        value = given.get(key, default)
        word = value.lower().replace("-", "") if isinstance(value, str) and key == "encoding" else value
        if word not in words:
            self._found.problem(
                (*at, key), f"is {kind_of(value)}", did_you_mean(str(value), words, f"write one of {', '.join(words)}")
            )
            return default
        return word

    def _truth(self, given: Mapping[str, Any], at: Place, key: str, default: bool) -> bool:
        value = given.get(key, default)
        if not isinstance(value, bool):
            self._found.problem((*at, key), f"is {kind_of(value)}", "write true or false")
            return default
        return value
