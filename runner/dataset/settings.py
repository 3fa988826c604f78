"""`parallel_run_step.settings.json` in the code folder: how frames become text."""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import Any

from runner.errors import ArgumentInvalid

SETTINGS_FILE = "parallel_run_step.settings.json"
OURS = ("path_or_buf", "mode", "header", "compression", "encoding")
"""Arguments of `to_csv` that the runner decides: where the text goes, its encoding, and whether there is a header."""

_ARGUMENT = "pandas.DataFrame.to_csv"


def read_settings(code_folder: str | Path) -> dict[str, Any]:
    """The keyword arguments for `DataFrame.to_csv` that the code folder asks for; empty without the file.

    Raises ArgumentInvalid, which names the file and the setting.
    """
    path = Path(code_folder) / SETTINGS_FILE
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise ArgumentInvalid(str(path), f"cannot be read: {error}") from None
    try:
        settings = json.loads(text)
    except ValueError as error:
        raise ArgumentInvalid(str(path), f"is no JSON: {error}") from None
    for key in ("append_row", _ARGUMENT):
        if not isinstance(settings, dict):
            raise ArgumentInvalid(str(path), f'must be a mapping {{"append_row": {{"{_ARGUMENT}": {{...}}}}}}')
        settings = settings.get(key, {})
    if not isinstance(settings, dict):
        raise ArgumentInvalid(str(path), f"{_ARGUMENT} must be a mapping of keyword arguments")
    _check(path, settings)
    return settings


def _check(path: Path, settings: dict[str, Any]) -> None:
    import pandas

    known = set(inspect.signature(pandas.DataFrame.to_csv).parameters) - {"self"}
    for name in settings:
        if name in OURS:
            why = "use --append_row_dataframe_header True instead" if name == "header" else "the runner decides it"
            raise ArgumentInvalid(str(path), f"{name!r} may not be set for {_ARGUMENT}; {why}")
        if name not in known:
            raise ArgumentInvalid(str(path), f"{name!r} is no argument of {_ARGUMENT}; remove it")
    try:
        pandas.DataFrame({"a": [1.5, None], "b": ["x", "y"]}).to_csv(None, header=False, **_without_columns(settings))
    except (TypeError, ValueError, KeyError) as error:
        raise ArgumentInvalid(str(path), f"{_ARGUMENT} does not take these arguments: {error}") from None


def _without_columns(settings: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in settings.items() if name != "columns"}
