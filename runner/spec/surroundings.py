"""What can be wrong around a job's file: code, entry script, data and targets, looked at but never run or written."""

from __future__ import annotations

import glob
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from runner.dataset.settings import read_settings
from runner.errors import ArgumentInvalid, Problem, SpecInvalid
from runner.spec.bindings import references
from runner.spec.check_values import check_versions
from runner.spec.data_shapes import is_literal
from runner.spec.findings import Findings
from runner.spec.ignore import IgnoreRules
from runner.spec.meaning import target_name
from runner.spec.mltable import find_mltable, read_mltable
from runner.spec.places import Places
from runner.spec.script import ScriptMissing, check_script, find_script
from runner.spec.targets import (
    Target,
    Unplaceable,
    is_pattern,
    names_no_version,
    place,
    place_input,
    place_output,
)


def code_folder(document: Mapping[str, Any], base: Path) -> Path | None:
    """Where the code is; None when the job has none.

    Raises:
        Unplaceable: it is no local path.
    """
    given = document.get("task", {}).get("code")
    placed = place(given, base, None) if given else None
    return Path(placed) if placed else None


def check_code(document: Mapping[str, Any], base: Path, found: Findings) -> None:
    """Note code that is not there, and an entry script that is missing, broken or has no run."""
    if "task" not in document or not found.is_clean("task", "code"):
        return
    try:
        code = code_folder(document, base)
    except Unplaceable:
        return  # told by check_sense
    if code is not None and not code.exists():
        found.problem(("task", "code"), f"leads to {code}, and there is nothing", "write the path of the code folder")
        return
    script_name = document["task"].get("entry_script")
    if script_name is None:
        return
    at = ("task", "entry_script")
    try:
        script = find_script(code, script_name, base)
    except ScriptMissing as error:
        wanted = f"a file below {code}" if code is not None else "a file beside the YAML, or add `code:`"
        found.problem(at, f"is {script_name!r}: {error}", f"write the path of {wanted}")
        return
    frame_settings(code, found)
    if script.file is None:
        found.notice(at, f"is {script_name}, an installed module; it is not part of the job's snapshot")
        return
    _check_not_ignored(code, script.file, found)
    broken = check_script(script.file, _shown(script.file))
    if broken is not None:
        found.add(broken)


def frame_settings(code: Path | None, found: Findings) -> dict[str, object]:
    """What `parallel_run_step.settings.json` says about writing frames; notes what is wrong with it."""
    try:
        return read_settings(code) if code is not None and code.is_dir() else {}
    except ArgumentInvalid as error:
        found.add(Problem(file=error.argument, line=0, path="append_row", what=error.what))
        return {}


def _check_not_ignored(code: Path | None, script: Path, found: Findings) -> None:
    if code is None or code.is_file():
        return
    rules = IgnoreRules.of_folder(code)
    if rules.leaves_out_below(script.relative_to(code).as_posix()):
        what = f"is left out of the snapshot by {rules.source or 'the built-in rules'}"
        found.problem(
            ("task", "entry_script"), what, f"take it out of {rules.source or 'a folder that is never copied'}"
        )


def _shown(file: Path) -> str:
    """The path as the user would write it: relative to the current folder when it lies below it."""
    inside = os.path.relpath(file)
    return str(file) if inside.startswith("..") else inside


def check_data(document: Mapping[str, Any], base: Path, found: Findings, places: Places | None) -> None:
    """Note inputs that are not there or not what their type says. Whether they are empty is found by planning."""
    is_command = document["type"] == "command"
    for name, value in document["inputs"].items():
        if is_literal(value):
            continue
        at = ("inputs", name, "path")
        try:
            placed = place_input(value, base, places, takes_uri=is_command)
        except Unplaceable as error:
            found.problem(at, error.what, error.remedy)
            continue
        if names_no_version(value.get("path") or ""):
            found.notice(at, f"is {value['path']!r}: the newest version when the job is submitted is taken")
        if placed is not None and os.path.isabs(placed) and "type" in value:
            _check_input(name, value["type"], Path(placed), found, reads_tables=not is_command)


def _check_input(name: str, kind: str, path: Path, found: Findings, *, reads_tables: bool) -> None:
    at = ("inputs", name, "path")
    if not path.exists() and reads_tables and is_pattern(str(path)):
        if not any(True for _ in glob.iglob(str(path), recursive=True)):
            found.problem(at, f"is the pattern {path}, and nothing matches it", "mend the pattern")
    elif not path.exists():
        found.problem(at, f"leads to {path}, and there is nothing", "mend the path")
    elif kind == "uri_file" and path.is_dir():
        found.problem(at, f"leads to the folder {path}", "write `type: uri_folder`, or the path of one file")
    elif kind == "uri_folder" and not path.is_dir():
        found.problem(at, f"leads to the file {path}", "write `type: uri_file`, or the path of a folder")
    elif not os.access(path, os.R_OK | (os.X_OK if path.is_dir() else 0)):
        found.problem(at, f"leads to {path}, which may not be read", "change its permissions")
    elif reads_tables and kind == "mltable" and (file := find_mltable(path)) is not None:
        try:
            read_mltable(file)
        except SpecInvalid as invalid:
            for problem in invalid.problems:
                found.add(problem)


def check_targets(document: Mapping[str, Any], base: Path, found: Findings, places: Places) -> None:
    """Note targets that exist, cannot be written, meet each other, or hold an input."""
    published = set(document["outputs"]) if document["type"] == "command" else {target_name(document, Findings(""))}
    overwrite = document.get("runner", {}).get("overwrite", False)
    targets = []
    for name, value in document["outputs"].items():
        at = ("outputs", name, "path")
        try:
            target = place_output(name, value, document.get("name") or "name", base, places)
        except Unplaceable as error:
            found.problem(at, error.what, error.remedy)
            continue
        targets.append(target)
        is_known = bool(document.get("name")) or ("path" in value and "name" not in references(value["path"]))
        if is_known:
            _check_writable(at, target, found)
        if is_known and name in published and not overwrite and _exists(target):
            what = f"leads to {target.path}, and the output target exists already"
            found.problem(at, what, "remove it, write elsewhere, or submit with --overwrite")
        elif is_known and name in published and not overwrite and document["type"] == "parallel":
            _check_failures(at, Path(f"{target.path}.failures"), found)
    _check_apart(targets, document, base, places, found)
    check_versions(document, found, places)


def _exists(target: Target) -> bool:
    """Whether something would be replaced; an empty folder is nothing."""
    path = Path(target.path)
    if not target.is_folder or not path.is_dir():
        return os.path.lexists(path)
    try:
        return any(path.iterdir())
    except PermissionError:
        return True


def _check_failures(at: tuple[str, ...], place: Path, found: Findings) -> None:
    """What a job has left there is replaced; what no job has written is refused."""
    if not os.path.lexists(place):
        return
    from runner.dataset.failures import owner_of  # pyarrow, which is rarely needed here

    if owner_of(place) is None:
        what = f"leaves no room for the failures of the job: {place} exists already, and no job has written it"
        found.problem(at, what, "remove it, write elsewhere, or submit with --overwrite")


def _check_writable(at: tuple[str, ...], target: Target, found: Findings) -> None:
    folder = Path(target.folder)
    while not os.path.lexists(folder) and folder != folder.parent:
        folder = folder.parent
    if not folder.is_dir():
        found.problem(at, f"leads to {target.path}, and {folder} is no folder", "write another path")
    elif not os.access(folder, os.W_OK | os.X_OK):
        found.problem(at, f"leads to {target.path}, and {folder} may not be written to", "change its permissions")


def _check_apart(
    targets: list[Target], document: Mapping[str, Any], base: Path, places: Places, found: Findings
) -> None:
    taken: dict[str, str] = {}
    for target in targets:
        at = ("outputs", target.name, "path")
        if target.path in taken:
            found.problem(at, f"leads to {target.path}, as that of {taken[target.path]} does", "write another path")
        elif document["type"] == "command":
            _check_nested(target, taken, found)
        taken.setdefault(target.path, target.name)
        _check_holds(at, target, _kept(document, base, places), found)
        for name, value in document["inputs"].items():
            try:
                placed = None if is_literal(value) else place_input(value, base, places)
            except Unplaceable:
                continue
            if placed is not None and Path(placed).is_relative_to(target.path):
                what = f"leads to {target.path}, where the input {name} is"
                found.problem(at, what, "write a path outside the input")
            elif placed is not None and Path(target.path).is_relative_to(placed):
                found.notice(at, f"leads to {target.path}, inside the input {name}: the next run would read it")


def _check_nested(target: Target, taken: Mapping[str, str], found: Findings) -> None:
    """Outputs of a command appear whole, each by one move, so one cannot lie in another."""
    for path, name in taken.items():
        if Path(target.path).is_relative_to(path) or Path(path).is_relative_to(target.path):
            at = ("outputs", target.name, "path")
            found.problem(at, f"leads to {target.path}, and that of {name} to {path}", "write paths side by side")


def _kept(document: Mapping[str, Any], base: Path, places: Places) -> dict[str, Path]:
    """What must not be replaced by an output."""
    holder = document if document["type"] == "command" else document.get("task", {})
    kept = {"the runner's own home": Path(os.path.abspath(places.home))}
    try:
        code = place(holder["code"], base, None) if holder.get("code") else None
    except Unplaceable:
        code = None
    return kept if code is None else {**kept, "the code": Path(code)}


def _check_holds(at: tuple[str, ...], target: Target, kept: Mapping[str, Path], found: Findings) -> None:
    for what, path in kept.items():
        if path.is_relative_to(target.path):
            found.problem(at, f"leads to {target.path}, where {what} is", "write another path")
        elif what == "the code" and path.is_dir() and Path(target.path).is_relative_to(path):
            inside = Path(target.path).relative_to(path).as_posix()
            if not IgnoreRules.of_folder(path).leaves_out_below(inside):
                told = f"leads to {target.path}, inside the code: the next run would have it as part of its code"
                found.notice(at, f"{told}; write another path, or name it in .amlignore")


def say_fallbacks(document: Mapping[str, Any], places: Places, found: Findings) -> None:
    """Say once what stands in for a compute or an environment that is not configured."""
    at = ("environment",) if document["type"] == "command" else ("task", "environment")
    holder = document if document["type"] == "command" else document.get("task", {})
    compute = places.compute_of(document.get("compute")).notice
    environment = places.environment_notice(holder.get("environment"))
    if compute is not None:
        found.notice(("compute",), compute)
    if environment is not None:
        found.notice(at, environment)
