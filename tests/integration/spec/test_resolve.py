"""From a checked job to the spec that driver and workers are given; the snapshot of its code."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from runner.entity.job import OutputState
from runner.entity.parallel import MiniBatchSize, SplitInput
from runner.errors import SpecInvalid
from runner.spec.jobs import ParallelJob
from runner.spec.load import load_job
from runner.spec.places import Places
from runner.spec.resolve import Resolved, resolve, snapshot_code

JOB = """\
type: parallel
inputs:
  cargo: {type: mltable, path: ./rows, mode: direct}
  letters: {path: ./letters}
  model: {type: uri_file, path: "./a model/m.onnx"}
  store: {path: "azureml://subscriptions/s/resourcegroups/g/workspaces/w/datastores/lake/paths/in/x"}
  truth: true
  one: 1.0
  maybe: {type: integer, optional: true}
outputs:
  scores: {type: uri_folder, path: "./out/${{name}}"}
  side:
  note: {type: uri_file, path: "azureml://datastores/${{default_datastore}}/paths/${{name}}/${{output_name}}.txt"}
input_data: ${{inputs.cargo}}
task:
  code: ./code
  entry_script: ./score.py
  append_row_to: ${{outputs.scores}}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "project"
    (root / "code/deep").mkdir(parents=True)
    (root / "code/score.py").write_text("def run(b): return b\n")
    (root / "code/deep/more.py").write_text("def run(b): return b\n")
    return root


@pytest.fixture
def places(home: Path) -> Places:
    return Places.read(home, {})


def resolved(folder: Path, places: Places, text: str, name: str = "early") -> Resolved:
    (folder / "job.yml").write_text(text)
    job = load_job(folder / "job.yml")
    assert isinstance(job, ParallelJob)
    into = folder.parent / f"snapshots/{len(list(folder.parent.glob('snapshots/*')))}"
    return resolve(job, name=name, places=places, code=snapshot_code(job, into, places))


def test_what_is_left_out_has_the_defaults_of_the_contract(folder: Path, places: Places) -> None:
    spec = resolved(folder, places, JOB).spec
    assert spec.inputs == (SplitInput(name="cargo", kind="table", path=f"{folder}/rows"),)
    assert spec.mini_batch_size == MiniBatchSize(kind="bytes", value=1024**2)
    assert (spec.max_retries, spec.timeout_s, spec.task_overhead_timeout_s) == (2, 60.0, 30.0)
    assert (spec.error_threshold, spec.mini_batch_error_threshold, spec.allowed_failed_percent) == (-1, -1, 100.0)
    assert (spec.worker_count, spec.instance_count, spec.logging_level) == (None, 1, "INFO")
    assert (spec.compute, spec.ray_address, spec.argv, spec.columns) == ("ray", None, (), None)
    assert spec.entry_script == "score.py"
    assert spec.code is not None
    assert (Path(spec.code) / "score.py").is_file()
    assert spec.output is not None
    assert (spec.output.format, spec.output.file_name, spec.output.overwrite) == (
        "text",
        "parallel_run_step.txt",
        False,
    )
    assert spec.notices == ()


def test_outputs_have_their_places(folder: Path, home: Path, places: Places) -> None:
    got = resolved(folder, places, JOB)
    store = f"{home}/datastores/workspaceblobstore"
    assert got.outputs == (
        OutputState(name="scores", type="uri_folder", path=f"{folder}/out/early"),
        OutputState(name="side", type="uri_folder", path=f"{store}/azureml/early/side"),
        OutputState(name="note", type="uri_file", path=f"{store}/early/note.txt"),
    )
    assert got.spec.output is not None
    assert (got.spec.output.target, got.spec.output.is_folder) == (f"{folder}/out/early", True)
    assert got.spec.side_outputs == {"side": f"{store}/azureml/early/side", "note": f"{store}/early"}


def test_bindings_become_paths_and_text_after_splitting(folder: Path, home: Path, places: Places) -> None:
    arguments = (
        "--model ${{inputs.model}} --in=${{ inputs.store }}/y $[[--maybe ${{inputs.maybe}}]] --truth ${{inputs.truth}} "
        '--one ${{inputs.one}} --out "${{outputs.scores}}" --note ${{outputs.note}}'
    )
    text = (
        JOB
        + f"  program_arguments: '{arguments}'\nenvironment_variables: {{WHERE: 'at ${{{{outputs.side}}}}', N: 5}}\n"
    )
    spec = resolved(folder, places, text).spec
    store = f"{home}/datastores"
    assert spec.argv == (
        "--model", f"{folder}/a model/m.onnx", f"--in={store}/lake/in/x/y", "--truth", "True", "--one", "1.0",
        "--out", f"{folder}/out/early", "--note", f"{store}/workspaceblobstore/early/note.txt",
    )  # fmt: skip
    assert spec.environment_variables == {"WHERE": f"at {store}/workspaceblobstore/azureml/early/side", "N": "5"}
    assert "scores" in spec.side_outputs, "the script is told of the folder, so it is there from the start"


def test_arguments_for_the_runner_are_acted_on_and_stay_in_argv(folder: Path, places: Places) -> None:
    arguments = (
        "--error_threshold 7 --allowed_failed_count=3 --allowed_failed_percent 50 --task_overhead_timeout 5 "
        "--progress_update_timeout 600 --first_task_creation_timeout 60 --append_row_file_name lines.txt "
        "--append_row_dataframe_header True --process_count_per_node 3 --mini_batch_size 2kb "
        "--run_invocation_timeout 9 --run_max_try 1 --logging_level WARNING"
    )
    text = (
        JOB + f"  program_arguments: {arguments}\nerror_threshold: 1\nretry_settings: {{max_retries: 5, timeout: 1}}\n"
    )
    spec = resolved(folder, places, text).spec
    assert (spec.error_threshold, spec.mini_batch_error_threshold, spec.allowed_failed_percent) == (7, 3, 50.0)
    assert (spec.task_overhead_timeout_s, spec.progress_limit_s, spec.first_task_creation_timeout_s) == (
        5.0,
        600.0,
        60.0,
    )
    assert (spec.worker_count, spec.max_retries, spec.timeout_s, spec.logging_level) == (3, 0, 9.0, "WARNING")
    assert spec.mini_batch_size == MiniBatchSize(kind="bytes", value=2048)
    assert spec.output is not None
    assert (spec.output.file_name, spec.output.frame_header) == ("lines.txt", True)
    assert " ".join(spec.argv) == arguments
    assert sum("goes before" in notice for notice in spec.notices) == 2


def test_extensions_reach_the_spec(folder: Path, places: Places) -> None:
    runner = (
        "{mini_batch_format: arrow, columns: [a, b], frame_types: arrow, output_format: parquet, compression: zstd, "
        "keep_columns: [id], part_size: 64kb, memory: 2gb, bisect: true, speculate: true, writable: true, "
        "overwrite: true, gpus_per_worker: 0.5}"
    )
    spec = resolved(folder, places, JOB + f"runner: {runner}\nmini_batch_size: 1000 rows\n").spec
    assert (spec.mini_batch_format, spec.columns, spec.frame_types, spec.writable) == (
        "arrow",
        ("a", "b"),
        "arrow",
        True,
    )
    assert (spec.memory_bytes, spec.bisect, spec.speculate, spec.gpus_per_worker) == (2 * 1024**3, True, True, 0.5)
    assert spec.mini_batch_size == MiniBatchSize(kind="rows", value=1000)
    assert spec.output is not None
    assert (spec.output.format, spec.output.compression, spec.output.overwrite) == ("parquet", "zstd", True)
    assert (spec.output.keep_columns, spec.output.part_size_bytes) == (("id",), 64 * 1024)


def test_files_are_counted_and_summary_only_has_no_output(folder: Path, places: Places) -> None:
    text = JOB.replace("inputs.cargo", "inputs.letters").replace("  append_row_to: ${{outputs.scores}}\n", "")
    spec = resolved(folder, places, text).spec
    assert spec.inputs[0].kind == "files"
    assert spec.mini_batch_size == MiniBatchSize(kind="files", value=1)
    assert spec.output is None
    assert set(spec.side_outputs) == {"scores", "side", "note"}
    told = resolved(folder, places, JOB + "  program_arguments: --output_action summary_only\n").spec
    assert told.output is None


def test_a_mounted_mltable_is_files_and_a_list_of_inputs_keeps_its_order(folder: Path, places: Places) -> None:
    text = JOB.replace("mode: direct", "mode: eval_mount").replace(
        "input_data: ${{inputs.cargo}}", "input_data: ['${{inputs.letters}}', '${{inputs.cargo}}']"
    )
    spec = resolved(folder, places, text).spec
    assert [(one.name, one.kind) for one in spec.inputs] == [("letters", "files"), ("cargo", "files")]


def test_settings_of_the_snapshot_say_how_frames_are_written(folder: Path, places: Places) -> None:
    settings = {"append_row": {"pandas.DataFrame.to_csv": {"sep": ",", "index": True}}}
    (folder / "code/parallel_run_step.settings.json").write_text(json.dumps(settings))
    spec = resolved(folder, places, JOB).spec
    assert spec.output is not None
    assert spec.output.to_csv == {"sep": ",", "index": True}


@pytest.mark.parametrize(
    ("compute", "environ", "expected"),
    [
        (None, {}, ("ray", None)),
        (None, {"RAY_ADDRESS": "head:1"}, ("ray", "head:1")),
        (None, {"RAY_ADDRESS": ""}, ("ray", None)),
        ("local", {"RAY_ADDRESS": "head:1"}, ("local", None)),
        ("azureml:cluster", {}, ("ray", "cluster:2")),
        ("desk", {}, ("local", None)),
        ("elsewhere", {"RAY_ADDRESS": "head:1"}, ("ray", None)),
    ],
)
def test_compute_is_what_name_configuration_and_environment_say(
    folder: Path, home: Path, compute: str | None, environ: dict[str, str], expected: tuple[str, str | None]
) -> None:
    home.mkdir()
    (home / "config.toml").write_text('[compute.cluster]\naddress = "cluster:2"\n[compute.desk]\nkind = "local"\n')
    text = JOB + (f"compute: {compute}\n" if compute else "")
    spec = resolved(folder, Places.read(home, environ), text).spec
    assert (spec.compute, spec.ray_address) == expected
    assert len(spec.notices) == (compute == "elsewhere")


def test_the_configuration_names_the_default_ray_and_datastores(folder: Path, home: Path) -> None:
    home.mkdir()
    (home / "config.toml").write_text(
        'default_datastore = "blobs"\n[ray]\naddress = "head:6379"\n[datastores.blobs]\npath = "/mnt/blobs"\n'
    )
    got = resolved(folder, Places.read(home, {}), JOB)
    assert got.spec.ray_address == "head:6379"
    assert [output.path for output in got.outputs][1:] == ["/mnt/blobs/azureml/early/side", "/mnt/blobs/early/note.txt"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[ray\n", "is no TOML"),
        ("[compute.x]\nadress = 'y'\n", "[compute.x] has neither address"),
        ("[datastores.x]\n", "[datastores.x] has no path"),
        ("compute = 5\n", "[compute] does not hold tables"),
        ("[ray]\naddress = 5\n", "[ray] address is not text"),
    ],
)
def test_a_configuration_that_cannot_be_is_told_with_its_file(home: Path, text: str, says: str) -> None:
    home.mkdir()
    (home / "config.toml").write_text(text)
    with pytest.raises(SpecInvalid) as caught:
        Places.read(home, {})
    assert str(caught.value).startswith(f"{home}/config.toml: ")
    assert says in str(caught.value)


def test_a_value_that_only_resolution_shows_to_be_wrong_is_told(folder: Path, places: Places) -> None:
    text = JOB + "  program_arguments: --process_count_per_node ${{inputs.one}}\n"
    assert resolved(folder, places, text.replace("one: 1.0", "one: 4")).spec.worker_count == 4


def snapshot(folder: Path, places: Places, text: str) -> Path:
    code = resolved(folder, places, text).spec.code
    assert code is not None
    return Path(code)


def files_of(code: Path) -> list[str]:
    return sorted(path.relative_to(code).as_posix() for path in code.rglob("*") if path.is_file())


def test_the_snapshot_is_a_read_only_copy_that_later_edits_do_not_change(folder: Path, places: Places) -> None:
    (folder / "code/deep/tool.sh").write_text("true")
    (folder / "code/deep/tool.sh").chmod(0o755)
    os.mkfifo(folder / "code/pipe")
    (folder / "code/loop").symlink_to(folder / "code", target_is_directory=True)
    (folder / "code/nowhere").symlink_to(folder / "nothing")
    (folder / "outside.py").write_text("x = 1")
    (folder / "code/linked.py").symlink_to(folder / "outside.py")
    code = snapshot(folder, places, JOB)
    (folder / "code/score.py").write_text("broken")
    (folder / "outside.py").write_text("broken")
    assert files_of(code) == ["deep/more.py", "deep/tool.sh", "linked.py", "score.py"]
    assert (code / "score.py").read_text() == "def run(b): return b\n"
    assert (code / "linked.py").read_text() == "x = 1"
    assert not (code / "linked.py").is_symlink()
    assert (code / "score.py").stat().st_mode & 0o777 & 0o222 == 0
    assert (code / "deep/tool.sh").stat().st_mode & 0o111
    assert code.stat().st_mode & 0o200, "the folder can be written to: it is the script's working directory"


def test_ignored_files_and_the_home_itself_stay_out(folder: Path) -> None:
    inner = Places.read(folder / "code/.runner", {})
    (folder / "code/.runner/jobs").mkdir(parents=True)
    (folder / "code/.runner/jobs/x").touch()
    (folder / "code/.gitignore").write_text("deep/\n*.csv\n")
    (folder / "code/big.csv").touch()
    (folder / "code/__pycache__").mkdir()
    (folder / "code/__pycache__/x.pyc").touch()
    assert files_of(snapshot(folder, inner, JOB)) == [".gitignore", "score.py"]


def test_without_code_only_the_script_itself_is_kept(folder: Path, places: Places) -> None:
    text = JOB.replace("  code: ./code\n", "").replace("./score.py", "./code/score.py")
    got = resolved(folder, places, text).spec
    assert got.entry_script == "score.py"
    assert files_of(Path(got.code or "")) == ["score.py"]
    module = resolved(folder, places, text.replace("./code/score.py", "code.deep.more")).spec
    assert module.entry_script == "code.deep.more"
    assert files_of(Path(module.code or "")) == ["code/deep/more.py"]


def test_code_may_be_one_file_and_a_script_may_be_named_absolutely(folder: Path, places: Places) -> None:
    one = resolved(folder, places, JOB.replace("code: ./code", "code: ./code/score.py")).spec
    assert files_of(Path(one.code or "")) == ["score.py"]
    assert one.entry_script == "score.py"
    text = JOB.replace("./score.py", f"{folder}/code/deep/more.py")
    assert resolved(folder, places, text).spec.entry_script == "deep/more.py"


def test_an_installed_module_without_code_has_no_snapshot(folder: Path, places: Places) -> None:
    text = JOB.replace("  code: ./code\n", "").replace("./score.py", "hypothesis.version")
    spec = resolved(folder, places, text).spec
    assert (spec.code, spec.entry_script) == (None, "hypothesis.version")
