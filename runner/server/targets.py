"""What a job would write over: versions of assets that are there already, targets that exist, and its staging."""

from __future__ import annotations

import glob
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from runner.entity.command import CommandSpec
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


def leftovers_of(spec: ParallelSpec | CommandSpec) -> tuple[Path, ...]:
    """What a job that has ended may have left beside its targets: parts and attempts that were never published."""
    if isinstance(spec, ParallelSpec):
        return () if spec.output is None else tuple(_staging(Path(spec.output.target), f"{spec.name}.staging"))
    targets = (Path(output.target) for output in spec.outputs)
    return tuple(path for target in targets for path in _staging(target, f"{spec.name}.*.staging"))


def _staging(target: Path, form: str) -> Iterator[Path]:
    name = f".{glob.escape(target.name)}.{form}"
    return target.parent.glob(name)
