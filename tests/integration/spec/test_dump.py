"""Dump: never over a file, streams left open, and what was dumped loads as an equal job."""

from __future__ import annotations

import io
import os
from pathlib import Path

import pytest

from runner.errors import ValidationException
from runner.spec.jobs import ParallelJob
from runner.spec.load import load_job
from runner.spec.pieces import Input, JobResourceConfiguration, Output, RetrySettings, RunFunction

FULL = """\
$schema: https://example.test/parallel.schema.json
type: parallel
name: early
version: 3
display_name: Early bird
description: |
  two
  lines
tags: {a: "1", b: "yes", c: "2024-01-01"}
properties: {p: "1e3"}
experiment_name: garden
comment: none
compute: azureml:cluster
is_deterministic: false
identity: {type: managed, client_id: x}
inputs:
  cargo: {type: mltable, path: ./rows, mode: direct}
  model: {type: uri_file, path: ../models/m.onnx, mode: download}
  lake: {path: "azureml://datastores/lake/paths/a b"}
  word: "1e3"
  truth: true
  half: 0.5
  maybe: {type: integer, optional: true}
outputs:
  scores: {type: uri_folder, path: "./out/${{name}}"}
  side:
input_data: ${{inputs.cargo}}
mini_batch_size: 100 rows
max_concurrency_per_instance: "2"
error_threshold: 0
mini_batch_error_threshold: 5
logging_level: DEBUG
retry_settings: {max_retries: 0, timeout: 90}
resources: {instance_count: 2, shm_size: 2g, properties: {a: {b: [1]}}}
environment_variables: {A: "007", B: yes, C: ""}
task:
  type: run_function
  code: ./code
  entry_script: deep/score.py
  program_arguments: >-
    --a "x  y" --b ${{inputs.word}}
    $[[--c ${{inputs.maybe}}]]
  environment:
    image: example.test/image
    conda_file: ./conda.yml
  append_row_to: ${{outputs.scores}}
runner: {output_format: parquet, keep_columns: [id], part_size: 64mb, gpus_per_worker: 0.5, bisect: false}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "project/code/deep").mkdir(parents=True)
    (tmp_path / "project/code/deep/score.py").write_text("def run(b): return b\n")
    (tmp_path / "project/conda.yml").write_text("name: x\n")
    (tmp_path / "project/job.yml").write_text(FULL)
    return tmp_path / "project"


def test_a_full_job_loads_again_equal_wherever_it_is_dumped(folder: Path, tmp_path: Path) -> None:
    job = load_job(folder / "job.yml")
    for place in (folder / "beside.yml", tmp_path / "above.yml", folder / "code/below.yml"):
        job.dump(place)
        again = load_job(place)
        assert again == job
        assert again.to_document().keys() == job.to_document().keys()


def test_paths_below_the_destination_are_relative_and_others_absolute(folder: Path, tmp_path: Path) -> None:
    job = load_job(folder / "job.yml")
    job.dump(folder / "beside.yml")
    beside = (folder / "beside.yml").read_text()
    assert "code: ./code\n" in beside
    assert "path: ./rows\n" in beside
    assert f"path: {tmp_path}/models/m.onnx\n" in beside
    assert "path: azureml://datastores/lake/paths/a b\n" in beside
    job.dump(folder / "code/below.yml")
    assert f"path: {folder}/rows\n" in (folder / "code/below.yml").read_text()


def test_the_text_is_flat_sorted_and_without_nulls(folder: Path) -> None:
    job = load_job(folder / "job.yml")
    job.dump(folder / "flat.yml")
    text = (folder / "flat.yml").read_text()
    keys = [line.split(":")[0] for line in text.splitlines() if line and line[0] not in " -"]
    assert keys == sorted(keys)
    assert "null" not in text
    assert "$schema" not in text
    assert text.endswith("\n")
    assert "truth: true\n" in text, "a literal keeps its type"
    ParallelJob().dump(folder / "empty.yml")
    assert (folder / "empty.yml").read_text() == (
        "environment_variables: {}\ninputs: {}\noutputs: {}\nproperties: {}\ntags: {}\ntype: parallel\n"
    )


def test_a_job_built_in_python_loads_again_equal(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    job = ParallelJob(
        inputs={"cargo": Input(type="mltable", path="./rows", mode="direct"), "n": 3},
        outputs={"scores": Output(type="uri_file", path=str(folder / "out/scores.txt")), "side": None},
        input_data="${{inputs.cargo}}",
        mini_batch_size="5 rows",
        max_concurrency_per_instance=1,
        retry_settings=RetrySettings(max_retries=0, timeout=30),
        resources=JobResourceConfiguration(instance_count=2),
        environment_variables={"SIDE": folder / "side", "N": 5},
        task=RunFunction(
            code="./code", entry_script="deep/score.py", environment="e:1", append_row_to="${{outputs.scores}}"
        ),
        runner={"columns": ["id"]},
    )
    monkeypatch.chdir("/")
    job.dump(folder / "built.yml")
    again = load_job(folder / "built.yml")
    assert again == job
    assert isinstance(again, ParallelJob)
    assert isinstance(again.task, RunFunction)
    assert again.environment_variables == {"SIDE": str(folder / "side"), "N": "5"}
    assert job.name is None


def test_a_script_without_code_is_found_again(folder: Path, tmp_path: Path) -> None:
    text = "type: parallel\ninputs: {c: {path: ./x}}\ninput_data: ${{inputs.c}}\ntask: {entry_script: "
    (folder / "bare.yml").write_text(text + "code/deep/score.py}\n")
    job = load_job(folder / "bare.yml")
    job.dump(tmp_path / "moved.yml")
    assert load_job(tmp_path / "moved.yml") == job


def test_an_existing_file_is_never_overwritten(folder: Path) -> None:
    keep = folder / "keep.yml"
    keep.write_text("mine")
    with pytest.raises(FileExistsError):
        ParallelJob().dump(keep)
    with pytest.raises(FileExistsError):
        ParallelJob().dump(folder)
    assert keep.read_text() == "mine"


def test_a_destination_that_cannot_be_is_told(folder: Path) -> None:
    with pytest.raises(ValidationException, match="no folder"):
        ParallelJob().dump(folder / "no/such/x.yml")
    with pytest.raises(ValidationException, match="no destination"):
        ParallelJob().dump()


def test_a_stream_is_written_where_it_stands_and_left_open(folder: Path) -> None:
    stream = io.StringIO()
    stream.write("# head\n")
    load_job(folder / "job.yml").dump(stream)
    stream.write("# tail\n")
    text = stream.getvalue()
    assert text.startswith("# head\ncomment: none\n")
    assert text.endswith("# tail\n")
    assert f"code: {folder}/code\n" in text, "nobody knows where the text will be"


def test_a_stream_that_cannot_be_written_is_both_kinds_of_error(folder: Path) -> None:
    closed = io.StringIO()
    closed.close()
    binary = io.BytesIO()
    with open(folder / "job.yml") as read_only:
        for stream in (read_only, closed, binary):
            with pytest.raises(OSError, match="open it for writing text") as caught:
                ParallelJob().dump(stream)  # type: ignore[arg-type]
            assert isinstance(caught.value, ValidationException)


def test_options_go_to_yaml(folder: Path) -> None:
    stream = io.StringIO()
    ParallelJob().dump(stream, explicit_start=True, sort_keys=False)
    assert stream.getvalue().startswith("---\ntype: parallel\n")


def test_a_path_like_destination_and_a_bare_name_work(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    load_job("job.yml").dump("bare.yml")
    assert load_job("bare.yml") == load_job(os.fspath(folder / "job.yml"))


def test_the_old_keyword_still_works_with_a_warning(folder: Path) -> None:
    with pytest.warns(DeprecationWarning, match="dump"):
        ParallelJob().dump(path=folder / "old.yml")
    assert (folder / "old.yml").is_file()
