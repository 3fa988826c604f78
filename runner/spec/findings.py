"""Collects everything that is wrong or odd in one job, each with its place, so that all of it is told at once."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from typing import Any

from runner.errors import Problem, SpecInvalid

Path = tuple[str | int, ...]
"""The place of a value in a document: its keys and indexes from the root."""
_JOINT = re.compile(r"[. \[]")


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
        self._problems: dict[Problem, None] = {}
        self._notices: dict[str, None] = {}
        self._unclean: set[str] = set()
        self.about: object = None
        """The document that was looked at, where it is worth keeping."""

    def problem(self, at: Path, what: str, remedy: str = "") -> Any:
        """Note that the value at `at` is wrong; `what` goes on after its name. Gives None: a shape can end with it."""
        told = f"{dotted(at)} {what}" if at else what
        self.add(Problem(file=self.file, line=self.line_of(at), path=dotted(at), what=told, remedy=remedy))

    def add(self, problem: Problem) -> None:
        """Note a problem whose place is elsewhere, such as in the entry script; once, however often it is found."""
        self._problems[problem] = None
        self._unclean.add(problem.path)
        self._unclean.update(problem.path[: joint.start()] for joint in _JOINT.finditer(problem.path))

    def take(self, other: Findings) -> None:
        """Note all that was found elsewhere, such as in the file of a component."""
        for problem in other.problems:
            self.add(problem)
        self._notices.update(dict.fromkeys(other.notices))

    def notice(self, at: Path, what: str) -> None:
        """Note something odd that stops nothing."""
        line = self.line_of(at)
        place = f"{self.file}:{line}" if line else self.file
        told = f"{place}: {dotted(at)} {what}" if at else f"{place}: {what}"
        self._notices[told] = None

    def line_of(self, at: Path) -> int:
        """The line of the key, or of the nearest one around it; 0 where there is none."""
        while at:
            if at in self.lines:
                return self.lines[at]
            at = at[:-1]
        return self.lines.get((), 0)

    def is_clean(self, *at: str | int) -> bool:
        """Whether no problem is known at that place or below it, so that a second look makes sense."""
        return not self._unclean or dotted(at) not in self._unclean

    @property
    def problems(self) -> tuple[Problem, ...]:
        """In the order of their lines, those of other files last."""
        return tuple(sorted(self._problems, key=lambda p: (p.file != self.file, p.file, p.line)))

    @property
    def notices(self) -> tuple[str, ...]:
        return tuple(self._notices)

    @property
    def passed(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems

    @property
    def error_messages(self) -> dict[str, str]:
        """What is wrong, by its place; `*` is the whole."""
        told: dict[str, list[str]] = {}
        for problem in self.problems:
            told.setdefault(problem.path or "*", []).append(problem.message)
        return {path: "; ".join(messages) for path, messages in told.items()}

    def _to_dict(self) -> dict[str, Any]:
        """The findings in the form that users of these jobs know."""
        said: dict[str, Any] = {"result": "Succeeded" if self.passed else "Failed"}
        if not self.passed:
            said["errors"] = [
                {
                    "message": problem.message,
                    "path": problem.path or "*",
                    "location": f"{problem.file}#line {problem.line}" if problem.line else problem.file,
                }
                for problem in self.problems
            ]
        if self.notices:
            said["warnings"] = [{"message": notice} for notice in self.notices]
        return said

    def raise_if_any(self) -> None:
        """Raise SpecInvalid with all problems, if there are any."""
        if self._problems:
            raise SpecInvalid(self.problems)


class Routed(Findings):
    """Findings of one part of a document, or of one that was put together from several: each place has its own home."""

    def __init__(self, home_of: Callable[[Path], tuple[Findings, Path]]) -> None:
        whole, _ = home_of(())
        self.file = whole.file
        self._home_of = home_of

    @classmethod
    def below(cls, whole: Findings, at: Path) -> Routed:
        """The findings of what stands at one place; places count from there."""
        return cls(lambda inner: (whole, (*at, *inner)))

    def problem(self, at: Path, what: str, remedy: str = "") -> Any:
        whole, place = self._home_of(at)
        return whole.problem(place, what, remedy)

    def add(self, problem: Problem) -> None:
        self._home_of(())[0].add(problem)

    def notice(self, at: Path, what: str) -> None:
        whole, place = self._home_of(at)
        whole.notice(place, what)

    def line_of(self, at: Path) -> int:
        whole, place = self._home_of(at)
        return whole.line_of(place)

    def is_clean(self, *at: str | int) -> bool:
        whole, place = self._home_of(at)
        return whole.is_clean(*place)

    @property
    def problems(self) -> tuple[Problem, ...]:
        return self._home_of(())[0].problems

    @property
    def notices(self) -> tuple[str, ...]:
        return self._home_of(())[0].notices


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word most like the given one, if one is like it at all."""
    close = get_close_matches(word, list(known), n=1, cutoff=0.6)
    return close[0] if close else None


def did_you_mean(word: str, known: Iterable[str], otherwise: str) -> str:
    """A remedy for an unknown word: the nearest known one, or else what to do."""
    close = nearest(word, known)
    return f"did you mean `{close}`?" if close else otherwise
