"""What a job would write over: versions of assets that are there already, targets that exist, and its staging."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from runner.entity.parallel import ParallelSpec
from runner.errors import AssetExists, AssetNotFound
from runner.store.store import Store


def check_versions(store: Store, outputs: Iterable[Any]) -> None:
    """AssetExists when an output is to be registered as a version that is there already, or that another one takes."""
    wanted: set[tuple[str, str]] = set()
    for output in outputs:
        if not isinstance(output, dict) or not output.get("name") or not output.get("version"):
            continue
        name, version = str(output["name"]), str(output["version"])
        if (name, version) in wanted:
            raise AssetExists("data", f"{name}:{version}")
        wanted.add((name, version))
        try:
            store.assets.get("data", name, version)
        except AssetNotFound:
            continue
        raise AssetExists("data", f"{name}:{version}")


def staging_of(spec: ParallelSpec) -> Path | None:
    """The hidden sibling of the target in which the job's parts wait for publication."""
    if spec.output is None:
        return None
    target = Path(spec.output.target)
    return target.with_name(f".{target.name}.{spec.name}.staging")
