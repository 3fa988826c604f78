"""YAML to plain values with lines: the types of YAML 1.1, duplicates, dates, and text that is no YAML."""

from __future__ import annotations

import pytest

from runner.errors import SpecInvalid
from runner.spec.document import read_document, scalar_of, write_yaml


def told(text: str) -> str:
    with pytest.raises(SpecInvalid) as caught:
        read_document(text, "job.yml")
    return str(caught.value)


def test_values_have_the_types_of_yaml_1_1() -> None:
    document = read_document("a: yes\nb: 1e3\nc: 0x10\nd: 1.0\ne: '5'\nf:\ng: 007\nh: on\ni: [1, x]\n", "job.yml")
    assert document.values == {
        "a": True, "b": "1e3", "c": 16, "d": 1.0, "e": "5", "f": None, "g": 7, "h": True, "i": [1, "x"],
    }  # fmt: skip
    assert document.problems == ()


def test_every_key_and_item_has_its_line() -> None:
    document = read_document("a: 1\n# note\nb:\n  c: {d: 2,\n    e: 3}\n  f:\n    - x\n    - y\n", "job.yml")
    lines = document.lines
    assert [lines[at] for at in (("a",), ("b",), ("b", "c"), ("b", "c", "d"), ("b", "c", "e"))] == [1, 3, 4, 4, 5]
    assert [lines[("b", "f", index)] for index in (0, 1)] == [7, 8]


def test_a_key_given_twice_and_a_bare_date_are_problems() -> None:
    document = read_document("a: 1\nb: 2024-01-01\na: 2\nc: {x: 1, x: 2}\n3: z\n", "job.yml")
    assert [str(problem).split(";")[0] for problem in document.problems] == [
        "job.yml:2: b is a bare date (2024-01-01)",
        "job.yml:3: a is given twice, first on line 1",
        "job.yml:4: c.x is given twice, first on line 4",
        "job.yml:5: 3 is a key that is no text",
    ]


def test_anchors_and_merges_are_followed() -> None:
    text = "base: &b {x: 1, y: 2}\none:\n  <<: *b\n  y: 3\ntwo:\n  y: 4\n  <<: *b\n"
    values = read_document(text, "job.yml").values
    assert values["one"] == {"x": 1, "y": 3}
    assert values["two"] == {"x": 1, "y": 4}


def test_a_loop_of_anchors_is_refused() -> None:
    assert "nested too deeply" in told("a: &a\n  b: *a\n")


def test_a_tag_of_another_language_is_a_problem_and_runs_nothing() -> None:
    document = read_document("a: !!python/object/apply:os.getcwd []\nb: !thing x\n", "job.yml")
    assert [problem.path for problem in document.problems] == ["a", "b"]
    assert document.values == {}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "job.yml: the file is empty"),
        ("# nothing\n", "job.yml: the file is empty"),
        ("- a\n- b\n", "job.yml:1: the file holds a list, not a mapping"),
        ("just text\n", "job.yml:1: the file holds a single value"),
        ("a: 1\nb: [1, 2\nc: 3\n", "job.yml:3: this is no YAML"),
        ("a: 1\n\tb: 2\n", "job.yml:2: this is no YAML"),
        ("a: b: c\n", "job.yml:1: this is no YAML"),
        ("a: 1\n---\nb: 2\n", "job.yml:2: this is no YAML"),
        ("a: *nothing\n", "job.yml:1: this is no YAML"),
        ("a: \x00\n", "job.yml: this is no YAML"),
    ],
)
def test_what_is_no_mapping_is_told_with_its_line(text: str, says: str) -> None:
    message = told(text)
    assert message.startswith(says)
    assert ";" in message, "and says what to do"


def test_a_setting_is_typed_like_yaml() -> None:
    assert [scalar_of(text) for text in ("5", "true", "1e3", "a: b: c", "", "[a, b]", "null")] == [
        5, True, "1e3", "a: b: c", "", ["a", "b"], None,
    ]  # fmt: skip


def test_written_yaml_reads_back() -> None:
    values = {"b": "1e3", "a": "yes", "c": "007", "d": {"z": "2024-01-01", "y": "ž"}, "e": []}
    text = write_yaml(values)
    assert text.index("a:") < text.index("b:")
    assert text.endswith("\n")
    assert read_document(text, "x").values == values


def test_what_is_shared_is_written_twice() -> None:
    shared = {"x": [1]}
    assert write_yaml({"a": shared, "b": shared}) == "a:\n  x:\n  - 1\nb:\n  x:\n  - 1\n"


def test_aliases_of_aliases_end_before_they_fill_the_memory() -> None:
    text = "a: &a [x, x, x, x, x, x, x, x, x, x]\n"
    text += "".join(f"{c}: &{c} [{', '.join([f'*{b}'] * 10)}]\n" for b, c in zip("abcdefgh", "bcdefghi", strict=True))
    assert "more than 1,000,000 values" in told(text)
