"""Objects of the public `azure-ai-ml` package are submitted as they are; the real package makes them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

HEAD = """\
import json, sys, time, warnings
warnings.simplefilter("ignore")  # the package warns of its own experiments
from azure.ai.ml import Input, MpiDistribution, Output, command, dsl, load_component
from azure.ai.ml.entities import CommandJob, Environment, RetrySettings
from azure.ai.ml.parallel import ParallelJob, RunFunction, parallel_run_function
import runner

client = runner.Client()

def ended(job, **more):
    made = client.jobs.create_or_update(job, **more)
    until = time.monotonic() + 60
    while (found := client.jobs.get(made.name)).status not in ("Completed", "Failed", "Canceled"):
        assert time.monotonic() < until
        time.sleep(0.05)
    return found

ENV = "azureml:some-python@latest"
SCORE = dict(code="./src", entry_script="score.py", append_row_to="${{outputs.scores}}", environment=ENV)
said = {}
"""
COMPONENT = """\
type: command
name: crane
version: 1
inputs:
  rate: {type: number, optional: true}
  zero: {type: integer}
  open: {type: boolean}
  cargo: {type: uri_folder}
outputs:
  line: {type: uri_file}
command: >-
  echo $[[--rate ${{inputs.rate}}]] ${{inputs.zero}} ${{inputs.open}} $(ls ${{inputs.cargo}} | wc -l)
  > ${{outputs.line}}
environment: azureml:some-python@latest
"""


@pytest.fixture
def yard(tmp_path: Path) -> Path:
    """A folder with code, data and a component."""
    folder = tmp_path / "yard"
    for path, text in (
        (
            "src/score.py",
            "import os\n\ndef run(mini_batch):\n    return [os.path.basename(path) for path in mini_batch]\n",
        ),
        ("data/one", "1"),
        ("data/two", "2"),
        ("parts/crane.yml", COMPONENT),
    ):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    return folder


def snippet(yard: Path, home: Path, code: str) -> dict[str, Any]:
    """What a program in `yard` leaves in `said`."""
    done = subprocess.run(
        [sys.executable, "-c", f"{HEAD}{code}\nprint(json.dumps(said))"],
        cwd=yard,
        env={**os.environ, "RUNNER_HOME": str(home)},
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_a_command_job_keeps_its_literals_and_its_folder(yard: Path, home: Path) -> None:
    said = snippet(
        yard,
        home,
        """
job = CommandJob(
    command="echo ${{inputs.count}} ${{inputs.open}} ${{inputs.rate}} [${{inputs.memo}}] $LEVEL "
            "$(ls ${{inputs.cargo}}) > ${{outputs.o}}/a",
    code="./src", environment=Environment(image="x", conda_file={"dependencies": ["python"]}), compute="local",
    inputs={"count": 3, "open": True, "rate": 1.0, "memo": "", "cargo": Input(type="uri_folder", path="./data")},
    outputs={"o": Output(type="uri_folder", path="./out")}, environment_variables={"LEVEL": 4}, tags={"who": "me"},
)
found = ended(job)
said = {"status": found.status, "type": type(found).__name__, "tags": found.tags, "name": job.name}
""",
    )
    assert said == {"status": "Completed", "type": "CommandJob", "tags": {"who": "me"}, "name": None}
    assert (yard / "out/a").read_text() == "3 True 1.0 [] 4 one two\n"


def test_a_command_from_the_builder_runs_alone(yard: Path, home: Path) -> None:
    said = snippet(
        yard,
        home,
        """
node = command(
    command="echo $OMPI_COMM_WORLD_RANK ${{inputs.n}} > ${{outputs.o}}/$OMPI_COMM_WORLD_RANK", environment=ENV,
    compute="local", inputs={"n": 0}, outputs={"o": Output(type="uri_folder", path="./out")},
    distribution=MpiDistribution(process_count_per_instance=2),
)
said = {"status": ended(node).status}
""",
    )
    assert said["status"] == "Completed"
    assert sorted(path.read_text() for path in (yard / "out").iterdir()) == ["0 0\n", "1 0\n"]


def test_a_pipeline_of_the_decorator_runs_with_its_bindings_components_and_sub_pipelines(
    yard: Path, home: Path
) -> None:
    said = snippet(
        yard,
        home,
        """
crane = load_component("parts/crane.yml")
make = command(name="make", command="echo ${{inputs.n}} > ${{outputs.o}}/a", environment=ENV, inputs={"n": 3},
               outputs={"o": Output(type="uri_folder")})
score = parallel_run_function(
    name="score", inputs={"cargo": Input(type="uri_folder", path="./data")},
    outputs={"scores": Output(type="uri_file")},
    input_data="${{inputs.cargo}}", mini_batch_size="1", max_concurrency_per_instance=1, task=RunFunction(**SCORE),
    retry_settings=dict(max_retries=1, timeout=60), error_threshold=0,
)

@dsl.pipeline
def inner(zero: int, cargo: Input):
    step = crane(zero=zero, open=False, cargo=cargo)
    return {"line": step.outputs.line}

@dsl.pipeline(compute="local")
def harbour(n: int, cargo: Input, rate: float = 1.5):
    made = make(n=n)
    line = crane(zero=0, open=True, cargo=made.outputs.o, rate=rate)
    scored = score(cargo=cargo)
    deep = inner(zero=n, cargo=cargo)
    line.outputs.line.mode = "upload"
    return {"line": line.outputs.line, "scores": scored.outputs.scores, "deep": deep.outputs.line}

job = harbour(n=0, cargo=Input(type="uri_folder", path="./data"))
for name in ("line", "scores", "deep"):
    getattr(job.outputs, name).path = f"./{name}.txt"
found = ended(job)
steps = client.jobs.steps(found.name)
said = {"status": found.status, "error": str(found.error), "steps": [str(step.status) for step in steps]}
""",
    )
    assert said == {"status": "Completed", "error": "None", "steps": ["Completed"] * 4}
    assert (yard / "line.txt").read_text() == "--rate 1.5 0 True 1\n"
    assert (yard / "scores.txt").read_text() == "one\ntwo\n"
    assert (yard / "deep.txt").read_text() == "0 False 2\n"


def test_parallel_jobs_run_alone(yard: Path, home: Path) -> None:
    said = snippet(
        yard,
        home,
        """
cargo, scores = Input(type="uri_folder", path="./data"), lambda name: Output(type="uri_file", path=name)
job = ParallelJob(
    compute="local", inputs={"cargo": cargo}, outputs={"scores": scores("./job.txt")}, input_data="${{inputs.cargo}}",
    mini_batch_size="1", task=RunFunction(**SCORE), retry_settings=RetrySettings(max_retries=1, timeout=30),
)
node = parallel_run_function(
    inputs={"cargo": cargo}, outputs={"scores": scores("./node.txt")}, input_data="${{inputs.cargo}}",
    mini_batch_size="2", max_concurrency_per_instance=1, task=RunFunction(**SCORE),
)
node.compute = "local"
said = {"job": ended(job).status, "node": ended(node).status, "valid": client.jobs.validate(job).passed}
""",
    )
    assert said["job"] == said["node"] == "Completed"
    assert (yard / "job.txt").read_text() == (yard / "node.txt").read_text() == "one\ntwo\n"


def test_what_cannot_run_here_is_refused_by_its_kind(yard: Path, home: Path) -> None:
    said = snippet(
        yard,
        home,
        """
from azure.ai.ml.entities import SparkJob
spark = SparkJob(driver_cores=1, driver_memory="1g", executor_cores=1, executor_memory="1g", executor_instances=1,
                 entry={"file": "a.py"}, code="./src")
for name, job in (("spark", spark), ("text", "job.yml")):
    try:
        client.jobs.create_or_update(job)
    except runner.ValidationException as error:
        said[name] = str(error)
""",
    )
    assert "SparkJob" in said["spark"]
    assert "is a str" in said["text"]
