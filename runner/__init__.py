"""The public names, loaded when first used, so that importing any room stays light."""

from importlib import import_module

__version__ = "0.1.0"

_HOMES = {
    "ActivityFailedException": "runner.errors",
    "AmlTokenConfiguration": "runner.spec.services",
    "BuildContext": "runner.spec.pieces",
    "Client": "runner.compose.client",
    "Command": "runner.spec.command_job",
    "CommandJob": "runner.spec.command_job",
    "CommandJobLimits": "runner.spec.pieces",
    "Environment": "runner.spec.pieces",
    "Experiment": "runner.client.experiment",
    "ExperimentExecutionException": "runner.errors",
    "Graph": "runner.client.graph",
    "Input": "runner.spec.pieces",
    "Job": "runner.spec.jobs",
    "JobException": "runner.errors",
    "JobResourceConfiguration": "runner.spec.pieces",
    "JobService": "runner.spec.services",
    "JobStatus": "runner.entity.status",
    "JupyterLabJobService": "runner.spec.services",
    "ManagedIdentityConfiguration": "runner.spec.services",
    "MpiDistribution": "runner.spec.distributions",
    "Output": "runner.spec.pieces",
    "ParallelJob": "runner.spec.jobs",
    "PipelineJob": "runner.spec.pipeline_job",
    "PipelineJobSettings": "runner.spec.pipeline_job",
    "PipelineRun": "runner.client.runs",
    "PortDataReference": "runner.client.ports",
    "PublishedPipeline": "runner.client.published",
    "PyTorchDistribution": "runner.spec.distributions",
    "QueueSettings": "runner.spec.pieces",
    "RayDistribution": "runner.spec.distributions",
    "ResourceConfiguration": "runner.spec.pieces",
    "RetrySettings": "runner.spec.pieces",
    "Run": "runner.client.run",
    "RunFunction": "runner.spec.pieces",
    "RunnerError": "runner.errors",
    "SshJobService": "runner.spec.services",
    "StepRun": "runner.client.steps",
    "StepRunOutput": "runner.client.ports",
    "SystemData": "runner.spec.pieces",
    "TensorBoardJobService": "runner.spec.services",
    "TensorFlowDistribution": "runner.spec.distributions",
    "UserIdentityConfiguration": "runner.spec.services",
    "ValidationError": "runner.errors",
    "ValidationException": "runner.errors",
    "VsCodeJobService": "runner.spec.services",
    "load_job": "runner.spec.load",
}
"""Public name to the module that defines it."""

__all__ = ["__version__", *_HOMES]


def __getattr__(name: str) -> object:
    """Import the home of a public name and keep what it gives."""
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
