"""Data in a file of its own (`name`, `version`, `type`, `path`), as it is registered."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from runner.errors import Problem, SpecInvalid
from runner.spec.data_shapes import DATA_TYPES
from runner.spec.document import read_document
from runner.spec.findings import Findings
from runner.spec.job_schema import READ_ONLY, tag
from runner.spec.paths import absolute, is_local, plain_path
from runner.spec.shapes import Choice, Key, MapOf, Table, free_text, spelt, text

DATA = Table(
    keys={
        "name": Key(text, "of the data"),
        "version": Key(spelt, "of the data", "the next one"),
        "type": Key(Choice(DATA_TYPES, fold=True), "what is at the path", "what is found there"),
        "path": Key(text, "a file or a folder; relative to this file, or absolute"),
        "description": Key(free_text, "for readers"),
        "tags": Key(MapOf(tag, "`name: text`", nullable=True), "for readers"),
    },
    ignored=READ_ONLY | {"properties", "auto_delete_setting", "latest_version"},
)


def load_data(file: str | os.PathLike[str]) -> dict[str, Any]:
    """What the file says, its path absolute.

    Raises:
        SpecInvalid: everything that is wrong with it, with file and line.
    """
    shown = os.fspath(file)
    try:
        document = read_document(Path(file).read_text(encoding="utf-8-sig"), shown)
    except (OSError, UnicodeDecodeError) as error:
        what = f"cannot be read: {error.strerror if isinstance(error, OSError) else error.reason}"
        raise SpecInvalid((Problem(file=shown, line=0, path="", what=what, remedy="give a YAML file"),)) from None
    found = Findings(shown, document.lines)
    for problem in document.problems:
        found.add(problem)
    said: dict[str, Any] = DATA(document.values, (), found)
    for key in ("name", "path"):
        if key not in said and found.is_clean(key):
            found.problem((), f"the data has no {key}", f"write `{key}:`")
    found.raise_if_any()
    path = plain_path(said["path"])
    return {**said, "path": absolute(path, Path(os.path.abspath(file)).parent) if is_local(path) else path}
