"""Every way a job can be wrong in itself is told with its line, what is wrong and what to write."""

from __future__ import annotations

from pathlib import Path

import pytest

from runner.spec.checks import check_sense
from runner.spec.document import read_document
from runner.spec.findings import Findings
from runner.spec.kinds import KINDS, kind_of_document
from runner.spec.schema import JOB, LATER, RUNNER, shape_job

BASE = Path("/nonexistent")
HEAD = "type: parallel\n"
INPUTS = """\
inputs:
  rows: {type: mltable, path: ./rows, mode: direct}
  files: {type: uri_folder, path: ./files}
  more: {type: uri_file, path: ./more.txt}
  limit: 3
  word: two words
  maybe: {type: integer, optional: true}
outputs:
  scores: {type: uri_file, path: ./scores.txt}
  side:
"""
TASK = "task: {code: ./code, entry_script: score.py, append_row_to: '${{outputs.scores}}'}\n"
DATA = "input_data: ${{inputs.rows}}\n"


def check(text: str) -> Findings:
    document = read_document(text, "job.yml")
    found = Findings("job.yml", document.lines)
    for problem in document.problems:
        found.add(problem)
    kind = kind_of_document(document.values, found)
    if kind is not None:
        assert kind is KINDS["parallel"]
        check_sense(shape_job(document.values, found), BASE, found)
    return found


def told(text: str) -> list[str]:
    return [str(problem) for problem in check(text).problems]


def test_a_sound_job_has_no_problem_and_no_notice() -> None:
    found = check(HEAD + INPUTS + DATA + TASK)
    assert found.problems == ()
    assert found.notices == ()


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("mini_batch_sizes: '5'", "mini_batch_sizes is no known key; did you mean `mini_batch_size`?"),
        ("entry_script: x.py", "entry_script does not belong here; write it below `task:`"),
        ("timeout: 60", "timeout does not belong here; write it below `retry_settings:`"),
        ("output_format: csv", "output_format does not belong here; write it below `runner:`"),
        ("zzz: 1", "zzz is no known key; the keys here are "),
        ("mini_batch_size: 0", "mini_batch_size is 0: a mini-batch holds at least one item"),
        ("mini_batch_size: 10 tb", "mini_batch_size is '10 tb'; write \"10\" files"),
        ("mini_batch_size: 1.5", "mini_batch_size is 1.5;"),
        ("mini_batch_size: -1", "mini_batch_size is -1;"),
        ("mini_batch_size: [1]", "mini_batch_size is a list;"),
        (
            "mini_batch_size: ${{parent.inputs.n}}",
            "mini_batch_size is ${{parent.inputs.n}}, and a job of its own has no",
        ),
        ("error_threshold: -2", "error_threshold is -2; write a whole number, -1 or more"),
        ("error_threshold: 1.5", "error_threshold is 1.5;"),
        ("error_threshold: true", "error_threshold is true;"),
        ("mini_batch_error_threshold: many", "mini_batch_error_threshold is 'many';"),
        ("logging_level: info", "logging_level is 'info'; write `DEBUG`, `INFO` or `WARNING`"),
        ("logging_level: ERROR", "logging_level is 'ERROR';"),
        ("max_concurrency_per_instance: 0", "max_concurrency_per_instance is 0; write a whole number, 1 or more"),
        ("retry_settings: 5", "retry_settings is 5, not a mapping; write keys below it, such as max_retries, timeout"),
        ("retry_settings: {timeout: 0}", "retry_settings.timeout is 0; write a number, above 0, up to 259200"),
        ("retry_settings: {timeout: 259201}", "retry_settings.timeout is 259201;"),
        ("retry_settings: {max_retries: -1}", "retry_settings.max_retries is -1;"),
        (
            "retry_settings: {retries: 1}",
            "retry_settings.retries is no known key; did you mean `max_retries`?",
        ),
        ("resources: {instance_count: 0}", "resources.instance_count is 0;"),
        ("resources: {instance_counts: 1}", "resources.instance_counts is no known key; did you mean"),
        ("resources: {shm_size: big}", "resources.shm_size is 'big';"),
        ("partition_keys: store", "partition_keys is 'store', not a list; write [store, brand]"),
        ("partition_keys: [1]", "partition_keys[0] is 1, not text"),
        ("partition_keys: [store, brand, store]", "partition_keys names 'store' twice; name each key once"),
        ("environment_variables: {A: [1]}", "environment_variables.A is a list, not text"),
        ("environment_variables: {A: }", "environment_variables.A is null;"),
        (
            "environment_variables: {A: '${{inputs.nil}}'}",
            "environment_variables.A names ${{inputs.nil}}, and there is no",
        ),
        ("tags: {a: [1]}", "tags.a is a list, not text"),
        ("identity: {type: bogus}", "identity.type is 'bogus';"),
        ("compute: ''", "compute is empty;"),
        ("compute: ${{parent.inputs.c}}", "compute holds ${{parent.inputs.c}}, but a job of its own has no parent;"),
        ("experiment_name: ${{name}}", "experiment_name holds ${{name}}, where no binding is put in;"),
        ("name: a/b", "name is 'a/b', which cannot name a job;"),
        ("name: a--b", "name is 'a--b', which cannot name a job;"),
        ("display_name: 2024-01-01", "display_name is a bare date (2024-01-01); put it in quotes"),
        ("runner: {mini_batch_formats: arrow}", "runner.mini_batch_formats is no known key; did you mean"),
        ("runner: {mini_batch_format: spark}", "runner.mini_batch_format is 'spark'; write `pandas`, `arrow`,"),
        ("runner: {columns: []}", "runner.columns is an empty list;"),
        ("runner: {part_size: 10 tb}", "runner.part_size is '10 tb', not a size;"),
        ("runner: {memory: 0}", "runner.memory is 0, not a size;"),
        ("runner: {gpus_per_worker: -1}", "runner.gpus_per_worker is -1;"),
        ("runner: {overwrite: sometimes}", "runner.overwrite is 'sometimes'; write true or false"),
        ("runner: {bisect: 3}", "runner.bisect is 3; write true or false"),
        ("runner: {speculate: often}", "runner.speculate is 'often'; write true or false"),
        ("runner: {output_format: ipc, compression: gzip}", "runner.compression is gzip, which Arrow IPC files cannot"),
        ("runner: {keep_columns: [id]}", "runner.keep_columns has no meaning for text;"),
    ],
)
def test_one_wrong_line_gives_one_problem_at_that_line(line: str, says: str) -> None:
    problems = told(HEAD + line + "\n" + INPUTS + DATA + TASK)
    assert len(problems) == 1, problems
    assert problems[0].startswith(f"job.yml:2: {says}"), problems[0]
    assert ";" in problems[0], "every problem says what to write"


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ("input_data: ${{inputs.roes}}", "names ${{inputs.roes}}, and there is no such input; did you mean `rows`?"),
        ("input_data: rows", "is 'rows'; write `${{inputs.<name>}}`"),
        ("input_data: ${{outputs.scores}}", "is '${{outputs.scores}}';"),
        ("input_data: []", "is an empty list;"),
        ("input_data: ['${{inputs.rows}}', '${{inputs.files}}']", "names tables and files together;"),
    ],
)
def test_input_data_must_name_data_of_one_kind(data: str, says: str) -> None:
    assert told(HEAD + data + "\n" + INPUTS + TASK)[0].startswith(f"job.yml:2: input_data {says}")


def test_input_data_that_is_a_value_or_absent_is_told() -> None:
    assert (
        "inputs.limit is a value, which cannot be cut"
        in told(HEAD + INPUTS + "input_data: ${{inputs.limit}}\n" + TASK)[0]
    )
    assert "input_data is missing; write `input_data: ${{inputs.rows}}`" in told(HEAD + INPUTS + TASK)[0]


@pytest.mark.parametrize("size", ["10kb", "5 rows"])
def test_files_are_cut_by_count_only(size: str) -> None:
    text = HEAD + f"mini_batch_size: {size}\n" + INPUTS + "input_data: ${{inputs.files}}\n" + TASK
    assert told(text)[0].startswith("job.yml:2: mini_batch_size is ")
    assert "write a count of files" in told(text)[0]


@pytest.mark.parametrize("size", ["5", "'5'", "100KB", "10 mb", "1gb", '"1000 rows"', "1 row"])
def test_every_form_of_a_size_is_taken_for_tables(size: str) -> None:
    assert told(HEAD + f"mini_batch_size: {size}\n" + INPUTS + DATA + TASK) == []


@pytest.mark.parametrize(
    ("inputs", "says"),
    [
        ("a: ", "inputs.a is null;"),
        ("a: [1]", "inputs.a is a list;"),
        ("a: .inf", "inputs.a is inf;"),
        ("a: 2024-01-01", "inputs.a is a bare date"),
        ("1a: x", "inputs.1a is not a name"),
        ("a: {type: uri_folder}", "inputs.a has no path;"),
        ("a: {type: uri_foldr, path: x}", "inputs.a.type is 'uri_foldr';"),
        ("a: {type: uri_file, path: x, mode: rw_mount}", "inputs.a.mode is 'rw_mount';"),
        ("a: {type: uri_file, path: x, mode: eval_mount}", "inputs.a.mode is 'eval_mount';"),
        ("a: {type: uri_file, path: x, kind: y}", "inputs.a.kind is no known key"),
        ("a: {path: 'azureml:na me:1'}", "inputs.a.path is 'azureml:na me:1', which is no name of an asset;"),
        ("a: {path: 'https://x.test/y'}", "inputs.a.path is 'https://x.test/y', which is no place on this machine"),
        ("a: {path: '${{parent.inputs.x}}'}", "inputs.a.path is '${{parent.inputs.x}}', and a job of its own"),
        ("a: {type: integer, default: x}", "inputs.a.default is 'x', not of type integer"),
        ("a: {type: integer, default: 7, max: 5}", "inputs.a.default is 7, above the maximum 5"),
        ("a: ${{parent.inputs.x}}", "inputs.a holds ${{parent.inputs.x}}, but a job of its own has no parent;"),
        ("a: {type: string}", "inputs.a has no value;"),
    ],
)
def test_what_is_wrong_with_an_input_is_told(inputs: str, says: str) -> None:
    problems = told(HEAD + INPUTS.replace("inputs:\n", f"inputs:\n  {inputs}\n") + DATA + TASK)
    assert [p.startswith(f"job.yml:3: {says}") for p in problems] == [True], problems


@pytest.mark.parametrize(
    ("output", "says"),
    [
        ("a: ${{parent.outputs.x}}", "outputs.a is '${{parent.outputs.x}}', not a mapping;"),
        ("a: {type: integer}", "outputs.a.type is 'integer';"),
        ("a: {mode: ro_mount}", "outputs.a.mode is 'ro_mount';"),
        ("a: {path: './${{nam}}.txt'}", "outputs.a.path holds ${{nam}}, a template of no known form;"),
        ("a: {path: 's3://b/x'}", "outputs.a.path is 's3://b/x', which is no place on this machine"),
    ],
)
def test_what_is_wrong_with_an_output_is_told(output: str, says: str) -> None:
    problems = told(HEAD + INPUTS.replace("outputs:\n", f"outputs:\n  {output}\n") + DATA + TASK)
    assert [p.startswith(f"job.yml:10: {says}") for p in problems] == [True], problems


@pytest.mark.parametrize(
    ("task", "says"),
    [
        ("{entry_scrip: x.py}", "entry_scrip is no known key; did you mean `entry_script`?"),
        ("{code: ./code}", "has no entry_script;"),
        ("{entry_script: x.py, type: command}", "type is 'command';"),
        ("{entry_script: x.py, append_row_to: scores}", "append_row_to is 'scores';"),
        (
            "{entry_script: x.py, append_row_to: '${{outputs.score}}'}",
            "append_row_to names ${{outputs.score}}, and there",
        ),
        ("{entry_script: x.py, program_arguments: [--a]}", "program_arguments is a list, not text;"),
        ("{entry_script: x.py, program_arguments: '--a ${{inputs.limt}}'}", "program_arguments names ${{inputs.limt}}"),
        (
            "{entry_script: x.py, program_arguments: '--a ${{parent.inputs.x}}'}",
            "program_arguments holds ${{parent.inp",
        ),
        (
            "{entry_script: x.py, program_arguments: '--a ${{inputz.x}}'}",
            "program_arguments holds ${{inputz.x}}, a bind",
        ),
        (
            "{entry_script: x.py, program_arguments: '--a ${{inputs.maybe}}'}",
            "program_arguments uses ${{inputs.maybe}}, an",
        ),
        ("{entry_script: x.py, program_arguments: '--a \"'}", "program_arguments cannot be split: a double quote"),
        ("{entry_script: x.py, program_arguments: --error_threshold -2}", "program_arguments --error_threshold is -2;"),
        (
            "{entry_script: x.py, program_arguments: --output_action append_row}",
            "program_arguments --output_action is app",
        ),
        ("{entry_script: x.py, code: 'git+https://x.test/y'}", "code is 'git+https://x.test/y', which is no place"),
        ("{entry_script: x.py, environment: 5}", "environment is 5;"),
    ],
)
def test_what_is_wrong_with_the_task_is_told(task: str, says: str) -> None:
    problems = told(HEAD + f"task: {task}\n" + INPUTS + DATA)
    own = [p for p in problems if p.startswith("job.yml:2: task")]
    assert any(p.startswith((f"job.yml:2: task.{says}", f"job.yml:2: task {says}")) for p in own), problems


def test_all_problems_are_told_at_once_in_the_order_of_lines() -> None:
    text = (
        HEAD + "error_threshold: -2\n" + INPUTS + "input_data: ${{inputs.no}}\nlogging_level: x\n" + TASK + "zzz: 1\n"
    )
    problems = told(text)
    lines = [int(problem.split(":")[1]) for problem in problems]
    assert len(problems) == 4
    assert lines == sorted(lines)


@pytest.mark.parametrize("kind", ["sweep", "spark", "automl", "import", "finetuning", "distillation", "data_transfer"])
def test_other_kinds_of_jobs_are_refused_by_name_and_by_nothing_else(kind: str) -> None:
    problems = told(f"type: {kind}\ncommand: echo\njobs: {{}}\n")
    assert len(problems) == 1
    assert problems[0].startswith(f"job.yml:1: type is '{kind}', a kind of job that this runner does not run; write ")


def test_the_kind_is_read_in_any_case_and_without_one_a_parallel_job_is_told_to_say_so() -> None:
    assert told("type: PARALLEL\n" + INPUTS + DATA + TASK) == []
    assert told(INPUTS + DATA + TASK) == [
        "job.yml:1: type is missing, so this would be a command; write `type: parallel`"
    ]


@pytest.mark.parametrize("key", sorted(LATER))
def test_what_comes_later_is_refused_and_not_ignored(key: str) -> None:
    problems = told(HEAD + f"runner: {{{key}: [a]}}\n" + INPUTS + DATA + TASK)
    assert [key in problem and "not supported by this version" in problem for problem in problems] == [True]


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("task: {entry_script: x.py, args: --a}", "task.args is ignored; write `program_arguments`"),
        ("task: {entry_script: x.py, model: m}", "task.model is ignored"),
        ("output_data: x\n" + TASK, "output_data is ignored"),
        ("identity: {type: managed}\n" + TASK, "identity is kept but has no effect"),
        ("services: {s: {type: ssh}}\n" + TASK, "services are kept but not started"),
        ("task: {entry_script: x.py, program_arguments: '--a {inputs.limit}'}", "uses the old form"),
        (
            "task: {entry_script: x.py, program_arguments: --error_threshold 3}\nerror_threshold: 2",
            "is 3 and goes before error_threshold: 2",
        ),
    ],
)
def test_what_is_odd_but_stops_nothing_is_a_notice(line: str, says: str) -> None:
    found = check(HEAD + line + "\n" + INPUTS + DATA)
    assert found.problems == ()
    assert [says in notice and notice.startswith("job.yml:2: ") for notice in found.notices] == [True], found.notices


def test_partition_keys_go_before_a_size_with_a_notice() -> None:
    found = check(HEAD + "partition_keys: [store]\nmini_batch_size: 1kb\n" + INPUTS + DATA + TASK)
    assert ["goes before mini_batch_size" in notice for notice in found.notices] == [True]


def test_keys_that_only_a_service_writes_are_ignored() -> None:
    head = "$schema: https://x.test\nstatus: Running\nid: x\ncreation_context: {}\nlog_files: {}\n"
    found = check(head + HEAD + INPUTS + DATA + TASK)
    assert found.problems == ()
    assert found.notices == ()


def test_options_for_tables_are_refused_for_files() -> None:
    for option in ("mini_batch_format: arrow", "columns: [a]", "writable: true"):
        text = HEAD + f"runner: {{{option}}}\n" + INPUTS + "input_data: ${{inputs.files}}\n" + TASK
        assert "is for tables" in told(text)[0]


def test_every_key_says_what_it_means() -> None:
    assert all(key.says for key in (*JOB.keys.values(), *RUNNER.keys.values()))
