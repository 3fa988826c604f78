"""How many steps go on at a time: each takes slots by its weight, and gives them back when it has ended."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from runner.entity.pipeline import StepSpec
from runner.spec.places import Places

LEAST = 2


def default_limit() -> int:
    """The slots of a pipeline that does not say how many: the cores this process may use, at least 2."""
    return max(LEAST, len(os.sched_getaffinity(0)))


def weigh(step: StepSpec, places: Places, cores: int) -> int:
    """The slots a step takes: 1, but a parallel step in this machine's processes as many cores as it has workers.

    On Ray a step waits in Ray's own queue until there is room, so it need not be weighed here.
    """
    if step.type != "parallel" or places.compute_of(_text(step.document.get("compute"))).kind != "local":
        return 1
    workers = _count(step.document.get("max_concurrency_per_instance"), cores)
    resources = step.document.get("resources")
    instances = _count(resources.get("instance_count"), 1) if isinstance(resources, Mapping) else 1
    return max(1, min(cores, workers * instances))


class Slots:
    """A count of free slots. What is heavier than all of them together may still go on alone."""

    def __init__(self, limit: int) -> None:
        self._limit = max(1, limit)
        self._taken: dict[str, int] = {}
        self._used = 0

    @property
    def free_count(self) -> int:
        """Slots that nobody has."""
        return max(0, self._limit - self._used)

    def take(self, key: str, weight: int, *, leaving: int = 0) -> bool:
        """Take the slots for a step if they are free, and so many more."""
        wanted = min(weight, self._limit)
        if self._used + wanted + leaving > self._limit:
            return False
        self.occupy(key, wanted)
        return True

    def occupy(self, key: str, weight: int) -> None:
        """Take the slots of a step that goes on already, whether or not they are free."""
        self._taken[key] = weight
        self._used += weight

    def give(self, key: str) -> None:
        """Give back what a step has taken; harmless when it has taken nothing."""
        self._used -= self._taken.pop(key, 0)


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _count(value: Any, default: int) -> int:
    return value if isinstance(value, int) and value > 0 else default
