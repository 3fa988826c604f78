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
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import msgspec

from runner.cluster.address import answers
from runner.cluster.base import Say
from runner.cluster.parcel import pack_folder, unpack_folder, write_probe
from runner.cluster.rank_letters import (
    Artifacts,
    LogChunk,
    Look,
    Looked,
    Order,
    Tidings,
    decode_tidings,
)
from runner.cluster.rank_places import ANSWER_S, STEP_S, RankPlaces, first_line
from runner.errors import ClusterUnavailable
from runner.instance.seat import Seat
from runner.instance.ward import Ended, Errand, Lost, News, Process, Quiet, Refused, Started

HEAR_S = 5.0
SILENCE_S = 10.0
"""Longer no answer may take beyond what an instance waits for tidings; then it is lost."""


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
        self._is_light = is_light
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._news: queue.SimpleQueue[News] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._instances: list[_Instance] = []
        self._unstarted = self._left = 0
        self._busy: set[int] = set()
        """Instances of which something may be left."""
        self._errand = Errand()
        self._is_closed = False
        self._is_embedded = address is None
        self._places = RankPlaces(home_ray, address, say, cpu_count=cpu_count, gpu_count=gpu_count, is_light=is_light)

    def fileno(self) -> int:
        """Readable when there is news."""
        return self._wake

    def place(self, count: int, port_count: int, check: Callable[[], None]) -> tuple[Seat, ...]:
        """Wait for room, and for an actor in each instance's place; what can never be had is refused."""
        if not self._instances:
            taken = self._places.take(count, port_count, check)
            self._instances = [_Instance(number, actor, seat) for number, (actor, seat) in enumerate(taken)]
            for instance in self._instances:
                threading.Thread(target=self._follow, args=(self._places.connection.ray, instance), daemon=True).start()
        return tuple(instance.seat for instance in self._instances)

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
                is_whole_environment=self._is_embedded,
            )
            threading.Thread(target=self._begin, args=(instance, order, errand), daemon=True).start()

    def _with_ray(self, process: Process) -> Process:
        """With the way to the cluster in its environment, for a command that is to find it; without what is no text."""
        found = {name: value for name, value in process.env.items() if _is_text(name + value)}
        return replace(process, env={**(self._places.variables if self._is_light else {}), **found})

    def _begin(self, instance: _Instance, order: Order, errand: Errand) -> None:
        ray = self._places.connection.ray
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
            self._put(Lost(f"instance {instance.number} on {instance.seat.host} did not begin: {first_line(error)}"))
        finally:
            for path in probed:
                path.unlink(missing_ok=True)

    def _follow(self, ray: Any, instance: _Instance) -> None:
        """Ask an instance for tidings until it is gone."""
        while not self._is_closed:
            try:
                answer = self._ask(ray, instance)
            except Exception as error:  # noqa: BLE001 - whatever Ray raises, this instance is gone
                if not self._is_closed:
                    where = f"instance {instance.number} on {instance.seat.host}"
                    self._put(Lost(f"{where} is gone: {first_line(error)}"))
                return
            for data in answer:
                instance.heard += 1
                self._take(instance, decode_tidings(data))

    def _ask(self, ray: Any, instance: _Instance) -> list[bytes]:
        """The next tidings; raises what Ray raises, and ClusterUnavailable for silence."""
        address = self._places.connection.address
        deadline = time.monotonic() + HEAR_S + SILENCE_S
        while True:
            asked = instance.actor.hear.options(concurrency_group="hear").remote(instance.heard, HEAR_S)
            while not ray.wait([asked], timeout=1.0)[0]:
                if self._is_closed:
                    return []
                if (why := answers(address)) or time.monotonic() > deadline:
                    raise ClusterUnavailable(address, why or "no answer", "")
            try:
                found: list[bytes] = ray.get(asked)
                return found
            except ray.exceptions.ActorUnavailableError:
                if time.monotonic() > deadline or answers(address):
                    raise
                time.sleep(STEP_S)

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
        self._places.close()


def _append(path: Path, data: bytes) -> None:
    with open(path, "ab") as file:
        file.write(data)


def _is_text(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
