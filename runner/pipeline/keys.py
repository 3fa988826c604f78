"""What decides whether an earlier result stands in for running a step: its parts by name, and words for a difference.

Pure: digests and the environment's text come from outside. A part is short text where that says something to a user,
else a digest. What is not listed here counts, so that a setting that is new does not reuse what it would change.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from runner.entity.asset import ReuseEntry, ReuseKey
from runner.entity.pipeline import StepSpec
from runner.spec.data_shapes import is_literal, literal_of

VERSION = 1
"""Part of every key: whoever changes what counts changes it, and nothing earlier is reused."""
_UNKNOWN = "unknown: "
NO_VALUE = "no value"
_DATA = "data "
_SHORT = 60
_NAMED_FILES = 3
_NAMED_PARTS = 4
_FROM_STEP = re.compile(r"\$\{\{\s*steps\.([^{}]+)\.outputs\.([^{}.\s]+)\s*\}\}")

_ABOUT = frozenset(
    {
        "$schema",
        "type",
        "name",
        "version",
        "display_name",
        "description",
        "tags",
        "properties",
        "experiment_name",
        "comment",
        "services",
        "identity",
        "is_deterministic",
        "compute",
        "component",
        "parameters",
    }
)
"""Says something about a job, or where it runs, and nothing about what comes out."""
_TOLD_APART = frozenset(
    {"command", "code", "additional_includes", "environment", "environment_variables", "inputs", "outputs", "task"}
)
"""Has parts of its own; code with what is included is one tree."""
_HOW = {
    "command": frozenset({"limits", "queue_settings", "resources", "runner"}),
    "parallel": frozenset(
        {
            "max_concurrency_per_instance",
            "error_threshold",
            "mini_batch_error_threshold",
            "retry_settings",
            "logging_level",
            "resources",
            "runner",
        }
    ),
}
"""How a job runs: instances, workers, time-outs, retries, thresholds and logging change nothing about its results."""
_RUNNER_HOW = frozenset(
    {"overwrite", "depends_on", "retry_settings", "cancel_grace", "memory", "speculate", "gpus_per_worker"}
)
_OUTPUT = ("type", "mode", "path", "name", "version")


def key_of(
    step: StepSpec,
    *,
    code: str,
    environment: str,
    data: Mapping[str, str],
    made: Callable[[str, str], str],
) -> ReuseKey:
    """The key of a step.

    Args:
        code: the digest of its code tree; empty for none.
        environment: what it runs in.
        data: for each of its inputs that is data and has a value, what is there.
        made: what another step has made, by its key and the output's name; for bindings inside texts.
    """
    parts = dict(sorted(_parts(step, code, environment, data, made)))
    whole = hashlib.sha256(_canonical({"version": VERSION, "parts": parts}).encode())
    return ReuseKey(key=whole.hexdigest(), family=step.key, parts=parts)


def data_part(value: Mapping[str, Any], digest: str, path: str) -> str:
    """The part of an input that is data. Of its name only what readers tell formats by counts, and only for a file."""
    suffix = os.path.splitext(path)[1] if value.get("type") == "uri_file" else ""
    return f"{_DATA}{value.get('type', 'uri_folder')} {value.get('mode', 'ro_mount')} {digest}{suffix}"


def unknown_part(why: str) -> str:
    """The part of an input whose content cannot be known: no key with it is ever met again."""
    return f"{_UNKNOWN}{why}"


def _parts(
    step: StepSpec, code: str, environment: str, data: Mapping[str, str], made: Callable[[str, str], str]
) -> Iterator[tuple[str, str]]:
    document = _settled(step.document, made)
    task = _mapping(document.get("task"))
    yield "kind", step.type
    yield "code", code or "none"
    yield "environment", environment
    if step.type == "command":
        yield "command", _short(str(document.get("command") or "").strip())
        yield "distribution", _short(_canonical(document.get("distribution")))
        yield "instance_count", str(_mapping(document.get("resources")).get("instance_count") or 1)
    else:
        yield "entry_script", _short(_script(str(task.get("entry_script") or "")))
        for name in sorted(set(task) - {"type", "code", "environment", "entry_script"}):
            yield name, _short(_said(task[name]))
    for name, value in _mapping(document.get("environment_variables")).items():
        yield f"environment variable {name}", _short(str(value))
    for name, value in _mapping(document.get("inputs")).items():
        yield f"input {name}", _literal(value) if is_literal(value) else data.get(name, NO_VALUE)
    for name, value in _mapping(document.get("outputs")).items():
        yield f"output {name}", _short(_output(_mapping(value), step.job))
    for name in sorted(set(document) - _ABOUT - _TOLD_APART - _HOW[step.type]):
        if document[name] not in (None, {}, []):
            yield name, _short(_said(document[name]))
    for name, value in _mapping(document.get("runner")).items():
        if name not in _RUNNER_HOW and value is not None:
            yield name, _short(_said(value))


def _settled(value: Any, made: Callable[[str, str], str]) -> Any:
    """A document in which what another step has made is written as its content."""
    if isinstance(value, Mapping):
        return {str(key): _settled(inner, made) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_settled(inner, made) for inner in value]
    if isinstance(value, str) and "${{" in value:
        return _FROM_STEP.sub(lambda found: f"<{made(found[1].strip(), found[2])}>", value)
    return value


def _literal(value: Any) -> str:
    worth = literal_of(value)
    return NO_VALUE if worth is None else f"{type(worth).__name__} {_short(str(worth))}"


def _output(value: Mapping[str, Any], job: str) -> str:
    """The settings of an output; that the default place has the job's name in it is no difference."""
    said = {name: value[name] for name in _OUTPUT if value.get(name) is not None}
    said["path"] = str(said.get("path") or "").replace(job, "${{name}}")
    return _canonical({"type": "uri_folder", "mode": "rw_mount", **said})


def _script(path: str) -> str:
    return os.path.basename(path) if os.path.isabs(path) else os.path.normpath(path)


def _said(value: Any) -> str:
    return value if isinstance(value, str) else _canonical(value)


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)


def _short(text: str) -> str:
    """The text itself where it is short and one line, else its digest."""
    if len(text) <= _SHORT and text.isprintable() and not text.startswith("sha256:"):
        return text
    return f"sha256:{hashlib.sha256(text.encode('utf-8', 'surrogateescape')).hexdigest()}"


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


# ---- words ----------------------------------------------------------------------------------------------
def differing(old: ReuseKey, new: ReuseKey) -> tuple[str, ...]:
    """The parts in which two keys differ, those first that say most."""
    names = [name for name in {**old.parts, **new.parts} if old.parts.get(name) != new.parts.get(name)]
    first = ("kind", "code", "command", "entry_script", "environment")
    return tuple(sorted(names, key=lambda name: (first.index(name) if name in first else len(first), name)))


def closest(entries: Sequence[ReuseEntry], key: ReuseKey) -> ReuseEntry | None:
    """The entry with the fewest differences; of several the first."""
    return min(entries, key=lambda entry: len(differing(entry.key, key)), default=None)


def tell_difference(old: ReuseEntry, new: ReuseKey, *, files: Iterable[str] = (), places: Mapping[str, str]) -> str:
    """Why `old` does not stand in, in the words of its user.

    Args:
        files: the files of the code that differ.
        places: where the data of the inputs comes from.
    """
    names = differing(old.key, new)
    told = [_told(name, old.key.parts.get(name), new.parts.get(name), files, places) for name in names[:_NAMED_PARTS]]
    if len(names) > _NAMED_PARTS:
        told.append(f"{len(names) - _NAMED_PARTS} more")
    verb = "differs" if len(names) == 1 else "differ"
    return f"ran: {_listed(told)} {verb} from {old.job}"


def _told(name: str, old: str | None, new: str | None, files: Iterable[str], places: Mapping[str, str]) -> str:
    if name == "code":
        named = _listed_briefly(files)
        return f"code ({named})" if named else "code"
    if name == "environment" and old is not None and new is not None:
        return _told_environment(old, new)
    side, _, inside = name.partition(" ")
    if side == "output":
        return f"{name} ({'no longer there' if new is None else 'new' if old is None else 'its settings'})"
    if side == "input" and _is_data(old) and _is_data(new):
        place = places.get(inside)
        return f"the content of {name} ({place})" if place else f"the content of {name}"
    if new is None:
        return f"{name} (no longer there)"
    if old is None:
        return f"{name} (new)"
    if name == "command" or "sha256:" in old + new or _is_data(old) or _is_data(new):
        return name
    return f"{name} ({_bare(new, side)}, was {_bare(old, side)})"


def _is_data(part: str | None) -> bool:
    """Whether the part of an input is what `data_part` made."""
    return part is not None and part.startswith(_DATA)


def _bare(part: str, side: str) -> str:
    """A literal without its type."""
    return part.partition(" ")[2] if side == "input" and part != NO_VALUE else part


def _told_environment(old: str, new: str) -> str:
    before, after = old.partition("; ")[0], new.partition("; ")[0]
    if before != after:
        return f"the environment ({after}, was {before})"
    return "the environment (its installed packages)"


def _listed_briefly(files: Iterable[str]) -> str:
    names = sorted(files)
    more = f" and {len(names) - _NAMED_FILES} more" if len(names) > _NAMED_FILES else ""
    return ", ".join(names[:_NAMED_FILES]) + more


def _listed(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
