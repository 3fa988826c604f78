"""Pipelines whose steps come from files: what is merged, converted and told, each with the file it is in."""

from __future__ import annotations

from pathlib import Path

import pytest

from runner.entity.asset import Asset, AssetKind
from runner.entity.job import OutputState
from runner.entity.pipeline import StepSpec
from runner.errors import AssetNotFound, JobNotFound, SpecInvalid
from runner.spec.flatten import Flattened, flatten
from runner.spec.load import job_of_document, load_job
from runner.spec.pipeline_job import PipelineJob
from runner.spec.places import Places
from runner.spec.validate import validate

CRANE = """\
type: command
name: crane
version: 1
inputs:
  load: {type: uri_file}
  rate: {type: number, optional: true, min: 0, max: 10}
  count: {type: integer, default: "3"}
  open: {type: boolean, default: "true"}
  word: {type: string, optional: true, enum: [red, "3"]}
outputs:
  line: {type: uri_file}
command: lift ${{inputs.load}} ${{inputs.count}} ${{inputs.open}} $[[--rate ${{inputs.rate}}]] > ${{outputs.line}}
code: ./code
environment: azureml:some@latest
environment_variables: {A: of the component, B: of the component}
compute: big
"""
PIPELINE = """\
type: pipeline
inputs:
  load: {type: uri_file, path: ./data/load.txt}
outputs:
  line: {type: uri_file}
jobs:
  crane:
    type: command
    component: ./parts/crane.yml
    inputs:
      load: ${{parent.inputs.load}}
    outputs:
      line: ${{parent.outputs.line}}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A sound pipeline over a component with code of its own; the current folder is above it."""
    root = tmp_path / "project"
    (root / "parts/code").mkdir(parents=True)
    (root / "data").mkdir()
    (root / "data/load.txt").write_text("wool\n")
    (root / "parts/code/lift.sh").write_text("true\n")
    (root / "parts/crane.yml").write_text(CRANE)
    (root / "pipeline.yml").write_text(PIPELINE)
    monkeypatch.chdir(tmp_path)
    return root


@pytest.fixture
def places(home: Path) -> Places:
    return Places.read(home, {})


def load(folder: Path) -> PipelineJob:
    job = load_job(folder / "pipeline.yml")
    assert isinstance(job, PipelineJob)
    return job


def flat(job: PipelineJob, places: Places) -> Flattened:
    validate(job, places=places).raise_if_any()
    return flatten(job, name="pipe", places=places)


def step(folder: Path, places: Places, key: str = "crane") -> StepSpec:
    return flat(load(folder), places).spec.step(key)


def document(folder: Path, places: Places, key: str = "crane") -> dict[str, object]:
    return step(folder, places, key).document


def refusal(folder: Path) -> list[str]:
    with pytest.raises(SpecInvalid) as caught:
        load(folder)
    return [str(problem) for problem in caught.value.problems]


def change(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1))


def test_component_and_step_become_one_document_with_absolute_paths(folder: Path, places: Places) -> None:
    made = step(folder, places)
    assert made.component == "crane:1" and made.type == "command" and made.job == "pipe--crane"
    assert made.document["code"] == str(folder / "parts/code")
    assert made.document["inputs"] == {
        "load": {"type": "uri_file", "path": str(folder / "data/load.txt")},
        "rate": {"type": "number", "optional": True},
        "count": 3,
        "open": True,
        "word": {"type": "string", "optional": True},
    }
    assert made.document["compute"] == "big" and made.document["display_name"] == "crane"
    assert flat(load(folder), places).codes == {"crane": folder / "parts/code"}


@pytest.mark.parametrize("written", ["file:./parts/crane.yml", "parts/crane.yml", "azureml:./parts/crane.yml"])
def test_a_component_file_is_named_in_several_ways(folder: Path, places: Places, written: str) -> None:
    change(folder / "pipeline.yml", "./parts/crane.yml", written)
    assert step(folder, places).component == "crane:1"


def test_what_a_step_says_goes_before_its_component(folder: Path, places: Places) -> None:
    change(
        folder / "pipeline.yml", "    inputs:", "    compute: small\n    environment_variables: {B: mine}\n    inputs:"
    )
    said = document(folder, places)
    assert said["compute"] == "small"
    assert said["environment_variables"] == {"A": "of the component", "B": "mine"}


@pytest.mark.parametrize(
    ("pipeline", "settings", "component", "node", "wanted"),
    [
        ("", "", "", "", None),
        ("of_job", "", "", "", "of_job"),
        ("of_job", "of_settings", "", "", "of_settings"),
        ("of_job", "of_settings", "of_component", "", "of_component"),
        ("of_job", "of_settings", "of_component", "of_node", "of_node"),
        ("of_job", "", "", "${{parent.inputs.where}}", "there"),
    ],
)
def test_the_nearest_compute_counts(
    folder: Path, places: Places, pipeline: str, settings: str, component: str, node: str, wanted: str | None
) -> None:
    change(folder / "parts/crane.yml", "compute: big\n", f"compute: {component}\n" if component else "")
    change(folder / "pipeline.yml", "inputs:\n", "inputs:\n  where: azureml:there\n")
    top = (f"compute: {pipeline}\n" if pipeline else "") + (
        f"settings: {{default_compute: {settings}}}\n" if settings else ""
    )
    change(folder / "pipeline.yml", "jobs:\n", f"{top}jobs:\n")
    if node:
        change(folder / "pipeline.yml", "    component:", f"    compute: {node}\n    component:")
    assert document(folder, places).get("compute") == wanted


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ("count: 0", 0),
        ("count: '12'", 12),
        ("count: 4.0", 4),
        ("rate: 1", 1.0),
        ("rate: '1e-1'", 0.1),
        ("open: false", False),
        ("open: 'TRUE'", True),
        ("word: 3", "3"),
        ("word: red", "red"),
        ("count: {value: 5}", 5),
        ("count: {type: integer, default: 6}", 6),
        ("count: {path: 5}", 5),
        ("count: ", 3),
    ],
)
def test_a_value_is_converted_to_the_declared_type(folder: Path, places: Places, given: str, wanted: object) -> None:
    change(folder / "pipeline.yml", "    outputs:", f"      {given}\n    outputs:")
    inputs = document(folder, places)["inputs"]
    assert isinstance(inputs, dict)
    made = inputs[given.partition(":")[0]]
    assert made == wanted and type(made) is type(wanted)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("count: many", "is 'many', and the input takes a value of type integer"),
        ("count: 3.5", "is 3.5, and the input takes a value of type integer"),
        ("count: true", "is true, and the input takes a value of type integer"),
        ("rate: -1", "is -1.0, below the minimum 0; write 0 or more"),
        ("rate: 10.5", "is 10.5, above the maximum 10; write 10 or less"),
        ("open: yes please", "takes a value of type boolean; write true or false"),
        ("word: green", "is 'green'; write one of red, 3"),
        ("count: ${{parent.inputs.load}}", "is data of type uri_file, and the input of the component 'crane' takes a"),
        ("count: {type: uri_file, path: ./data/load.txt}", "is data of type uri_file"),
    ],
)
def test_a_value_that_does_not_fit_is_told_at_the_step(folder: Path, given: str, says: str) -> None:
    change(folder / "pipeline.yml", "    outputs:", f"      {given}\n    outputs:")
    problems = refusal(folder)
    assert len(problems) == 1, problems
    assert says in problems[0] and problems[0].startswith(f"{folder}/pipeline.yml:12: jobs.crane.inputs.")


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("", "jobs.crane.inputs.load is not given: it is a required input of the component 'crane'"),
        ("load: ./data/load.txt", "is './data/load.txt', and the input of the component 'crane' takes data of type"),
        ("load: 3", "is 3, and the input of the component 'crane' takes data of type uri_file"),
        ("load: {type: uri_file, path: ./data/none.txt}", "and there is nothing"),
    ],
)
def test_data_that_does_not_fit_is_told_at_the_step(folder: Path, places: Places, given: str, says: str) -> None:
    change(folder / "pipeline.yml", "      load: ${{parent.inputs.load}}\n", f"      {given}\n")
    with pytest.raises(SpecInvalid) as caught:
        validate(load(folder), places=places).raise_if_any()
    assert [says in str(problem) for problem in caught.value.problems] == [True], str(caught.value)


def test_data_of_another_form_than_declared_is_a_notice_and_what_is_written_counts(
    folder: Path, places: Places
) -> None:
    change(folder / "pipeline.yml", "${{parent.inputs.load}}", "{type: uri_folder, path: ./data}")
    found = validate(load(folder), places=places)
    assert found.problems == ()
    assert any(
        "is of type uri_folder, and the input of the component 'crane' is of type uri_file" in n for n in found.notices
    )
    inputs = document(folder, places)["inputs"]
    assert isinstance(inputs, dict) and inputs["load"] == {"type": "uri_folder", "path": str(folder / "data")}


def test_what_a_step_makes_has_to_be_of_the_declared_form(folder: Path) -> None:
    change(folder / "pipeline.yml", "jobs:\n", "jobs:\n  make: {command: x, outputs: {o: {type: uri_folder}}}\n")
    change(folder / "pipeline.yml", "${{parent.inputs.load}}", "${{parent.jobs.make.outputs.o}}")
    problems = refusal(folder)
    assert len(problems) == 1
    assert "jobs.crane.inputs.load is of type uri_folder, and the input of the component 'crane' is of" in problems[0]


def test_a_dash_in_the_name_of_a_component_is_a_notice(folder: Path, places: Places) -> None:
    change(folder / "parts/crane.yml", "name: crane", "name: big-crane")
    assert any(
        "crane.yml:2: name is 'big-crane', which other tools refuse" in n
        for n in validate(load(folder), places=places).notices
    )
    assert step(folder, places).component == "big-crane:1"


def test_extra_inputs_and_unknown_keys_of_a_step_over_a_component_are_notices(folder: Path, places: Places) -> None:
    change(folder / "pipeline.yml", "    outputs:", "      counts: 3\n    comand: x\n    outputs:")
    found = validate(load(folder), places=places)
    assert found.problems == ()
    told = [notice for notice in found.notices if "no effect" in notice]
    assert len(told) == 2
    assert "jobs.crane.inputs.counts is no input of the component 'crane' and has no effect; did you mean" in told[0]
    assert "jobs.crane.comand is no key of a step and has no effect; did you mean `command`?" in told[1]


@pytest.mark.parametrize(
    ("old", "new", "line", "says"),
    [
        ("name: crane", "name: Crane", 2, "name is 'Crane', which cannot name a component"),
        ("load: {type: uri_file}", "load: {type: float}", 5, "inputs.load.type is 'float'"),
        (
            "load: {type: uri_file}",
            "load: {type: uri_file, default: x}",
            5,
            "inputs.load.default has no meaning for data",
        ),
        ("load: {type: uri_file}", "load: {type: uri_file, path: x}", 5, "inputs.load.path is no known key"),
        ("word: {type: string", "Open: {type: string", 9, "inputs.Open and open differ in case only"),
        (
            'default: "3"',
            "default: abc",
            7,
            "inputs.count.default is 'abc', and the input takes a value of type integer",
        ),
        ('default: "true"', "default: 'yes'", 8, "inputs.open.default is 'yes'"),
        ("min: 0, max: 10", "min: 11, max: 10", 6, "inputs.rate.min is 11, above the max 10"),
        ("min: 0, max: 10", "min: low", 6, "inputs.rate.min is 'low', not a number"),
        ('optional: true, enum: [red, "3"]', "enum: red, default: red", 9, "inputs.word.enum is 'red', not a list"),
        ("line: {type: uri_file}", "line: {type: boolean}", 11, "outputs.line.type is 'boolean'"),
        ("lift ${{inputs.load}}", "lift ${{inputs.laod}}", 12, "there is no such input; did you mean `load`?"),
        ("$[[--rate ${{inputs.rate}}]]", "${{inputs.rate}}", 12, "an optional input that may have no value"),
        ("code: ./code", "code: ./cod", 13, "parts/cod"),
        ("compute: big", "comput: big", 16, "comput is no known key; did you mean `compute`?"),
        ("type: command", "type: sweep", 1, "type is 'sweep', a kind of component that this version does not run"),
        ("compute: big", "compute: [", 17, "this is no YAML"),
        ("compute: big", "code: ./code", 16, "code is given twice, first on line 13"),
    ],
)
def test_what_is_wrong_in_a_component_is_told_in_its_own_file(
    folder: Path, old: str, new: str, line: int, says: str
) -> None:
    change(folder / "parts/crane.yml", old, new)
    problems = [problem for problem in refusal(folder) if "crane.yml" in problem.split(": ")[0]]
    assert len(problems) == 1, problems
    assert says in problems[0]
    assert problems[0].startswith(f"project/parts/crane.yml:{line}:")


def test_a_component_used_often_is_told_once(folder: Path) -> None:
    change(folder / "parts/crane.yml", "comput", "compoot")
    again = "\n".join(PIPELINE.splitlines()[6:11])
    with open(folder / "pipeline.yml", "a") as file:
        file.write(again.replace("  crane:", "  second:") + "\n" + again.replace("  crane:", "  third:") + "\n")
    assert len(refusal(folder)) == 1


@pytest.mark.parametrize(
    ("reference", "says"),
    [
        ("./parts/crain.yml", "parts/crain.yml, and there is nothing"),
        ("./parts", "parts; write the path of the YAML file in it"),
        ("azureml://registries/r/components/c/versions/1", "which this machine cannot look up"),
        ("azureml:a:b:c", "which names no component"),
        ("[1]", "is a list, which is no component"),
    ],
)
def test_a_component_that_is_not_there_is_told(folder: Path, reference: str, says: str) -> None:
    change(folder / "pipeline.yml", "./parts/crane.yml", reference)
    problems = refusal(folder)
    assert len(problems) == 1, problems
    assert says in problems[0] and problems[0].startswith(f"{folder}/pipeline.yml:9: jobs.crane.component")


def test_a_step_and_its_component_of_different_types_are_told(folder: Path) -> None:
    change(folder / "pipeline.yml", "    type: command", "    type: parallel")
    assert ["is 'parallel', and its component is of type 'command'" in problem for problem in refusal(folder)] == [True]


def test_the_path_of_an_output_in_a_component_has_no_effect(folder: Path, places: Places) -> None:
    change(folder / "parts/crane.yml", "line: {type: uri_file}", "line: {type: uri_file, path: ./x.txt}")
    found = validate(load(folder), places=places)
    assert any("parts/crane.yml:11: outputs.line.path has no effect in a component" in n for n in found.notices)
    assert document(folder, places)["outputs"] == {"line": {"type": "uri_file"}}


def test_the_setting_at_the_pipeline_is_that_of_the_step(folder: Path, places: Places) -> None:
    line = "line: {type: uri_file, path: './out/${{name}}.txt', mode: upload, name: lines, version: 4}"
    change(folder / "pipeline.yml", "line: {type: uri_file}", line)
    made = flat(load(folder), places)
    output = {"type": "uri_file", "path": str(folder / "out/${{name}}.txt"), "mode": "upload", "name": "lines"}
    assert made.spec.step("crane").document["outputs"] == {"line": {**output, "version": "4"}}
    where = str(folder / "out/pipe--crane.txt")
    assert made.outputs == (OutputState(name="line", type="uri_file", path=where),)
    assert made.step_outputs == {"crane": made.outputs}


def test_an_output_takes_the_type_of_its_component(folder: Path, places: Places) -> None:
    change(folder / "pipeline.yml", "  line: {type: uri_file}", "  line:")
    assert flat(load(folder), places).outputs[0].type == "uri_file"
    change(folder / "pipeline.yml", "  line:", "  line: {type: uri_folder}")
    problems = refusal(folder)
    assert (
        len(problems) == 1 and "outputs.line.type is uri_folder, and the output line of the step crane" in problems[0]
    )


def test_a_step_cannot_make_a_folder_of_a_file(folder: Path) -> None:
    change(folder / "pipeline.yml", "line: ${{parent.outputs.line}}", "line: {type: uri_folder}")
    change(folder / "pipeline.yml", "outputs:\n  line: {type: uri_file}\n", "")
    problems = refusal(folder)
    assert len(problems) == 1
    assert "jobs.crane.outputs.line.type is uri_folder, and the component 'crane' makes uri_file" in problems[0]


def test_outputs_go_to_the_datastore_of_the_pipeline(folder: Path, places: Places) -> None:
    change(folder / "pipeline.yml", "jobs:\n", "settings: {default_datastore: azureml:lake}\njobs:\n")
    where = places.home / "datastores/lake/azureml/pipe--crane/line"
    assert flat(load(folder), places).outputs[0].path == str(where)


def test_what_was_read_stays_as_it_was(folder: Path, places: Places) -> None:
    job = load(folder)
    before = job.absolute_document()
    (folder / "parts/crane.yml").unlink()
    assert job.absolute_document() == before
    assert flat(job, places).spec.step("crane").component == "crane:1"


def test_the_absolute_document_needs_no_file_but_code_and_data(folder: Path, places: Places) -> None:
    job = load(folder)
    travelled = job_of_document(job.absolute_document())
    assert travelled == job and isinstance(travelled, PipelineJob)
    (folder / "parts/crane.yml").unlink()
    assert flat(travelled, places).spec == flat(job, places).spec


def test_a_dump_beside_the_components_reads_back_equal(folder: Path) -> None:
    job = load(folder)
    job.dump(folder / "again.yml")
    assert "component: ./parts/crane.yml" in (folder / "again.yml").read_text()
    assert load_job(folder / "again.yml") == job


def test_a_dump_elsewhere_reads_back_equal(folder: Path, tmp_path: Path) -> None:
    job = load(folder)
    (tmp_path / "other").mkdir()
    job.dump(tmp_path / "other/again.yml")
    assert load_job(tmp_path / "other/again.yml") == job


class Registered:
    """A catalog with some components in it."""

    def __init__(self, *assets: Asset) -> None:
        self._assets = {(asset.name, asset.version): asset for asset in assets}

    def asset(self, kind: AssetKind, name: str, version: str = "latest") -> Asset:
        newest = max((v for n, v in self._assets if n == name), default="")
        found = self._assets.get((name, newest if version == "latest" else version))
        if found is None or found.kind != kind:
            raise AssetNotFound(kind, f"{name}:{version}")
        return found

    def outputs(self, job: str) -> tuple[OutputState, ...]:
        raise JobNotFound(job)


def registered(home: Path, folder: Path) -> Places:
    document: dict[str, object] = {
        "name": "crane",
        "type": "command",
        "command": "lift ${{inputs.load}} > ${{outputs.line}}",
        "code": str(folder / "parts/code"),
        "inputs": {"load": {"type": "uri_file"}},
        "outputs": {"line": {"type": "uri_file"}},
    }
    assets = [Asset(kind="component", name="crane", version=v, type="command", document=document) for v in ("1", "2")]
    return Places(home=home, catalog=Registered(*assets))


@pytest.mark.parametrize(
    ("reference", "wanted"),
    [("azureml:crane:1", "crane:1"), ("azureml:crane@latest", "crane:2"), ("azureml:crane", "crane:2")],
)
def test_a_registered_component_is_looked_up_when_there_is_a_catalog(
    folder: Path, home: Path, reference: str, wanted: str
) -> None:
    change(folder / "pipeline.yml", "./parts/crane.yml", reference)
    job = load(folder)
    assert flat(job, registered(home, folder)).spec.step("crane").component == wanted
    assert validate(job, places=Places(home=home)).problems == ()


def test_a_registered_component_that_is_not_there_is_told(folder: Path, home: Path) -> None:
    change(folder / "pipeline.yml", "./parts/crane.yml", "azureml:crane:9")
    problems = [str(problem) for problem in validate(load(folder), places=registered(home, folder)).problems]
    assert len(problems) == 1 and "pipeline.yml:9: jobs.crane.component is 'azureml:crane:9'" in problems[0]


def test_a_step_over_a_registered_component_is_checked(folder: Path, home: Path) -> None:
    change(folder / "pipeline.yml", "./parts/crane.yml", "azureml:crane:1")
    change(folder / "pipeline.yml", "      load: ${{parent.inputs.load}}\n", "      laod: 3\n")
    problems = [str(problem) for problem in validate(load(folder), places=registered(home, folder)).problems]
    assert len(problems) == 1 and "jobs.crane.inputs.load is not given" in problems[0]
