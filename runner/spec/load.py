"""`load_job`: YAML to a job object, or everything that is wrong with it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from runner.errors import ArgumentInvalid, Problem, SpecInvalid
from runner.spec.document import Document, read_document, scalar_of
from runner.spec.findings import Findings
from runner.spec.jobs import Job, Origin, Submitted
from runner.spec.kinds import kind_of_document
from runner.spec.leaf_kinds import Kind


def load_job(
    source: str | os.PathLike[str] | IO[str],
    *,
    relative_origin: str | os.PathLike[str] | None = None,
    params_override: Sequence[Mapping[str, Any]] | None = None,
) -> Job:
    """Read a job from YAML and check everything that the file and its code can tell.

    Args:
        source: a path or a text stream; a stream is not closed.
        relative_origin: the folder that relative paths start from; by default that of the file.
        params_override: mappings of dotted keys to values, put in before anything is checked.

    Raises:
        ValidationException: all problems at once, each with file, line and remedy. Data that is missing is told
            among others, but is no reason to refuse by itself: it is looked for when the job is submitted.
    """
    text, file, folder = _read(source)
    document = read_document(text, file)
    for key, value in _overrides(params_override):
        _override(document, key, value)
    base = _origin_folder(relative_origin) if relative_origin is not None else folder
    found = Findings(file, document.lines)
    for problem in document.problems:
        found.add(problem)
    kind = kind_of_document(document.values, found)
    shaped = kind.shape(document.values, base, found) if kind is not None else None
    if kind is None or shaped is None:
        raise SpecInvalid(found.problems)
    kind.check(shaped, base, found)
    if found.problems:
        kind.check_data(shaped, base, found, None)
        raise SpecInvalid(found.problems)
    origin = Origin(file=file, lines=document.lines, notices=found.notices)
    return _build(kind, shaped, base, origin, Submitted())


def job_of_document(document: Mapping[str, Any], base: Path = Path("/"), *, submitted: Submitted | None = None) -> Job:
    """A job object from a document that was checked before, such as the store's; nothing is looked for on disk."""
    found = Findings("job")
    kind = kind_of_document(document, found)
    shaped = kind.shape(document, base, found) if kind is not None else None
    if kind is None or shaped is None or found.problems:
        raise SpecInvalid(found.problems)
    return _build(kind, shaped, base, None, submitted or Submitted())


def setting_of(text: str) -> dict[str, Any]:
    """One `--set key=value` as an override; the value is typed as YAML would, and empty text stays text.

    Raises:
        ArgumentInvalid: there is no `=`, or no key before it.
    """
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise ArgumentInvalid("--set", f"{text!r} is no setting; write --set key.key=value")
    return {key.strip(): scalar_of(value)}


def _read(source: str | os.PathLike[str] | IO[str]) -> tuple[str, str, Path]:
    """The text, its name as the user wrote it, and the folder it is in."""
    if isinstance(source, str | os.PathLike):
        file = os.fspath(source)
        try:
            return Path(file).read_text(encoding="utf-8-sig"), file, Path(os.path.abspath(file)).parent
        except FileNotFoundError:
            raise _no_file(file, "there is no such file", f"looked for {os.path.abspath(file)}") from None
        except IsADirectoryError:
            raise _no_file(file, "this is a folder", "give the path of a YAML file in it") from None
        except UnicodeDecodeError as error:
            raise _no_file(file, f"this is no UTF-8 text ({error.reason})", "save it as UTF-8") from None
        except OSError as error:
            raise _no_file(file, f"cannot be read: {error.strerror}", "check the path and its permissions") from None
    if not hasattr(source, "read"):
        raise ArgumentInvalid("source", f"is a {type(source).__name__}; give a path or a text stream")
    text = source.read()
    if not isinstance(text, str):
        raise ArgumentInvalid("source", "is a binary stream; open the file as text")
    name = getattr(source, "name", None)
    if isinstance(name, str) and os.path.isfile(name):
        return text, name, Path(os.path.abspath(name)).parent
    return text, name if isinstance(name, str) else "<stream>", Path(os.getcwd())


def _no_file(file: str, what: str, remedy: str) -> SpecInvalid:
    return SpecInvalid((Problem(file=file, line=0, path="", what=what, remedy=remedy),))


def _origin_folder(origin: str | os.PathLike[str]) -> Path:
    path = Path(os.path.abspath(origin))
    return path.parent if path.is_file() else path


def _overrides(given: Any) -> Iterator[tuple[str, Any]]:
    """What is to be put in, in order; one mapping stands for a list of it."""
    for override in [given] if isinstance(given, Mapping) else given or ():
        if not isinstance(override, Mapping) or not all(isinstance(key, str) for key in override):
            raise ArgumentInvalid("params_override", f"holds {override!r}; give mappings of dotted keys to values")
        yield from override.items()


def _override(document: Document, key: str, value: Any) -> None:
    """Put a value at a dotted key, making the mappings around it; a value is never stepped through."""
    steps = key.split(".")
    if not all(steps):
        raise ArgumentInvalid("params_override", f"{key!r} is no dotted key; write key.key=value")
    inner = document.values
    for index, step in enumerate(steps[:-1]):
        rest = ".".join(steps[index:])
        if rest in inner:  # an input in a group, such as `learning.rate`
            steps[index:] = [rest]
            break
        below = inner.get(step)
        if below is None:
            below = inner[step] = {}
        if not isinstance(below, dict):
            at = ".".join(steps[: index + 1])
            raise ArgumentInvalid("params_override", f"{key!r} goes through {at}, which is {below!r} and not a mapping")
        inner = below
    inner[steps[-1]] = value
    place = tuple(steps)
    # The lines of what was there say nothing about what is there now.
    document.lines = {at: line for at, line in document.lines.items() if at[: len(place)] != place}
    document.lines[place] = 0
    document.problems = tuple(p for p in document.problems if p.path != key and not p.path.startswith(f"{key}."))


def _build(kind: Kind, shaped: dict[str, Any], base: Path, origin: Origin | None, submitted: Submitted) -> Job:
    job = kind.build(shaped)
    job._base_path = base
    job._origin = origin
    job._submitted = submitted
    return job
