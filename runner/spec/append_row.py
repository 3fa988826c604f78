"""`parallel_run_step.settings.json` at the root of the code: how frames become lines."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from runner.errors import Problem

SETTINGS_FILE = "parallel_run_step.settings.json"
_REFUSED = ("path_or_buf", "mode", "header", "compression", "encoding")


def read_to_csv(code: Path | None) -> tuple[dict[str, object], list[Problem]]:
    """The keyword arguments for `DataFrame.to_csv`, and what is wrong with the file; both empty when there is none."""
    file = code / SETTINGS_FILE if code is not None else None
    if file is None or not file.is_file():
        return {}, []
    try:
        settings = json.loads(file.read_text(encoding="utf-8-sig"))
    except json.JSONDecodeError as error:
        return {}, [_problem(file, error.lineno, f"this is no JSON: {error.msg}", "mend the file")]
    except (OSError, UnicodeDecodeError) as error:
        return {}, [_problem(file, 0, f"cannot be read: {error}", "save it as UTF-8 text")]
    example = 'write {"append_row": {"pandas.DataFrame.to_csv": {"sep": ","}}}'
    found: Any = settings
    for key in ("append_row", "pandas.DataFrame.to_csv"):
        if not isinstance(found, dict):
            return {}, [_problem(file, 0, "does not hold mappings", example)]
        found = found.get(key, {})
    if not isinstance(found, dict):
        return {}, [_problem(file, 0, "pandas.DataFrame.to_csv is no mapping", example)]
    refused = [key for key in _REFUSED if key in found]
    remedy = "leave it out; a header line is asked for by `--append_row_dataframe_header True`"
    return found, [_problem(file, 0, f"{key} cannot be set here", remedy) for key in refused]


def _problem(file: Path, line: int, what: str, remedy: str) -> Problem:
    return Problem(file=str(file), line=line, path="append_row", what=what, remedy=remedy)
