"""The shapes of inputs and outputs: literals, data with type, path and mode."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from runner.spec.findings import Findings, Path
from runner.spec.shapes import Choice, Key, Table, anything, flag, free_text, kind_of, one_of, spelt, text

NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
GROUPED = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*(\.[a-zA-Z_][a-zA-Z0-9_]*)*")
"""The name of an input, or of one in a group: `learning.rate`."""
DATA_TYPES = ("uri_folder", "uri_file", "mltable", "custom_model", "mlflow_model", "triton_model")
LITERAL_TYPES = ("string", "integer", "number", "boolean")
SPLIT_TYPES = ("uri_folder", "uri_file", "mltable")
_READ_MODES = ("ro_mount", "download", "direct")
_TABLE_MODES = (*_READ_MODES, "eval_mount", "eval_download")
_WRITE_MODES = ("rw_mount", "mount", "upload", "direct")

INPUT = Table(
    keys={
        "type": Key(Choice((*DATA_TYPES, *LITERAL_TYPES)), "what the input is", "uri_folder"),
        "path": Key(
            text,
            "a path relative to this file, an absolute one, azureml://datastores/<d>/paths/<p>, or a registered name",
        ),
        "mode": Key(text, "how it is read; `direct` for tables, `eval_mount` for the files of an mltable", "ro_mount"),
        "default": Key(anything, "the value of a literal input"),
        "optional": Key(flag, "whether it may have no value; `$[[...]]` groups that name it are then dropped", "false"),
        "min": Key(anything, "the smallest number allowed"),
        "max": Key(anything, "the largest number allowed"),
        "enum": Key(anything, "the values allowed"),
        "description": Key(free_text, "for readers"),
        "datastore": Key(text, "passed through"),
        "path_on_compute": Key(text, "passed through"),
    },
)
OUTPUT = Table(
    keys={
        "type": Key(Choice(DATA_TYPES), "`uri_file` is one file, everything else a folder", "uri_folder"),
        "path": Key(text, "where it is published; may hold ${{name}}, ${{output_name}}, ${{default_datastore}}"),
        "mode": Key(Choice(_WRITE_MODES), "kept; outputs appear by a rename whatever it is", "rw_mount"),
        "name": Key(text, "the data asset it is registered as when the job completes"),
        "version": Key(spelt, "the version of that asset; by default the next one"),
        "description": Key(free_text, "for readers"),
    },
)


def input_shape(value: Any, at: Path, found: Findings) -> Any:
    """A literal, or a mapping with type, path and mode; `{value: 3}` is the literal 3."""
    if isinstance(value, Mapping):
        if set(value) == {"value"}:
            return input_shape(value["value"], (*at, "value"), found)
        return _data_input(value, at, found)
    if isinstance(value, bool | int | str):
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    return found.problem(at, f"is {kind_of(value)}", "write a text, a number, true or false, or {type, path, mode}")


def _data_input(value: Mapping[str, Any], at: Path, found: Findings) -> Any:
    shaped = INPUT(value, at, found)
    kind = shaped.get("type", "uri_folder")
    if kind in LITERAL_TYPES:
        _check_literal(shaped, kind, at, found)
        return shaped
    if found.is_clean(*at, "type"):
        shaped["type"] = kind
        modes = _TABLE_MODES if kind == "mltable" else _READ_MODES
        mode = shaped.get("mode")
        if mode is not None and mode not in modes:
            found.problem((*at, "mode"), f"is {mode!r}", f"write {one_of(modes)} for an input of type {kind}")
        if "path" not in shaped and not shaped.get("optional") and found.is_clean(*at, "path"):
            found.problem(at, "has no path", "write `path:` below it, or `optional: true`")
    return shaped


def _check_literal(shaped: dict[str, Any], kind: str, at: Path, found: Findings) -> None:
    for key in ("path", "mode"):
        if key in shaped:
            found.problem((*at, key), f"has no meaning for an input of type {kind}", "leave it out")
    if "default" not in shaped:
        if not shaped.get("optional"):
            found.problem(at, "has no value", "write `default:` below it, or `optional: true`")
        return
    value = literal_of(shaped)
    if value is None:
        found.problem(
            (*at, "default"), f"is {kind_of(shaped['default'])}, not of type {kind}", f"write a value of type {kind}"
        )
        return
    low, high, words = shaped.get("min"), shaped.get("max"), shaped.get("enum")
    if isinstance(low, int | float) and isinstance(value, int | float) and value < low:
        found.problem((*at, "default"), f"is {value}, below the minimum {low}", f"write {low} or more")
    if isinstance(high, int | float) and isinstance(value, int | float) and value > high:
        found.problem((*at, "default"), f"is {value}, above the maximum {high}", f"write {high} or less")
    if isinstance(words, list) and value not in words:
        found.problem((*at, "default"), f"is {kind_of(value)}", f"write one of {', '.join(map(str, words))}")


def output_shape(value: Any, at: Path, found: Findings) -> Any:
    """A mapping, or null for a folder at the default place."""
    if value is None:
        return {"type": "uri_folder"}
    if isinstance(value, str):
        remedy = "write {type: uri_folder, path: ...}; only a step of a pipeline can be bound to a parent's output"
        return found.problem(at, f"is {kind_of(value)}, not a mapping", remedy)
    shaped = OUTPUT(value, at, found)
    if shaped is not None and found.is_clean(*at, "type"):
        shaped.setdefault("type", "uri_folder")
    return shaped


def is_literal(value: Any) -> bool:
    """Whether an input of a document is a value rather than data."""
    return not isinstance(value, Mapping) or value.get("type") in LITERAL_TYPES


def literal_of(value: Any) -> Any:
    """The value of a literal input, converted to its declared type; None when there is none or it does not fit."""
    if not isinstance(value, Mapping):
        return value
    given, kind = value.get("default"), value.get("type")
    if given is None or isinstance(given, list | Mapping):
        return None
    try:
        if kind == "integer":
            return int(given)
        if kind == "number":
            return float(given)
    except ValueError:
        return None
    if kind == "boolean":
        return {"true": True, "false": False}.get(str(given).lower())
    return str(given)
