"""What a job may be asked to serve beside its work, and as whom it would run. Kept and shown; nothing is started."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from runner.errors import ArgumentInvalid
from runner.spec.pieces import Piece


@dataclass(kw_only=True)
class JobService(Piece):
    """A service of a job, of any kind."""

    endpoint: str | None = None
    type: str | None = None
    nodes: str | None = None
    status: str | None = None
    port: int | None = None
    properties: dict[str, Any] | None = None
    error_message: str | None = None

    def __post_init__(self) -> None:
        if self.nodes not in ("all", None):
            raise ArgumentInvalid("nodes", f"is {self.nodes!r}; write 'all', or leave it out for the first node")


@dataclass(kw_only=True)
class SshJobService(JobService):
    """A shell on a node."""

    type: str | None = field(default="ssh", init=False)
    ssh_public_keys: str | None = None


@dataclass(kw_only=True)
class TensorBoardJobService(JobService):
    """TensorBoard over a folder of logs."""

    type: str | None = field(default="tensor_board", init=False)
    log_dir: str | None = None


@dataclass(kw_only=True)
class JupyterLabJobService(JobService):
    """JupyterLab on a node."""

    type: str | None = field(default="jupyter_lab", init=False)


@dataclass(kw_only=True)
class VsCodeJobService(JobService):
    """An editor on a node."""

    type: str | None = field(default="vs_code", init=False)


SERVICES: dict[str, type[JobService]] = {
    "ssh": SshJobService,
    "tensor_board": TensorBoardJobService,
    "jupyter_lab": JupyterLabJobService,
    "vs_code": VsCodeJobService,
}


@dataclass(kw_only=True)
class ManagedIdentityConfiguration(Piece):
    """As an identity that a service manages."""

    type: str = field(default="managed_identity", init=False)
    client_id: str | None = None
    resource_id: str | None = None
    object_id: str | None = None
    principal_id: str | None = None


@dataclass(kw_only=True)
class UserIdentityConfiguration(Piece):
    """As the user who submits."""

    type: str = field(default="user_identity", init=False)


@dataclass(kw_only=True)
class AmlTokenConfiguration(Piece):
    """By the token of the service."""

    type: str = field(default="aml_token", init=False)


def service_of(values: Any) -> Any:
    """The object of a service's mapping; a kind that has no class of its own is a JobService."""
    if not isinstance(values, dict):
        return values
    kind = SERVICES.get(str(values.get("type")))
    if kind is None:
        return JobService(**values)
    return kind(**{name: value for name, value in values.items() if name != "type"})


def identity_of(values: Any) -> Any:
    """The object of an identity's mapping."""
    if not isinstance(values, dict):
        return values
    match values.get("type"):
        case "user_identity":
            return UserIdentityConfiguration()
        case "aml_token":
            return AmlTokenConfiguration()
    return ManagedIdentityConfiguration(**{name: value for name, value in values.items() if name != "type"})
