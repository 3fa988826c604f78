"""Resource names: how jobs, steps, assets and the rest are called on the wire, and how such a name is read."""

from __future__ import annotations

from runner.entity.asset import AssetKind
from runner.entity.pipeline import KEY_JOINT, NAME_JOINT
from runner.errors import ArgumentInvalid

_COLLECTIONS: dict[AssetKind, str] = {"data": "data", "component": "components"}
_KINDS = {collection: kind for kind, collection in _COLLECTIONS.items()}


def job_name(name: str) -> str:
    """The resource name of a job."""
    return f"jobs/{name}"


def parse_job_name(resource: str, argument: str = "name") -> str:
    """The name in `jobs/{job}`."""
    return _parse(resource, "jobs", "a job", argument)


def parse_name(resource: str, collection: str) -> tuple[str, str]:
    """Job and rest in `jobs/{job}/{collection}/{rest}`."""
    parts = resource.split("/", 3)
    if len(parts) != 4 or parts[0] != "jobs" or parts[2] != collection or not parts[1] or not parts[3]:
        raise ArgumentInvalid("name", f"{resource!r} is of no known form; write jobs/NAME/{collection}/...")
    return parts[1], parts[3]


def parse_log_name(resource: str) -> tuple[str, str]:
    """Job and log file in `jobs/{job}/logs/{log}`; no file in `jobs/{job}`."""
    if resource.count("/") == 1:
        return parse_job_name(resource), ""
    return parse_name(resource, "logs")


def step_name(parent: str, key: str) -> str:
    """The resource name of a step."""
    return f"{job_name(parent)}/steps/{key.replace(KEY_JOINT, NAME_JOINT)}"


def parse_step_name(resource: str) -> tuple[str, str]:
    """Pipeline and key of the step in `jobs/{job}/steps/{step}`."""
    parent, step = parse_name(resource, "steps")
    return parent, step.replace(NAME_JOINT, KEY_JOINT)


def graph_name(job: str) -> str:
    """The resource name of the graph of a pipeline."""
    return f"{job_name(job)}/graph"


def parse_graph_name(resource: str) -> str:
    """The pipeline in `jobs/{job}/graph`."""
    if not resource.endswith("/graph"):
        raise ArgumentInvalid("name", f"{resource!r} is no name of a graph; write jobs/NAME/graph")
    return parse_job_name(resource.removesuffix("/graph"))


def asset_name(kind: AssetKind, name: str, version: str) -> str:
    """The resource name of an asset."""
    return f"{_COLLECTIONS[kind]}/{name}/versions/{version}"


def parse_asset_name(resource: str) -> tuple[AssetKind, str, str]:
    """Kind, name and version in `data/{asset}/versions/{version}`, or the same of `components`."""
    parts = resource.split("/")
    if len(parts) != 4 or parts[0] not in _KINDS or parts[2] != "versions" or not parts[1] or not parts[3]:
        forms = "data/NAME/versions/VERSION or components/NAME/versions/VERSION"
        raise ArgumentInvalid("name", f"{resource!r} is no name of an asset; write {forms}")
    return _KINDS[parts[0]], parts[1], parts[3]


def published_name(key: str) -> str:
    """The resource name of a published pipeline."""
    return f"publishedPipelines/{key}"


def parse_published_name(resource: str) -> str:
    """The id in `publishedPipelines/{published_pipeline}`."""
    return _parse(resource, "publishedPipelines", "a published pipeline", "name")


def experiment_name(name: str) -> str:
    """The resource name of an experiment."""
    return f"experiments/{name}"


def parse_experiment_name(resource: str, argument: str = "name") -> str:
    """The name in `experiments/{experiment}`."""
    return _parse(resource, "experiments", "an experiment", argument)


def _parse(resource: str, collection: str, what: str, argument: str) -> str:
    found, _, name = resource.partition("/")
    if found != collection or not name or "/" in name:
        raise ArgumentInvalid(argument, f"{resource!r} is no name of {what}; write {collection}/NAME")
    return name
