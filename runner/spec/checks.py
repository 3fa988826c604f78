"""What can be wrong with a parallel job as it stands in its file: keys that do not fit together, names of nothing."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from runner.spec.arguments import FIELD_OF
from runner.spec.bindings import check_references
from runner.spec.check_values import check_alone, check_assets, check_environment, check_places, check_strays
from runner.spec.data_shapes import SPLIT_TYPES, is_literal
from runner.spec.findings import Findings
from runner.spec.meaning import (
    effective,
    has_value,
    read_arguments,
    split_kind,
    split_names,
    target_name,
    text_of_literal,
)
from runner.spec.sizes import mini_batch_size
from runner.spec.targets import Unplaceable, place

_TARGET_TYPES = ("uri_file", "uri_folder", "mltable")
_BOUND = (("input_data",), ("environment_variables",), ("task", "append_row_to"), ("task", "program_arguments"))
"""Keys whose bindings have checks of their own."""


def check_sense(document: Mapping[str, Any], base: Path, found: Findings) -> None:
    """Note everything that can be told from the document alone, with nothing on disk looked at."""
    _check_task(document, found)
    kinds = _check_split(document, found)
    target = target_name(document, found)
    arguments = read_arguments(document, lambda reference: _stand_in(document, reference), found)
    for name, value in document["environment_variables"].items():
        at = ("environment_variables", name)
        check_references(value, at, found, set(document["inputs"]), set(document["outputs"]))
    settings = {name: effective(document, arguments.read, name, found) for name in FIELD_OF}
    size = settings["mini_batch_size"]
    if len(kinds) == 1 and size is not None and mini_batch_size(size, next(iter(kinds))) is None:
        found.problem(("mini_batch_size",), f"is {size!r}, but the input is cut by files", "write a count of files")
    _check_keys(document, settings["partition_keys"], found)
    _check_target(document, target, arguments.read, found)
    _check_runner(document, target, kinds, found)
    check_places(document, base, found)
    check_assets(document, found)
    check_strays(document, _BOUND, found)
    check_environment(document.get("task", {}).get("environment"), ("task", "environment"), base, found)
    check_alone(document, found)


def _stand_in(document: Mapping[str, Any], reference: str) -> str:
    """The text of a literal, and for a path something that is as good where only its presence counts."""
    side, _, name = reference.partition(".")
    value = document[side].get(name)
    return text_of_literal(value) if side == "inputs" and is_literal(value) else f"/{side}/{name}"


def _check_task(document: Mapping[str, Any], found: Findings) -> None:
    task = document.get("task")
    if task is None:
        if found.is_clean("task"):
            found.problem((), "task is missing", "write `task:` with `code` and `entry_script` below it")
        return
    if "entry_script" not in task and found.is_clean("task", "entry_script"):
        found.problem(("task",), "has no entry_script", "write `entry_script: <file>.py` below it")
    code = task.get("code")
    if code is not None:
        try:
            place(code, Path("/"), None)
        except Unplaceable as error:
            found.problem(("task", "code"), error.what, "write the path of a folder")


def _check_split(document: Mapping[str, Any], found: Findings) -> set[Any]:
    """Check the inputs that are cut; gives their kinds, one if all is well."""
    kinds = set()
    for name in split_names(document, found):
        value = document["inputs"][name]
        if is_literal(value) or value.get("type") not in SPLIT_TYPES:
            what = "is a value" if is_literal(value) else f"has the type {value.get('type')}"
            remedy = "input_data needs data: uri_folder, uri_file or mltable"
            found.problem(("inputs", name), f"{what}, which cannot be cut into mini-batches", remedy)
        elif not has_value(document, f"inputs.{name}"):
            if found.is_clean("inputs", name):
                found.problem(("inputs", name), "has no path, and input_data names it", "write `path:` below it")
        else:
            kinds.add(split_kind(value))
    if len(kinds) > 1:
        found.problem(("input_data",), "names tables and files together", "name inputs of one kind")
    return kinds


def _check_keys(document: Mapping[str, Any], keys: Any, found: Findings) -> None:
    if not keys:
        return
    at = ("partition_keys",) if "partition_keys" in document else ("task", "program_arguments", "--partition_keys")
    if document.get("mini_batch_size") is not None:
        found.notice(at, "goes before mini_batch_size, which is not used")
    if document.get("runner", {}).get("bisect"):
        found.notice(("runner", "bisect"), "is not used: a group by partition keys is never split")
    doubled = sorted({key for key in keys if list(keys).count(key) > 1})
    if doubled:
        found.problem(at, f"names {doubled[0]!r} twice", "name each key once")


def _check_target(document: Mapping[str, Any], target: str | None, read: Mapping[str, Any], found: Findings) -> None:
    if target is not None:
        kind = document["outputs"][target].get("type")
        if kind not in _TARGET_TYPES and found.is_clean("outputs", target):
            what = f"has the type {kind}, and append_row_to writes rows to it"
            found.problem(("outputs", target, "type"), what, "write uri_file or uri_folder")
    elif read.get("output_action") == "append_row":
        what = "is append_row, and there is no append_row_to"
        found.problem(("task", "program_arguments", "--output_action"), what, "write `append_row_to` below `task:`")
    file_name = read.get("append_row_file_name", "file")
    if "/" in file_name or file_name.startswith("."):
        at = ("task", "program_arguments", "--append_row_file_name")
        found.problem(at, f"is {file_name!r}", "write a plain file name")


def _check_runner(document: Mapping[str, Any], target: str | None, kinds: set[Any], found: Findings) -> None:
    runner = document.get("runner", {})
    written = runner.get("output_format", "text")
    for key in ("output_format", "keep_columns", "partition_by", "compression", "part_size"):
        if key in runner and target is None and found.is_clean("task", "append_row_to"):
            found.problem(
                ("runner", key), "has no meaning without append_row_to", "write `append_row_to` below `task:`"
            )
    if "keep_columns" in runner and target is not None and written == "text":
        found.problem(("runner", "keep_columns"), "has no meaning for text", "write `output_format: parquet`, or csv")
    if (limit := runner.get("limit")) is not None:
        found.notice(
            ("runner", "limit"), f"is {limit}: a trial, in which no mini-batches but the first {limit} are run"
        )
    _check_folders(document, target, written, found)
    if written == "ipc" and runner.get("compression") == "gzip":
        found.problem(("runner", "compression"), "is gzip, which Arrow IPC files cannot have", "write `zstd` or `none`")
    if kinds != {"files"}:
        return
    for key in ("mini_batch_format", "columns", "frame_types", "writable", "path_column"):
        if key in runner:
            found.problem(("runner", key), "is for tables, and the input is cut by files", "leave it out")
    if any(column != "path" for column in runner.get("keep_columns", ())):
        found.problem(("runner", "keep_columns"), "names columns, and files have none", "write `[path]`")


def _check_folders(document: Mapping[str, Any], target: str | None, written: str, found: Findings) -> None:
    names = document.get("runner", {}).get("partition_by")
    if not names or target is None:
        return
    at = ("runner", "partition_by")
    if written == "text":
        found.problem(at, "has no meaning for text", "write `output_format: parquet`, csv, jsonl or ipc")
    if document["outputs"][target].get("type") == "uri_file":
        what = f"needs a folder, and the output {target!r} is a file"
        found.problem(at, what, "write `type: uri_folder` for the output")
    doubled = sorted({name for name in names if names.count(name) > 1})
    if doubled:
        found.problem(at, f"names {doubled[0]!r} twice", "name each column once")
