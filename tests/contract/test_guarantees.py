"""The page of guarantees names tests that there are."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "guarantees.md").read_text()
NAMED = sorted(set(re.findall(r"`(tests/\S+?)(?: -k (?:\"([^\"]+)\"|(\w+)))?`", PAGE)))


@pytest.mark.parametrize(("path", "words", "word"), NAMED, ids=lambda part: part.replace("/", "."))
def test_what_shows_a_promise_is_there(path: str, words: str, word: str) -> None:
    place = ROOT / path
    assert place.exists()
    if place.is_file():
        tests = re.findall(r"^def (test_\w+)", place.read_text(), re.MULTILINE)
        for one in words.split(" or ") if words else [word]:
            assert any(one in test for test in tests), f"no test of {path} is about {one!r}"


def test_every_loss_is_shown_by_something() -> None:
    rows = [line for line in PAGE.splitlines() if line.startswith("|") and not line.startswith(("| what", "|---"))]
    assert len(rows) > 20
    assert not [row for row in rows if "`tests/" not in row]


def test_the_targets_that_it_names_are_in_the_makefile() -> None:
    targets = re.findall(r"`make ([a-z-]+)`", PAGE)
    assert targets
    for target in targets:
        assert f"\n{target}:" in (ROOT / "Makefile").read_text()
