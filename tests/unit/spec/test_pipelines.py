"""Every way a pipeline can be wrong in itself is told with its line; what is right becomes documents of steps."""

from __future__ import annotations

from pathlib import Path
from textwrap import indent

import pytest

from runner.spec.document import read_document
from runner.spec.findings import Findings
from runner.spec.pipeline_job import PipelineJob
from runner.spec.pipeline_kind import check, shape

BASE = Path("/nonexistent")
HEAD = "type: pipeline\n"
SOUND = """\
inputs:
  rate: 3
  depth: {type: integer, default: "7"}
  cargo: {type: uri_folder, path: /data/cargo}
outputs:
  report: {type: uri_file}
jobs:
  sift:
    command: sift ${{inputs.cargo}} ${{outputs.kept}}
    inputs: {cargo: "${{parent.inputs.cargo}}"}
    outputs: {kept: }
  count:
    command: count ${{inputs.kept}} ${{inputs.rate}} > ${{outputs.n}}
    inputs:
      kept: ${{parent.jobs.sift.outputs.kept}}
      rate: ${{parent.inputs.rate}}
    outputs: {n: "${{parent.outputs.report}}"}
"""


def check_text(text: str) -> Findings:
    document = read_document(text, "job.yml")
    found = Findings("job.yml", document.lines)
    for problem in document.problems:
        found.add(problem)
    check(shape(document.values, BASE, found), BASE, found)
    return found


def told(text: str) -> list[str]:
    return [str(problem) for problem in check_text(HEAD + text).problems]


def with_step(lines: str) -> str:
    """The sound pipeline with one more step, whose lines begin at line 20."""
    return SOUND + "  extra:\n    command: 'true'\n" + indent(lines, "    ")


def test_a_sound_pipeline_has_no_problem_and_no_notice() -> None:
    found = check_text(HEAD + SOUND)
    assert found.problems == ()
    assert found.notices == ()


def test_a_pipeline_without_steps_is_sound() -> None:
    assert told("jobs: {}\n") == []


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("${{parent.jobs.sitf.outputs.kept}}", "there is no step 'sitf'; did you mean `sift`?"),
        ("${{parent.jobs.sift.outputs.kep}}", "the step sift has no such output; did you mean `kept`?"),
        ("${{parent.jobs.sift.inputs.carg}}", "the step sift has no such input; did you mean `cargo`?"),
        ("${{parent.inputs.rat}}", "the pipeline has no such input; did you mean `rate`?"),
        ("${{parent.inputs.zzzzz}}", "the pipeline has no such input; the inputs are rate, depth, cargo"),
        ("${{parents.inputs.rate}}", "holds ${{parents.inputs.rate}}, a binding of no known form; did you mean ${{par"),
        ("${{inputs.rate}}", "a binding of no known form; write ${{parent.inputs.rate}}"),
        ("${{jobs.sift.outputs.kept}}", "a binding of no known form; write ${{parent.jobs.sift.outputs.kept}}"),
        ("${{parent.input.rate}}", "a binding of no known form; did you mean `inputs`?"),
        ("${{parent.outputs.report}}", "an input cannot be an output of the pipeline"),
        ("${{}}", "a binding of no known form"),
        ("a ${{parent.inputs.rat}} b", "the pipeline has no such input; did you mean `rate`?"),
        ("[1]", "inputs.x is a list;"),
        ("2024-01-01", "is a bare date"),
        (".inf", "inputs.x is inf;"),
        ("{path: '${{parent.inputs.cargoo}}', mode: download}", "the pipeline has no such input; did you mean `cargo`"),
        ("{path: '${{parent.inputs.cargo}}', mode: rw_mount}", "inputs.x.mode is 'rw_mount';"),
        (
            "{path: '${{parent.inputs.cargo}}', type: uri_file}",
            "inputs.x.type is uri_file, and ${{parent.inputs.cargo}} is",
        ),
        ("{type: uri_file}", "has no path"),
        ("{type: uri_file, path: a, kind: b}", "inputs.x.kind is no known key"),
    ],
)
def test_a_wrong_input_of_a_step_is_told_once_at_its_line(value: str, says: str) -> None:
    quoted = value if value[0] in "[{.2" else f'"{value}"'
    problems = told(with_step(f"inputs:\n  x: {quoted}\n"))
    assert len(problems) == 1, problems
    assert problems[0].startswith("job.yml:22: jobs.extra.inputs.x") and says in problems[0]


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("type: sweep", "jobs.extra.type is 'sweep', a kind of step that this version does not run"),
        ("type: spark", "jobs.extra.type is 'spark', a kind of step that this version does not run"),
        ("type: automl", "jobs.extra.type is 'automl', a kind of step that this version does not run"),
        ("type: if_else", "jobs.extra.type is 'if_else', control flow, which this version does not run"),
        ("type: do_while", "jobs.extra.type is 'do_while', control flow, which this version does not run"),
        ("type: parallel_for", "jobs.extra.type is 'parallel_for', control flow, which this version does not run"),
        ("type: comand", "jobs.extra.type is 'comand', which is no kind of step"),
        ("type: pipeline", "jobs.extra is a pipeline without a component"),
        ("comand: x", "jobs.extra.comand is no known key"),
        ("inputs: 3", "jobs.extra.inputs is 3, not a mapping"),
        ("outputs: [a]", "jobs.extra.outputs is a list, not a mapping"),
        ("runner: {depends_on: [sitf]}", "is 'sitf', and there is no such step; did you mean `sift`?"),
        ("runner: {depends_on: {a: 1}}", "jobs.extra.runner.depends_on is a mapping"),
        ("compute: ${{parent.inputs.cargo}}", "jobs.extra.compute holds ${{parent.inputs.cargo}}, which is data"),
        ("outputs: {o: '${{parent.outputs.repor}}'}", "the pipeline has no such output; did you mean `report`?"),
        ("outputs: {o: '${{parent.outputs.report}}'}", "is bound to the output report, which the step count makes"),
        ("outputs: {o: '${{parent.inputs.rate}}'}", "which is no output of the pipeline"),
        ("outputs: {o: '${{outputs.report}}'}", "which is no output of the pipeline"),
        ("outputs: {o: {path: /x, modes: upload}}", "jobs.extra.outputs.o.modes is no known key"),
        ("environment_variables: {A: '${{parent.inputs.rat}}'}", "the pipeline has no such input"),
        ("environment_variables: {A: '${{parents.inputs.rate}}'}", "did you mean ${{parent.inputs.rate}}?"),
        ("environment_variables: {A: '${{inputs.rate}}'}", "names ${{inputs.rate}}, and there is no such input"),
        ("limits: {timeout: '${{parent.inputs.cargo}}'}", "which is data"),
    ],
)
def test_one_wrong_line_of_a_step_gives_one_problem_at_that_line(line: str, says: str) -> None:
    problems = told(with_step(line + "\n"))
    assert len(problems) == 1, problems
    assert says in problems[0]
    assert problems[0].startswith(("job.yml:21:", "job.yml:19:") if "without" in says else "job.yml:21:")


def test_a_binding_to_the_pipeline_in_a_command_is_told() -> None:
    problems = told(SOUND.replace("count ${{inputs.kept}}", "count ${{parent.inputs.cargo}}"))
    assert len(problems) == 1
    assert "only the step's own inputs and outputs are known here" in problems[0]
    assert problems[0].startswith("job.yml:14: jobs.count.command holds ${{parent.inputs.cargo}}")


@pytest.mark.parametrize("name", ["Sift", "a-b", "3d", "a b", "ä", '""', "a.b"])
def test_a_step_whose_name_is_no_identifier_is_refused(name: str) -> None:
    problems = told(f"jobs:\n  {name}:\n    command: x\n")
    assert len(problems) == 1
    assert "is a step whose name is no identifier" in problems[0] and problems[0].startswith("job.yml:3:")


def test_a_cycle_is_told_by_its_path() -> None:
    steps = "".join(
        f"  {name}:\n    command: x\n"
        f"    inputs: {{i: '${{{{parent.jobs.{before}.outputs.o}}}}'}}\n    outputs: {{o: }}\n"
        for name, before in (("alpha", "gamma"), ("beta", "alpha"), ("gamma", "beta"))
    )
    problems = told("jobs:\n" + steps)
    assert len(problems) == 1
    assert "a cycle of steps that wait for each other: alpha -> beta -> gamma -> alpha" in problems[0]
    assert problems[0].startswith("job.yml:5: jobs.alpha.inputs.i")


def test_a_step_that_takes_its_own_output_is_a_cycle() -> None:
    problems = told(
        "jobs:\n  a:\n    command: x\n    inputs: {i: '${{parent.jobs.a.outputs.o}}'}\n    outputs: {o: }\n"
    )
    assert len(problems) == 1 and "a -> a" in problems[0]


def test_many_ways_between_steps_are_walked_once() -> None:
    lines = ["  s0: {command: x, outputs: {o: }}\n"]
    for i in range(1, 60):
        given = "${{parent.jobs.%s.outputs.o}}"
        both = ", ".join(f"{side}: '{given % f's{i - 1}'}'" for side in "ab")
        lines += [f"  {side}{i}: {{command: x, inputs: {{{both}}}, outputs: {{o: }}}}\n" for side in "ab"]
        joined = ", ".join(f"{side}: '{given % f'{side}{i}'}'" for side in "ab")
        lines.append(f"  s{i}: {{command: x, inputs: {{{joined}}}, outputs: {{o: }}}}\n")
    assert told("jobs:\n" + "".join(reversed(lines))) == []


def test_depends_on_counts_for_cycles() -> None:
    problems = told(
        "jobs:\n  a:\n    command: x\n    runner: {depends_on: [b]}\n"
        "  b:\n    command: x\n    runner: {depends_on: [a]}\n"
    )
    assert len(problems) == 1 and "a -> b -> a" in problems[0]


def test_inputs_that_go_round_are_told_once() -> None:
    problems = told(
        "jobs:\n  a:\n    command: x\n    inputs: {i: '${{parent.jobs.b.inputs.j}}'}\n"
        "  b:\n    command: x\n    inputs: {j: '${{parent.jobs.a.inputs.i}}'}\n"
    )
    assert len(problems) == 1 and "goes back to itself" in problems[0]


def test_a_step_that_cannot_be_made_still_stands_for_what_refers_to_it() -> None:
    problems = told(
        "outputs: {y: , lost: }\njobs:\n  A: {type: sweep, outputs: {o: '${{parent.outputs.y}}'}}\n  b: 3\n"
        "  c:\n    command: x\n    inputs:\n"
        "      i: ${{parent.jobs.A.outputs.o}}\n      j: ${{parent.jobs.b.outputs.o}}\n"
    )
    assert [problem.split(": ")[1].split(" ")[0] for problem in problems] == [
        "outputs.lost",
        "jobs.A",
        "jobs.A.type",
        "jobs.b",
    ]


def test_an_output_that_no_step_makes_is_told() -> None:
    problems = told("outputs:\n  lost: {type: uri_file}\njobs:\n  a: {command: x}\n")
    assert len(problems) == 1
    assert problems[0].startswith("job.yml:3: outputs.lost is an output that no step makes")


@pytest.mark.parametrize(
    ("first", "second", "says"),
    [
        ("/out/x", "/out/x", "leads to /out/x, and so does the output o of the step a"),
        ("/out/x", "/out/x/", "leads to /out/x, and so does"),
        ("/out", "/out/below", "leads to /out/below, inside the output o of the step a"),
        ("azureml://datastores/d/paths/x", "azureml://datastores/d/paths/x", "and so does the output o"),
        ("./x", "/nonexistent/x", "and so does the output o"),
    ],
)
def test_two_steps_that_write_to_one_place_are_told(first: str, second: str, says: str) -> None:
    problems = told(
        f"jobs:\n  a:\n    command: x\n    outputs: {{o: {{path: '{first}'}}}}\n"
        f"  b:\n    command: x\n    outputs: {{p: {{path: '{second}'}}}}\n"
    )
    assert len(problems) == 1 and says in problems[0] and problems[0].startswith("job.yml:8: jobs.b.outputs.p.path")


def test_two_steps_that_register_one_version_are_told() -> None:
    step = "\n    command: x\n    outputs: {o: {name: tides, version: 3}}\n"
    problems = told(f"jobs:\n  a:{step}  b:{step}")
    assert (
        len(problems) == 1
        and "jobs.b.outputs.o.version makes it tides:3, and so is the output o of the step a" in problems[0]
    )
    assert told(f"jobs:\n  a:{step}  b:{step}".replace(", version: 3", "")) == []


def test_the_name_of_the_step_keeps_places_apart() -> None:
    step = "\n    command: x\n    outputs: {o: {path: '/out/${{name}}'}}\n"
    assert told(f"jobs:\n  a:{step}  b:{step}") == []


def test_two_steps_that_register_one_path_for_an_output_of_the_pipeline_are_told_at_both() -> None:
    problems = told(
        "outputs:\n  y: {path: /out/y}\njobs:\n  a:\n    command: x\n    outputs: {o: '${{parent.outputs.y}}'}\n"
        "  b:\n    command: x\n    outputs: {o: {path: /out/y}}\n"
    )
    assert len(problems) == 1 and "leads to /out/y" in problems[0]


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ("settings: {default_datestore: x}\n", "settings.default_datestore is no setting of a pipeline"),
        (
            "settings: {colour: red}\n",
            "settings.colour is no setting of a pipeline and has no effect; the settings are",
        ),
    ],
)
def test_a_setting_that_is_not_known_is_a_notice(lines: str, says: str) -> None:
    found = check_text(HEAD + lines + "jobs: {}\n")
    assert found.problems == () and len(found.notices) == 1 and says in found.notices[0]


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ("settings: {force_rerun: maybe}\n", "settings.force_rerun is 'maybe'; write true or false"),
        ("settings: {on_init: a}\n", "settings.on_init is not supported by this version"),
        ("settings: {on_finalize: a}\n", "settings.on_finalize is not supported by this version"),
        ("settings: 3\n", "settings is 3, not a mapping"),
        ("force_rerun: true\n", "force_rerun does not belong here; write it below `settings:`"),
        ("job: {}\n", "job is no known key"),
        ("jobs: [a]\n", "jobs is a list, not a mapping"),
        ("jobs: {a: 3}\n", "jobs.a is 3, not a mapping"),
        (
            "outputs: {y: '${{parent.jobs.a.outputs.o}}'}\n",
            "outputs.y is '${{parent.jobs.a.outputs.o}}', not a mapping",
        ),
        ("inputs: {n: {type: integer, default: many}}\n", "inputs.n.default is 'many', not of type integer"),
        ("inputs: {n: {type: integer, default: 9, max: 5}}\n", "inputs.n.default is 9, above the maximum 5"),
        ("runner: {max_concurrent_steps: 0}\n", "runner.max_concurrent_steps is 0"),
        ("runner: {depends_on: [a]}\n", "runner.depends_on"),
        ("component: ./no.yml\njobs: {}\n", "component"),
    ],
)
def test_one_wrong_line_of_the_pipeline_gives_one_problem(lines: str, says: str) -> None:
    problems = told(lines)
    assert len(problems) == 1, problems
    assert says in problems[0]


def test_an_input_of_the_pipeline_that_is_wrong_is_told_once() -> None:
    problems = told(SOUND.replace("cargo: {type: uri_folder, path: /data/cargo}", "cargo: {type: uri_folder}"))
    assert len(problems) == 1 and problems[0].startswith("job.yml:5: inputs.cargo has no path")


def test_everything_is_told_at_once() -> None:
    text = with_step(
        "inputs:\n  a: ${{parent.jobs.sfit.outputs.kept}}\n  b: ${{parent.inputs.rat}}\n  c: ${{parents.inputs.rate}}\n"
        "outputs: {o: '${{parent.outputs.no}}'}\nlimits: {timeout: -3}\n"
    )
    assert [problem.split(":")[1] for problem in told(text)] == ["22", "23", "24", "25", "26"]


def test_a_long_chain_of_inputs_is_followed_from_its_far_end() -> None:
    steps = [f"  s{i}: {{command: x, inputs: {{r: '${{{{parent.jobs.s{i + 1}.inputs.r}}}}'}}}}\n" for i in range(1500)]
    assert told("jobs:\n" + "".join(steps) + "  s1500: {command: x, inputs: {r: 3}}\n") == []
    assert len(told("jobs:\n" + "".join(steps) + "  s1500: {command: x, inputs: {r: '${{parent.inputs.r}}'}}\n")) == 1


def test_settings_that_were_put_in_as_a_mapping_are_read_as_settings() -> None:
    job = PipelineJob(settings={"force_rerun": True, "colour": "red"})
    assert job.settings.force_rerun and job.to_document()["settings"] == {"force_rerun": True, "colour": "red"}
    job.settings = {"continue_on_step_failure": False}
    assert job.settings.continue_on_step_failure is False
    job.runner = {"max_concurrent_steps": "many"}
    assert "max_concurrent_steps: many" in str(job)
