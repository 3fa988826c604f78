"""Which files of a code folder are left out of its snapshot: `.amlignore`, or else `.gitignore`, at its root.

The syntax is that of gitignore: comments, `!` to take back, `/` at the end for folders, `/` elsewhere to anchor,
`*`, `?`, `[...]` and `**`. The last pattern that matches decides; what lies in a folder that is left out stays out.
Ignore files further down are not read.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

IGNORE_FILES = (".amlignore", ".gitignore")
_ALWAYS = (".git/", "__pycache__/", "*.pyc")


class _Rule(NamedTuple):
    pattern: re.Pattern[str]
    folders_only: bool
    takes_back: bool


class IgnoreRules:
    """The rules of one ignore file; asked for each path from the top down."""

    def __init__(self, lines: Iterable[str], source: str = "") -> None:
        self.source = source
        rules = [_rule_of(line) for line in (*_ALWAYS, *lines)]
        self._rules = [rule for rule in rules if rule is not None]

    @classmethod
    def of_folder(cls, folder: Path) -> IgnoreRules:
        """The rules at the root of a folder; `.amlignore` goes before `.gitignore`."""
        for name in IGNORE_FILES:
            file = folder / name
            if file.is_file():
                return cls(file.read_text(encoding="utf-8", errors="surrogateescape").splitlines(), name)
        return cls(())

    def leaves_out(self, path: str, is_folder: bool) -> bool:
        """Whether the path, relative to the root with `/` between names, is left out by a rule of its own."""
        for rule in reversed(self._rules):
            if (is_folder or not rule.folders_only) and rule.pattern.fullmatch(path):
                return not rule.takes_back
        return False

    def leaves_out_below(self, path: str) -> bool:
        """Whether a file is left out, by itself or with a folder around it."""
        steps = path.split("/")
        folders = ("/".join(steps[:count]) for count in range(1, len(steps)))
        return any(self.leaves_out(folder, True) for folder in folders) or self.leaves_out(path, False)


def _rule_of(line: str) -> _Rule | None:
    text = re.sub(r"(?<!\\)\s+$", "", line.rstrip("\r\n"))
    if not text or text.startswith("#"):
        return None
    takes_back = text.startswith("!")
    text = text[1:] if takes_back else text
    folders_only = text.endswith("/")
    text = text.rstrip("/")
    anchored = "/" in text
    text = text.removeprefix("/")
    if not text:
        return None
    prefix = "" if anchored else "(?:.*/)?"
    return _Rule(re.compile(prefix + _translate(text), re.DOTALL), folders_only, takes_back)


def _translate(text: str) -> str:
    """A gitignore pattern as a regular expression."""
    out, at = "", 0
    while at < len(text):
        if text.startswith("**/", at) and (at == 0 or text[at - 1] == "/"):
            out, at = out + "(?:.*/)?", at + 3
        elif text.startswith("/**", at) and at + 3 == len(text):
            out, at = out + "/.*", at + 3
        elif text[at] == "*":
            while text[at : at + 1] == "*":
                at += 1
            out += "[^/]*"
        elif text[at] == "?":
            out, at = out + "[^/]", at + 1
        elif text[at] == "[" and (match := re.match(r"\[(!|\^)?(\]?[^\]]*)\]", text[at:])):
            inside = match[2].replace("\\", "\\\\").replace("[", "\\[")
            out, at = f"{out}(?!/)[{'^' if match[1] else ''}{inside}]", at + match.end()
        elif text[at] == "\\" and at + 1 < len(text):
            out, at = out + re.escape(text[at + 1]), at + 2
        else:
            out, at = out + re.escape(text[at]), at + 1
    return out
