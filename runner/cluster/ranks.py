"""A command's processes on Ray: one actor for each instance, all placed at once by one placement group, or none.

To its driver this is what a warden on this machine is. The placement group comes first: on a configured cluster each
instance is another node; on the embedded Ray all of them share this machine, however many there are. Each actor has a
warden of its own. A thread for each asks what its warden tells; what they hear goes into one queue.
"""

from __future__ import annotations

import os
import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import msgspec

import runner
from runner.cluster.base import Say
from runner.cluster.connect import Connection, import_ray
from runner.cluster.joined import Joined
from runner.cluster.machine import count_cores
from runner.cluster.parcel import pack_folder, unpack_folder, write_probe
from runner.cluster.rank_letters import (
    Arrived,
    Artifacts,
    LogChunk,
    Look,
    Looked,
    Order,
    Tidings,
    decode_tidings,
)
from runner.cluster.shell import RankActor
from runner.errors import ClusterTooSmall, ClusterUnavailable
from runner.instance.seat import Seat
from runner.instance.ward import Ended, Errand, Lost, News, Process, Quiet, Refused, Started

STEP_S = 0.1
SAY_S = 2.0
LOOK_S = 10.0
HEAR_S = 5.0
ANSWER_S = 60.0
END_S = 10.0
"""How long an actor may take to end its processes before Ray is asked to end it."""
_LEAST_SHARE = 0.01


@dataclass(slots=True)
class _Instance:
    number: int
    actor: Any
    seat: Seat
    heard: int = 0
    """How many tidings have come from it."""
    ranks: list[int] = field(default_factory=list)
    """The numbers of its processes among all."""


class RayRanks:
    """The crew of one command on a Ray cluster; see `runner.schedule.command_run.Crew`."""

    def __init__(
        self, home_ray: Path, address: str | None, say: Say, *, cpu_count: int, gpu_count: float, is_light: bool
    ) -> None:
        """Begin to join the cluster. `cpu_count` and `gpu_count` are what an instance reserves.

        `is_light` for a command that only asks the cluster to do things: it takes next to nothing.
        """
        self._address, self._say = address, say
        self._cpu_count, self._gpu_count, self._is_light = cpu_count, gpu_count, is_light
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._news: queue.SimpleQueue[News] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._instances: list[_Instance] = []
        self._group: Any = None
        self._unstarted = self._left = 0
        self._busy: set[int] = set()
        """Instances of which something may be left."""
        self._errand = Errand()
        self._is_closed = False
        self._joined = Joined(home_ray, address, say)
        import_ray()

    def fileno(self) -> int:
        """Readable when there is news."""
        return self._wake

    # ---- places -----------------------------------------------------------------------------------------
    def place(self, count: int, port_count: int, check: Callable[[], None]) -> tuple[Seat, ...]:
        """Wait for room, and for an actor in each instance's place; what can never be had is refused."""
        if not self._instances:
            connection = self._connect(check)
            ray = connection.ray
            bundles = self._bundles(ray, count)
            self._group = ray.util.placement_group(
                bundles, strategy="PACK" if self._address is None else "STRICT_SPREAD"
            )
            self._await_room(ray, bundles[0], count, check)
            actors = [self._actor(ray, number, bundle) for number, bundle in enumerate(bundles)]
            cpus = max(1, int(bundles[0].get("CPU", 1)))
            asked = [actor.arrive.remote(runner.__version__, cpus, port_count) for actor in actors]
            for number, (actor, answer) in enumerate(zip(actors, asked, strict=True)):
                arrived = msgspec.json.decode(self._await(ray, answer, check), type=Arrived)
                if arrived.seat is None:
                    raise self._misfit(arrived)
                self._instances.append(_Instance(number, actor, arrived.seat))
            for instance in self._instances:
                threading.Thread(target=self._follow, args=(ray, instance), daemon=True).start()
        return tuple(instance.seat for instance in self._instances)

    def _connect(self, check: Callable[[], None]) -> Connection:
        while not self._joined.connection.done():
            check()
            time.sleep(STEP_S)
        return self._joined.connection.result()

    def _bundles(self, ray: Any, count: int) -> list[dict[str, float]]:
        cpus = float(self._cpu_count)
        if self._is_light:
            cpus = _LEAST_SHARE
        elif self._address is None:
            # Never capped: however many there are, together they ask for no more than this machine has.
            cpus = max(_LEAST_SHARE, int(min(cpus, count_cores() / count) * 100) / 100)
        else:
            cpus = min(cpus, self._check_size(ray, count))
        gpus = {"GPU": self._gpu_count} if self._gpu_count else {}
        return [{"CPU": cpus, **gpus} for _ in range(count)]

    def _check_size(self, ray: Any, count: int) -> float:
        """Refuse what no node could carry; the cores that as many nodes have."""
        from runner.cluster.ray import _read_groups

        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        able = [one.get("CPU", 0.0) for one in nodes if one.get("GPU", 0.0) >= self._gpu_count and one.get("CPU", 0)]
        for group in _read_groups(ray):
            if group.cpu_count and group.gpu_count >= self._gpu_count:
                able += [float(group.cpu_count)] * min(group.most, count)
        if len(able) < count:
            what = f"{len(able)} node{'s' * (len(able) != 1)} for them"
            kind = "instances with GPUs" if self._gpu_count else "instances"
            raise ClusterTooSmall(kind, count, what, "lower resources.instance_count or add nodes")
        return float(sorted(able, reverse=True)[count - 1])

    def _await_room(self, ray: Any, bundle: Mapping[str, float], count: int, check: Callable[[], None]) -> None:
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

    def _await(self, ray: Any, answer: Any, check: Callable[[], None]) -> Any:
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

    # ---- processes --------------------------------------------------------------------------------------
    def run(self, processes: Sequence[Process], *, grace_s: float, token: str, errand: Errand) -> None:
        """Start processes, each on its instance."""
        self._errand = errand
        with self._lock:
            self._busy = {process.instance for process in processes}
            self._unstarted, self._left = len(self._busy), 0
        for number in sorted({process.instance for process in processes}):
            instance = self._instances[number]
            instance.ranks = [rank for rank, process in enumerate(processes) if process.instance == number]
            own = [self._with_ray(processes[rank]) for rank in instance.ranks]
            order = Order(
                processes=own,
                grace_s=grace_s,
                token=token,
                work=str(errand.work),
                is_whole_environment=self._address is None,
            )
            threading.Thread(target=self._begin, args=(instance, order, errand), daemon=True).start()

    def _with_ray(self, process: Process) -> Process:
        """With the way to this cluster in its environment, for a command that is to find it."""
        if not self._is_light:
            return process
        connection = self._joined.connection.result()
        more = {"RAY_ADDRESS": connection.address}
        if self._joined.kept is not None:
            more |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(self._joined.kept.token_path)}
        return replace(process, env={**more, **process.env})

    def _begin(self, instance: _Instance, order: Order, errand: Errand) -> None:
        ray = self._joined.connection.result().ray
        probed: list[Path] = []
        try:
            shared = {}
            work = write_probe(errand.work.parent)
            probed.append(Path(work.path))
            for folder in errand.shared:
                shared[str(folder)] = write_probe(folder)
                probed.append(Path(shared[str(folder)].path))
            asked = instance.actor.look.remote(msgspec.json.encode(Look(work=work, shared=shared)))
            looked = msgspec.json.decode(ray.get(asked, timeout=ANSWER_S), type=Looked)
            for path in probed:
                path.unlink(missing_ok=True)
            if looked.unseen:
                what = f"node {looked.host} cannot see {looked.unseen[0]}"
                self._put(Refused(instance.ranks[0], f"{what}; write to storage that all nodes share"))
                self._quiet(instance, 0)
                return
            order = msgspec.structs.replace(order, is_apart=not looked.sees_work)
            code = pack_folder(errand.code) if order.is_apart and errand.code is not None else b""
            ray.get(instance.actor.run.remote(msgspec.json.encode(order), code), timeout=ANSWER_S)
        except Exception as error:  # noqa: BLE001 - in a thread: the driver is told, whatever it was
            self._put(Lost(f"instance {instance.number} on {instance.seat.host} did not begin: {_first_line(error)}"))
        finally:
            for path in probed:
                path.unlink(missing_ok=True)

    def _follow(self, ray: Any, instance: _Instance) -> None:
        """Ask an instance for tidings until it is gone."""
        while not self._is_closed:
            try:
                asked = instance.actor.hear.options(concurrency_group="hear").remote(instance.heard, HEAR_S)
                answer = ray.get(asked)
            except ray.exceptions.ActorUnavailableError:
                time.sleep(STEP_S)
                continue
            except Exception as error:  # noqa: BLE001 - whatever Ray raises, this instance is gone
                if not self._is_closed:
                    self._put(Lost(f"instance {instance.number} on {instance.seat.host} is gone: {_first_line(error)}"))
                return
            for data in answer:
                instance.heard += 1
                self._take(instance, decode_tidings(data))

    def _take(self, instance: _Instance, tidings: Tidings) -> None:
        match tidings:
            case Started():
                with self._lock:
                    self._unstarted -= 1
                    is_all = self._unstarted == 0
                if is_all:
                    self._put(tidings)
            case Refused(number, what):
                self._put(Refused(instance.ranks[number], f"{what} (on {instance.seat.host})"))
            case Ended(number, code):
                self._put(Ended(instance.ranks[number], code))
            case Quiet(left):
                self._quiet(instance, left)
            case Lost():
                self._put(tidings)
            case LogChunk(path=path, data=data):
                _append(Path(path), data)
            case Artifacts(data=data):
                unpack_folder(data, self._errand.work)

    def _quiet(self, instance: _Instance, left: int) -> None:
        with self._lock:
            self._busy.discard(instance.number)
            self._left += left
            is_all = not self._busy
        if is_all:
            self._put(Quiet(self._left))

    def _put(self, news: News) -> None:
        self._news.put(news)
        if not self._is_closed:
            os.eventfd_write(self._wake, 1)

    def hear(self) -> list[News]:
        """What there is to hear now."""
        os.eventfd_read(self._wake)
        heard: list[News] = []
        while not self._news.empty():
            heard.append(self._news.get())
        return heard

    def stop(self) -> None:
        """End what runs on every instance."""
        for instance in self._instances:
            instance.actor.stop.remote()

    def close(self) -> None:
        """Kill what is left, give the places back, and let go of the cluster."""
        if self._is_closed:
            return
        self._is_closed = True
        if self._group is not None:
            # Ray may be gone itself, and then never answers.
            thread = threading.Thread(target=self._give_back, name="give-back", daemon=True)
            thread.start()
            thread.join(2 * END_S)
        self._joined.close()

    def _give_back(self) -> None:
        ray = self._joined.connection.result().ray
        try:
            ended = [instance.actor.close.remote() for instance in self._instances]
            if ended:
                ray.wait(ended, num_returns=len(ended), timeout=END_S)
            ray.util.remove_placement_group(self._group)  # which ends the actors in it
        except (ray.exceptions.RayError, RuntimeError, ValueError):
            pass  # gone, or Ray is


def _append(path: Path, data: bytes) -> None:
    with open(path, "ab") as file:
        file.write(data)


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:300] if lines else type(error).__name__
