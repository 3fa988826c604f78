"""The public names, loaded when first used, so that importing any room stays light."""

from importlib import import_module

__version__ = "0.1.0"

_HOMES = {
    "Client": "runner.compose.client",
    "Input": "runner.spec.pieces",
    "Job": "runner.spec.jobs",
    "JobResourceConfiguration": "runner.spec.pieces",
    "JobStatus": "runner.entity.status",
    "Output": "runner.spec.pieces",
    "ParallelJob": "runner.spec.jobs",
    "ResourceConfiguration": "runner.spec.pieces",
    "RetrySettings": "runner.spec.pieces",
    "RunFunction": "runner.spec.pieces",
    "RunnerError": "runner.errors",
    "SystemData": "runner.spec.pieces",
    "ValidationError": "runner.errors",
    "ValidationException": "runner.errors",
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
