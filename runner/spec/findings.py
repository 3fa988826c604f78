"""Collects everything that is wrong or odd in one job, each with its place, so that all of it is told at once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any

from runner.errors import Problem, SpecInvalid

Path = tuple[str | int, ...]
"""The place of a value in a document: its keys and indexes from the root."""


def dotted(at: Path) -> str:
    """The place as users write it: `retry_settings.timeout`, `partition_keys[0]`, `task.program_arguments --x`."""
    text = ""
    for step in at:
        mark = f"[{step}]" if isinstance(step, int) else step
        joint = "" if isinstance(step, int) or not text else " " if mark.startswith("--") else "."
        text += joint + mark
    return text


class Findings:
    """Problems and notices of one document, with the lines of its keys where it came from a file."""

    def __init__(self, file: str, lines: Mapping[Path, int] | None = None) -> None:
        self.file = file
        self.lines = dict(lines or {})
        self._problems: list[Problem] = []
        self._notices: list[str] = []

    def problem(self, at: Path, what: str, remedy: str = "") -> Any:
        """Note that the value at `at` is wrong; `what` goes on after its name. Gives None: a shape can end with it."""
        told = f"{dotted(at)} {what}" if at else what
        self.add(Problem(file=self.file, line=self.line_of(at), path=dotted(at), what=told, remedy=remedy))

    def add(self, problem: Problem) -> None:
        """Note a problem whose place is elsewhere, such as in the entry script; once, however often it is found."""
        if problem not in self._problems:
            self._problems.append(problem)

    def notice(self, at: Path, what: str) -> None:
        """Note something odd that stops nothing."""
        line = self.line_of(at)
        place = f"{self.file}:{line}" if line else self.file
        told = f"{place}: {dotted(at)} {what}" if at else f"{place}: {what}"
        if told not in self._notices:
            self._notices.append(told)

    def line_of(self, at: Path) -> int:
        """The line of the key, or of the nearest one around it; 0 where there is none."""
        while at:
            if at in self.lines:
                return self.lines[at]
            at = at[:-1]
        return self.lines.get((), 0)

    def is_clean(self, *at: str | int) -> bool:
        """Whether no problem is known at that place or below it, so that a second look makes sense."""
        name = dotted(at)
        return not any(
            p.path == name or p.path.startswith((name + ".", name + "[", name + " ")) for p in self._problems
        )

    @property
    def problems(self) -> tuple[Problem, ...]:
        """In the order of their lines, those of other files last."""
        return tuple(sorted(self._problems, key=lambda p: (p.file != self.file, p.file, p.line)))

    @property
    def notices(self) -> tuple[str, ...]:
        return tuple(self._notices)

    def raise_if_any(self) -> None:
        """Raise SpecInvalid with all problems, if there are any."""
        if self._problems:
            raise SpecInvalid(self.problems)


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word most like the given one, if one is like it at all."""
    close = get_close_matches(word, list(known), n=1, cutoff=0.6)
    return close[0] if close else None


def did_you_mean(word: str, known: Iterable[str], otherwise: str) -> str:
    """A remedy for an unknown word: the nearest known one, or else what to do."""
    close = nearest(word, known)
    return f"did you mean `{close}`?" if close else otherwise
