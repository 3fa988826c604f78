"""What counts for reuse and what does not, and what a user is told about a difference."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.entity.asset import ReuseEntry, ReuseKey
from runner.entity.pipeline import StepSpec
from runner.pipeline.keys import closest, data_part, differing, key_of, tell_difference, unknown_part

COMMAND: dict[str, Any] = {
    "type": "command",
    "name": "wine--train",
    "display_name": "train",
    "description": "fits",
    "tags": {"a": "b"},
    "properties": {"c": "d"},
    "experiment_name": "wine",
    "compute": "local",
    "command": "python train.py --data ${{inputs.raw}} --out ${{outputs.model}} --alpha ${{inputs.alpha}}",
    "code": "/src/train",
    "environment": {"image": "i"},
    "environment_variables": {"SEED": "1"},
    "inputs": {"raw": {"type": "uri_folder", "path": "/data"}, "alpha": 0.5},
    "outputs": {"model": {"type": "uri_folder"}},
    "distribution": {"type": "pytorch", "process_count_per_instance": 2},
    "resources": {"instance_count": 1, "instance_type": "big", "shm_size": "2g"},
    "limits": {"timeout": 60},
    "queue_settings": {"job_tier": "spot"},
    "runner": {"depends_on": ["prepare"], "overwrite": False, "retry_settings": {"max_retries": 2}},
    "is_deterministic": True,
}
PARALLEL: dict[str, Any] = {
    "type": "parallel",
    "name": "wine--score",
    "compute": "local",
    "inputs": {"rows": {"type": "mltable", "path": "/rows", "mode": "direct"}, "limit": 3},
    "outputs": {"scores": {"type": "uri_file", "path": "/out/scores.csv"}},
    "input_data": "${{inputs.rows}}",
    "mini_batch_size": "10 rows",
    "partition_keys": ["store"],
    "max_concurrency_per_instance": 2,
    "error_threshold": -1,
    "mini_batch_error_threshold": -1,
    "retry_settings": {"max_retries": 2, "timeout": 60},
    "logging_level": "INFO",
    "resources": {"instance_count": 1},
    "environment_variables": {"SEED": "1"},
    "task": {
        "type": "run_function",
        "code": "/src/score",
        "entry_script": "score.py",
        "program_arguments": "--limit ${{inputs.limit}}",
        "append_row_to": "${{outputs.scores}}",
        "environment": "azureml:e:1",
    },
    "runner": {
        "mini_batch_format": "arrow",
        "columns": ["a"],
        "frame_types": "numpy",
        "output_format": "csv",
        "compression": "none",
        "keep_columns": ["a"],
        "part_size": "1mb",
        "memory": "1gb",
        "bisect": False,
        "speculate": True,
        "gpus_per_worker": 0,
        "overwrite": False,
    },
}
BASE = {"command": COMMAND, "parallel": PARALLEL}


def key(document: dict[str, Any], **changes: Any) -> ReuseKey:
    step = StepSpec(key=changes.pop("step", "train"), job=document["name"], type=document["type"], document=document)
    data = {
        name: data_part(value, "12ab", value["path"])
        for name, value in document["inputs"].items()
        if isinstance(value, dict) and "path" in value
    }
    told: dict[str, Any] = {"code": "c0de", "environment": "Python 3.11.9; packages 77", "data": data}
    return key_of(step, **{**told, "made": lambda step, output: f"{step}.{output}", **changes})


def changed(kind: str, path: str, value: Any) -> dict[str, Any]:
    """A document with the value at a dotted path; None takes it out."""
    document = copy.deepcopy(BASE[kind])
    *above, last = path.split(".")
    at = document
    for name in above:
        at = at.setdefault(name, {})
    if value is None:
        del at[last]
    else:
        at[last] = value
    return document


@pytest.mark.parametrize(
    ("kind", "path", "value"),
    [
        ("command", "name", "other--train"),
        ("command", "display_name", "other"),
        ("command", "description", "other"),
        ("command", "tags", {"x": "y"}),
        ("command", "properties", {}),
        ("command", "experiment_name", "other"),
        ("command", "compute", "cluster"),
        ("command", "component", "train:2"),
        ("command", "code", "/moved/train"),
        ("command", "inputs.raw.path", "/moved/data"),
        ("command", "resources.instance_type", "small"),
        ("command", "resources.shm_size", "3g"),
        ("command", "limits.timeout", 61),
        ("command", "queue_settings", None),
        ("command", "runner.depends_on", []),
        ("command", "runner.overwrite", True),
        ("command", "runner.retry_settings", {"max_retries": 9}),
        ("command", "services", {"board": {"type": "tensor_board"}}),
        ("command", "outputs.model.description", "said"),
        ("command", "outputs.model.mode", "rw_mount"),
        ("parallel", "resources.instance_count", 9),
        ("parallel", "max_concurrency_per_instance", 9),
        ("parallel", "error_threshold", 9),
        ("parallel", "mini_batch_error_threshold", 9),
        ("parallel", "retry_settings", {"max_retries": 0, "timeout": 1}),
        ("parallel", "logging_level", "DEBUG"),
        ("parallel", "compute", "cluster"),
        ("parallel", "runner.memory", "2gb"),
        ("parallel", "runner.speculate", False),
        ("parallel", "runner.overwrite", True),
        ("parallel", "task.code", "/moved/score"),
    ],
)
def test_what_does_not_count(kind: str, path: str, value: Any) -> None:
    assert key(changed(kind, path, value)).key == key(BASE[kind]).key


@pytest.mark.parametrize(
    ("kind", "path", "value", "part"),
    [
        ("command", "command", "python train.py", "command"),
        ("command", "environment_variables.SEED", "2", "environment variable SEED"),
        ("command", "environment_variables.MORE", "2", "environment variable MORE"),
        ("command", "inputs.alpha", 0.25, "input alpha"),
        ("command", "inputs.alpha", "0.5", "input alpha"),
        ("command", "inputs.alpha", 0, "input alpha"),
        ("command", "inputs.alpha", None, "input alpha"),
        ("command", "inputs.raw.type", "mltable", "input raw"),
        ("command", "inputs.raw.mode", "direct", "input raw"),
        ("command", "outputs.model.type", "uri_file", "output model"),
        ("command", "outputs.model.path", "/somewhere", "output model"),
        ("command", "outputs.model.mode", "upload", "output model"),
        ("command", "outputs.model.name", "model", "output model"),
        ("command", "outputs.more", {"type": "uri_folder"}, "output more"),
        ("command", "distribution.process_count_per_instance", 3, "distribution"),
        ("command", "distribution", None, "distribution"),
        ("command", "resources.instance_count", 2, "instance_count"),
        ("command", "something_new", 1, "something_new"),
        ("command", "runner.something_new", 1, "something_new"),
        ("parallel", "task.entry_script", "other.py", "entry_script"),
        ("parallel", "task.program_arguments", "--limit 4", "program_arguments"),
        ("parallel", "task.append_row_to", None, "append_row_to"),
        ("parallel", "mini_batch_size", "11 rows", "mini_batch_size"),
        ("parallel", "partition_keys", ["brand"], "partition_keys"),
        ("parallel", "input_data", "${{inputs.other}}", "input_data"),
        ("parallel", "inputs.limit", 4, "input limit"),
        ("parallel", "environment_variables.SEED", "2", "environment variable SEED"),
        ("parallel", "outputs.scores.path", "/else", "output scores"),
        ("parallel", "runner.mini_batch_format", "pandas", "mini_batch_format"),
        ("parallel", "runner.output_format", "jsonl", "output_format"),
        ("parallel", "runner.frame_types", "arrow", "frame_types"),
        ("parallel", "runner.columns", ["b"], "columns"),
        ("parallel", "runner.keep_columns", None, "keep_columns"),
        ("parallel", "runner.compression", "gzip", "compression"),
        ("parallel", "runner.bisect", True, "bisect"),
    ],
)
def test_what_counts_and_under_which_name(kind: str, path: str, value: Any, part: str) -> None:
    old, new = key(BASE[kind]), key(changed(kind, path, value))
    assert old.key != new.key
    assert differing(old, new) == (part,)


def test_what_comes_from_outside_counts() -> None:
    base = key(COMMAND)
    assert differing(base, key(COMMAND, code="d1ff")) == ("code",)
    assert differing(base, key(COMMAND, code="")) == ("code",)
    assert differing(base, key(COMMAND, environment="Python 3.12.1; packages 77")) == ("environment",)
    assert differing(base, key(COMMAND, data={"raw": "data uri_folder ro_mount 34cd"})) == ("input raw",)
    assert differing(base, key(COMMAND, data={})) == ("input raw",), "an optional input without a value"


def test_the_step_s_key_is_where_relatives_are_looked_for_and_no_part() -> None:
    base, other = key(COMMAND), key(COMMAND, step="fit")
    assert base.key == other.key
    assert (base.family, other.family) == ("train", "fit")


def test_the_job_s_own_name_in_a_path_is_no_difference() -> None:
    first = changed("command", "outputs.model.path", "/out/wine--train/model")
    second = changed("command", "outputs.model.path", "/out/cider--train/model")
    second["name"] = "cider--train"
    assert key(first).key == key(second).key


def test_what_another_step_made_counts_by_content_wherever_it_stands() -> None:
    document = changed("command", "command", "cat ${{steps.prepare.outputs.rows}}/a ${{ steps.sub/b.outputs.c }}")
    base = key(document)
    assert base.key == key(document).key
    assert differing(base, key(document, made=lambda step, output: f"new {step}")) == ("command",)
    assert differing(base, key(document, made=lambda step, output: "x" if step == "sub/b" else "prepare.rows"))
    variables = changed("command", "environment_variables.AT", "${{steps.prepare.outputs.rows}}")
    assert key(variables).parts["environment variable AT"] == "<prepare.rows>"


def test_a_file_s_suffix_counts_because_readers_go_by_it() -> None:
    value = {"type": "uri_file"}
    assert (
        data_part(value, "12", "/a/one.csv")
        == data_part(value, "12", "/b/two.csv")
        != data_part(value, "12", "/a.json")
    )
    assert data_part({"type": "uri_folder"}, "12", "/a/x.1") == data_part({"type": "uri_folder"}, "12", "/a/x.2")


@given(
    st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=3),
    st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=3),
)
def test_no_two_sets_of_variables_share_a_key(one: dict[str, str], two: dict[str, str]) -> None:
    first, second = changed("command", "environment_variables", one), changed("command", "environment_variables", two)
    assert (key(first).key == key(second).key) == (one == two)


@given(st.text(max_size=200), st.text(max_size=200))
def test_long_and_short_texts_keep_apart(one: str, two: str) -> None:
    first, second = changed("command", "command", one), changed("command", "command", two)
    assert (key(first).key == key(second).key) == (one.strip() == two.strip())


@given(st.permutations(sorted(COMMAND)))
def test_order_is_no_difference(names: list[str]) -> None:
    assert key({name: COMMAND[name] for name in names}).key == key(COMMAND).key


# ---- words ----------------------------------------------------------------------------------------------
def told(new: ReuseKey, old: ReuseKey | None = None, files: tuple[str, ...] = (), **places: str) -> str:
    entry = ReuseEntry(job="wine-1--train", key=old or key(COMMAND), is_source=True)
    return tell_difference(entry, new, files=files, places=places)


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("command", "python other.py", "ran: command differs from wine-1--train"),
        ("inputs.alpha", 0.25, "ran: input alpha (0.25, was 0.5) differs from wine-1--train"),
        ("inputs.alpha", None, "ran: input alpha (no longer there) differs from wine-1--train"),
        ("inputs.beta", 1, "ran: input beta (new) differs from wine-1--train"),
        ("environment_variables.SEED", "2", "ran: environment variable SEED (2, was 1) differs from wine-1--train"),
        ("environment_variables.SEED", "s" * 99, "ran: environment variable SEED differs from wine-1--train"),
        ("outputs.model.path", "/x", "ran: output model (its settings) differs from wine-1--train"),
        ("outputs.more", {}, "ran: output more (new) differs from wine-1--train"),
        ("resources.instance_count", 2, "ran: instance_count (2, was 1) differs from wine-1--train"),
    ],
)
def test_a_setting_that_differs_is_named(path: str, value: Any, words: str) -> None:
    assert told(key(changed("command", path, value))) == words


def test_what_is_at_places_is_named_with_them() -> None:
    new = key(COMMAND, data={"raw": "data uri_folder ro_mount 34cd"})
    assert told(new, raw="/data") == "ran: the content of input raw (/data) differs from wine-1--train"
    coded = key(COMMAND, code="d1ff")
    assert told(coded) == "ran: code differs from wine-1--train"
    assert told(coded, files=("train.py",)) == "ran: code (train.py) differs from wine-1--train"
    many = tuple(f"{number}.py" for number in range(5))
    assert told(coded, files=many) == "ran: code (0.py, 1.py, 2.py and 2 more) differs from wine-1--train"
    other = key(COMMAND, environment="Python 3.12.1; packages 77")
    assert told(other) == "ran: the environment (Python 3.12.1, was Python 3.11.9) differs from wine-1--train"
    packages = key(COMMAND, environment="Python 3.11.9; packages 78")
    assert told(packages) == "ran: the environment (its installed packages) differs from wine-1--train"


def test_several_differences_are_listed_what_says_most_first() -> None:
    document = changed("command", "command", "python other.py")
    document["inputs"] = {**document["inputs"], **dict.fromkeys("abcd", 1)}
    words = told(key(document, code="d1ff"))
    assert words == ("ran: code, command, input a (new), input b (new) and 2 more differ from wine-1--train")


def test_the_closest_is_the_one_with_the_fewest_differences_and_of_those_the_newest() -> None:
    far = changed("command", "command", "python other.py")
    far["inputs"]["alpha"] = 7
    entries = [
        ReuseEntry(job=job, key=key(document), is_source=True)
        for job, document in (
            ("newest", far),
            ("newer", changed("command", "inputs.alpha", 1)),
            ("older", changed("command", "inputs.alpha", 2)),
        )
    ]
    near = closest(entries, key(COMMAND))
    assert near is not None and near.job == "newer"
    assert closest([], key(COMMAND)) is None


def test_unknown_parts_say_why() -> None:
    assert "https://" in unknown_part("https://example.com/a")
