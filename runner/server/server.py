"""The gRPC server around JobService: where it listens, who may call, how it ends."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import signal
import socket
from collections.abc import Callable

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2_grpc

from runner.errors import ArgumentInvalid
from runner.schedule.tidy import tidy_up
from runner.server.guard import Collector, Guard
from runner.server.hub import Hub
from runner.server.jobs import Jobs
from runner.server.orphans import LOOK_S, adopt_orphans
from runner.server.rpc import DESCRIPTOR, handlers
from runner.server.service import JobService
from runner.store.home import Home
from runner.store.store import Store

log = logging.getLogger(__name__)

GRACE_S = 2.0
WATCHER_LIMIT = 2000
_OPTIONS = (
    ("grpc.so_reuseport", 0),  # a port that is taken is refused, not shared
    ("grpc.max_receive_message_length", 16 * 1024 * 1024),
    ("grpc.max_concurrent_streams", 10_000),
)


def check_listen(listen: str) -> str:
    """The address as gRPC takes it. ArgumentInvalid unless it is HOST:PORT on the loopback interface."""
    host, colon, port = listen.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not colon or not host or not port.isdecimal() or int(port) > 65535:
        raise ArgumentInvalid(
            "--listen", f"{listen!r} is no address; write HOST:PORT, such as 127.0.0.1:0 for a free port"
        )
    try:
        local = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        local = False
    if not local:
        what = f"{host} is beyond this machine, and the service runs whatever commands a job says"
        raise ArgumentInvalid("--listen", f"{what}; listen on 127.0.0.1 or [::1], and reach it through ssh")
    host = "127.0.0.1" if host == "localhost" else host
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _check_free(address: str) -> None:
    """Look before gRPC does, which would tell the reason on stderr only."""
    host, _, port = address.rpartition(":")
    family = socket.AF_INET6 if host.startswith("[") else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host.strip("[]"), int(port)))
        except OSError as error:
            raise _taken(address) from error


def _taken(address: str) -> ArgumentInvalid:
    what = f"{address} cannot be listened on; it is taken, or not of this machine: choose another port"
    return ArgumentInvalid("--listen", what)


class Server:
    """Serves the jobs of one home; lives in one event loop. Drivers that it starts outlive it."""

    def __init__(
        self,
        home: Home,
        launch: Callable[[str], None],
        listen: str = "127.0.0.1:0",
        *,
        watcher_limit: int = WATCHER_LIMIT,
        heartbeat_s: float = 15.0,
        adopt_s: float | None = None,
    ) -> None:
        """`adopt_s`: how often to look for jobs that have lost their driver; None for never."""
        self._listen = check_listen(listen)
        self._home, self._launch = home, launch
        self._watcher_limit, self._heartbeat_s, self._adopt_s = watcher_limit, heartbeat_s, adopt_s
        self.address = ""

    async def start(self) -> str:
        """Listen, and return the address with the port that was chosen. ArgumentInvalid when it is taken."""
        _check_free(self._listen)
        self._jobs = Jobs(self._home, self._launch)
        self._reader = Store(self._home)
        hub = Hub(self._reader, self._jobs.store, limit=self._watcher_limit, heartbeat_s=self._heartbeat_s)
        self._service = JobService(self._jobs, self._reader, hub)
        self._server = grpc.aio.server(options=_OPTIONS)
        self._health = health.aio.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        names = (DESCRIPTOR.full_name, health.SERVICE_NAME, reflection.SERVICE_NAME)
        guarded = Collector()
        guarded.add_generic_rpc_handlers((handlers(self._service),))
        reflector = reflection.aio.ReflectionServicer(names)
        reflection_pb2_grpc.add_ServerReflectionServicer_to_server(reflector, guarded)
        token = self._home.token()
        self._server.add_generic_rpc_handlers(tuple(Guard(one, token, self._listen) for one in guarded.handlers))
        try:
            port = self._server.add_insecure_port(self._listen)
        except RuntimeError as error:
            await self._server.stop(0)
            self._close()
            raise _taken(self._listen) from error
        await self._server.start()
        await self._health.set(DESCRIPTOR.full_name, health_pb2.HealthCheckResponse.SERVING)
        self._tasks = [asyncio.create_task(hub.poll())]
        if self._adopt_s is not None:
            self._tasks.append(asyncio.create_task(self._adopt(self._adopt_s)))
        self.address = f"{self._listen.rpartition(':')[0]}:{port}"
        return self.address

    async def stop(self, grace_s: float = GRACE_S) -> None:
        """Take no more calls, give those at work `grace_s` to end, and close."""
        await self._health.enter_graceful_shutdown()
        await self._server.stop(grace_s)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._close()

    async def _adopt(self, every_s: float) -> None:
        """Look for orphans for ever; at once, too, for what has lost its driver while no service was there."""
        await self._service.run(lambda: tidy_up(self._home, self._jobs.store))
        while True:
            try:
                await self._service.run(lambda: adopt_orphans(self._jobs))
            except Exception:  # a busy store, say: the next look may go well
                log.exception("the look for jobs without a driver failed")
            await asyncio.sleep(every_s)

    def _close(self) -> None:
        self._service.close()
        self._reader.close()
        self._jobs.close()


def serve(
    home: Home, launch: Callable[[str], None], listen: str = "127.0.0.1:0", *, on_ready: Callable[[str], None]
) -> None:
    """Serve until SIGINT or SIGTERM; blocking. `on_ready` is called once with the address."""

    async def run() -> None:
        server = Server(home, launch, listen, adopt_s=LOOK_S)
        ended = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, ended.set)
        on_ready(await server.start())
        await ended.wait()
        await server.stop()

    asyncio.run(run())
