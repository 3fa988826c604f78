"""Whatever stands where in a document, it is told or taken, and nothing breaks."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from runner.errors import SpecInvalid
from runner.spec.command_job import CommandJob
from runner.spec.findings import Findings
from runner.spec.kinds import KINDS
from runner.spec.places import Places
from runner.spec.resolve_command import resolve_command

BASE = Path("/nonexistent")
PLACES = Places(home=BASE / "home")
INPUTS = {
    "rate": 1.5,
    "data": {"type": "uri_file", "path": "./x", "mode": "download"},
    "maybe": {"type": "integer", "optional": True, "default": 3, "min": 1, "max": 9, "enum": [3, 4]},
}
OUTPUTS = {"made": {"type": "uri_file", "path": "./${{name}}/y", "mode": "upload", "name": "catch", "version": "1"}}
BASICS = {
    "name": "calm",
    "tags": {"a": "1"},
    "compute": "cluster",
    "services": {"a": {"type": "ssh", "nodes": "all"}},
    "identity": {"type": "managed", "client_id": "x"},
    "inputs": INPUTS,
    "outputs": OUTPUTS,
    "environment_variables": {"A": "${{inputs.rate}}"},
    "resources": {"instance_count": 2, "docker_args": ["--x"]},
}
DOCUMENTS: dict[str, dict[str, Any]] = {
    "command": {
        **BASICS,
        "command": "echo $[[${{inputs.maybe}}]] {inputs.rate} ${{outputs.made}} ${{name}} ${{tags.x}}",
        "code": "./src",
        "additional_includes": ["./more"],
        "environment": {"image": "x", "conda_file": "./c", "build": {"path": "./b"}},
        "distribution": {"type": "tensorflow", "worker_count": 2},
        "limits": {"timeout": 60},
        "queue_settings": {"priority": "low"},
        "runner": {"retry_settings": {"max_retries": 1}, "cancel_grace": 3, "overwrite": True, "depends_on": ["a"]},
    },
    "parallel": {
        **BASICS,
        "input_data": "${{inputs.data}}",
        "mini_batch_size": "10",
        "partition_keys": ["a"],
        "retry_settings": {"max_retries": 2, "timeout": 3},
        "task": {
            "code": "./src",
            "entry_script": "score.py",
            "program_arguments": '--a ${{inputs.rate}} $[[--b ${{inputs.maybe}}]] --error_threshold 3 "x y"',
            "append_row_to": "${{outputs.made}}",
            "environment": "azureml:x@latest",
        },
        "runner": {"output_format": "parquet", "keep_columns": ["a"], "part_size": "1mb", "columns": ["a"]},
    },
    "pipeline": {
        "name": "calm",
        "tags": {"a": "1"},
        "inputs": {"rate": 1.5, "data": {"type": "uri_file", "path": "./x"}, "size": {"type": "integer", "default": 3}},
        "outputs": {"made": {"type": "uri_file", "path": "./y"}},
        "settings": {"default_compute": "local", "continue_on_step_failure": True, "force_rerun": False},
        "runner": {"max_concurrent_steps": 2},
        "jobs": {
            "first": {
                "command": "echo ${{inputs.rate}} > ${{outputs.o}}",
                "inputs": {"rate": "${{parent.inputs.rate}}", "text": "a_${{parent.inputs.size}}_b"},
                "outputs": {"o": {"type": "uri_file"}},
            },
            "second": {
                "type": "command",
                "compute": "${{parent.inputs.rate}}",
                "component": {
                    "type": "command",
                    "name": "part",
                    "version": "1",
                    "environment": "azureml:x@latest",
                    "command": "cat ${{inputs.a}} $[[--b ${{inputs.b}}]] > ${{outputs.n}}",
                    "inputs": {"a": {"type": "uri_file"}, "b": {"type": "number", "optional": True, "max": 3}},
                    "outputs": {"n": {"type": "uri_file"}},
                },
                "inputs": {"a": "${{parent.jobs.first.outputs.o}}", "b": 2},
                "outputs": {"n": "${{parent.outputs.made}}"},
                "runner": {"depends_on": ["first"]},
            },
        },
    },
}


def places_in(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield at
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, one in inner:
        yield from places_in(one, (*at, key))


ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=6)
    | st.sampled_from(
        [
            "${{inputs.data}}",
            "${{ parent.inputs.x }}",
            "${{}}",
            "$[[",
            "{inputs.no}",
            "azureml:a:1",
            "azureml:jobs/a/outputs/b",
            "azureml://x",
            "https://x",
            "../..",
            "~",
            "\0",
            "uri_folder",
            "string",
            "direct",
        ]
    ),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=4), inner, max_size=2),
    max_leaves=4,
)


@given(st.data())
def test_a_value_of_any_sort_at_any_place_is_told_or_taken(data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(sorted(DOCUMENTS)))
    document = copy.deepcopy(DOCUMENTS[kind])
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.sampled_from(list(places_in(document))[1:]))
        holder = document
        for step in at[:-1]:
            holder = holder[step]
        holder[at[-1]] = data.draw(ANYTHING)
    found = Findings("job.yml")
    shaped = KINDS[kind].shape(document, BASE, found)
    assert shaped is not None
    KINDS[kind].check(shaped, BASE, found)
    KINDS[kind].check_data(shaped, BASE, found, None)
    KINDS[kind].check_data(shaped, BASE, found, PLACES)
    KINDS[kind].check_places(shaped, BASE, found, PLACES)
    assert all(str(problem) for problem in found.problems)
    # Only a document that nothing was wrong with in its shape becomes an object.
    again = Findings("job.yml")
    shaped = KINDS[kind].shape(document, BASE, again)
    if shaped is not None and not again.problems:
        job = KINDS[kind].build(shaped)
        assert job == KINDS[kind].build(shaped)
        assert str(job)
        if isinstance(job, CommandJob):
            with suppress(SpecInvalid):
                spec = resolve_command(job, name="calm", places=PLACES, code=None).spec
                assert "$[[" not in spec.command
