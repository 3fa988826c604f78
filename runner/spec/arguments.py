"""Program arguments: split without a shell, and the few among them that speak to the runner itself.

Order: optional groups are kept or dropped, then the text is split on white space (double quotes group), then bindings
are put in, so a path with a space stays one argument. What the runner reads stays in the script's argv too.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from runner.spec.bindings import GroupOpen, decide_groups, substitute
from runner.spec.findings import Findings, Path, nearest
from runner.spec.job_schema import SECONDS
from runner.spec.schema import LOGGING_LEVEL, THRESHOLD
from runner.spec.shapes import Choice, ListOf, Number, Shape, Whole, flag, text
from runner.spec.sizes import mini_batch_text

_WORD = re.compile(r"\$\{\{.*?\}\}|\"[^\"]*\"|[^\s\"]", re.DOTALL)


class Unsplittable(ValueError):
    """The text cannot be split into words; the message says why."""


def split_arguments(argument_text: str, has_value: Callable[[str], bool]) -> list[str]:
    """Split into words, bindings still in place; `has_value("inputs.x")` decides which optional groups stay.

    Raises:
        Unsplittable: a quote or an optional group is not closed.
    """
    try:
        kept = decide_groups(argument_text, has_value)
    except GroupOpen as error:
        raise Unsplittable(str(error)) from None
    words, word, at, begun = [], "", 0, False
    while at < len(kept):
        if kept[at].isspace():
            if begun:
                words.append(word)
            word, begun = "", False
            at += 1
            continue
        match = _WORD.match(kept, at)
        if match is None:
            raise Unsplittable("a double quote is not closed")
        piece = match[0]
        word += piece[1:-1] if piece.startswith('"') else piece
        begun = True
        at = match.end()
    return [*words, word] if begun else words


def argv_of(words: list[str], value_of: Callable[[str], str]) -> list[str]:
    """The words with bindings put in."""
    return [substitute(word, value_of) for word in words]


def _truth(value: Any, at: Path, found: Findings) -> Any:
    return flag(value, at, found)


def _keys(value: Any, at: Path, found: Findings) -> Any:
    """A JSON list, or what is left of one when splitting took its quotes away: `[store,brand]`, `store,brand`."""
    try:
        items = json.loads(value)
    except ValueError:
        items = [item.strip() for item in value.strip().strip("[]").split(",")]
    return ListOf(text, "`--partition_keys store,brand`")(items, at, found)


def _refused(remedy: str, unless: Callable[[str], bool] = lambda value: False) -> Shape:
    def check(value: Any, at: Path, found: Findings) -> Any:
        if unless(value):
            return None
        return found.problem(at, "is not supported by this version", remedy)

    return check


def _without_effect(value: Any, at: Path, found: Findings) -> Any:
    return found.notice(at, "has no effect here; the script still finds it in sys.argv")


def _is_none(value: str) -> bool:
    return value.lower() in ("none", "false", "")


def _is_not_positive(value: str) -> bool:
    return re.fullmatch(r"\s*(0|-\d+)\s*", value) is not None


RUNTIME_ARGUMENTS: Mapping[str, Shape] = {
    "error_threshold": THRESHOLD,
    "allowed_failed_count": THRESHOLD,
    "allowed_failed_percent": Number(low=0, high=100, closed=True),
    "task_overhead_timeout": SECONDS,
    "progress_update_timeout": Number(low=0),
    "first_task_creation_timeout": Number(low=0),
    "append_row_file_name": text,
    "append_row_dataframe_header": _truth,
    "process_count_per_node": Whole(low=1),
    "mini_batch_size": mini_batch_text,
    "run_invocation_timeout": SECONDS,
    "run_max_try": Whole(low=1),
    "logging_level": LOGGING_LEVEL,
    "partition_keys": _keys,
    "output_action": Choice(("append_row", "summary_only"), fold=True),
    "resource_monitor_interval": Number(low=0, closed=True),
    "copy_logs_to_parent": _without_effect,
    "metrics_name_prefix": _without_effect,
    "push_metrics_to_parent": _without_effect,
    "amlbi_dataframe_mixed_types": _without_effect,
    "append_row_safe_output": _without_effect,
    "amlbi_async_mode": _refused("leave it out; mini-batches go through run()", lambda value: value.lower() == "false"),
    "resume_from": _refused("leave it out; `runner resume NAME` goes on with an earlier job"),
    "rank_mini_batch_count": _refused("leave it out; give the job an input to cut", _is_not_positive),
    "profiling_module": _refused("leave it out; profile inside the script", _is_none),
}
"""The arguments that the runner reads, and what their values may be."""

FIELD_OF = {
    "error_threshold": ("error_threshold",),
    "allowed_failed_count": ("mini_batch_error_threshold",),
    "process_count_per_node": ("max_concurrency_per_instance",),
    "mini_batch_size": ("mini_batch_size",),
    "run_invocation_timeout": ("retry_settings", "timeout"),
    "logging_level": ("logging_level",),
    "partition_keys": ("partition_keys",),
}
"""Arguments that say the same as a key of the YAML; the argument wins."""


def read_runtime_arguments(argv: list[str], at: Path, found: Findings) -> dict[str, Any]:
    """What the runner reads out of argv, by name in its final type; both `--name value` and `--name=value` count.

    Names are never abbreviated. Of an argument that is given twice the last one counts, as for argparse.
    """
    read: dict[str, Any] = {}
    index = 0
    while index < len(argv):
        word = argv[index]
        index += 1
        if not word.startswith("--"):
            continue
        name, equals, value = word[2:].partition("=")
        if name not in RUNTIME_ARGUMENTS:
            _warn_of_slip(name, at, found)
            continue
        here = (*at, f"--{name}")
        if not equals:
            if index >= len(argv) or argv[index].startswith("--"):
                found.problem(here, "has no value", f"write `--{name} VALUE`")
                continue
            value = argv[index]
            index += 1
        shaped = RUNTIME_ARGUMENTS[name](value, here, found)
        if shaped is not None:
            read[name] = shaped
    return read


def _warn_of_slip(name: str, at: Path, found: Findings) -> None:
    close = nearest(name, RUNTIME_ARGUMENTS)
    # Most unknown names are the script's own; only one that is off by a letter or two is worth a word.
    if close and abs(len(close) - len(name)) <= 1 and len(name) > 8 and close.startswith(name[:6]):
        found.notice(
            (*at, f"--{name}"), f"is passed to the script untouched; if it was meant for the runner: --{close}"
        )
