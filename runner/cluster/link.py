"""Calls on one actor, with what Ray raises put into three cases: gone, unreachable for now, and not there yet."""

from __future__ import annotations

import threading
from typing import Any

import runner
from runner.cluster.base import Placement
from runner.cluster.letters import Start, encode_start
from runner.cluster.shell import InstanceActor

_KILL_S = 2.0


class Gone(Exception):
    """The actor is no more, or must be taken as such; the text says why."""


class Unreachable(Exception):
    """A call may or may not have arrived; the actor may still live."""


class ActorLink:
    """An actor that has been asked for. Calls return references, which `is_ready` and `take` look into."""

    def __init__(self, ray: Any, start: Start, placement: Placement, *, is_pinned: bool) -> None:
        options: dict[str, Any] = {
            "num_cpus": placement.cpu_count,
            "num_gpus": placement.gpu_count,
            "max_restarts": 0,
            "max_task_retries": 0,
            "concurrency_groups": {"poll": 2},
        }
        if is_pinned:
            strategy = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy
            options["scheduling_strategy"] = strategy(placement.node, soft=False)
        self._ray = ray
        self._actor = ray.remote(**options)(InstanceActor).remote(runner.__version__, encode_start(start))

    def poll(self, acknowledged: int, wait_s: float) -> Any:
        return self._actor.poll.options(concurrency_group="poll").remote(acknowledged, wait_s)

    def tell(self, number: int, calls: list[tuple[bytes, bytes]]) -> Any:
        return self._actor.tell.remote(number, calls)

    def is_ready(self, reference: Any, within_s: float) -> bool:
        """Whether an answer, or the news that there will be none, has come; waits for it a little."""
        ready, _ = self._ray.wait([reference], timeout=within_s)
        return bool(ready)

    def take(self, reference: Any) -> Any:
        """The answer of a call that is ready."""
        errors = self._ray.exceptions
        try:
            return self._ray.get(reference)
        except errors.ActorUnavailableError as error:
            raise Unreachable(_reason(error)) from error
        except (errors.RayError, RuntimeError, ValueError) as error:  # the last two when Ray was shut down meanwhile
            raise Gone(_reason(error)) from error

    def kill(self) -> None:
        """Ask Ray to end the process. Ray may be gone itself and then never answers, so this waits only a little."""
        thread = threading.Thread(target=self._kill, name="kill-actor", daemon=True)
        thread.start()
        thread.join(_KILL_S)

    def _kill(self) -> None:
        try:
            self._ray.kill(self._actor, no_restart=True)
        except (self._ray.exceptions.RayError, RuntimeError, ValueError):
            pass  # dead already, or Ray is


def _reason(error: Exception) -> str:
    """What Ray says of a death, without its ids and its hints at its own logs."""
    lines = [line.strip() for line in str(error).splitlines()]
    telling = [line for line in lines if line and not line.startswith(_NOISE)]
    return " ".join(telling)[:400] or type(error).__name__


_NOISE = (
    "class_name:",
    "actor_id:",
    "pid:",
    "namespace:",
    "ip:",
    "name:",
    "The actor died unexpectedly before finishing",
)
