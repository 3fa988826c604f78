"""What the keys of a parallel job mean together: the split inputs, the effective settings, the program arguments.

The same functions serve the checks, which work with stand-ins for paths, and the resolution, which has the real ones.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from runner.spec.arguments import FIELD_OF, Unsplittable, argv_of, read_runtime_arguments, split_arguments
from runner.spec.bindings import check_references, modernise, name_remedy, reference_to, references
from runner.spec.data_shapes import is_literal, literal_of
from runner.spec.findings import Findings
from runner.spec.shapes import kind_of

ARGUMENTS = ("task", "program_arguments")


def split_kind(value: Mapping[str, Any]) -> Literal["table", "files"]:
    """Whether a split input is rows or files: an mltable is rows, unless it is mounted or downloaded for its files."""
    is_table = value.get("type") == "mltable" and value.get("mode") not in ("eval_mount", "eval_download")
    return "table" if is_table else "files"


def split_names(document: Mapping[str, Any], found: Findings) -> list[str]:
    """The names in `input_data`; notes what is not a binding to an input."""
    given = document.get("input_data")
    if given is None:
        if found.is_clean("input_data"):
            example = next((n for n, v in document["inputs"].items() if not is_literal(v)), "<name>")
            found.problem((), "input_data is missing", f"write `input_data: ${{{{inputs.{example}}}}}`")
        return []
    names = []
    is_list = isinstance(given, list)
    for index, item in enumerate(given if is_list else [given]):
        at = ("input_data", index) if is_list else ("input_data",)
        name = reference_to("inputs", modernise(item, at, found)) if isinstance(item, str) else None
        if name is None:
            remedy = "write `${{inputs.<name>}}`, the input that is cut into mini-batches"
            found.problem(at, f"is {kind_of(item)}", remedy)
        elif name not in document["inputs"]:
            if found.is_clean("inputs", name):
                what = f"names ${{{{inputs.{name}}}}}, and there is no such input"
                found.problem(at, what, name_remedy("inputs", name, set(document["inputs"])))
        else:
            names.append(name)
    if is_list and not given:
        found.problem(("input_data",), "is an empty list", "write `${{inputs.<name>}}`")
    return names


def target_name(document: Mapping[str, Any], found: Findings) -> str | None:
    """The name of the output in `append_row_to`; None means summary only."""
    given = document.get("task", {}).get("append_row_to")
    if given is None or not given.strip():
        return None
    at = ("task", "append_row_to")
    name = reference_to("outputs", modernise(given, at, found))
    if name is None:
        found.problem(at, f"is {given!r}", "write `${{outputs.<name>}}`, or leave it out for summary only")
        return None
    if name not in document["outputs"]:
        if found.is_clean("outputs", name):
            what = f"names ${{{{outputs.{name}}}}}, and there is no such output"
            found.problem(at, what, name_remedy("outputs", name, set(document["outputs"])))
        return None
    return name


def text_of_literal(value: Any) -> str:
    """A literal input as the script gets it: `True`, `1.0`, `text`."""
    return str(literal_of(value))


def has_value(document: Mapping[str, Any], reference: str) -> bool:
    """Whether `inputs.x` or `outputs.x` stands for anything; an optional input that may have no value does not."""
    side, _, name = reference.partition(".")
    value = document["inputs"].get(name) if side == "inputs" else None
    if value is None:
        return True
    return literal_of(value) is not None if is_literal(value) else value.get("path") is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Arguments:
    """The script's argv, and what of it the runner reads."""

    argv: tuple[str, ...] = ()
    read: Mapping[str, Any]


def read_arguments(document: Mapping[str, Any], value_of: Callable[[str], str], found: Findings) -> Arguments:
    """Split, substitute and read the program arguments; `value_of("inputs.x")` gives the text of a binding."""
    given = document.get("task", {}).get("program_arguments")
    if not given:
        return Arguments(read={})
    given = modernise(given, ARGUMENTS, found)
    if not check_references(given, ARGUMENTS, found, set(document["inputs"]), set(document["outputs"])):
        return Arguments(read={})
    try:
        words = split_arguments(given, lambda reference: has_value(document, reference))
    except Unsplittable as error:
        found.problem(ARGUMENTS, f"cannot be split: {error}", "close it")
        return Arguments(read={})
    for reference in {r for word in words for r in _missing(document, word)}:
        what = f"uses ${{{{{reference}}}}}, an optional input that may have no value"
        found.problem(ARGUMENTS, what, f"put it in a group: $[[--flag ${{{{{reference}}}}}]]")
    argv = argv_of(words, value_of)
    return Arguments(argv=tuple(argv), read=read_runtime_arguments(argv, ARGUMENTS, found))


def _missing(document: Mapping[str, Any], word: str) -> list[str]:
    return [reference for reference in references(word) if not has_value(document, reference)]


def effective(document: Mapping[str, Any], read: Mapping[str, Any], name: str, found: Findings) -> Any:
    """A setting by its argument's name: what the program arguments say, else the key of the YAML, else None."""
    value: Any = document
    place = FIELD_OF.get(name, (name,))
    for step in place:
        value = value.get(step) if isinstance(value, Mapping) else None
    if name not in read:
        return value
    if value is not None and value != read[name]:
        found.notice((*ARGUMENTS, f"--{name}"), f"is {read[name]} and goes before {'.'.join(place)}: {value}")
    return read[name]
