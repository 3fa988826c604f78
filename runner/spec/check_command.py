"""What can be wrong with a command: its text, its bindings, its code, its targets."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from runner.spec.bindings import GroupOpen, check_references, decide_groups, modernise, outside_groups, references
from runner.spec.check_values import check_alone, check_assets, check_environment, check_places, check_strays
from runner.spec.findings import Findings
from runner.spec.meaning import has_value
from runner.spec.places import Places
from runner.spec.surroundings import check_targets, say_fallbacks
from runner.spec.targets import Unplaceable, place

SERVER_NAMES = ("name", "default_datastore")
"""What stands for something in a command beside its inputs and outputs: the job's name, the default datastore."""
_BOUND = (("command",), ("environment_variables",))
_TRIAL = re.compile(r"search_space\.\w+")


def check_command(document: Mapping[str, Any], base: Path, found: Findings) -> None:
    """Note everything that the document and its code can tell."""
    command = document.get("command")
    if not (command or "").strip():
        if found.is_clean("command"):
            at = ("command",) if command is not None else ()
            found.problem(at, "is empty" if at else "command is missing", "write `command:` and what bash is to run")
    else:
        check_template(document, modernise(str(command), ("command",), found), ("command",), found)
    for name, value in document["environment_variables"].items():
        check_template(document, value, ("environment_variables", name), found)
    check_places(document, base, found)
    check_assets(document, found)
    check_strays(document, _BOUND, found)
    check_environment(document.get("environment"), ("environment",), base, found)
    check_alone(document, found)
    _check_code(document, base, found)
    if document.get("queue_settings"):
        found.notice(("queue_settings",), "are kept but have no effect: there is no queue to choose")


def check_template(document: Mapping[str, Any], text: str, at: tuple[str, ...], found: Findings) -> None:
    """Note what is wrong with the bindings and the optional groups of a text that bash or the command will see."""
    if "\0" in text:
        found.problem(at, "holds a NUL character, which no program can be given", "leave it out")
    trial = tuple(filter(_TRIAL.fullmatch, references(text)))
    check_references(text, at, found, set(document["inputs"]), set(document["outputs"]), others=(*SERVER_NAMES, *trial))
    try:
        decide_groups(text, lambda reference: True)
    except GroupOpen as error:
        found.problem(at, f"cannot be read: {error}", "close it")
        return
    for reference in dict.fromkeys(outside_groups(text)):
        if not has_value(document, reference) and found.is_clean(*reference.split(".")):
            what = f"uses ${{{{{reference}}}}}, an optional input that may have no value"
            found.problem(at, what, f"put it in a group: $[[--flag ${{{{{reference}}}}}]]")


def check_command_places(document: Mapping[str, Any], base: Path, found: Findings, places: Places) -> None:
    """Note what stands in the way of a submission."""
    command = document.get("command") or ""
    for reference in filter(_TRIAL.fullmatch, references(modernise(command, ("command",), Findings("")))):
        what = f"uses ${{{{{reference}}}}}, and only the trial of a sweep has a search space"
        found.problem(("command",), what, "make it an input: ${{inputs.<name>}}")
    check_targets(document, base, found, places)
    say_fallbacks(document, places, found)


def _check_code(document: Mapping[str, Any], base: Path, found: Findings) -> None:
    code = document.get("code")
    if code is not None:
        _check_there(code, ("code",), base, found)
    for index, path in enumerate(document.get("additional_includes", ())):
        _check_there(path, ("additional_includes", index), base, found)


def _check_there(path: str, at: tuple[str | int, ...], base: Path, found: Findings) -> None:
    try:
        placed = place(path, base, None)
    except Unplaceable as error:
        found.problem(at, error.what, "write the path of a folder")
        return
    if placed is None:
        found.problem(at, f"is {path!r}, which is not beside the job", "write the path of a folder")
    elif not Path(placed).exists():
        found.problem(at, f"leads to {placed}, and there is nothing", "write the path of the code folder")
