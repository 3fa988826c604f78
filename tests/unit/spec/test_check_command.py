"""Every way a command can be wrong in itself is told with its line, what is wrong and what to write."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from runner.spec.check_command import check_command
from runner.spec.command_schema import COMMAND, shape_command
from runner.spec.document import read_document
from runner.spec.findings import Findings
from runner.spec.kinds import KINDS, kind_of_document

BASE = Path("/nonexistent")
TAIL = """\
inputs:
  count: 3
  word: two words
  data: {type: uri_folder, path: ./data}
  maybe: {type: integer, optional: true}
  usual: {type: integer, optional: true, default: 9}
outputs:
  made: {type: uri_file, path: ./made.txt}
  side:
"""


def check(text: str) -> Findings:
    document = read_document(text, "job.yml")
    found = Findings("job.yml", document.lines)
    for problem in document.problems:
        found.add(problem)
    assert kind_of_document(document.values, found) is KINDS["command"]
    check_command(shape_command(document.values, found), BASE, found)
    return found


def told(text: str) -> list[str]:
    return [str(problem) for problem in check(text).problems]


def of_command(command: str) -> list[str]:
    return told(f"command: {json.dumps(command)}\n" + TAIL)


@pytest.mark.parametrize(
    "command",
    [
        "echo",
        "echo ${{inputs.count}} ${{ inputs.data }}/x > ${{outputs.made}}",
        "echo $[[--maybe ${{inputs.maybe}}]] ${{inputs.usual}}",
        "echo ${{name}} ${{default_datastore}}",
        "awk '{print $1}' <<< '{\"a\": {x.y}}' && echo ${HOME} $((1 + 1)) [[ -f x ]]",
        "python train.py --rate ${{search_space.rate}}",
    ],
)
def test_a_sound_command_has_no_problems(command: str) -> None:
    assert of_command(command) == []


@pytest.mark.parametrize(
    ("command", "says"),
    [
        ("", "command is empty; write `command:` and what bash is to run"),
        (" \n ", "command is empty; write `command:` and what bash is to run"),
        (
            "echo ${{inputs.counts}}",
            "command names ${{inputs.counts}}, and there is no such input; did you mean `count`?",
        ),
        ("echo ${{ inputs.counts }}", "command names ${{inputs.counts}}, and there is no such input; did you mean"),
        ("echo ${{outputs.mad}}", "command names ${{outputs.mad}}, and there is no such output; did you mean `made`?"),
        (
            "echo ${{inputs.Count}}",
            "command names ${{inputs.Count}}, and there is no such input; did you mean `count`?",
        ),
        ("echo ${{inputs.zzz}}", "command names ${{inputs.zzz}}, and there is no such input; the inputs are count, "),
        ("echo {inputs.counts}", "command names ${{inputs.counts}}, and there is no such input; did you mean `count`?"),
        ("echo ${{parent.inputs.x}}", "command holds ${{parent.inputs.x}}, but a job of its own has no parent;"),
        ("echo ${{input.count}}", "command holds ${{input.count}}, a binding of no known form;"),
        ("echo ${{}}", "command holds ${{}}, a binding of no known form;"),
        ("echo ${{ inputs.count", "command opens ${{ inputs.count and does not close it; write }} behind its name"),
        ("echo ${{inputs.count} 1", "command opens ${{inputs.count and does not close it; write }} behind its name"),
        ("echo \0", "command holds a NUL character, which no program can be given; leave it out"),
        ("echo $[[ ${{inputs.count}}", "command cannot be read: an optional group $[[ is not closed by ]]; close it"),
        (
            "echo ${{inputs.maybe}}",
            "command uses ${{inputs.maybe}}, an optional input that may have no value; "
            "put it in a group: $[[--flag ${{inputs.maybe}}]]",
        ),
    ],
)
def test_one_wrong_command_gives_one_problem(command: str, says: str) -> None:
    problems = of_command(command)
    assert len(problems) == 1
    assert problems[0].startswith(f"job.yml:1: {says}")


def test_a_command_that_is_missing_is_told() -> None:
    assert told("type: command\n") == ["job.yml:1: command is missing; write `command:` and what bash is to run"]
    assert told("command:\n") == ["job.yml:1: command is missing; write `command:` and what bash is to run"]
    assert told("command: [echo]\n") == [
        "job.yml:1: command is a list, not text; write text, in quotes where YAML reads more in it"
    ]


def test_the_old_form_of_a_binding_is_read_with_a_notice_and_other_braces_stay() -> None:
    found = check("command: 'echo {inputs.count} {search_space.x} {x.y}'\n" + TAIL)
    assert found.problems == ()
    assert found.notices == ("job.yml:1: command uses the old form {inputs.x}; it is read as ${{inputs.x}}",)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("comand: x", "comand is no known key; did you mean `command`?"),
        ("limits: {timeouts: 3}", "limits.timeouts is no known key; did you mean `timeout`?"),
        ("limits: {timeout: foo}", "limits.timeout is 'foo'; write a number, above 0"),
        ("limits: {timeout: 0}", "limits.timeout is 0; write a number, above 0"),
        ("timeout: 3", "timeout does not belong here; write it below `limits:`"),
        ("instance_count: 3", "instance_count does not belong here; write it below `resources:`"),
        (
            "process_count_per_instance: 3",
            "process_count_per_instance does not belong here; write it below `distribution",
        ),
        ("retry_settings: {max_retries: 3}", "retry_settings does not belong here; write it below `runner:`"),
        ("runner: {max_retries: 3}", "runner.max_retries does not belong here; write it below `retry_settings:`"),
        (
            "runner: {retry_settings: {timeout: 3}}",
            "runner.retry_settings.timeout does not belong here; write it below `l",
        ),
        (
            "runner: {retry_settings: {max_retries: -1}}",
            "runner.retry_settings.max_retries is -1; write a whole number",
        ),
        ("runner: {cancel_grace: -1}", "runner.cancel_grace is -1; write a number, 0 or more"),
        ("runner: {depends_on: [a]}", "runner.depends_on is for a step of a pipeline; leave it out"),
        (
            "runner: {max_concurrent_steps: 2}",
            "runner.max_concurrent_steps is for a pipeline as a whole; write it below",
        ),
        ("runner: {bisect: true}", "runner.bisect is no known key; the keys here are cancel_grace, depends_on, "),
        ("distribution: {type: torch}", "distribution.type is 'torch'; write `pytorch`, `mpi`, `tensorflow` or `ray`"),
        (
            "distribution: {process_count_per_instance: 2}",
            "distribution has no type; write `type:` below it, `pytorch`",
        ),
        ("distribution: {type: mpi, worker_count: 2}", "distribution.worker_count is no known key;"),
        (
            "distribution: {type: tensorflow, worker_count: 0}",
            "distribution.worker_count is 0; write a whole number, 1",
        ),
        ("distribution: pytorch", "distribution is 'pytorch', not a mapping; write `type:` below it"),
        ("queue_settings: {priority: urgent}", "queue_settings.priority is 'urgent'; write `low`, `medium` or `high`"),
        ("services: {s: {type: ssh, nodes: one}}", "services.s.nodes is 'one'; write `all`"),
        ("services: {s: {type: ssh, key: x}}", "services.s.key is no known key;"),
        ("identity: {type: nobody}", "identity.type is 'nobody'; write `managed`"),
        ("environment_variables: {A=B: x}", "environment_variables.A=B is not a name that can be used here;"),
        ("resources: {docker_args: 3}", "resources.docker_args is 3, not a list; write [--name, value]"),
        ("environment_variables: {A: [1]}", "environment_variables.A is a list, not text"),
        (
            "environment_variables: {A: '${{inputs.no}}'}",
            "environment_variables.A names ${{inputs.no}}, and there is no",
        ),
        (
            "environment_variables: {A: '${{inputs.maybe}}'}",
            "environment_variables.A uses ${{inputs.maybe}}, an optional",
        ),
        ("description: '${{x}}'\ncompute: '${{inputs.count}}'", None),
        ("compute: '${{parent.inputs.c}}'", "compute holds ${{parent.inputs.c}}, but a job of its own has no parent;"),
        ("code: ./src", "code leads to /nonexistent/src, and there is nothing; write the path of the code folder"),
        ("code: git+https://example.com/x", "code is 'git+https://example.com/x', which is no place on this machine;"),
        ("additional_includes: [./more]", "additional_includes[0] leads to /nonexistent/more, and there is nothing;"),
        (
            "environment: {conda_file: ./c.yml}",
            "environment.conda_file leads to /nonexistent/c.yml, and there is nothing",
        ),
    ],
)
def test_one_wrong_line_gives_one_problem_at_that_line(line: str, says: str | None) -> None:
    problems = told("command: echo\n" + line + "\n" + TAIL)
    assert len(problems) == 1
    if says is not None:
        assert problems[0].startswith(f"job.yml:2: {says}")


@pytest.mark.parametrize(
    ("output", "says"),
    [
        ("a: {type: boolean}", "outputs.a.type is 'boolean'; write `uri_folder`,"),
        ("a: {mode: ro_mount}", "outputs.a.mode is 'ro_mount'; write `rw_mount`,"),
        ("a: {version: 1}", "outputs.a.version has no name; write `name:` beside it, or leave it out"),
        ("a: {name: 'x/y'}", "outputs.a.name is 'x/y', which cannot be registered;"),
        ("a: {name: x, version: latest}", "outputs.a.version is 'latest', which cannot be registered;"),
        ("a: {path: 'azureml:x:1'}", "outputs.a.path is 'azureml:x:1', which is there already and never changes;"),
        (
            "a: {path: 'azureml:jobs/j/outputs/o'}",
            "outputs.a.path is 'azureml:jobs/j/outputs/o', which is there already",
        ),
        ("a: {path: '${{names}}/x'}", "outputs.a.path holds ${{names}}, a template of no known form;"),
        (
            "{a: {name: x, version: 1}, b: {name: x, version: 1}}",
            "outputs.b.version is '1', and x:1 is what the output a",
        ),
        ("a-b: {}", "outputs.a-b is not a name that can be used here;"),
    ],
)
def test_what_is_wrong_with_an_output_is_told(output: str, says: str) -> None:
    problems = told(f"command: echo\noutputs:\n  {output}\n")
    assert len(problems) == 1
    assert problems[0].startswith(f"job.yml:3: {says}")


def test_a_uri_is_an_input_only_when_it_is_passed_as_it_is() -> None:
    text = "command: echo\ninputs:\n  a: {{type: uri_file, path: 'https://example.com/x', mode: {mode}}}\n"
    assert told(text.format(mode="direct")) == []
    assert told(text.format(mode="download"))[0].startswith(
        "job.yml:3: inputs.a.path is 'https://example.com/x', which is no place on this machine;"
    )


def test_all_problems_are_told_at_once_in_the_order_of_lines() -> None:
    problems = told(
        "command: echo ${{inputs.no}} ${{inputs.nor}} ${{x.y}}\ncode: ./src\ntimeout: 3\n"
        + TAIL
        + "zzz: 1\nlimits: 3\n"
    )
    lines = [int(problem.split(":")[1]) for problem in problems]
    assert lines == [1, 1, 1, 2, 3, 13, 14]


def test_words_of_any_case_and_numbers_in_quotes_are_taken() -> None:
    found = Findings("")
    shaped = shape_command(
        {
            "type": "Command",
            "distribution": {"type": "PyTorch", "process_count_per_instance": "2"},
            "limits": {"timeout": "60"},
            "queue_settings": {"job_tier": "Spot", "priority": "High"},
            "identity": {"type": "AMLToken"},
            "compute": "azureml:here",
            "environment_variables": {"A": 3, "B": True, "C": 1.0, "D": ""},
        },
        found,
    )
    assert found.problems == ()
    assert shaped["distribution"] == {"type": "pytorch", "process_count_per_instance": 2}
    assert shaped["limits"] == {"timeout": 60}
    assert shaped["queue_settings"] == {"job_tier": "spot", "priority": "high"}
    assert shaped["identity"] == {"type": "aml_token"}
    assert shaped["compute"] == "here"
    assert shaped["environment_variables"] == {"A": "3", "B": "True", "C": "1.0", "D": ""}


def test_what_is_kept_without_effect_is_said() -> None:
    found = check(
        "command: echo\nidentity: {type: managed}\nservices: {s: {type: shh}}\nqueue_settings: {priority: low}\n" + TAIL
    )
    assert found.problems == ()
    assert [notice.split(": ", 1)[1] for notice in found.notices] == [
        "identity is kept but has no effect: the job runs as the user who runs the runner",
        "services.s.type is 'shh'; did you mean `ssh`?",
        "services are kept but not started",
        "queue_settings are kept but have no effect: there is no queue to choose",
    ]


@pytest.mark.parametrize("key", ["$schema", "id", "status", "creation_context", "log_files", "parent_job_name"])
def test_keys_that_only_a_service_writes_are_dropped_without_a_word(key: str) -> None:
    found = check(f"command: echo\n{key}: {{x: y}}\n")
    assert (found.problems, found.notices) == ((), ())
    assert key not in COMMAND.keys


@pytest.mark.parametrize(("key", "kind"), [("task: {}", "parallel"), ("jobs: {}", "pipeline")])
def test_a_file_without_a_type_that_looks_like_another_kind_is_told_so(key: str, kind: str) -> None:
    document = read_document(key, "job.yml")
    found = Findings("job.yml", document.lines)
    assert kind_of_document(document.values, found) is None
    assert [str(problem) for problem in found.problems] == [
        f"job.yml:1: type is missing, so this would be a command; write `type: {kind}`"
    ]
