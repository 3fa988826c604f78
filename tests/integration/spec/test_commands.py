"""Commands with files on disk: read, checked, resolved, and written so that they read back the same."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest

import runner
from runner import CommandJob, Input, Output, load_job
from runner.entity.command import CommandInput, CommandOutput, Distribution
from runner.errors import SpecInvalid, ValidationException
from runner.spec.places import Places
from runner.spec.resolve_command import ResolvedCommand, resolve_command
from runner.spec.validate import validate

JOB = """\
command: |
  python main.py ${{ inputs.rate }} ${{inputs.data}} > ${{outputs.made}}
code: ./src
environment: azureml:some-python@latest
inputs:
  rate: 1.0
  data: {type: uri_file, path: ./data/list.txt}
outputs:
  made: {type: uri_file, path: ./out/made.txt}
  side:
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A sound job with code and data; the current folder is elsewhere."""
    root = tmp_path / "project"
    (root / "src").mkdir(parents=True)
    (root / "data").mkdir()
    (root / "data/list.txt").write_text("a")
    (root / "src/main.py").write_text("print()\n")
    (root / "job.yml").write_text(JOB)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    return root


@pytest.fixture
def places(home: Path) -> Places:
    return Places.read(home, {})


def resolved(job: runner.Job, places: Places, **how: Any) -> ResolvedCommand:
    assert isinstance(job, CommandJob)
    assert validate(job, places=places).problems == ()
    return resolve_command(job, **{"name": "calm_sea", "places": places, "code": None, **how})


def test_a_file_without_a_type_is_a_command(folder: Path) -> None:
    job = load_job(folder / "job.yml")
    assert type(job) is CommandJob
    assert isinstance(job, runner.Command)
    assert isinstance(job, runner.Job)
    assert job.type == "command"
    assert job.name is None
    assert job.inputs == {"rate": 1.0, "data": Input(type="uri_file", path="./data/list.txt")}
    assert job.outputs == {"made": Output(type="uri_file", path="./out/made.txt"), "side": Output()}
    assert job.base_path == folder
    assert (job.status, job.id, job.log_files, job.studio_url, job.creation_context, job.parent_job_name) == (None,) * 6


def test_what_the_driver_is_given(folder: Path, places: Places) -> None:
    job = load_job(folder / "job.yml")
    made = resolved(job, places, code=folder / "pinned", root_name="above")
    spec = made.spec
    assert (spec.name, spec.root_name, spec.code) == ("calm_sea", "above", str(folder / "pinned"))
    assert spec.command == "python main.py ${{inputs.rate}} ${{inputs.data}} > ${{outputs.made}}"
    assert spec.inputs == (
        CommandInput(name="rate", type="number", text="1.0", mode="literal"),
        CommandInput(name="data", type="uri_file", text=str(folder / "data/list.txt"), mode="ro_mount"),
    )
    side = str(places.home / "datastores/workspaceblobstore/azureml/calm_sea/side")
    assert spec.outputs == (
        CommandOutput(
            name="made", type="uri_file", target=str(folder / "out/made.txt"), is_folder=False, has_path=True
        ),
        CommandOutput(name="side", type="uri_folder", target=side, is_folder=True, has_path=False),
    )
    assert [(output.name, output.type, output.path) for output in made.outputs] == [
        ("made", "uri_file", str(folder / "out/made.txt")),
        ("side", "uri_folder", side),
    ]
    assert (spec.instance_count, spec.timeout_s, spec.max_retries, spec.cancel_grace_s) == (1, None, 0, 30.0)
    assert (spec.distribution, spec.overwrite, spec.compute, spec.gpu_count) == (None, False, "ray", 0.0)
    assert spec.notices == (
        f"{folder / 'job.yml'}:4: environment azureml:some-python@latest is not configured: "
        "the Python that runs the runner stands in",
    )


def test_settings_reach_the_driver(places: Places) -> None:
    job = CommandJob(
        command="x",
        compute="local",
        experiment_name="tides",
        distribution=runner.PyTorchDistribution(process_count_per_instance=2),
        resources=runner.JobResourceConfiguration(instance_count=3),
        limits=runner.CommandJobLimits(timeout=60),
        runner={"retry_settings": {"max_retries": 4}, "cancel_grace": 5, "gpus_per_worker": 0.5, "overwrite": True},
    )
    spec = resolved(job, places).spec
    assert spec.distribution == Distribution(kind="pytorch", process_count_per_instance=2)
    assert (spec.instance_count, spec.timeout_s, spec.max_retries, spec.cancel_grace_s) == (3, 60.0, 4, 5.0)
    assert (spec.gpu_count, spec.overwrite, spec.compute, spec.experiment_name) == (1.0, True, "local", "tides")
    assert spec.root_name == "calm_sea"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (
            runner.TensorFlowDistribution(worker_count=2, parameter_server_count=1),
            Distribution(kind="tensorflow", worker_count=2, parameter_server_count=1),
        ),
        (runner.MpiDistribution(), Distribution(kind="mpi")),
        ({"type": "MPI", "process_count_per_instance": "3"}, Distribution(kind="mpi", process_count_per_instance=3)),
        (
            runner.RayDistribution(port=6400, include_dashboard=True),
            Distribution(kind="ray", options={"port": "6400", "include_dashboard": "true"}),
        ),
    ],
)
def test_every_distribution_is_known(given: Any, expected: Distribution, places: Places) -> None:
    job = CommandJob(command="x", distribution=given)
    assert resolved(job, places).spec.distribution == expected


@pytest.mark.parametrize(
    ("value", "text", "kind"),
    [
        (True, "True", "boolean"),
        (False, "False", "boolean"),
        (0, "0", "integer"),
        (1.0, "1.0", "number"),
        ("", "", "string"),
        ("1e3", "1e3", "string"),
        ({"type": "integer", "default": "3"}, "3", "integer"),
        ({"type": "number", "default": 1}, "1.0", "number"),
        ({"type": "boolean", "default": "true"}, "True", "boolean"),
        ({"type": "string", "default": 3}, "3", "string"),
        ({"type": "string", "optional": True, "default": ""}, "", "string"),
    ],
)
def test_literals_are_spelt_as_python_does(value: Any, text: str, kind: str, places: Places) -> None:
    job = CommandJob(command="x $[[${{inputs.a}}]]", inputs={"a": value})
    spec = resolved(job, places).spec
    assert spec.inputs == (CommandInput(name="a", type=kind, text=text, mode="literal"),)
    assert spec.command == "x ${{inputs.a}}"


def test_groups_go_when_an_input_in_them_has_no_value(places: Places) -> None:
    job = CommandJob(
        command="go $[[--a ${{inputs.a}}]] $[[--b ${{inputs.b}} ${{inputs.a}}]] "
        "$[[--c ${{ inputs.c }}]] $[[--d ${{inputs.d}}]] \n",
        inputs={
            "a": {"type": "integer", "optional": True},
            "b": 1,
            "c": {"type": "integer", "optional": True, "default": 0},
            "d": Input(type="uri_folder", optional=True),
        },
        environment_variables={"WHERE": "$[[at ${{inputs.a}}]]${{ name }} in ${{default_datastore}}"},
    )
    spec = resolved(job, places).spec
    assert spec.command == "go   --c ${{inputs.c}}"
    assert spec.environment_variables == {"WHERE": "calm_sea in workspaceblobstore"}
    assert [given.name for given in spec.inputs] == ["b", "c"]


def test_names_that_the_runner_knows_are_put_in(places: Places) -> None:
    job = CommandJob(
        name="calm", command="x ${{name}} ${{ default_datastore }}", environment_variables={"A": "${{name}}"}
    )
    spec = resolved(job, places, name="calm--first").spec
    assert (spec.command, spec.environment_variables) == ("x calm--first workspaceblobstore", {"A": "calm--first"})


def test_modes_and_uris_reach_the_driver(folder: Path, places: Places) -> None:
    data = str(folder / "data")
    job = CommandJob(
        command="x",
        inputs={
            "copy": Input(path=data, mode="download"),
            "direct": Input(path=data, mode="direct"),
            "web": Input(type="uri_file", path="https://example.com/x", mode="direct"),
            "lake": Input(type="uri_folder", path="azureml://datastores/lake/paths/x", mode="ro_mount"),
        },
        outputs={"o": Output(mode="mount"), "u": Output(mode="upload", name="catch", version="4")},
    )
    (places.home / "datastores/lake/x").mkdir(parents=True)
    spec = resolved(job, places).spec
    assert [(given.name, given.text, given.mode) for given in spec.inputs] == [
        ("copy", data, "download"),
        ("direct", data, "direct"),
        ("web", "https://example.com/x", "direct"),
        ("lake", str(places.home / "datastores/lake/x"), "ro_mount"),
    ]
    assert [(made.mode, made.asset_name, made.asset_version) for made in spec.outputs] == [
        ("rw_mount", "", ""),
        ("upload", "catch", "4"),
    ]


def test_data_that_is_missing_or_of_the_wrong_kind_is_told_with_its_line(folder: Path, places: Places) -> None:
    (folder / "job.yml").write_text(
        JOB.replace("./data/list.txt", "./data").replace("rate: 1.0", "rate: 1.0\n  more: {path: ./data/list.txt}")
        + "  late: {path: ./later}\n"
    )
    found = validate(load_job(folder / "job.yml"), places=places)
    told = [str(problem).replace(f"{folder}/", "") for problem in found.problems]
    assert told == [
        "job.yml:7: inputs.more.path leads to the file data/list.txt; write `type: uri_file`, or the path of a folder",
        "job.yml:8: inputs.data.path leads to the folder data; write `type: uri_folder`, or the path of one file",
    ]


def test_targets_that_exist_are_refused_unless_they_may_be_replaced(folder: Path, places: Places) -> None:
    (folder / "out").mkdir()
    (folder / "out/made.txt").write_text("mine")
    job = load_job(folder / "job.yml")
    (problem,) = validate(job, places=places).problems
    assert problem.line == 9
    assert "the output target exists already" in problem.what
    willing = load_job(folder / "job.yml", params_override=[{"runner.overwrite": True}])
    assert validate(willing, places=places).problems == ()


@pytest.mark.parametrize(
    ("path", "says"),
    [
        (".", "leads to {folder}, where the input data is"),
        ("./src", "leads to {folder}/src, where the code is"),
        ("/", "leads to /, where the runner's own home is"),
        ("./out", "leads to {folder}/out, and that of made to {folder}/out/made.txt"),
        ("./out/made.txt/x", "leads to {folder}/out/made.txt/x, and that of made to {folder}/out/made.txt"),
        ("./out/made.txt", "leads to {folder}/out/made.txt, as that of made does"),
    ],
)
def test_an_output_does_not_replace_what_is_needed(path: str, says: str, folder: Path, places: Places) -> None:
    (folder / "job.yml").write_text(JOB.replace("side:", f"side: {{path: {path}}}") + "runner: {overwrite: true}\n")
    told = [problem.what for problem in validate(load_job(folder / "job.yml"), places=places).problems]
    assert f"outputs.side.path {says.format(folder=folder)}" in told


def test_an_output_inside_the_code_is_said_unless_it_is_ignored(folder: Path, places: Places) -> None:
    (folder / "job.yml").write_text(JOB.replace("code: ./src", "code: ."))

    def said() -> list[str]:
        found = validate(load_job(folder / "job.yml"), places=places)
        assert found.problems == ()
        return [notice for notice in found.notices if "part of its code" in notice]

    assert [notice.split(", ")[0] for notice in said()] == [
        f"{folder}/job.yml:9: outputs.made.path leads to {folder}/out/made.txt"
    ]
    (folder / ".amlignore").write_text("out/\n")
    assert said() == []


def test_a_search_space_is_refused_at_submission_only(folder: Path, places: Places) -> None:
    job = CommandJob(
        code=str(folder / "src"),
        command="python train.py --ss {search_space.ss}",
        inputs={"input1": Input(type="uri_file", path=str(folder / "data/list.txt"), mode="ro_mount")},
        outputs={"default": Output(path="./foo")},
        compute="trial",
        environment="some-image:33",
        limits=runner.CommandJobLimits(timeout=120),
    )
    job.dump(folder / "dumped.yml")
    assert load_job(folder / "dumped.yml") == job
    (problem,) = validate(job, places=places).problems
    assert problem.what == "command uses ${{search_space.ss}}, and only the trial of a sweep has a search space"


def test_an_override_reaches_anything_but_through_a_value(folder: Path) -> None:
    overrides = [{"inputs.rate": 7}, {"tags.a": "1"}, {"outputs.new.type": "uri_file"}, {"limits.timeout": 3}]
    job = load_job(folder / "job.yml", params_override=overrides)
    assert isinstance(job, CommandJob)
    assert job.inputs["rate"] == 7
    assert job.tags == {"a": "1"}
    assert job.outputs["new"] == Output(type="uri_file")
    assert job.limits == runner.CommandJobLimits(timeout=3)
    with pytest.raises(ValidationException, match="goes through command"):
        load_job(folder / "job.yml", params_override=[{"command.x": 1}])
    with pytest.raises(ValidationException, match="holds 'tags'; give mappings of dotted keys to values"):
        load_job(folder / "job.yml", params_override=["tags"])  # type: ignore[list-item]
    assert load_job(folder / "job.yml", params_override={"name": "one"}).name == "one"  # type: ignore[arg-type]


def test_all_that_is_wrong_is_told_at_once(folder: Path) -> None:
    (folder / "job.yml").write_text(
        JOB.replace("inputs.rate }}", "inputs.rat }}").replace("./src", "./srcs").replace("list.txt", "lists.txt")
        + "zzz: 1\n"
    )
    with pytest.raises(SpecInvalid) as caught:
        load_job(folder / "job.yml")
    assert [(problem.line, problem.path) for problem in caught.value.problems] == [
        (1, "command"),
        (3, "code"),
        (7, "inputs.data.path"),
        (11, "zzz"),
    ]
    assert f"code leads to {folder}/srcs, and there is nothing" in str(caught.value)


EVERYTHING = {
    "name": "calm",
    "display_name": "Calm",
    "description": "all keys",
    "tags": {"a": "1"},
    "properties": {"b": "2"},
    "experiment_name": "tides",
    "comment": "c",
    "compute": "cluster",
    "version": "1",
    "is_deterministic": False,
    "command": "echo\n",
    "code": "./src",
    "additional_includes": ["./data"],
    "inputs": {"rate": True, "data": {"type": "uri_file", "path": "./data/list.txt", "mode": "download"}},
    "outputs": {"made": {"type": "uri_folder", "path": "./out", "mode": "upload", "name": "catch", "version": "1"}},
    "environment": {"image": "x", "conda_file": "./data/list.txt"},
    "environment_variables": {"A": "1"},
    "resources": {"instance_count": 2, "shm_size": "2g", "docker_args": ["--x"], "properties": {"a": 1}},
    "limits": {"timeout": 60},
    "queue_settings": {"job_tier": "spot", "priority": "low"},
    "parameters": {"rate": 1},
    "runner": {"overwrite": True, "retry_settings": {"max_retries": 1}},
}
VARIANTS: list[dict[str, Any]] = [
    {},
    *({"distribution": {"type": kind}} for kind in ("pytorch", "Mpi", "TensorFlow", "ray")),
    {"distribution": {"type": "ray", "port": 6400, "include_dashboard": False}},
    *({"identity": {"type": kind}} for kind in ("managed", "user_identity", "AMLToken")),
    {"identity": {"type": "managed_identity", "client_id": "x", "msi_resource_id": "y"}},
    {
        "services": {
            "a": {"type": "ssh", "ssh_public_keys": "k", "nodes": "all"},
            "b": {"type": "jupyter_lab", "port": 8000},
            "c": {"type": "tensor_board", "log_dir": "logs"},
            "d": {"type": "vs_code"},
            "e": {"type": "Tracking", "endpoint": "x", "properties": {"y": 1}},
            "f": {},
        }
    },
]


@pytest.mark.parametrize("more", VARIANTS)
def test_every_key_survives_being_written_and_read(more: dict[str, Any], folder: Path) -> None:
    built = CommandJob(**{**EVERYTHING, **more})
    built._base_path = folder
    built.dump(folder / "first.yml")
    loaded = load_job(folder / "first.yml")
    assert loaded == built
    elsewhere = folder.parent / "elsewhere/second.yml"
    loaded.dump(elsewhere)
    again = load_job(elsewhere)
    assert again == loaded
    assert str(again) != ""
    text = (folder / "first.yml").read_text()
    assert "code: ./src\n" in text
    assert "- ./data\n" in text
    assert f"code: {folder}/src\n" in elsewhere.read_text()


def test_pieces_come_back_as_the_classes_that_they_were(folder: Path) -> None:
    built = CommandJob(**{**EVERYTHING, **VARIANTS[-1], "identity": {"type": "managed", "client_id": "x"}})
    built._base_path = folder
    built.dump(folder / "first.yml")
    job = load_job(folder / "first.yml")
    assert isinstance(job, CommandJob)
    assert job.services is not None
    assert [type(service).__name__ for service in job.services.values()] == [
        "SshJobService",
        "JupyterLabJobService",
        "TensorBoardJobService",
        "VsCodeJobService",
        "JobService",
        "JobService",
    ]
    assert job.identity == runner.ManagedIdentityConfiguration(client_id="x")
    assert job.limits == runner.CommandJobLimits(timeout=60)
    assert job.queue_settings == runner.QueueSettings(job_tier="spot", priority="low")
    assert job.resources.docker_args == ["--x"]


def test_a_service_runs_on_all_nodes_or_on_the_first() -> None:
    with pytest.raises(ValidationException, match="nodes: is 'two'; write 'all'"):
        runner.SshJobService(nodes="two")


def test_a_job_that_says_nothing_is_written_as_it_is() -> None:
    stream = io.StringIO()
    CommandJob().dump(stream)
    assert stream.getvalue() == (
        "command: ''\nenvironment_variables: {}\ninputs: {}\noutputs: {}\nparameters: {}\n"
        "properties: {}\ntags: {}\ntype: command\n"
    )
    assert not stream.closed


def test_arguments_are_keywords_that_are_known() -> None:
    with pytest.raises(TypeError):
        CommandJob("echo")  # type: ignore[misc]
    with pytest.raises(TypeError):
        CommandJob(comand="echo")


def test_a_notebook_shows_one_row_with_nothing_live_in_it() -> None:
    row = CommandJob(name="<b>", experiment_name="tides & co")._repr_html_()
    assert row.count("<tr>") == 2
    assert "<td>tides &amp; co</td><td>&lt;b&gt;</td><td>command</td><td></td><td></td>" in row


@pytest.mark.parametrize("line", ["inputs: {a: {type: float, path: ./x}}", "inputs: {a: {type: 3}}"])
def test_a_type_that_is_none_is_one_problem(line: str, folder: Path) -> None:
    (folder / "job.yml").write_text(f"command: x\n{line}\n")
    with pytest.raises(SpecInvalid) as caught:
        load_job(folder / "job.yml")
    assert [problem.path for problem in caught.value.problems] == ["inputs.a.type"]
