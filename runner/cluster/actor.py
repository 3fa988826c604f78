"""What is inside the Ray actor of an instance: it carries calls in and events out, and dies with its driver.

Events are kept, numbered, until the driver's next `poll` acknowledges them, and calls are numbered too, so a reply or a
request that the network loses is asked or sent again and has its effect once. Nothing else is decided here.
"""

from __future__ import annotations

import logging
import os
import shutil
import socket
import sys
import tempfile
import threading
import time
import traceback
from collections import deque
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import msgspec

import runner
from runner.cluster.letters import PLAN_SUFFIXES, Begun, Letter, Mismatch, decode_call, decode_start, encode_event
from runner.cluster.parcel import sees, unpack_folder
from runner.cluster.processes import read_boot, start_time_of
from runner.entity.lease import InstanceClosed, InstanceConfig, InstanceFailed, Lease
from runner.entity.parallel import ParallelSpec
from runner.errors import RunnerError
from runner.instance.instance import Instance

SILENCE_S = 40.0
"""Without any call from the driver for so long this process ends; the instance has ended its workers before (30 s)."""

REPLY_BYTES = 16 * 1024 * 1024

log = logging.getLogger(__name__)


class Stage:
    """One instance in a process of Ray's. Made by a driver of another version than this, it only says so."""

    def __init__(self, version: str, start: bytes) -> None:
        self._events: deque[bytes] = deque()
        self._first = 0  # number of the oldest event kept
        self._news = threading.Condition()
        self._calls_done = 0
        self._heard = time.monotonic()
        if version != runner.__version__:
            self._emit(Mismatch(version=runner.__version__, python=sys.executable))
            return
        self._start = decode_start(start)
        self._number = self._start.config.instance
        self._instance: Instance | None = None
        self._folder: Path | None = None
        threading.Thread(target=self._watch_driver, name="watch-driver", daemon=True).start()
        try:
            self._begin()
        except Exception as error:  # noqa: BLE001 - the edge of a process: the driver is told, whatever it was
            self._fail(error)

    def poll(self, acknowledged: int, wait_s: float) -> list[bytes]:
        """The events from number `acknowledged` on, unseen by the driver; waits a little when there is none."""
        self._heard = time.monotonic()
        deadline = self._heard + wait_s
        with self._news:
            while self._first < acknowledged and self._events:
                self._events.popleft()
                self._first += 1
            while not self._events and (left := deadline - time.monotonic()) > 0:
                self._news.wait(left)
            reply: list[bytes] = []
            size = 0
            for event in self._events:
                size += len(event)
                if reply and size > REPLY_BYTES:
                    break
                reply.append(event)
            return reply

    def tell(self, number: int, calls: list[tuple[bytes, bytes]]) -> None:
        """Make calls on the instance, of which the first has this number; those made before are left out."""
        self._heard = time.monotonic()
        for place, (call, data) in enumerate(calls, number):
            if place < self._calls_done:
                continue
            self._calls_done = place + 1
            try:
                self._call(*decode_call(call), data)
            except Exception as error:  # noqa: BLE001 - the edge of a process: the driver is told, whatever it was
                self._fail(error)

    def _call(self, method: str, arguments: msgspec.Raw, data: bytes) -> None:
        if method == "bring_code":
            self._create(self._apart_config(data))
            return
        if method == "bring_plan":
            assert self._folder is not None
            (name,) = msgspec.json.decode(arguments, type=tuple[str])
            if name.removeprefix("plan") not in PLAN_SUFFIXES:
                raise ValueError(f"{name!r} is no file of a plan")
            (self._folder / name).write_bytes(data)
            return
        if self._instance is None:  # it never began, which has been said
            if method == "close":
                self._emit(InstanceClosed(instance=self._number))
            return
        if method == "lend":
            (lease,) = msgspec.json.decode(arguments, type=tuple[Lease])
            self._instance.lend(lease)
        elif method == "settle":
            self._instance.settle(*msgspec.json.decode(arguments, type=tuple[int, int]))
        elif method == "retract":
            self._instance.retract(*msgspec.json.decode(arguments, type=tuple[int, int, int]))
        elif method == "forget":
            self._instance.forget(*msgspec.json.decode(arguments, type=tuple[int, int]))
        elif method == "commit_now":
            self._instance.commit_now()
        elif method == "close":
            self._instance.close(*msgspec.json.decode(arguments, type=tuple[bool, float]))
        elif method == "touch":
            self._instance.touch()
        else:
            raise ValueError(f"unknown call {method!r}")

    def _begin(self) -> None:
        start = self._start
        restore_environment(start.environment, start.cpu_count)
        if start.staging_probe is not None and not sees(start.staging_probe):
            self._emit(
                InstanceFailed(
                    instance=self._number,
                    reason="STORAGE_FAILED",
                    message=f"node {socket.gethostname()} cannot see the staging folder {start.config.staging} "
                    "of the output; write the output to storage that all nodes share, or ask for one instance",
                )
            )
            return
        is_apart = not sees(start.logs_probe)
        if is_apart:
            self._folder = Path(tempfile.mkdtemp(prefix="runner-instance-"))
        self._emit(
            Begun(
                instance=self._number,
                host=socket.gethostname(),
                pid=os.getpid(),
                start_time=start_time_of(os.getpid()),
                boot=read_boot(),
                is_apart=is_apart,
            )
        )
        if not is_apart:
            self._create(start.config)

    def _apart_config(self, code: bytes) -> InstanceConfig:
        """The configuration with everything of the job's folder below a folder of this machine."""
        assert self._folder is not None
        config, folder = self._start.config, self._folder
        spec = msgspec.json.decode(config.spec_json, type=ParallelSpec)
        if code:
            unpack_folder(code, folder / "code")
            spec = replace(spec, code=str(folder / "code"))
        for name in ("logs", "scratch"):
            (folder / name).mkdir(exist_ok=True)
        return replace(
            config,
            spec_json=msgspec.json.encode(spec),
            plan_path=str(folder / "plan"),
            scratch=str(folder / "scratch"),
            logs=str(folder / "logs"),
            ship_logs=True,
        )

    def _create(self, config: InstanceConfig) -> None:
        import ray

        gpus = tuple(str(gpu) for gpu in ray.get_gpu_ids())
        instance = Instance(replace(config, gpu_ids=gpus), self._emit)
        instance.start()
        self._instance = instance

    def _emit(self, letter: Letter) -> None:
        if isinstance(letter, InstanceClosed) and self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
        with self._news:
            self._events.append(encode_event(letter))
            self._news.notify_all()

    def _fail(self, error: Exception) -> None:
        reason = error.reason if isinstance(error, RunnerError) else "INTERNAL"
        text = "".join(traceback.format_exception(error))
        log.error("instance %d fails\n%s", self._number, text)
        self._emit(InstanceFailed(instance=self._number, reason=reason, message=str(error), traceback=text))

    def _watch_driver(self) -> None:
        """End this process when the driver has been silent for too long: its network is gone, or it was stopped."""
        while (left := self._heard + SILENCE_S - time.monotonic()) > 0:
            time.sleep(min(left, 1.0) + 0.01)
        if self._instance is not None:
            self._instance.kill()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
        os._exit(1)


def restore_environment(wanted: Mapping[str, str] | None, cpu_count: int) -> None:
    """Let workers find the environment the job was submitted in, or the node's without what Ray put there for itself.

    The embedded Ray was started by whatever job came first; its environment is nobody else's business. Ray's own
    settings stay, because this process still needs them, and so does its choice of GPUs.
    """
    if wanted is None:
        if os.environ.get("OMP_NUM_THREADS") == str(max(1, cpu_count)):
            del os.environ["OMP_NUM_THREADS"]  # Ray's, meant for one task on that many cores and not for each worker
        os.environ.pop("PYTHONBREAKPOINT", None)
        return
    for name in [name for name in os.environ if name not in wanted and not _is_rays(name)]:
        del os.environ[name]
    os.environ.update({name: value for name, value in wanted.items() if not _is_rays(name)})


def _is_rays(name: str) -> bool:
    return name.startswith("RAY_") or name == "CUDA_VISIBLE_DEVICES"
