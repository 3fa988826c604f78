"""The subset of gitignore that decides what belongs to a snapshot."""

from __future__ import annotations

import pytest

from runner.spec.ignore import IgnoreRules


@pytest.mark.parametrize(
    ("rules", "out", "stays"),
    [
        ("*.csv", ["a.csv", "x/b.csv"], ["a.csv.txt", "csv"]),
        ("/data", ["data", "data/x"], ["x/data"]),
        ("data/", ["data/x", "y/data/x"], ["data"]),
        ("a/b", ["a/b", "a/b/c"], ["x/a/b"]),
        ("**/tmp", ["tmp", "a/tmp", "a/b/tmp/c"], ["atmp"]),
        ("a/**", ["a/x", "a/x/y"], ["b/a"]),
        ("a/**/z", ["a/z", "a/b/z", "a/b/c/z"], ["a/bz"]),
        ("*.log\n!keep.log", ["a.log"], ["keep.log", "x/keep.log"]),
        ("data/\n!data/keep", ["data/keep"], []),
        ("data/*\n!data/keep", ["data/x"], ["data/keep"]),
        ("x?.py", ["x1.py"], ["x.py", "x/y.py"]),
        ("[ab].py\n[!c].txt", ["a.py", "b.py", "d.txt"], ["c.py", "c.txt"]),
        ("# a comment\n\n\\#odd\n\\!not", ["#odd", "!not"], ["a comment"]),
        ("trailing   ", ["trailing"], ["trailing   "]),
        ("*", ["a", "b/c"], []),
        ("", [".git/config", "__pycache__/x.pyc", "a/__pycache__/y", "z.pyc"], [".gitignore", "a.py"]),
        ("a[", ["a["], ["a"]),
    ],
)
def test_what_is_left_out(rules: str, out: list[str], stays: list[str]) -> None:
    matcher = IgnoreRules(rules.splitlines())
    assert [path for path in out if not matcher.leaves_out_below(path)] == []
    assert [path for path in stays if matcher.leaves_out_below(path)] == []
