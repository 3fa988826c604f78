"""load_job and validate with files on disk: every bad input has one clear message that names it."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path

import pytest

from runner.errors import SpecInvalid, ValidationError, ValidationException
from runner.spec.jobs import Job, ParallelJob
from runner.spec.load import load_job, setting_of
from runner.spec.pieces import Input, Output, RunFunction
from runner.spec.places import Places
from runner.spec.validate import validate

JOB = """\
type: parallel
compute: local
inputs:
  cargo: {type: uri_folder, path: ./letters}
outputs:
  scores: {type: uri_file, path: ./out/scores.txt}
input_data: ${{inputs.cargo}}
task:
  code: ./code
  entry_script: score.py
  append_row_to: ${{outputs.scores}}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A sound job with code and data; the current folder is elsewhere."""
    root = tmp_path / "project"
    (root / "code").mkdir(parents=True)
    (root / "letters").mkdir()
    (root / "letters/a.txt").write_text("dear")
    (root / "code/score.py").write_text("def run(mini_batch):\n    return mini_batch\n")
    (root / "job.yml").write_text(JOB)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    return root


@pytest.fixture
def places(home: Path) -> Places:
    return Places.read(home, {})


def refusal(source: object, **how: object) -> str:
    with pytest.raises(ValidationException) as caught:
        load_job(source, **how)  # type: ignore[arg-type]
    assert isinstance(caught.value, ValidationError)
    return str(caught.value)


def problems_of(folder: Path, places: Places) -> list[str]:
    return [str(problem) for problem in validate(load_job(folder / "job.yml"), places=places).problems]


def test_a_sound_job_loads_and_validates_without_writing_anything(folder: Path, places: Places) -> None:
    before = sorted(folder.rglob("*"))
    job = load_job(folder / "job.yml")
    assert isinstance(job, ParallelJob)
    assert isinstance(job, Job)
    found = validate(job, places=places)
    assert (found.problems, found.notices) == ((), ())
    assert job.base_path == folder
    assert sorted(folder.rglob("*")) == before
    assert "score" not in sys.modules


def test_files_that_are_no_job_are_told_by_name(folder: Path) -> None:
    assert refusal(folder / "nothing.yml").startswith(f"{folder}/nothing.yml: there is no such file; looked for ")
    assert "this is a folder" in refusal(folder)
    (folder / "empty.yml").write_text("")
    assert "empty.yml: the file is empty" in refusal(folder / "empty.yml")
    (folder / "latin.yml").write_bytes(b"type: parallel\ndescription: caf\xe9\n")
    assert "no UTF-8" in refusal(folder / "latin.yml")
    assert "binary stream" in refusal(io.BytesIO(b"type: parallel"))
    assert "give a path or a text stream" in refusal(5)


def test_the_file_is_named_as_the_user_wrote_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    (folder / "bad.yml").write_text(JOB.replace("compute: local", "error_threshold: -2"))
    assert refusal("bad.yml").startswith("bad.yml:2: error_threshold is -2; ")


def test_when_something_is_wrong_missing_data_is_told_with_it(folder: Path, places: Places) -> None:
    text = JOB.replace("./letters", "./lettres")
    (folder / "job.yml").write_text(text)
    assert isinstance(load_job(folder / "job.yml"), ParallelJob), "data may come before the job is submitted"
    assert problems_of(folder, places) == [
        f"{folder}/job.yml:4: inputs.cargo.path leads to {folder}/lettres, and there is nothing; mend the path"
    ]
    (folder / "job.yml").write_text(text.replace("compute: local", "logging_level: loud"))
    assert len(refusal(folder / "job.yml").splitlines()) == 2


def test_relative_paths_start_at_the_file_or_at_the_origin_given(folder: Path, places: Places) -> None:
    with open(folder / "job.yml") as stream:
        assert load_job(stream).base_path == folder
        assert not stream.closed
    assert load_job(io.StringIO(JOB), relative_origin=folder).base_path == folder
    assert load_job(io.StringIO(JOB), relative_origin=folder / "job.yml").base_path == folder
    assert "<stream>:9: task.code leads to " in refusal(io.StringIO(JOB))


def test_overrides_are_put_in_before_anything_is_checked(folder: Path) -> None:
    settings = [setting_of(text) for text in ("error_threshold=5", "tags.a=x", "inputs.n=1e3", "runner.overwrite=no")]
    job = load_job(folder / "job.yml", params_override=settings)
    assert isinstance(job, ParallelJob)
    assert (job.error_threshold, job.tags, job.inputs["n"], job.runner) == (5, {"a": "x"}, "1e3", {"overwrite": False})
    (folder / "job.yml").write_text(JOB.replace("parallel", "command"))
    assert isinstance(load_job(folder / "job.yml", params_override=[{"type": "parallel"}]), ParallelJob)


def test_an_override_that_cannot_be_is_refused(folder: Path) -> None:
    source = folder / "job.yml"
    assert "goes through compute" in refusal(source, params_override=[{"compute.x": 1}])
    assert "no dotted key" in refusal(source, params_override=[{"a..b": 1}])
    told = refusal(source, params_override=[{"task.program_arguments": "--error_threshold -5"}])
    assert told.startswith(f"{source}: task.program_arguments --error_threshold is -5"), "its line is not in the file"
    with pytest.raises(ValidationException, match="no setting"):
        setting_of("error_threshold")


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("./code", "./cod", "job.yml:9: task.code leads to {0}/cod, and there is nothing;"),
        ("score.py", "scores.py", "job.yml:10: task.entry_script is 'scores.py': there is no file {0}/code/scores.py;"),
        ("score.py", "../job.py", "job.yml:10: task.entry_script is '../job.py': {0}/job.py lies outside the code"),
        ("score.py", "deep.score", "job.yml:10: task.entry_script is 'deep.score': {0}/code has no deep/score.py,"),
        ("score.py", "sc ore", "job.yml:10: task.entry_script is 'sc ore': 'sc ore' is neither a .py file nor"),
    ],
)
def test_code_that_is_not_there_is_told_with_the_path_looked_for(folder: Path, old: str, new: str, says: str) -> None:
    (folder / "job.yml").write_text(JOB.replace(old, new))
    assert says.format(folder) in refusal(folder / "job.yml")


def test_a_syntax_error_is_told_in_the_users_own_text(folder: Path) -> None:
    (folder / "code/score.py").write_text("import os\ndef run(mini_batch:\n    return []\n")
    told = refusal(folder / "job.yml")
    assert told.startswith(("../project/code/score.py:2: ", f"{folder}/code/score.py:2: "))
    assert "def run(mini_batch:" in told
    assert "SyntaxError" in told
    assert "Traceback" not in told


@pytest.mark.parametrize(
    "script",
    [
        "def run(b): return b",
        "async def run(b): return b",
        "from other import run",
        "from other import score as run",
        "from other import *",
        "run = lambda b: b",
        "run: object = print",
        "(run, x) = print, 1",
        "try:\n    from fast import run\nexcept ImportError:\n    def run(b): return b",
        "if True:\n    def run(b): return b",
        "globals()['run'] = print",
        "def init():\n    global run\n    run = print",
        "def __getattr__(name): return print",
    ],
)
def test_every_way_to_define_run_is_seen(folder: Path, script: str) -> None:
    (folder / "code/score.py").write_text(script)
    load_job(folder / "job.yml")


@pytest.mark.parametrize(
    "script", ["", "def rum(b): pass", "class A:\n    def run(self, b): pass", "def f():\n    run = 1"]
)
def test_a_script_without_run_is_refused_without_running_it(folder: Path, script: str) -> None:
    (folder / "code/score.py").write_text(f"{script}\nraise SystemExit('imported')\n")
    told = refusal(folder / "job.yml")
    assert "score.py: the entry script has no function run; define `def run(mini_batch):`" in told


def test_nested_scripts_and_modules_are_found(folder: Path) -> None:
    (folder / "code/deep").mkdir()
    (folder / "code/deep/main.py").write_text("def run(b): return b")
    for name in ("deep/main.py", "./deep/main.py", "deep.main", str(folder / "code/deep/main.py")):
        (folder / "job.yml").write_text(JOB.replace("score.py", name))
        load_job(folder / "job.yml")


def test_an_installed_module_is_taken_with_a_notice(folder: Path, places: Places) -> None:
    (folder / "job.yml").write_text(JOB.replace("score.py", "hypothesis.version"))
    found = validate(load_job(folder / "job.yml"), places=places)
    assert found.problems == ()
    assert "installed module" in found.notices[0]


def test_a_script_that_the_snapshot_would_leave_out_is_told(folder: Path) -> None:
    (folder / "code/.gitignore").write_text("*.py\n")
    assert "task.entry_script is left out of the snapshot by .gitignore" in refusal(folder / "job.yml")
    (folder / "code/.amlignore").write_text("# all of it\n")
    load_job(folder / "job.yml")


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ('{"append_row": {"pandas.DataFrame.to_csv": {"sep": ",", "header": true}}}', "'header' may not be set"),
        ('{"append_row": \n oops}', "is no JSON: Expecting value: line 2"),
        ('["append_row"]', "must be a mapping"),
    ],
)
def test_settings_that_cannot_be_are_told_with_their_file(folder: Path, settings: str, says: str) -> None:
    (folder / "code/parallel_run_step.settings.json").write_text(settings)
    assert says in refusal(folder / "job.yml")


def test_a_place_for_failures_that_no_job_has_written_is_refused(folder: Path, places: Places) -> None:
    place = folder / "out/scores.txt.failures"
    place.mkdir(parents=True)
    (place / ".job").write_text('{"job": "older", "folder": "/somewhere"}')
    assert problems_of(folder, places) == []
    (place / ".job").unlink()
    (problem,) = problems_of(folder, places)
    assert f"leaves no room for the failures of the job: {place} exists already" in problem
    (folder / "job.yml").write_text(JOB + "runner: {overwrite: true}\n")
    assert problems_of(folder, places) == []


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("type: uri_folder, path: ./letters", "type: uri_file, path: ./letters", "leads to the folder"),
        ("path: ./letters", "path: ./letters/a.txt", "leads to the file"),
        ("./letters", "azureml://datastores/lake/paths/rows", "/home/datastores/lake/rows, and there is nothing"),
        ("./letters", "azureml://datastores/lake/paths/../../x", "which leads out of its datastore"),
        ("./out/scores.txt", "./code/score.py", "the output target exists already; remove it, write elsewhere, or"),
        ("./out/scores.txt", "./code/score.py/x", "score.py is no folder"),
        ("type: uri_file, path: ./out/scores.txt", "type: uri_folder, path: ./code", "exists already"),
        ("type: uri_file, path: ./out/scores.txt", "type: uri_folder, path: ./", "where the input cargo is"),
        ("scores: {", "more: {type: uri_file, path: ./out/scores.txt}\n  scores: {", "as that of more does"),
    ],
)
def test_data_and_targets_that_do_not_fit_are_told_with_their_line(
    folder: Path, places: Places, old: str, new: str, says: str
) -> None:
    (folder / "job.yml").write_text(JOB.replace(old, new))
    told = problems_of(folder, places)
    assert any(says in problem for problem in told), told
    assert all(f"{folder}/job.yml:" in problem for problem in told)


def test_an_empty_folder_is_no_existing_target_and_overwrite_allows_one(folder: Path, places: Places) -> None:
    text = JOB.replace("type: uri_file, path: ./out/scores.txt", "type: uri_folder, path: ./out")
    (folder / "job.yml").write_text(text)
    (folder / "out").mkdir()
    assert problems_of(folder, places) == []
    (folder / "out/old.txt").touch()
    assert len(problems_of(folder, places)) == 1
    (folder / "job.yml").write_text(text + "runner: {overwrite: true}\n")
    assert problems_of(folder, places) == []


def test_a_target_inside_an_input_is_a_notice(folder: Path, places: Places) -> None:
    (folder / "job.yml").write_text(JOB.replace("./out/scores.txt", "./letters/scores.txt"))
    found = validate(load_job(folder / "job.yml"), places=places)
    assert found.problems == ()
    assert ["the next run would read it" in notice for notice in found.notices] == [True]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_write_permission_is_told(folder: Path, places: Places) -> None:
    (folder / "out").mkdir(mode=0o555)
    assert "may not be written to" in problems_of(folder, places)[0]


def test_what_is_wrong_with_an_mltable_file_is_told_with_the_job(folder: Path, places: Places) -> None:
    (folder / "letters/MLTable").write_text("paths: []")
    (folder / "job.yml").write_text(JOB.replace("type: uri_folder", "type: mltable"))
    assert "letters/MLTable:1: paths names no paths" in problems_of(folder, places)[0]


def test_an_object_built_in_python_is_checked_like_a_file(
    folder: Path, places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    job = ParallelJob(
        name="early",
        inputs={"cargo": Input(path="./letters")},
        outputs={"scores": Output(type="uri_file", path="./out/scores.txt"), "none": None},
        input_data="${{inputs.cargoes}}",
        retry_settings={"timeout": 0},
        task=RunFunction(code="./code", entry_script="score.py", append_row_to="${{outputs.scores}}"),
    )
    told = [str(problem) for problem in validate(job, places=places).problems]
    assert len(told) == 2
    assert all(problem.startswith("ParallelJob early: ") for problem in told)
    job.input_data = "${{inputs.cargo}}"
    job.retry_settings = None
    assert validate(job, places=places).problems == ()
    job.task = "x"  # type: ignore[assignment]
    assert "task is 'x', not a mapping" in str(validate(job, places=places).problems[0])


def test_a_change_after_loading_is_still_told_with_its_line(folder: Path, places: Places) -> None:
    job = load_job(folder / "job.yml")
    assert isinstance(job, ParallelJob)
    job.input_data = "${{inputs.other}}"
    with pytest.raises(SpecInvalid, match=r"job\.yml:7: input_data"):
        validate(job, places=places).raise_if_any()


def test_what_stands_in_is_said_with_its_line(folder: Path, home: Path) -> None:
    text = JOB.replace("compute: local", "compute: azureml:cluster") + "  environment: azureml:some-python@latest\n"
    (folder / "job.yml").write_text(text)
    job = load_job(folder / "job.yml")
    notices = validate(job, places=Places.read(home, {})).notices
    assert [notice.split(" is not configured")[0] for notice in notices] == [
        f"{folder}/job.yml:2: compute 'cluster'",
        f"{folder}/job.yml:12: task.environment azureml:some-python@latest",
    ]
    home.mkdir()
    (home / "config.toml").write_text(
        '[compute.cluster]\naddress = "head:6379"\n[environments.some-python]\nkind = "current"\n'
    )
    assert validate(job, places=Places.read(home, {})).notices == ()
