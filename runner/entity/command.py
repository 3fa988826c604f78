"""A command job with everything resolved: what its driver is given, stored in the job's folder as JSON.

Nothing here refers to the YAML any more: paths are absolute, pipeline bindings are gone, optional blocks are decided.
`${{inputs.x}}` and `${{outputs.y}}` still stand in the command and in the environment's values, because where an
output is written to differs from attempt to attempt.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from runner.entity.parallel import CANCEL_GRACE_S

PARAMETER_PROPERTY = "mlflow.parameters."
"""Before the names of properties of a job that hold the parameters it has logged with MLflow."""
DistributionKind = Literal["pytorch", "mpi", "tensorflow", "ray"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandInput:
    """One input with a value; an input without one is left out."""

    name: str
    type: str
    text: str
    """A literal as it is put in, or the place of the data: an absolute path, for `direct` perhaps a URI."""
    mode: Literal["literal", "ro_mount", "download", "direct", "eval_mount", "eval_download"]

    @property
    def is_literal(self) -> bool:
        """Whether this is a value rather than data."""
        return self.mode == "literal"


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandOutput:
    """One output: where it is published once the command has ended with 0."""

    name: str
    type: str
    target: str
    is_folder: bool
    has_path: bool
    """Whether the user said where; then attempts write to a hidden sibling of the target, else to the job's folder."""
    mode: str = "rw_mount"
    asset_name: str = ""
    """When not empty, the data asset it is registered as on completion."""
    asset_version: str = ""
    """Empty: the next one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Distribution:
    """How many processes run the command, and which variables tell them of each other."""

    kind: DistributionKind
    process_count_per_instance: int = 1
    worker_count: int | None = None
    """TensorFlow: None means one for each instance."""
    parameter_server_count: int = 0
    options: dict[str, str] = field(default_factory=dict)
    """Of `ray`: port, address, include_dashboard, dashboard_port, head and worker node arguments."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandSpec:
    """Everything that running a command needs. Times are seconds."""

    name: str
    root_name: str
    """The pipeline that the job is a step of, else its own name."""
    experiment_name: str = "Default"
    command: str
    code: str | None
    """Absolute path of the read-only snapshot of the code; each attempt works in a copy of it."""
    inputs: tuple[CommandInput, ...] = ()
    outputs: tuple[CommandOutput, ...] = ()
    environment_variables: dict[str, str] = field(default_factory=dict)
    distribution: Distribution | None = None
    instance_count: int = 1
    timeout_s: float | None = None
    max_retries: int = 0
    """How often a command that failed is tried again (`retry_settings` below `runner:`)."""
    cancel_grace_s: float = CANCEL_GRACE_S
    overwrite: bool = False
    compute: Literal["local", "ray"] = "ray"
    ray_address: str | None = None
    """A configured cluster; None means the embedded Ray of this RUNNER_HOME."""
    gpu_count: float = 0.0
    notices: tuple[str, ...] = ()
