"""Command jobs as Python objects."""

from __future__ import annotations

from typing import Any, ClassVar

from runner.spec.command_schema import shape_command
from runner.spec.findings import Findings
from runner.spec.jobs import Job


class CommandJob(Job):
    """A command that is run once by bash, in a copy of its code. Everything is optional until it is submitted."""

    type: ClassVar[str] = "command"
    _fields: ClassVar[tuple[str, ...]] = (
        "name",
        "version",
        "display_name",
        "description",
        "tags",
        "properties",
        "experiment_name",
        "comment",
        "compute",
        "services",
        "identity",
        "is_deterministic",
        "command",
        "code",
        "additional_includes",
        "inputs",
        "outputs",
        "environment",
        "environment_variables",
        "distribution",
        "resources",
        "limits",
        "queue_settings",
        "parameters",
        "runner",
    )

    def __init__(
        self,
        *,
        command: str | None = "",
        code: Any = None,
        inputs: dict[str, Any] | None = None,
        outputs: dict[str, Any] | None = None,
        environment: Any = None,
        environment_variables: dict[str, Any] | None = None,
        distribution: Any = None,
        resources: Any = None,
        limits: Any = None,
        identity: Any = None,
        queue_settings: Any = None,
        parameters: dict[str, Any] | None = None,
        is_deterministic: bool | None = None,
        additional_includes: list[str] | None = None,
        version: str | None = None,
        runner: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Build a job; nothing is checked before it is submitted or validated.

        Args:
            distribution, resources, limits, identity, queue_settings, environment: pieces, or mappings as in YAML.
            runner: the extensions of this runner, as the mapping of that name in YAML.
            kwargs: what every job has: name, display_name, description, tags, properties, experiment_name, compute,
                services, comment, id. Anything else is a TypeError.
        """
        super().__init__(**kwargs)
        self.command = command
        self.code = code
        self.inputs = dict(inputs or {})
        self.outputs = dict(outputs or {})
        self.environment = environment
        self.environment_variables = dict(environment_variables or {})
        self.distribution = distribution
        self.resources = resources
        self.limits = limits
        self.identity = identity
        self.queue_settings = queue_settings
        self.parameters = dict(parameters or {})
        self.is_deterministic = is_deterministic
        self.additional_includes = list(additional_includes or [])
        self.version = version
        self.runner = dict(runner or {})

    def _shape(self, written: dict[str, Any], found: Findings) -> dict[str, Any]:
        return shape_command(written, found)

    def written(self) -> dict[str, Any]:
        said = super().written()
        if not said["additional_includes"]:
            del said["additional_includes"]
        return said


Command = CommandJob
