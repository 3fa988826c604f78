"""A pipeline becomes the documents of its steps: sub-pipelines gone, bindings put in, needs and names known."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from runner.entity.pipeline import PipelineSpec, PromotedOutput, StepSource, StepSpec
from runner.errors import SpecInvalid
from runner.spec.command_job import CommandJob
from runner.spec.flatten import Flattened, fill_step, flatten, step_job_name
from runner.spec.jobs import ParallelJob
from runner.spec.load import job_of_document, load_job, setting_of
from runner.spec.pieces import Input, Output
from runner.spec.pipeline_job import PipelineJob, PipelineJobSettings
from runner.spec.places import Places
from runner.spec.validate import validate

INNER = """\
type: command
name: inner
version: 2
inputs:
  n: {type: integer}
  d: {type: uri_file, optional: true}
  w: {type: string, default: hi}
outputs: {o: {type: uri_file}}
command: echo ${{inputs.n}} ${{inputs.w}} $[[${{inputs.d}}]] > ${{outputs.o}}
"""
SUB = """\
type: pipeline
name: sub
inputs:
  n: {type: integer, default: 4}
  d: {type: uri_file, optional: true}
outputs:
  last: {type: uri_file}
  first: {type: uri_file}
jobs:
  one:
    component: ./inner.yml
    inputs: {n: "${{parent.inputs.n}}", d: "${{parent.inputs.d}}"}
    outputs: {o: "${{parent.outputs.first}}"}
  two:
    component: ./inner.yml
    inputs: {n: 5, d: "${{parent.jobs.one.outputs.o}}", w: "${{parent.jobs.one.inputs.w}}"}
    outputs: {o: "${{parent.outputs.last}}"}
"""
PIPELINE = """\
type: pipeline
inputs: {n: 0}
outputs: {y: {type: uri_file, path: './out/${{name}}.txt'}}
jobs:
  before:
    command: date > ${{outputs.o}}
    outputs: {o: {type: uri_file}}
  sub:
    type: pipeline
    component: ./parts/sub.yml
    inputs: {n: "${{parent.inputs.n}}"}
    outputs: {last: "${{parent.outputs.y}}", first: {path: ./first.txt, mode: upload}}
    runner: {depends_on: [before]}
  after:
    command: cat ${{inputs.f}} ${{inputs.g}}
    inputs: {f: "${{parent.jobs.sub.outputs.first}}", g: "${{parent.jobs.before.outputs.o}}"}
"""
FILE = {"type": "uri_file"}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts/inner.yml").write_text(INNER)
    (tmp_path / "parts/sub.yml").write_text(SUB)
    (tmp_path / "pipeline.yml").write_text(PIPELINE)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def places(home: Path) -> Places:
    return Places.read(home, {})


def flat_of(job: object, places: Places) -> Flattened:
    assert isinstance(job, PipelineJob)
    validate(job, places=places).raise_if_any()
    return flatten(job, name="pipe", places=places)


def spec(text: str, folder: Path, places: Places) -> PipelineSpec:
    (folder / "job.yml").write_text(text)
    return flat_of(load_job(folder / "job.yml"), places).spec


def inputs(step: StepSpec) -> Any:
    return step.document["inputs"]


def refusal(text: str, folder: Path) -> list[str]:
    (folder / "job.yml").write_text(text)
    with pytest.raises(SpecInvalid) as caught:
        load_job(folder / "job.yml")
    return [str(problem) for problem in caught.value.problems]


def test_sub_pipelines_are_flattened(folder: Path, places: Places) -> None:
    flat = flat_of(load_job(folder / "pipeline.yml"), places)
    steps = {step.key: step for step in flat.spec.steps}
    assert list(steps) == ["before", "sub/one", "sub/two", "after"]
    assert [step.job for step in steps.values()] == ["pipe--before", "pipe--sub--one", "pipe--sub--two", "pipe--after"]
    assert inputs(steps["sub/one"]) == {"n": 0, "d": {**FILE, "optional": True}, "w": "hi"}
    assert inputs(steps["sub/two"]) == {"n": 5, "d": {**FILE, "path": "${{steps.sub/one.outputs.o}}"}, "w": "hi"}
    assert steps["sub/two"].sources == (StepSource(input="d", step="sub/one", output="o", is_optional=True),)
    assert steps["sub/one"].depends_on == steps["sub/two"].depends_on == ("before",)
    assert steps["after"].needs == {"sub/one", "before"} and steps["after"].depends_on == ()
    assert steps["sub/one"].document["outputs"] == {"o": {**FILE, "path": f"{folder}/first.txt", "mode": "upload"}}
    assert flat.spec.outputs == (PromotedOutput(name="y", type="uri_file", step="sub/two", output="o"),)
    assert flat.outputs[0].path == f"{folder}/out/pipe--sub--two.txt"
    assert flat.components == ("inner:2",) and flat.spec.literals == {"n": 0}


def test_an_output_takes_the_mode_that_a_sub_pipeline_declares(folder: Path, places: Places) -> None:
    (folder / "parts/sub.yml").write_text(SUB.replace("last: {type: uri_file}", "last: {type: uri_file, mode: upload}"))
    output = flat_of(load_job(folder / "pipeline.yml"), places).spec.step("sub/two").document["outputs"]
    assert output == {"o": {**FILE, "path": f"{folder}/out/${{{{name}}}}.txt", "mode": "upload"}}


def test_a_component_that_says_no_type_is_of_the_kind_it_looks_like(folder: Path, places: Places) -> None:
    (folder / "score.py").write_text("def run(mini_batch):\n    return mini_batch\n")
    (folder / "parts/score.yml").write_text(
        "inputs: {cargo: {type: uri_folder}}\ninput_data: ${{inputs.cargo}}\n"
        "task: {code: .., entry_script: score.py}\nmini_batch_size: '1'\n"
    )
    (folder / "parts/sub.yml").write_text(SUB.replace("type: pipeline\n", "", 1))
    text = (
        "type: pipeline\njobs:\n  load: {command: x, outputs: {o: }}\n  sub: {component: ./parts/sub.yml}\n"
        "  score: {component: ./parts/score.yml, inputs: {cargo: '${{parent.jobs.load.outputs.o}}'}}\n"
    )
    kinds = {step.key: step.type for step in spec(text, folder, places).steps}
    assert kinds == {"load": "command", "sub/one": "command", "sub/two": "command", "score": "parallel"}


def test_a_table_that_a_parallel_step_cannot_read_is_told_with_the_line_of_its_file(
    folder: Path, places: Places
) -> None:
    (folder / "rows").mkdir()
    (folder / "rows/MLTable").write_text("paths: []\n")
    (folder / "score.py").write_text("def run(mini_batch):\n    return mini_batch\n")
    text = (
        "type: pipeline\ninputs: {rows: {type: mltable, path: ./rows}}\njobs:\n"
        "  look: {command: x, inputs: {rows: '${{parent.inputs.rows}}'}}\n"
        "  score:\n    type: parallel\n    inputs: {rows: '${{parent.inputs.rows}}'}\n"
        "    input_data: ${{inputs.rows}}\n    task: {code: ., entry_script: score.py}\n"
    )
    (folder / "job.yml").write_text(text)
    problems = [str(problem) for problem in validate(load_job(folder / "job.yml"), places=places).problems]
    assert len(problems) == 1 and problems[0].startswith(f"{folder}/rows/MLTable:1: paths names no paths")


def test_the_graph_of_the_validation_is_used_again(folder: Path, places: Places) -> None:
    job = load_job(folder / "pipeline.yml")
    assert isinstance(job, PipelineJob)
    found = validate(job, places=places)
    again, anew = (flatten(job, name="pipe", places=places, checked=one) for one in (found, None))
    assert again.spec.steps == anew.spec.steps and again.spec.outputs == anew.spec.outputs
    assert again.step_outputs == anew.step_outputs and again.codes == anew.codes


def test_a_component_in_itself_is_told_and_ends_a_document(folder: Path, places: Places) -> None:
    (folder / "parts/sub.yml").write_text(SUB + "  three: {component: ./sub.yml}\n")
    job = PipelineJob(jobs={"sub": {"component": "./parts/sub.yml"}})
    job.absolute_document()
    problems = validate(job, places=places).problems
    assert any("is a pipeline that stands in itself" in str(problem) for problem in problems)


def test_an_inline_step_of_a_sub_pipeline_takes_the_type_that_is_declared(folder: Path, places: Places) -> None:
    inline = "  one:\n    command: x ${{outputs.o}}\n    inputs: {w: hi}\n"
    start = SUB.index("  one:")
    end = SUB.index('    outputs: {o: "${{parent.outputs.first}}"}')
    (folder / "parts/sub.yml").write_text(SUB[:start] + inline + SUB[end:])
    step = flat_of(load_job(folder / "pipeline.yml"), places).spec.step("sub/one")
    assert step.document["outputs"] == {"o": {**FILE, "path": f"{folder}/first.txt", "mode": "upload"}}


@pytest.mark.parametrize(
    ("given", "made"),
    [
        ("{type: uri_file, path: '${{parent.inputs.where}}'}", {"type": "uri_file", "path": "DIR/pipeline.yml"}),
        (
            "{type: uri_file, path: 'parts/${{parent.inputs.name}}.yml'}",
            {"type": "uri_file", "path": "DIR/parts/sub.yml"},
        ),
        ("{type: string, path: '${{parent.inputs.where}}'}", "./pipeline.yml"),
        ("{path: '${{parent.inputs.where}}'}", "./pipeline.yml"),
    ],
)
def test_a_value_below_path_is_data_only_where_data_is_said(
    folder: Path, places: Places, given: str, made: object
) -> None:
    text = (
        "type: pipeline\ninputs: {where: ./pipeline.yml, name: sub}\n"
        f"jobs:\n  a: {{command: x, inputs: {{v: {given}}}}}\n"
    )
    found = inputs(spec(text, folder, places).step("a"))["v"]
    assert json.loads(json.dumps(found).replace(str(folder), "DIR")) == made


def test_keys_that_a_step_over_a_pipeline_cannot_have_are_notices(folder: Path, places: Places) -> None:
    (folder / "job.yml").write_text(
        PIPELINE.replace(
            "    type: pipeline\n", "    type: pipeline\n    limits: {timeout: 3}\n    environment_variables: {}\n"
        )
    )
    found = validate(load_job(folder / "job.yml"), places=places)
    told = [notice for notice in found.notices if "no effect" in notice]
    assert found.problems == () and len(told) == 1
    assert "job.yml:10: jobs.sub.limits is no key of a step over a pipeline and has no effect" in told[0]


def test_what_travels_is_flattened_to_the_same(folder: Path, places: Places) -> None:
    job = load_job(folder / "pipeline.yml")
    again = job_of_document(job.absolute_document())
    assert again == job and flat_of(again, places).spec == flat_of(job, places).spec
    (folder / "elsewhere").mkdir()
    again.dump(folder / "elsewhere/dumped.yml")
    assert load_job(folder / "elsewhere/dumped.yml") == job


@pytest.mark.parametrize("value", ["0", "false", "''"])
def test_zero_false_and_nothing_written_are_values(folder: Path, places: Places, value: str) -> None:
    text = (
        f"type: pipeline\ninputs: {{v: {value}}}\njobs:\n"
        "  a: {command: x, inputs: {v: '${{parent.inputs.v}}'}}\n"
    )
    given = inputs(spec(text, folder, places).step("a"))["v"]
    assert given == {"0": 0, "false": False, "''": ""}[value] and type(given) in (int, bool, str)


@pytest.mark.parametrize(
    ("given", "made"),
    [
        ("${{parent.inputs.n}}", 3),
        ("${{ parent.inputs.n }}", 3),
        ("pre_${{parent.inputs.n}}_${{parent.inputs.sure}}", "pre_3_True"),
        ("${{parent.inputs.typed}}", 7),
        ("${{parent.inputs.learning.rate}}", 0.5),
        ("${{parent.jobs.a.inputs.own}}", "mine"),
        ("${{parent.inputs.data}}/part.csv", "DIR/x/part.csv"),
        ("${{parent.inputs.data}}", {"type": "uri_folder", "path": "DIR/x", "mode": "download"}),
        ("${{parent.jobs.a.outputs.o}}", {"type": "mltable", "path": "${{steps.a.outputs.o}}"}),
        ("${{parent.jobs.a.outputs.o}}/part", "${{steps.a.outputs.o}}/part"),
        ("text", "text"),
    ],
)
def test_each_form_of_binding(folder: Path, places: Places, given: str, made: object) -> None:
    text = (
        "type: pipeline\ninputs:\n  n: 3\n  sure: yes\n  learning.rate: 0.5\n  typed: {type: integer, default: '7'}\n"
        "  data: {type: uri_folder, path: ./x, mode: download}\n"
        "jobs:\n  a: {command: x, inputs: {own: mine}, outputs: {o: {type: mltable}}}\n"
        f"  b: {{command: y, inputs: {{v: '{given}'}}}}\n"
    )
    (folder / "x").mkdir()
    found = inputs(spec(text, folder, places).step("b"))["v"]
    assert json.loads(json.dumps(found).replace(str(folder), "DIR")) == made


@pytest.mark.parametrize(
    ("given", "made"),
    [
        ("{path: '${{parent.jobs.a.outputs.o}}', mode: download}", {"mode": "download", "type": "uri_folder"}),
        ("{path: '${{parent.jobs.a.outputs.o}}', type: mltable}", {"type": "mltable"}),
        (
            "{path: '${{parent.jobs.a.outputs.o}}', type: uri_folder, mode: direct}",
            {"type": "uri_folder", "mode": "direct"},
        ),
    ],
)
def test_a_bound_path_has_a_mode_and_a_type_of_its_own(
    folder: Path, places: Places, given: str, made: dict[str, str]
) -> None:
    text = (
        f"type: pipeline\njobs:\n  a: {{command: x, outputs: {{o: }}}}\n  b: {{command: y, inputs: {{v: {given}}}}}\n"
    )
    step = spec(text, folder, places).step("b")
    assert inputs(step)["v"] == {**made, "path": "${{steps.a.outputs.o}}"}
    assert step.sources == (StepSource(input="v", step="a", output="o"),)


def test_the_places_of_what_others_made_are_put_in(folder: Path, places: Places) -> None:
    step = spec(
        "type: pipeline\njobs:\n  a: {command: x, outputs: {o: , p: }}\n  b:\n    command: y\n    inputs:\n"
        "      data: ${{parent.jobs.a.outputs.o}}\n"
        "      text: in ${{parent.jobs.a.outputs.o}} ${{parent.jobs.a.outputs.p}}\n"
        "      maybe: {path: '${{parent.jobs.a.outputs.p}}', optional: true}\n",
        folder,
        places,
    ).step("b")
    made = {("a", "o"): "/made/o", ("a", "p"): "/made/p"}
    filled = fill_step(step, lambda key, name: made.get((key, name)))
    assert filled["inputs"] == {
        "data": {"type": "uri_folder", "path": "/made/o"},
        "text": "in /made/o /made/p",
        "maybe": {"type": "uri_folder", "path": "/made/p", "optional": True},
    }
    del made["a", "p"]
    absent = fill_step(step, lambda key, name: made.get((key, name)))["inputs"]
    assert isinstance(absent, dict) and absent["maybe"] == {"type": "uri_folder", "optional": True}
    assert {**filled, "inputs": None} == {**step.document, "inputs": None}


def test_an_optional_input_of_a_pipeline_component_cannot_be_a_required_one(folder: Path) -> None:
    (folder / "parts/sub.yml").write_text(SUB.replace("default: 4", "optional: true"))
    (folder / "job.yml").write_text(PIPELINE.replace('inputs: {n: "${{parent.inputs.n}}"}', "inputs: {}"))
    problems = refusal((folder / "job.yml").read_text(), folder)
    assert len(problems) == 1
    assert (
        "sub.yml:12: jobs.one.inputs.n is a required input of the component 'inner', and is bound to an opt"
        in problems[0]
    )


@pytest.mark.parametrize(
    ("declared", "says"),
    [
        (
            "{type: integer, optional: true}",
            "is a required input of the component 'inner', and is bound to an optional",
        ),
        ("", "is a required input of the component 'inner', and is bound to an optional"),
        ("{type: integer, optional: true, default: 3}", ""),
        ("{type: integer, default: 3}", ""),
    ],
)
def test_an_input_of_the_pipeline_without_a_value_cannot_be_a_required_one(
    folder: Path, places: Places, declared: str, says: str
) -> None:
    text = (
        f"type: pipeline\ninputs:\n  m: {declared}\njobs:\n"
        "  a: {component: ./parts/inner.yml, inputs: {n: '${{parent.inputs.m}}'}}\n"
    )
    if says:
        assert [says in problem for problem in refusal(text, folder)] == [True]
    else:
        assert inputs(spec(text, folder, places).step("a"))["n"] == 3


def test_a_required_input_of_a_sub_pipeline_that_is_not_given_is_told(folder: Path) -> None:
    (folder / "parts/sub.yml").write_text(SUB.replace(", default: 4", ""))
    problems = refusal(PIPELINE.replace('inputs: {n: "${{parent.inputs.n}}"}', "inputs: {}"), folder)
    assert len(problems) == 1 and "jobs.sub.inputs.n is not given" in problems[0] and "job.yml" in problems[0]


def test_a_sub_pipeline_that_stands_in_itself_is_told(folder: Path) -> None:
    (folder / "parts/sub.yml").write_text(SUB + "  three: {component: ./sub.yml}\n")
    problems = refusal(PIPELINE, folder)
    assert len(problems) == 1 and "jobs.three.component is a pipeline that stands in itself" in problems[0]


def test_an_output_that_nobody_makes_in_a_sub_pipeline_is_told_there(folder: Path) -> None:
    (folder / "parts/sub.yml").write_text(SUB.replace('    outputs: {o: "${{parent.outputs.first}}"}\n', ""))
    problems = refusal(PIPELINE, folder)
    assert len(problems) == 1 and "parts/sub.yml:8: outputs.first is an output that no step makes" in problems[0]


def test_the_steps_of_a_pipeline_may_be_those_of_a_component(folder: Path, places: Places) -> None:
    text = "type: pipeline\ncomponent: ./parts/sub.yml\ninputs: {n: 9}\noutputs: {last: {path: /out/last}}\n"
    (folder / "job.yml").write_text(text)
    job = load_job(folder / "job.yml")
    flat = flat_of(job, places)
    assert [step.key for step in flat.spec.steps] == ["one", "two"]
    assert inputs(flat.spec.step("one"))["n"] == 9
    assert {output.name: output.step for output in flat.spec.outputs} == {"last": "two", "first": "one"}
    assert flat.step_outputs["two"][0].path == "/out/last"
    assert job_of_document(job.absolute_document()) == job


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("inputs: {n: many}", "job.yml:3: inputs.n is 'many', and the input takes a value of type integer"),
        ("inputs: {n: {type: integer, optional: true}, m: 3}", ""),
        ("outputs: {lost: }", "job.yml:3: outputs.lost is no output of the component 'sub'"),
        ("jobs: {a: {command: x}}", "job.yml:2: component and jobs are both there"),
    ],
)
def test_what_is_wrong_around_such_a_component_is_told_there(folder: Path, line: str, says: str) -> None:
    text = f"type: pipeline\ncomponent: ./parts/sub.yml\n{line}\n"
    if not says:
        (folder / "job.yml").write_text(text)
        notices = load_job(folder / "job.yml").origin.notices  # type: ignore[union-attr]  # it was loaded
        assert any("job.yml:3: inputs.m is no input of the component 'sub' and has no effect" in n for n in notices)
        return
    assert [says in problem for problem in refusal(text, folder)] == [True]


def test_settings_are_part_of_what_is_driven(folder: Path, places: Places) -> None:
    plain = spec("type: pipeline\njobs: {}\n", folder, places)
    assert plain.continue_on_step_failure and not plain.force_rerun and plain.max_concurrent_steps is None
    said = spec(
        "type: pipeline\nexperiment_name: harbour\nsettings: {continue_on_step_failure: false, force_rerun: true}\n"
        "runner: {max_concurrent_steps: 3, overwrite: true}\njobs: {a: {command: x, is_deterministic: false}}\n",
        folder,
        places,
    )
    assert not said.continue_on_step_failure and said.force_rerun and said.max_concurrent_steps == 3 and said.overwrite
    assert said.experiment_name == said.steps[0].document["experiment_name"] == "harbour"
    assert said.steps[0].document["runner"] == {"overwrite": True} and not said.steps[0].is_deterministic


def test_every_step_is_a_job_of_its_own(folder: Path, places: Places) -> None:
    for step in flat_of(load_job(folder / "pipeline.yml"), places).spec.steps:
        filled = fill_step(step, lambda key, name: f"/made/{key}/{name}")
        assert isinstance(job_of_document(filled), CommandJob)


def test_a_parallel_step_takes_the_output_of_another(folder: Path, places: Places) -> None:
    (folder / "code").mkdir()
    (folder / "code/score.py").write_text("def run(mini_batch):\n    return mini_batch\n")
    text = (
        "type: pipeline\ninputs: {size: 5}\njobs:\n  load: {command: x, outputs: {crates: }}\n"
        "  score:\n    type: parallel\n"
        "    inputs: {cargo: '${{parent.jobs.load.outputs.crates}}'}\n    outputs: {scores: {type: uri_file}}\n"
        "    input_data: ${{inputs.cargo}}\n    mini_batch_size: ${{parent.inputs.size}}\n"
        "    task: {code: ./code, entry_script: score.py, append_row_to: '${{outputs.scores}}'}\n"
    )
    (folder / "job.yml").write_text(text)
    flat = flat_of(load_job(folder / "job.yml"), places)
    step = flat.spec.step("score")
    assert step.type == "parallel" and flat.codes == {"load": None, "score": folder / "code"}
    assert step.document["mini_batch_size"] == 5
    job = job_of_document(fill_step(step, lambda key, name: str(folder)))
    assert isinstance(job, ParallelJob) and job.inputs["cargo"].path == str(folder)


def test_a_datastore_and_a_folder_that_are_one_place_are_told(folder: Path, places: Places) -> None:
    (folder / "job.yml").write_text(
        "type: pipeline\njobs:\n  a: {command: x, outputs: {o: {path: azureml://datastores/lake/paths/x}}}\n"
        f"  b: {{command: x, outputs: {{o: {{path: '{places.home}/datastores/lake/x/below'}}}}}}\n"
    )
    problems = [str(problem) for problem in validate(load_job(folder / "job.yml"), places=places).problems]
    assert len(problems) == 1 and "inside the output o of the step a" in problems[0]


def test_names_of_steps_stay_within_128_characters() -> None:
    assert step_job_name("pipe", "a/b") == "pipe--a--b"
    names = {step_job_name("p" * 100, f"{'s' * 40}{index}") for index in range(3)}
    assert len(names) == 3 and all(len(name) <= 128 for name in names)
    assert step_job_name("p" * 100, "s" * 26) == "p" * 100 + "--" + "s" * 26


def test_overrides_reach_into_steps(folder: Path, places: Places) -> None:
    overrides = [setting_of("jobs.sub.inputs.n=7"), {"jobs.after.tags.who": "me"}, {"settings.force_rerun": True}]
    job = load_job(folder / "pipeline.yml", params_override=overrides)
    made = flat_of(job, places).spec
    assert inputs(made.step("sub/one"))["n"] == 7 and made.force_rerun
    assert made.step("after").document["tags"] == {"who": "me"}


def test_inputs_in_groups_are_named_with_a_dot(folder: Path, places: Places) -> None:
    (folder / "job.yml").write_text(
        "type: pipeline\ninputs: {learning.rate: 0.1}\njobs:\n  a:\n"
        "    command: echo ${{inputs.g.rate}} $[[--x ${{inputs.g.none}}]]\n"
        "    inputs: {g.rate: '${{parent.inputs.learning.rate}}', g.none: {type: string, optional: true}}\n"
    )
    made = inputs(flat_of(load_job(folder / "job.yml"), places).spec.step("a"))
    assert made == {"g.rate": 0.1, "g.none": {"type": "string", "optional": True}}
    job = load_job(folder / "job.yml", params_override=[{"inputs.learning.rate": 3}, {"jobs.a.inputs.g.none": ""}])
    assert inputs(flat_of(job, places).spec.step("a")) == {"g.rate": 3, "g.none": ""}


def test_a_pipeline_is_built_from_job_objects(folder: Path, places: Places) -> None:
    (folder / "code").mkdir()
    built = PipelineJob(
        inputs={"n": 3, "raw": Input(type="uri_file", path="./pipeline.yml")},
        outputs={"y": Output(type="uri_file", path="./y.txt")},
        jobs={
            "first": CommandJob(
                command="a ${{inputs.n}} ${{inputs.raw}} ${{outputs.o}}",
                code="./code",
                inputs={"n": "${{parent.inputs.n}}", "raw": Input(type="uri_file", path="${{parent.inputs.raw}}")},
                outputs={"o": Output(type="uri_file")},
            ),
            "second": {
                "command": "b ${{inputs.i}} ${{outputs.o}}",
                "inputs": {"i": "${{parent.jobs.first.outputs.o}}"},
                "outputs": {"o": "${{parent.outputs.y}}"},
            },
        },
        settings=PipelineJobSettings(force_rerun=True),
    )
    made = flat_of(built, places)
    assert inputs(made.spec.step("first")) == {"n": 3, "raw": {**FILE, "path": str(folder / "pipeline.yml")}}
    assert made.codes == {"first": folder / "code", "second": None} and made.spec.force_rerun
    built.dump(folder / "built.yml")
    loaded = load_job(folder / "built.yml")
    assert loaded == built and isinstance(loaded, PipelineJob) and loaded.jobs["second"].command.startswith("b ")


def test_a_pipeline_without_places_to_write_still_tells_missing_data(folder: Path) -> None:
    text = (
        "type: pipeline\ninputs: {a: {type: uri_file, path: ./no/a.txt}}\njobs:\n"
        "  s:\n    command: x\n    inputs:\n      b: {type: uri_file, path: ./no/b.txt}\n"
        "      c: ${{parent.inputs.z}}\n      a: ${{parent.inputs.a}}\n"
    )
    problems = refusal(text, folder)
    assert ["no/a.txt" in problems[0], "no/b.txt" in problems[1], "parent.inputs.z" in problems[2]] == [True] * 3
    assert len(problems) == 3
