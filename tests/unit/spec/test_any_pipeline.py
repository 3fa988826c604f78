"""Whatever is put in the place of anything in a pipeline, it is read or refused; and what is read is dumped equal."""

from __future__ import annotations

import copy
import io
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from runner.errors import SpecInvalid
from runner.spec.document import write_yaml
from runner.spec.flatten import flatten
from runner.spec.load import job_of_document, load_job
from runner.spec.pipeline_job import PipelineJob
from runner.spec.places import Places

PLACES = Places(home=Path("/nonexistent/home"))
INNER: dict[str, Any] = {
    "type": "command",
    "name": "inner",
    "version": 2,
    "inputs": {
        "n": {"type": "integer", "min": 0, "max": 9},
        "d": {"type": "uri_file", "optional": True},
        "w": {"type": "string", "default": "hi", "enum": ["hi", "ho"]},
    },
    "outputs": {"o": {"type": "uri_file"}},
    "command": "echo ${{inputs.n}} ${{inputs.w}} $[[${{inputs.d}}]] > ${{outputs.o}}",
}
SUB: dict[str, Any] = {
    "type": "pipeline",
    "inputs": {"n": {"type": "integer", "default": 4}, "d": {"type": "uri_file", "optional": True}},
    "outputs": {"last": {"type": "uri_file"}, "first": {"type": "uri_file"}},
    "settings": {"default_compute": "local"},
    "jobs": {
        "one": {
            "component": INNER,
            "inputs": {"n": "${{parent.inputs.n}}", "d": "${{parent.inputs.d}}"},
            "outputs": {"o": "${{parent.outputs.first}}"},
        },
        "two": {
            "component": INNER,
            "inputs": {"n": 5, "d": "${{parent.jobs.one.outputs.o}}", "w": "${{parent.jobs.one.inputs.w}}"},
            "outputs": {"o": "${{parent.outputs.last}}"},
        },
    },
}
PIPELINE: dict[str, Any] = {
    "type": "pipeline",
    "compute": "local",
    "inputs": {"n": 0, "where": "local", "learning.rate": {"type": "number", "default": 1}},
    "outputs": {"y": {"type": "uri_file", "path": "/nonexistent/out/${{name}}.txt", "name": "y", "version": 3}},
    "settings": {"force_rerun": True, "default_datastore": "lake"},
    "runner": {"max_concurrent_steps": 2},
    "jobs": {
        "before": {
            "command": "date > ${{outputs.o}}",
            "outputs": {"o": {"type": "uri_file"}},
            "environment_variables": {"A": "${{parent.inputs.n}}"},
            "resources": {"instance_count": 2},
            "distribution": {"type": "pytorch"},
            "limits": {"timeout": 3},
        },
        "sub": {
            "type": "pipeline",
            "component": SUB,
            "inputs": {"n": "${{parent.inputs.n}}"},
            "outputs": {"last": "${{parent.outputs.y}}", "first": {"path": "./first.txt", "mode": "upload"}},
            "runner": {"depends_on": ["before"]},
        },
        "after": {
            "command": "cat ${{inputs.f}} ${{inputs.g}} ${{inputs.t}}",
            "compute": "${{parent.inputs.where}}",
            "inputs": {
                "f": {"path": "${{parent.jobs.sub.outputs.first}}", "mode": "download"},
                "g": "${{parent.jobs.before.outputs.o}}",
                "t": "in ${{parent.jobs.sub.outputs.last}} ${{parent.inputs.learning.rate}}",
            },
        },
    },
}
VALUES: list[Any] = [
    *(None, 0, 1, -1, 3.5, True, False, "", "x", "a b", [], {}, [1], ["a"], {"a": 1}, {"a": {"b": [{}]}}, float("nan")),
    *("${{parent.inputs.n}}", "${{parent.jobs.before.outputs.o}}", "${{parent.jobs.sub.outputs.first}}/x", "${{", "}}"),
    *(
        "a ${{parent.inputs.n}}",
        "${{parent.outputs.y}}",
        "${{parent.jobs.sub.inputs.n}}",
        "${{parent.jobs.after.inputs.f}}",
    ),
    *({"type": "integer"}, {"path": "${{parent.inputs.n}}"}, {"type": "uri_file", "path": "./x"}, {"value": 3}),
    *("azureml:x:1", "azureml:x", "https://a.test/b", "./p.yml", "/", "parallel", "pipeline", "sweep", INNER, SUB),
]
KEYS = (
    "type",
    "path",
    "inputs",
    "outputs",
    "jobs",
    "component",
    "name",
    "compute",
    "a b",
    "runner",
    "settings",
    "optional",
)


def places_in(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    below = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [at, *(place for key, inner in below for place in places_in(inner, (*at, key)))]


def test_the_pipeline_that_is_changed_is_sound() -> None:
    job = load_job(io.StringIO(write_yaml(PIPELINE)))
    assert isinstance(job, PipelineJob)
    assert len(flatten(job, name="pipe", places=PLACES).spec.steps) == 4


@given(st.data())
def test_anything_may_stand_anywhere(data: st.DataObject) -> None:
    document = copy.deepcopy(PIPELINE)
    for _ in range(data.draw(st.integers(0, 3))):
        *way, last = data.draw(st.sampled_from([place for place in places_in(document) if place]))
        holder: Any = document
        for step in way:
            holder = holder[step]
        value = copy.deepcopy(data.draw(st.sampled_from(VALUES)))
        match data.draw(st.sampled_from(["change", "change", "remove", "add"])):
            case "change":
                holder[last] = value
            case "remove":
                del holder[last]
            case _ if isinstance(holder, dict):
                holder[data.draw(st.sampled_from(KEYS))] = value
    try:
        job = load_job(io.StringIO(write_yaml(document)))
        if not isinstance(job, PipelineJob):
            return
        flat = flatten(job, name="pipe", places=PLACES)
    except SpecInvalid as error:
        str(error)
        return
    travelled = job_of_document(job.absolute_document())
    assert travelled == job and isinstance(travelled, PipelineJob)
    assert flatten(travelled, name="pipe", places=PLACES).spec.steps == flat.spec.steps
    dumped = io.StringIO()
    job.dump(dumped)
    assert load_job(io.StringIO(dumped.getvalue())) == job
