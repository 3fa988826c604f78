"""Small checks that the schema is put together from.

Each takes a value and its place, and gives the value back in its final type.
A shape notes what is wrong and then returns None, which everywhere means "no value".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from runner.spec.findings import Findings, Path, did_you_mean

Shape = Callable[[Any, Path, Findings], Any]
BINDING = re.compile(r"\$\{\{.*\}\}", re.DOTALL)


def kind_of(value: Any) -> str:
    """The kind of a value in the words of YAML, with the value where it is short."""
    match value:
        case bool():
            return str(value).lower()
        case int() | float():
            return str(value)
        case str():
            return repr(value) if len(value) <= 60 else repr(value[:57] + "...")
        case Mapping():
            return "a mapping"
        case list() | tuple():
            return "a list"
        case None:
            return "null"
        case _:
            return f"a {type(value).__name__}"


def anything(value: Any, at: Path, found: Findings) -> Any:
    return value


def text(value: Any, at: Path, found: Findings) -> Any:
    """Text that is not empty."""
    if not isinstance(value, str):
        return found.problem(at, f"is {kind_of(value)}, not text", "write text, in quotes where YAML reads more in it")
    if not value.strip():
        return found.problem(at, "is empty", "write a value, or leave the key out")
    return value


def free_text(value: Any, at: Path, found: Findings) -> Any:
    """Any text, the empty one too."""
    if not isinstance(value, str):
        return found.problem(at, f"is {kind_of(value)}, not text", "write text, in quotes where YAML reads more in it")
    return value


def spelt(value: Any, at: Path, found: Findings) -> Any:
    """Text, or a number or truth that is taken by `str`, as for versions and environment variables."""
    if isinstance(value, str | int | float):
        return str(value)
    return found.problem(at, f"is {kind_of(value)}, not text", "write text")


def flag(value: Any, at: Path, found: Findings) -> Any:
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    return found.problem(at, f"is {kind_of(value)}", "write true or false")


@dataclass(frozen=True, slots=True, kw_only=True)
class Whole:
    """A whole number in a range; text of digits is taken as one."""

    low: int
    high: int | None = None

    @property
    def range(self) -> str:
        upper = "or more" if self.high is None else f"to {self.high}"
        return f"a whole number, {self.low} {upper}"

    def __call__(self, value: Any, at: Path, found: Findings) -> Any:
        number = value
        if isinstance(value, str) and re.fullmatch(r"\s*[+-]?\d+\s*", value):
            number = int(value)
        if isinstance(number, float) and number.is_integer():
            number = int(number)
        if isinstance(number, bool) or not isinstance(number, int):
            return refuse_number(value, at, found, self.range)
        if number < self.low or (self.high is not None and number > self.high):
            return found.problem(at, f"is {number}", f"write {self.range}")
        return number


@dataclass(frozen=True, slots=True, kw_only=True)
class Number:
    """A number in a range that is open at its low end, or closed when `closed`."""

    low: float
    high: float | None = None
    closed: bool = False

    @property
    def range(self) -> str:
        lower = f"{self.low:g} or more" if self.closed else f"above {self.low:g}"
        return f"a number, {lower}" + (f", up to {self.high:g}" if self.high is not None else "")

    def __call__(self, value: Any, at: Path, found: Findings) -> Any:
        number = value
        if isinstance(value, str):
            try:
                number = int(value) if re.fullmatch(r"\s*[+-]?\d+\s*", value) else float(value)
            except ValueError:
                number = None
        if isinstance(number, bool) or not isinstance(number, int | float) or number != number:
            return refuse_number(value, at, found, self.range)
        too_low = number < self.low if self.closed else number <= self.low
        if too_low or (self.high is not None and number > self.high):
            return found.problem(at, f"is {number}", f"write {self.range}")
        return number


def refuse_number(value: Any, at: Path, found: Findings, wanted: str) -> Any:
    """Say that a value is no number; a binding that only a pipeline could resolve is told as such."""
    if isinstance(value, str) and BINDING.search(value):
        return found.problem(at, f"is {value}, and a job of its own has no parent to take it from", f"write {wanted}")
    return found.problem(at, f"is {kind_of(value)}", f"write {wanted}")


@dataclass(frozen=True, slots=True)
class Choice:
    """One of some words, in exactly this spelling unless `fold`."""

    words: tuple[str, ...]
    fold: bool = False

    def __call__(self, value: Any, at: Path, found: Findings) -> Any:
        if isinstance(value, str):
            sought = value.lower() if self.fold else value
            if sought in self.words:
                return sought
        return found.problem(at, f"is {kind_of(value)}", f"write {one_of(self.words)}")


def one_of(words: tuple[str, ...]) -> str:
    """`a`, `b` or `c`."""
    quoted = [f"`{word}`" for word in words]
    return quoted[0] if len(quoted) == 1 else f"{', '.join(quoted[:-1])} or {quoted[-1]}"


@dataclass(frozen=True, slots=True)
class ListOf:
    """A list, its items of one shape; never empty where `some`."""

    item: Shape
    example: str
    some: bool = True

    def __call__(self, value: Any, at: Path, found: Findings) -> Any:
        if not isinstance(value, list | tuple):
            return found.problem(at, f"is {kind_of(value)}, not a list", f"write {self.example}")
        if self.some and not value:
            return found.problem(at, "is an empty list", f"write {self.example}, or leave the key out")
        items = [self.item(item, (*at, index), found) for index, item in enumerate(value)]
        return [item for item in items if item is not None]


@dataclass(frozen=True, slots=True)
class MapOf:
    """A mapping from names to values of one shape; null for a value reaches the shape where `nullable`."""

    item: Shape
    example: str
    names: re.Pattern[str] | None = None
    nullable: bool = False

    def __call__(self, value: Any, at: Path, found: Findings) -> Any:
        if not isinstance(value, Mapping):
            return found.problem(at, f"is {kind_of(value)}, not a mapping", f"write {self.example}")
        result = {}
        for name, item in value.items():
            here = (*at, str(name))
            if not isinstance(name, str) or (self.names and not self.names.fullmatch(name)):
                found.problem(here, "is not a name that can be used here", "use letters, digits and underscores")
            elif item is None and not self.nullable:
                found.problem(here, "is null", "write a value, or leave the key out")
            elif (shaped := self.item(item, here, found)) is not None:
                result[name] = shaped
        return result


@dataclass(frozen=True, slots=True)
class Key:
    """One key of a table: its shape, what it means, and what stands in when it is left out."""

    shape: Shape
    says: str
    default: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A mapping with known keys; anything else is a problem that names the nearest one."""

    keys: Mapping[str, Key]
    ignored: frozenset[str] = frozenset()
    """Keys that are dropped without a word: the schema's address, what only a service may write."""
    tolerated: Mapping[str, str] = field(default_factory=dict)
    """Keys that are dropped with a notice that says this."""
    elsewhere: Mapping[str, str] = field(default_factory=dict)
    """Keys that belong somewhere else, and where."""

    def __call__(self, value: Any, at: Path, found: Findings) -> Any:
        if not isinstance(value, Mapping):
            known = ", ".join(list(self.keys)[:3])
            return found.problem(at, f"is {kind_of(value)}, not a mapping", f"write keys below it, such as {known}")
        result = {}
        for name, item in value.items():
            here = (*at, str(name))
            if name in self.keys:
                shaped = None if item is None else self.keys[name].shape(item, here, found)
                if shaped is not None:
                    result[name] = shaped
            elif name in self.tolerated:
                found.notice(here, self.tolerated[name])
            elif name not in self.ignored:
                self._unknown(str(name), here, found)
        return result

    def _unknown(self, name: str, at: Path, found: Findings) -> Any:
        if name in self.elsewhere:
            found.problem(at, "does not belong here", f"write it below `{self.elsewhere[name]}:`")
        else:
            listed = ", ".join(sorted(self.keys))
            remedy = did_you_mean(name, self.keys, f"the keys here are {listed}")
            found.problem(at, "is no known key", remedy)
