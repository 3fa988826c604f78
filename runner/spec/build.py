"""Checked documents to job objects."""

from __future__ import annotations

from typing import Any

from runner.spec.command_job import CommandJob
from runner.spec.distributions import DISTRIBUTIONS
from runner.spec.jobs import ParallelJob
from runner.spec.pieces import (
    CommandJobLimits,
    Input,
    JobResourceConfiguration,
    Output,
    QueueSettings,
    RetrySettings,
    RunFunction,
)
from runner.spec.services import identity_of, service_of


def build_parallel(shaped: dict[str, Any]) -> ParallelJob:
    """The parallel job that a document in its final types says."""
    fields = _fields(
        shaped, {"task": RunFunction, "retry_settings": RetrySettings, "resources": JobResourceConfiguration}
    )
    return ParallelJob(**fields)


def build_command(shaped: dict[str, Any]) -> CommandJob:
    """The command job that a document in its final types says."""
    fields = _fields(
        shaped,
        {"limits": CommandJobLimits, "queue_settings": QueueSettings, "resources": JobResourceConfiguration},
    )
    if "distribution" in shaped:
        said = dict(shaped["distribution"])
        fields["distribution"] = DISTRIBUTIONS[said.pop("type")](**said)
    return CommandJob(**{"command": None, **fields})


def _fields(shaped: dict[str, Any], kinds: dict[str, Any]) -> dict[str, Any]:
    fields = {name: value for name, value in shaped.items() if name != "type"}
    fields["inputs"] = {n: Input(**v) if isinstance(v, dict) else v for n, v in shaped["inputs"].items()}
    fields["outputs"] = {name: Output(**value) for name, value in shaped["outputs"].items()}
    for name, kind in kinds.items():
        if name in shaped:
            fields[name] = kind(**shaped[name])
    if "services" in shaped:
        fields["services"] = {name: service_of(value) for name, value in shaped["services"].items()}
    if "identity" in shaped:
        fields["identity"] = identity_of(shaped["identity"])
    return fields
