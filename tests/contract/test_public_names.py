"""What `import runner` offers, and that it stays light."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import runner

NAMES = {
    "ActivityFailedException",
    "AmlTokenConfiguration",
    "BuildContext",
    "Client",
    "Command",
    "CommandJob",
    "CommandJobLimits",
    "Environment",
    "Experiment",
    "ExperimentExecutionException",
    "Graph",
    "Input",
    "Job",
    "JobException",
    "JobResourceConfiguration",
    "JobService",
    "JobStatus",
    "JupyterLabJobService",
    "ManagedIdentityConfiguration",
    "MpiDistribution",
    "Output",
    "ParallelJob",
    "PipelineJob",
    "PipelineJobSettings",
    "PipelineRun",
    "PortDataReference",
    "PublishedPipeline",
    "PyTorchDistribution",
    "QueueSettings",
    "RayDistribution",
    "ResourceConfiguration",
    "RetrySettings",
    "Run",
    "RunFunction",
    "RunnerError",
    "SshJobService",
    "StepRun",
    "StepRunOutput",
    "SystemData",
    "TensorBoardJobService",
    "TensorFlowDistribution",
    "UserIdentityConfiguration",
    "ValidationError",
    "ValidationException",
    "VsCodeJobService",
    "load_job",
}
HEAVY = ("yaml", "pyarrow", "ray", "grpc", "numpy", "pandas", "click", "rich", "sqlite3", "msgspec")


def python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    return done.stdout.strip()


def test_the_public_names_are_these() -> None:
    assert set(runner.__all__) == NAMES | {"__version__"}
    assert set(dir(runner)) >= NAMES


def test_every_public_name_resolves_to_something_of_that_name() -> None:
    for name in NAMES - {"ValidationError", "Command"}:
        assert getattr(runner, name).__name__ == name
    assert runner.ValidationError is runner.ValidationException
    assert runner.Command is runner.CommandJob


def test_the_stub_for_editors_lists_the_same_names() -> None:
    tree = ast.parse(Path(runner.__file__).with_suffix(".pyi").read_text())
    listed = {alias.asname for node in tree.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert listed == NAMES


def test_an_unknown_name_is_an_attribute_error() -> None:
    assert not hasattr(runner, "nothing_of_the_kind")


def test_importing_runner_imports_nothing_heavy() -> None:
    loaded = python("import sys, runner; print(*[m.partition('.')[0] for m in sys.modules])").split()
    assert [name for name in HEAVY if name in loaded] == []
    assert python("import sys, runner; print(*[m for m in sys.modules if m.startswith('runner')])") == "runner"


def test_building_and_loading_a_job_needs_neither_ray_nor_arrow_nor_grpc() -> None:
    loaded = python(
        "import sys, runner; runner.ParallelJob(); runner.load_job; print(*[m.partition('.')[0] for m in sys.modules])"
    ).split()
    assert [name for name in ("pyarrow", "ray", "grpc", "numpy", "pandas") if name in loaded] == []
