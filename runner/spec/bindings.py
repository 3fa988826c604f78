"""`${{inputs.x}}` and its kin: found, checked and substituted."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection

from runner.spec.findings import Findings, Path, did_you_mean

REFERENCE = re.compile(r"\$\{\{(.*?)\}\}", re.DOTALL)
_OPEN = re.compile(r"\$\{\{\s*(?:inputs|outputs|parent)\b[\w.]*")
_LEGACY = re.compile(r"(?<![{$])\{((?:inputs|outputs|search_space)\.\w+)\}(?!\})")
_GROUP = re.compile(r"\$\[\[(.*?)\]\](?!\])", re.DOTALL)
_KNOWN = re.compile(r"(inputs|outputs)\.(\w+(?:\.\w+)*)")


def references(text: str) -> list[str]:
    """What stands between `${{` and `}}`, without white space around it."""
    # Most texts hold none, and pipelines of thousands of steps hold many texts.
    return [match.strip() for match in REFERENCE.findall(text)] if "${{" in text else []


def reference_to(side: str, text: str) -> str | None:
    """The name x when `text` is exactly `${{side.x}}`."""
    match = re.fullmatch(rf"\s*\$\{{\{{\s*{side}\.(\w+(?:\.\w+)*)\s*\}}\}}\s*", text)
    return match[1] if match else None


class GroupOpen(ValueError):
    """An optional group that is not closed; the message says so."""


def decide_groups(text: str, has_value: Callable[[str], bool]) -> str:
    """The text with its optional groups `$[[...]]` decided: kept when every binding in one has a value, else dropped.

    Raises:
        GroupOpen: a group is not closed.
    """

    def keep(match: re.Match[str]) -> str:
        return match[1] if all(map(has_value, references(match[1]))) else ""

    if "$[[" not in text:
        return text
    decided = _GROUP.sub(keep, text)
    if "$[[" in decided:
        raise GroupOpen("an optional group $[[ is not closed by ]]")
    return decided


def outside_groups(text: str) -> list[str]:
    """The bindings that stand outside optional groups, and so need a value."""
    return references(_GROUP.sub("", text))


def substitute(text: str, value_of: Callable[[str], str]) -> str:
    """Put `value_of("inputs.x")` where `${{inputs.x}}` stands."""
    return REFERENCE.sub(lambda match: value_of(match[1].strip()), text)


def modernise(text: str, at: Path, found: Findings) -> str:
    """Rewrite the old `{inputs.x}` to `${{inputs.x}}`, with a notice; other braces are left alone."""
    if not _LEGACY.search(text):
        return text
    found.notice(at, "uses the old form {inputs.x}; it is read as ${{inputs.x}}")
    return _LEGACY.sub(r"${{\1}}", text)


def check_references(
    text: str, at: Path, found: Findings, inputs: set[str], outputs: set[str], *, others: Collection[str] = ()
) -> bool:
    """Note every binding that is of no known form or names nothing; True when there is none. `others` are good too."""
    good = True
    for reference in references(text):
        if reference in others:
            continue
        match = _KNOWN.fullmatch(reference)
        if match is None:
            if reference.startswith("parent."):
                why, remedy = "but a job of its own has no parent", "write the value itself"
            else:
                why, remedy = "a binding of no known form", "write ${{inputs.<name>}} or ${{outputs.<name>}}"
            found.problem(at, f"holds ${{{{{reference}}}}}, {why}", remedy)
            good = False
            continue
        side, name = match[1], match[2]
        known = inputs if side == "inputs" else outputs
        if name not in known:
            good = False
            if not found.is_clean(side, name):
                continue  # it is declared, only wrongly
            what = f"names ${{{{{reference}}}}}, and there is no such {side[:-1]}"
            found.problem(at, what, name_remedy(side, name, known))
    for opened in _OPEN.findall(REFERENCE.sub("", text)) if "${{" in text else ():
        found.problem(at, f"opens {opened} and does not close it", "write }} behind its name")
        good = False
    return good


def name_remedy(side: str, name: str, known: set[str]) -> str:
    """What to write instead of a name that is not declared."""
    listed = f"the {side} are {', '.join(sorted(known))}" if known else f"declare it under `{side}:`"
    return did_you_mean(name, sorted(known), listed)
