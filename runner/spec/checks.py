"""What can be wrong with a parallel job as it stands in its file: keys that do not fit together, names of nothing."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from runner.spec.arguments import FIELD_OF
from runner.spec.bindings import check_references, references
from runner.spec.data_shapes import SPLIT_TYPES, is_literal
from runner.spec.findings import Findings
from runner.spec.findings import Path as Place
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
from runner.spec.targets import Unplaceable, place, place_input

_TARGET_TYPES = ("uri_file", "uri_folder", "mltable")
_FREE = {(key,) for key in ("description", "display_name", "comment", "tags", "properties")} | {
    ("input_data",),
    ("environment_variables",),
}
"""Text that is only shown, and keys whose bindings have checks of their own."""
_BOUND = {("task", "append_row_to"), ("task", "program_arguments")}
_TEMPLATES = ("name", "output_name", "default_datastore")


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
    _check_places(document, base, found)
    _check_strays(document, (), found)
    if isinstance(document.get("task", {}).get("environment"), Mapping):
        _check_environment(document["task"]["environment"], base, found)


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
    found.problem(at, "(one mini-batch for each key) is not supported by this version", "cut by `mini_batch_size`")


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
    for name, value in document["outputs"].items():
        if "name" in value:
            found.notice(("outputs", name, "name"), "is kept, but this version registers no data assets")


def _check_runner(document: Mapping[str, Any], target: str | None, kinds: set[Any], found: Findings) -> None:
    runner = document.get("runner", {})
    written = runner.get("output_format", "text")
    for key in ("output_format", "keep_columns", "compression", "part_size"):
        if key in runner and target is None and found.is_clean("task", "append_row_to"):
            found.problem(
                ("runner", key), "has no meaning without append_row_to", "write `append_row_to` below `task:`"
            )
    if "keep_columns" in runner and target is not None and written == "text":
        found.problem(("runner", "keep_columns"), "has no meaning for text", "write `output_format: parquet`, or csv")
    if written == "ipc" and runner.get("compression") == "gzip":
        found.problem(("runner", "compression"), "is gzip, which Arrow IPC files cannot have", "write `zstd` or `none`")
    if kinds != {"files"}:
        return
    for key in ("mini_batch_format", "columns", "frame_types", "writable"):
        if key in runner:
            found.problem(("runner", key), "is for tables, and the input is cut by files", "leave it out")
    if any(column != "path" for column in runner.get("keep_columns", ())):
        found.problem(("runner", "keep_columns"), "names columns, and files have none", "write `[path]`")


def _check_places(document: Mapping[str, Any], base: Path, found: Findings) -> None:
    for name, value in document["inputs"].items():
        if is_literal(value):
            continue
        try:
            place_input(value, base, None)
        except Unplaceable as error:
            found.problem(("inputs", name, "path"), error.what, error.remedy)
    for name, value in document["outputs"].items():
        at = ("outputs", name, "path")
        path = value.get("path", "")
        unknown = [reference for reference in references(path) if reference not in _TEMPLATES]
        if unknown:
            what = f"holds ${{{{{unknown[0]}}}}}, a template of no known form"
            found.problem(at, what, "write ${{name}}, ${{output_name}} or ${{default_datastore}}")
            continue
        try:
            if path:
                place(path, base, None)
        except Unplaceable as error:
            found.problem(at, error.what, error.remedy)


def _check_strays(value: Any, at: Place, found: Findings) -> None:
    """Note bindings where nothing would ever put a value in."""
    if at[:1] in _FREE or at[:2] in _BOUND or (at[:1] == ("outputs",) and at[2:] == ("path",)):
        return
    if isinstance(value, Mapping):
        for name, inner in value.items():
            _check_strays(inner, (*at, name), found)
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            _check_strays(inner, (*at, index), found)
    elif isinstance(value, str) and (stray := references(value)) and found.is_clean(*at):
        why = "but a job of its own has no parent" if stray[0].startswith("parent") else "where no binding is put in"
        found.problem(at, f"holds ${{{{{stray[0]}}}}}, {why}", "write the value itself")


def _check_environment(environment: Mapping[str, Any], base: Path, found: Findings) -> None:
    conda, build = environment.get("conda_file"), environment.get("build")
    if isinstance(conda, str):
        _check_there(conda, ("task", "environment", "conda_file"), base, found)
    if isinstance(build, Mapping) and isinstance(build.get("path"), str):
        _check_there(build["path"], ("task", "environment", "build", "path"), base, found)


def _check_there(path: str, at: tuple[str, ...], base: Path, found: Findings) -> None:
    try:
        placed = place(path, base, None)
    except Unplaceable:
        return  # a registered or remote environment, which is not used anyway
    if placed is not None and not Path(placed).exists():
        found.problem(at, f"leads to {placed}, and there is nothing", "mend the path, or leave it out")
