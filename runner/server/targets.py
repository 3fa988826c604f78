"""What jobs leave beside their targets."""

from __future__ import annotations

import glob
from collections.abc import Iterator
from pathlib import Path

from runner.entity.command import CommandSpec
from runner.entity.parallel import ParallelSpec


def leftovers_of(spec: ParallelSpec | CommandSpec) -> tuple[Path, ...]:
    """What a job that has ended may have left beside its targets: parts and attempts that were never published."""
    if isinstance(spec, ParallelSpec):
        return () if spec.output is None else tuple(_staging(Path(spec.output.target), f"{spec.name}.staging"))
    targets = (Path(output.target) for output in spec.outputs)
    return tuple(path for target in targets for path in _staging(target, f"{spec.name}~*.staging"))


def _staging(target: Path, form: str) -> Iterator[Path]:
    name = f".{glob.escape(target.name)}.{form}"
    return target.parent.glob(name)
