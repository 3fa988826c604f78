"""The kinds of jobs that run something by themselves, alone or as steps: how a document of each is handled."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runner.spec import check_command, checks, surroundings
from runner.spec.build import build_command, build_parallel
from runner.spec.command_schema import shape_command
from runner.spec.findings import Findings
from runner.spec.jobs import Job
from runner.spec.places import Places
from runner.spec.schema import shape_job

Document = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """What is done with a document of one kind. Everything notes what is wrong in the findings, and goes on."""

    shape: Callable[[Mapping[str, Any], Path, Findings], Document | None]
    """The values in their final types, with what the document includes read in. None: nothing to go on with."""
    check: Callable[[Document, Path, Findings], None]
    """What the document, its code and scripts can tell by themselves."""
    check_data: Callable[[Document, Path, Findings, Places | None], None]
    """Whether inputs are there; without places only those with a path of their own."""
    check_places: Callable[[Document, Path, Findings, Places], None]
    """What else stands in the way of a submission: targets, and what is said of names that are not configured."""
    build: Callable[[Document], Job]
    """The object, of a document that nothing is wrong with."""


def _check_parallel(document: Document, base: Path, found: Findings) -> None:
    checks.check_sense(document, base, found)
    surroundings.check_code(document, base, found)


def _check_parallel_places(document: Document, base: Path, found: Findings, places: Places) -> None:
    surroundings.check_targets(document, base, found, places)
    surroundings.say_fallbacks(document, places, found)


LEAF_KINDS: Mapping[str, Kind] = {
    "command": Kind(
        shape=lambda values, base, found: shape_command(values, found),
        check=check_command.check_command,
        check_data=surroundings.check_data,
        check_places=check_command.check_command_places,
        build=build_command,
    ),
    "parallel": Kind(
        shape=lambda values, base, found: shape_job(values, found),
        check=_check_parallel,
        check_data=surroundings.check_data,
        check_places=_check_parallel_places,
        build=build_parallel,
    ),
}
