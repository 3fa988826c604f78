"""YAML text to plain values, with the line of every key; the only place that reads YAML.

Types are those of YAML 1.1 as PyYAML reads it (`yes` is true, `1e3` is text), with two refusals that spare users
a surprise: a key given twice, and a bare date.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import yaml

from runner.errors import Problem, SpecInvalid
from runner.spec.findings import Findings, Path, dotted

_TAG = "tag:yaml.org,2002:"
_PLAIN = {_TAG + name for name in ("str", "int", "float", "bool", "null")}
_DEPTH_LIMIT = 100
_VALUE_LIMIT = 1_000_000
_UNREADABLE = object()
"""Stands for a value that has been complained about and is left out."""


@dataclass(slots=True, kw_only=True)
class Document:
    """What a file says, and on which line each key stands."""

    file: str
    values: dict[str, Any]
    lines: dict[Path, int] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()
    """Found while reading; the values at these places are left out."""


def read_document(text: str, file: str) -> Document:
    """Parse YAML text into a document; raises SpecInvalid when it is no mapping at all."""
    loader = yaml.CSafeLoader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            raise _unreadable(
                file, 0, "the file is empty", "write a job: `type:` command, parallel or pipeline, and its keys"
            )
        if not isinstance(node, yaml.MappingNode):
            kind = "a list" if isinstance(node, yaml.SequenceNode) else "a single value"
            raise _unreadable(file, _line(node), f"the file holds {kind}, not a mapping", "write `key: value` lines")
        reader = _Reader(loader, file)
        values = reader.mapping(node, ())
        return Document(file=file, values=values, lines=reader.lines, problems=reader.found.problems)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        told = ", ".join(part for part in (error.context, error.problem) if part)
        raise _unreadable(file, mark.line + 1 if mark else 0, f"this is no YAML: {told}", _yaml_remedy(told)) from None
    except yaml.YAMLError as error:
        raise _unreadable(file, 0, f"this is no YAML: {error}", "save the file as UTF-8 text") from None
    finally:
        loader.dispose()


def scalar_of(text: str) -> Any:
    """The value of one piece of text typed as YAML would: `--set error_threshold=5` means a number."""
    if not text.strip():
        return text
    try:
        return yaml.load(text, Loader=yaml.CSafeLoader)
    except yaml.YAMLError:
        return text


def write_yaml(values: dict[str, Any], **options: Any) -> str:
    """Block style, keys sorted, ends with a newline."""
    options = {"sort_keys": True, "default_flow_style": False, "allow_unicode": True, **options}
    return str(yaml.dump(values, Dumper=_Dumper, **options))


class _Dumper(yaml.CSafeDumper):
    """Writes what stands in several places each time, instead of once and then by an alias."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _unreadable(file: str, line: int, what: str, remedy: str) -> SpecInvalid:
    return SpecInvalid((Problem(file=file, line=line, path="", what=what, remedy=remedy),))


def _yaml_remedy(told: str) -> str:
    if "cannot start any token" in told:
        return "indent with spaces, and put quotes around a value that begins with a tab, @, ` or %"
    if "mapping values are not allowed" in told:
        return "put quotes around a value that contains `: `, and check the indentation"
    return "check indentation, quotes and brackets on this line and the one before"


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1


class _Reader:
    """Walks the nodes of one text."""

    def __init__(self, loader: yaml.CSafeLoader, file: str) -> None:
        self._loader = loader
        self.lines: dict[Path, int] = {}
        self.found = Findings(file)
        self.found.lines = self.lines

    def mapping(self, node: yaml.MappingNode, at: Path) -> dict[str, Any]:
        self.lines.setdefault(at, _line(node))
        values: dict[str, Any] = {}
        own: set[str] = set()
        for key_node, value_node in node.value:
            if key_node.tag == f"{_TAG}merge":
                self._merge(value_node, at, values)
                continue
            key = self._key(key_node, at)
            if key is None:
                continue
            here = (*at, key)
            if key in own:
                first = self.lines[here]
                self.lines[here] = _line(key_node)
                self.found.problem(here, f"is given twice, first on line {first}", "keep one of the two")
                continue
            own.add(key)
            self.lines[here] = _line(key_node)
            value = self.value(value_node, here)
            if value is not _UNREADABLE:
                values[key] = value
        return values

    def _key(self, node: yaml.Node, at: Path) -> str | None:
        if isinstance(node, yaml.ScalarNode):
            key = self._loader.construct_object(node) if node.tag in _PLAIN else None
            if isinstance(key, str):
                return key
            self.lines[(*at, node.value)] = _line(node)
            self.found.problem((*at, node.value), "is a key that is no text", f'put it in quotes: "{node.value}"')
        else:
            self.found.problem(at, "has a key that is a list or a mapping", "use text as keys")
        return None

    def _merge(self, node: yaml.Node, at: Path, values: dict[str, Any]) -> None:
        nodes = node.value if isinstance(node, yaml.SequenceNode) else [node]
        for one in nodes:
            if not isinstance(one, yaml.MappingNode):
                self.found.problem(at, "merges (`<<`) something that is no mapping", "merge an anchored mapping")
                continue
            for key, value in self.mapping(one, at).items():
                values.setdefault(key, value)

    def value(self, node: yaml.Node, at: Path) -> Any:
        self.lines.setdefault(at, _line(node))
        if len(at) > _DEPTH_LIMIT:
            raise _unreadable(self.found.file, _line(node), "the values are nested too deeply", "remove the loop")
        if len(self.lines) > _VALUE_LIMIT:
            what = f"the file holds more than {_VALUE_LIMIT:,} values, those behind aliases (`*name`) counted"
            raise _unreadable(self.found.file, _line(node), what, "remove aliases of aliases")
        if isinstance(node, yaml.MappingNode) and node.tag == f"{_TAG}map":
            return self.mapping(node, at)
        if isinstance(node, yaml.SequenceNode) and node.tag == f"{_TAG}seq":
            items = [self.value(item, (*at, index)) for index, item in enumerate(node.value)]
            return [item for item in items if item is not _UNREADABLE]
        if node.tag in _PLAIN:
            try:
                return self._loader.construct_object(node)
            except (ValueError, yaml.YAMLError):
                self.found.problem(at, f"is {node.value!r}, which cannot be read", "put it in quotes")
                return _UNREADABLE
        if node.tag == f"{_TAG}timestamp":
            self.found.problem(at, f"is a bare date ({node.value})", f'put it in quotes: "{node.value}"')
        else:
            self.found.problem(at, f"has the tag {node.tag}", f"write {dotted(at)} as plain text, number or true/false")
        return _UNREADABLE
