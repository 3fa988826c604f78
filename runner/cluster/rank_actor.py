"""What is inside the Ray actor of one instance of a command: a warden, and the way to and from it.

What the warden tells is kept, numbered, until the driver asks for what follows, so an answer that the network loses is
asked for again. The actor dies with its driver, and then the warden kills everything.
"""

from __future__ import annotations

import os
import select
import shutil
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec

import runner
from runner.cluster.actor import SILENCE_S, restore_environment
from runner.cluster.parcel import pack_folder, sees, unpack_folder
from runner.cluster.rank_letters import Arrived, Artifacts, LogChunk, Look, Looked, Order, Tidings, encode_tidings
from runner.instance.seat import Seat, free_ports
from runner.instance.ward import Lost, Process, Quiet, Ward

CHUNK_BYTES = 4 << 20
FOLLOW_S = 0.3
"""How long a line on another machine may take to be on its way."""


class RankStage:
    """One instance of a command in a process of Ray's."""

    def __init__(self) -> None:
        self._tidings: list[bytes] = []
        self._news = threading.Condition()
        self._heard = time.monotonic()
        self._ward: Ward | None = None
        self._folder: Path | None = None
        self._gpus: tuple[str, ...] = ()
        threading.Thread(target=self._watch_driver, name="watch-driver", daemon=True).start()

    def arrive(self, version: str, cpu_count: int, port_count: int) -> bytes:
        """Say where this is; without a place if the driver has another version."""
        said = Arrived(version=runner.__version__, python=sys.executable)
        if version != runner.__version__:
            return msgspec.json.encode(said)
        import ray

        services: Any = ray.util
        self._gpus = tuple(map(str, ray.get_gpu_ids()))
        restore_environment(None, cpu_count)
        seat = Seat(host=socket.gethostname(), address=services.get_node_ip_address(), ports=free_ports(port_count))
        return msgspec.json.encode(msgspec.structs.replace(said, seat=seat))

    def look(self, data: bytes) -> bytes:
        """Say what is seen of the driver's files."""
        self._heard = time.monotonic()
        wanted = msgspec.json.decode(data, type=Look)
        unseen = [folder for folder, probe in wanted.shared.items() if not sees(probe)]
        return msgspec.json.encode(Looked(host=socket.gethostname(), sees_work=sees(wanted.work), unseen=unseen))

    def run(self, data: bytes, code: bytes) -> None:
        """Start processes; with `code`, in a working folder of this machine."""
        self._heard = time.monotonic()
        order = msgspec.json.decode(data, type=Order)
        processes = [self._at_home(process, order) for process in order.processes]
        if order.is_apart:
            self._folder = Path(tempfile.mkdtemp(prefix="runner-command-"))
            if code:
                unpack_folder(code, self._folder / "work")
            for name in ("work/outputs", "work/logs", "texts"):
                (self._folder / name).mkdir(parents=True, exist_ok=True)
            processes = [self._apart(process, order) for process in processes]
        if self._ward is None:
            self._ward = Ward.spawn()
        self._ward.run(processes, grace_s=order.grace_s, token=order.token)
        shipped: dict[str, str] = {}
        if order.is_apart:
            for here, there in zip(processes, order.processes, strict=True):
                shipped |= {here.stdout: there.stdout, here.stderr: there.stderr}
        threading.Thread(target=self._listen, args=(self._ward, shipped), name="listen", daemon=True).start()

    def stop(self) -> None:
        """End what runs."""
        self._heard = time.monotonic()
        if self._ward is not None:
            self._ward.stop()

    def hear(self, after: int, wait_s: float) -> list[bytes]:
        """What was told after so many tidings; waits a little when there is nothing."""
        self._heard = time.monotonic()
        with self._news:
            self._news.wait_for(lambda: len(self._tidings) > after, wait_s)
            return self._tidings[after:]

    def close(self) -> None:
        """Kill what is left."""
        if self._ward is not None:
            self._ward.close()
        self._remove()

    def _at_home(self, process: Process, order: Order) -> Process:
        """With the environment of this node below that of the command, unless it has all of it."""
        base = dict(process.env) if order.is_whole_environment else {**os.environ, **process.env}
        if self._gpus:  # those that are reserved, whatever the environment of the driver says
            base["CUDA_VISIBLE_DEVICES"] = ",".join(self._gpus)
        return replace(process, env=base)

    def _apart(self, process: Process, order: Order) -> Process:
        assert self._folder is not None
        work = str(self._folder / "work")
        texts = self._folder / "texts"
        env = {name: value.replace(order.work, work) for name, value in process.env.items()}
        return replace(
            process,
            argv=tuple(word.replace(order.work, work) for word in process.argv),
            cwd=work,
            env=env,
            stdout=str(texts / Path(process.stdout).name),
            stderr=str(texts / Path(process.stderr).name),
        )

    def _listen(self, ward: Ward, shipped: dict[str, str]) -> None:
        """Pass on what the warden tells until nothing is left; and, where it must be, what the processes write."""
        seen = dict.fromkeys(shipped, 0)
        while True:
            ready = select.select([ward], [], [], FOLLOW_S if shipped else None)[0]
            heard = ward.hear() if ready else []
            for news in heard:
                is_last = isinstance(news, Quiet | Lost)
                for chunk in self._written(shipped, seen):
                    self._tell(chunk)
                if is_last and self._folder is not None:
                    self._tell(Artifacts(data=self._pack_artifacts(self._folder)))
                self._tell(news)
                if is_last:
                    return
            if not heard:
                for chunk in self._written(shipped, seen):
                    self._tell(chunk)

    def _pack_artifacts(self, folder: Path) -> bytes:
        kept = folder / "kept"
        kept.mkdir()
        for name in ("outputs", "logs"):
            if (folder / "work" / name).exists():
                (folder / "work" / name).rename(kept / name)
        return pack_folder(kept)

    def _written(self, shipped: dict[str, str], seen: dict[str, int]) -> Iterator[LogChunk]:
        for here, there in shipped.items():
            if not os.path.exists(here):
                continue
            with open(here, "rb") as file:
                file.seek(seen[here])
                while data := file.read(CHUNK_BYTES):
                    seen[here] += len(data)
                    yield LogChunk(path=there, data=data)

    def _tell(self, tidings: Tidings) -> None:
        with self._news:
            self._tidings.append(encode_tidings(tidings))
            self._news.notify_all()

    def _watch_driver(self) -> None:
        """End this process when the driver has been silent for too long; the warden then kills what runs."""
        while (left := self._heard + SILENCE_S - time.monotonic()) > 0:
            time.sleep(min(left, 1.0) + 0.01)
        self._remove()
        os._exit(1)

    def _remove(self) -> None:
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
