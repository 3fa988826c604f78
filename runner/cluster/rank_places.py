"""Room for the instances of a command on a Ray cluster: one placement group for all of them, and an actor in each.

On a configured cluster each instance is on another node; on the embedded Ray all share this machine, and however many
there are, together they ask for no more than it has.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

import runner
from runner.cluster.address import answers
from runner.cluster.base import Say
from runner.cluster.connect import Connection, import_ray
from runner.cluster.joined import Joined
from runner.cluster.machine import count_cores
from runner.cluster.rank_letters import Arrived
from runner.cluster.ray import read_groups
from runner.cluster.shell import RankActor
from runner.errors import ClusterTooSmall, ClusterUnavailable, CommandLost
from runner.instance.seat import Seat

Check = Callable[[], None]
"""Called now and then while something is waited for; may raise."""

STEP_S = 0.1
SAY_S = 2.0
LOOK_S = 10.0
ANSWER_S = 60.0
END_S = 10.0
"""How long an actor may take to end its processes before Ray is asked to end it."""
_LEAST_SHARE = 0.01


class RankPlaces:
    """The places of one command. The cluster is joined in the background as soon as this is made."""

    def __init__(
        self, home_ray: Path, address: str | None, say: Say, *, cpu_count: int, gpu_count: float, is_light: bool
    ) -> None:
        """`cpu_count` and `gpu_count` are what an instance reserves; next to nothing if it `is_light`."""
        self._address, self._say = address, say
        self._cpu_count, self._gpu_count, self._is_light = cpu_count, gpu_count, is_light
        self._group: Any = None
        self._actors: list[Any] = []
        self._joined = Joined(home_ray, address, say)
        import_ray()

    @property
    def connection(self) -> Connection:
        """The cluster; for when there are places on it."""
        return self._joined.connection.result()

    @property
    def variables(self) -> dict[str, str]:
        """The way to the cluster, for a process that is to find it."""
        found = {"RAY_ADDRESS": self.connection.address}
        if self._joined.kept is not None:
            found |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(self._joined.kept.token_path)}
        return found

    def take(self, count: int, port_count: int, check: Check) -> list[tuple[Any, Seat]]:
        """Wait for room for all, and for an actor in each place; what can never be had is refused."""
        connection = self._connect(check)
        try:
            return self._take(connection.ray, count, port_count, check)
        except (connection.ray.exceptions.RayError, RuntimeError, ValueError, OSError) as error:
            raise CommandLost(f"the Ray at {connection.address} is gone: {first_line(error)}") from error

    def close(self) -> None:
        """End the actors and what they run, give the places back, and let go of the cluster."""
        if self._group is not None and not answers(self.connection.address):
            # Ray may go meanwhile, and then never answers.
            thread = threading.Thread(target=self._give_back, name="give-back", daemon=True)
            thread.start()
            thread.join(2 * END_S)
        self._joined.close()

    def _give_back(self) -> None:
        ray = self.connection.ray
        try:
            ended = [actor.close.remote() for actor in self._actors]
            if ended:
                ray.wait(ended, num_returns=len(ended), timeout=END_S)
            ray.util.remove_placement_group(self._group)  # which ends the actors in it
        except (ray.exceptions.RayError, RuntimeError, ValueError):
            pass  # gone, or Ray is

    def _take(self, ray: Any, count: int, port_count: int, check: Check) -> list[tuple[Any, Seat]]:
        bundles = self._bundles(ray, count)
        self._group = ray.util.placement_group(bundles, strategy="PACK" if self._address is None else "STRICT_SPREAD")
        self._await_room(ray, bundles[0], count, check)
        self._actors = [self._actor(ray, number, bundle) for number, bundle in enumerate(bundles)]
        cpus = max(1, int(bundles[0].get("CPU", 1)))
        asked = [actor.arrive.remote(runner.__version__, cpus, port_count) for actor in self._actors]
        taken = []
        for actor, answer in zip(self._actors, asked, strict=True):
            arrived = msgspec.json.decode(self._await(ray, answer, check), type=Arrived)
            if arrived.seat is None:
                raise self._misfit(arrived)
            taken.append((actor, arrived.seat))
        return taken

    def _connect(self, check: Check) -> Connection:
        while not self._joined.connection.done():
            check()
            time.sleep(STEP_S)
        return self._joined.connection.result()

    def _bundles(self, ray: Any, count: int) -> list[dict[str, float]]:
        if self._address is None:
            cpus = self._share(ray, count)
        else:
            cpus = min(float(self._cpu_count), self._check_size(ray, count))
        if self._is_light:
            cpus = _LEAST_SHARE
        gpus = {"GPU": self._gpu_count} if self._gpu_count else {}
        return [{"CPU": cpus, **gpus} for _ in range(count)]

    def _share(self, ray: Any, count: int) -> float:
        """The cores of an instance on this machine, however many there are; GPUs cannot be shared like that."""
        have = ray.cluster_resources().get("GPU", 0.0)
        if self._gpu_count * count > have:
            asked = f"{self._gpu_count * count:g}"
            raise ClusterTooSmall(
                "GPUs", asked, f"{have:g}", "lower runner.gpus_per_worker or resources.instance_count"
            )
        return max(_LEAST_SHARE, int(min(self._cpu_count, count_cores() / count) * 100) / 100)

    def _check_size(self, ray: Any, count: int) -> float:
        """Refuse what no node could carry; the cores that as many nodes have."""
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        able = [one.get("CPU", 0.0) for one in nodes if one.get("GPU", 0.0) >= self._gpu_count and one.get("CPU", 0)]
        for group in read_groups(ray):
            if group.cpu_count and group.gpu_count >= self._gpu_count:
                able += [float(group.cpu_count)] * min(group.most, count)
        if len(able) < count:
            what = f"{len(able)} node{'s' * (len(able) != 1)} for them"
            kind = "instances with GPUs" if self._gpu_count else "instances"
            raise ClusterTooSmall(kind, count, what, "lower resources.instance_count or add nodes")
        return float(sorted(able, reverse=True)[count - 1])

    def _await_room(self, ray: Any, bundle: Mapping[str, float], count: int, check: Check) -> None:
        said = time.monotonic() + SAY_S
        while not self._group.wait(STEP_S):
            check()
            if time.monotonic() >= said:
                said += LOOK_S
                if self._address is not None:
                    self._check_size(ray, count)  # nodes come and go
                wants = " and ".join(f"{value:g} {name}" for name, value in bundle.items())
                free = ray.available_resources().get("CPU", 0.0)
                have = ray.cluster_resources().get("CPU", 0.0)
                self._say(f"waiting for {count} x {wants} on Ray: {free:g} of {have:g} CPUs are free")

    def _actor(self, ray: Any, number: int, bundle: Mapping[str, float]) -> Any:
        strategy = ray.util.scheduling_strategies.PlacementGroupSchedulingStrategy
        options = {
            "num_cpus": bundle["CPU"],
            "num_gpus": bundle.get("GPU", 0),
            "max_restarts": 0,
            "max_task_retries": 0,
            "concurrency_groups": {"hear": 2},
            "scheduling_strategy": strategy(self._group, placement_group_bundle_index=number),
        }
        return ray.remote(**options)(RankActor).remote()

    def _await(self, ray: Any, answer: Any, check: Check) -> Any:
        deadline = time.monotonic() + ANSWER_S
        while not ray.wait([answer], timeout=STEP_S)[0]:
            check()
            if time.monotonic() > deadline:
                what = f"an instance has not begun within {ANSWER_S:g} s"
                raise ClusterUnavailable(self._address or "the embedded Ray", what, "look at the cluster, then resume")
        try:
            return ray.get(answer)
        except ray.exceptions.RayError as error:
            what = f"an instance cannot begin: {str(error).splitlines()[0]}"
            raise ClusterUnavailable(
                self._address or "the embedded Ray", what, f"see that every node has runner {runner.__version__}"
            ) from error

    def _misfit(self, arrived: Arrived) -> ClusterUnavailable:
        return ClusterUnavailable(
            self._address or "the embedded Ray",
            f"every node needs runner {runner.__version__}, but one has {arrived.version} for {arrived.python}",
            f"install runner {runner.__version__} for the Python that Ray runs there",
        )


def first_line(error: Exception) -> str:
    """What an error says, without Ray's ids and hints."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:300] if lines else type(error).__name__
