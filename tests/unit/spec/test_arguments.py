"""Program arguments: how they are split, which groups stay, and what the runner reads of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.spec.arguments import RUNTIME_ARGUMENTS, Unsplittable, argv_of, read_runtime_arguments, split_arguments
from runner.spec.findings import Findings

AT = ("task", "program_arguments")


def split(text: str, absent: frozenset[str] = frozenset()) -> list[str]:
    return split_arguments(text, lambda reference: reference not in absent)


def read(text: str) -> tuple[dict[str, object], Findings]:
    found = Findings("job.yml")
    return read_runtime_arguments(split(text), AT, found), found


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("--a 1\n --b\t2 ", ["--a", "1", "--b", "2"]),
        ('--a "x y" --b=" z "', ["--a", "x y", "--b= z "]),
        ("--a 'x y'", ["--a", "'x", "y'"]),
        ('--a "" --b', ["--a", "", "--b"]),
        ('a"b c"d', ["ab cd"]),
        ("--p ${{ inputs.x }}/more", ["--p", "${{ inputs.x }}/more"]),
        (r"--re \d+ $HOME *", ["--re", r"\d+", "$HOME", "*"]),
        ("", []),
    ],
)
def test_words_are_split_without_a_shell(text: str, words: list[str]) -> None:
    assert split(text) == words


def test_a_value_with_a_space_stays_one_argument() -> None:
    words = split("--model ${{inputs.model}} --out=${{outputs.o}}")
    values = {"inputs.model": "/a folder/m.onnx", "outputs.o": "/b c"}
    assert argv_of(words, values.__getitem__) == ["--model", "/a folder/m.onnx", "--out=/b c"]


def test_an_optional_group_vanishes_when_an_input_in_it_has_no_value() -> None:
    text = "--a $[[--b ${{inputs.b}} --c ${{ inputs.c }}]] $[[--d ${{inputs.d}}]] --e"
    assert split(text, frozenset({"inputs.c"})) == ["--a", "--d", "${{inputs.d}}", "--e"]
    assert split("--json $[[[${{inputs.d}}]]]") == ["--json", "[${{inputs.d}}]"]


@pytest.mark.parametrize("text", ['--a "x', "--a $[[--b", 'x" y'])
def test_what_is_not_closed_is_refused(text: str) -> None:
    with pytest.raises(Unsplittable, match="not closed"):
        split(text)


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters='"$'), max_size=8), max_size=6))
def test_quoted_words_come_back_as_they_are(words: list[str]) -> None:
    assert split(" ".join(f'"{word}"' for word in words)) == words


def test_the_runner_reads_its_own_arguments_in_both_forms() -> None:
    values, found = read(
        "--error_threshold=3 --allowed_failed_percent 12.5 --allowed_failed_count -1 --mine 7 --run_max_try 4 "
        '--append_row_dataframe_header True --mini_batch_size "10 rows" --partition_keys ["store","brand"] '
        "--logging_level DEBUG"
    )
    assert not found.problems
    assert values == {
        "error_threshold": 3,
        "allowed_failed_percent": 12.5,
        "allowed_failed_count": -1,
        "run_max_try": 4,
        "append_row_dataframe_header": True,
        "mini_batch_size": "10 rows",
        "partition_keys": ["store", "brand"],
        "logging_level": "DEBUG",
    }


def test_names_are_never_abbreviated_and_the_last_value_counts() -> None:
    values, found = read("--error_thres 3 --error_threshold 1 --error_threshold 2")
    assert values == {"error_threshold": 2}
    assert not found.problems


def test_a_slip_of_the_pen_is_passed_on_with_a_notice() -> None:
    values, found = read("--resource_monitor_interva 20 --output_dir x --model_name y")
    assert values == {}
    assert len(found.notices) == 1
    assert "--resource_monitor_interva " in found.notices[0]
    assert "--resource_monitor_interval" in found.notices[0]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("--error_threshold -2", "error_threshold is -2"),
        ("--error_threshold", "error_threshold has no value"),
        ("--error_threshold --x", "error_threshold has no value"),
        ("--allowed_failed_percent 101", "is 101"),
        ("--task_overhead_timeout 0", "is 0"),
        ("--task_overhead_timeout 259201", "is 259201"),
        ("--progress_update_timeout soon", "is 'soon'"),
        ("--process_count_per_node 0", "is 0"),
        ("--run_max_try 0", "is 0"),
        ("--logging_level info", "is 'info'"),
        ("--append_row_dataframe_header maybe", "is 'maybe'"),
        ("--partition_keys store,", "partition_keys[1] is empty"),
        ("--output_action both", "is 'both'"),
        ("--amlbi_async_mode true", "not supported"),
        ("--resume_from early", "runner resume"),
        ("--rank_mini_batch_count 5", "not supported"),
        ("--profiling_module cProfile", "not supported"),
    ],
)
def test_a_bad_value_is_told_with_the_name_of_its_argument(text: str, told: str) -> None:
    _, found = read(text)
    assert len(found.problems) == 1
    said = str(found.problems[0])
    assert told in said
    assert text.split()[0] in said


@pytest.mark.parametrize("text", ["--amlbi_async_mode false", "--rank_mini_batch_count -3", "--profiling_module none"])
def test_what_is_switched_off_is_no_problem(text: str) -> None:
    assert not read(text)[1].problems


def test_what_has_no_effect_is_said_and_not_refused() -> None:
    _, found = read("--copy_logs_to_parent True --append_row_safe_output true")
    assert not found.problems
    assert len(found.notices) == 2
    assert "copy_logs_to_parent" in RUNTIME_ARGUMENTS
