"""Instances on their way: a cluster that is connected to, and started on, while the driver plans.

Connecting and starting instances take as long as planning and more, and neither needs the other: an instance needs the
plan when it is lent something, not before. At the end the results are there before the cluster has been let go of, so
nobody waits for that but the driver's process.

To whoever works with it this is a cluster like any other; its instances just are there sooner.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable

from runner.cluster.base import Cluster, Emit, Handle, Placement, Say
from runner.entity.lease import InstanceConfig, InstanceEvent
from runner.entity.parallel import ParallelSpec

log = logging.getLogger(__name__)

Connect = Callable[[ParallelSpec, Emit, Say], Cluster]
"""Makes the cluster that a job asks for."""

TOUCH_S = 1.0


class Arrival:
    """A cluster whose first instances start at once. Called by the driver's thread, but for what instances say."""

    def __init__(self, connect: Connect, spec: ParallelSpec, say: Say) -> None:
        self._connect, self._spec, self._say = connect, spec, say
        self._emit: Emit | None = None
        self._waiting: queue.SimpleQueue[InstanceEvent] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._cluster: Cluster | None = None
        self._placements: tuple[Placement, ...] = ()
        self._started: dict[int, Handle] = {}
        self._error: BaseException | None = None
        self._is_there, self._is_awaited = threading.Event(), threading.Event()
        self._opener: threading.Thread | None = None
        self._closer: threading.Thread | None = None

    def begin(self, config: Callable[[Placement], InstanceConfig]) -> None:
        """Have the instances started; returns at once, but for what the cluster has to load. Only the first counts."""
        if self._cluster is None:
            self._cluster = self._connect(self._spec, self._pass_on, self._say)
            self._opener = threading.Thread(target=self._open, args=(config,), name="start-instances", daemon=True)
            self._opener.start()

    def tell(self, emit: Emit) -> None:
        """Who is told what instances say, and have said already."""
        with self._lock:
            self._emit = emit
            while not self._waiting.empty():
                emit(self._waiting.get())

    # ---- as a cluster -----------------------------------------------------------------------------------
    def place(self, spec: ParallelSpec, say: Say) -> tuple[Placement, ...]:
        """Where the instances have been started. Raises what stood in the way."""
        self._is_there.wait()
        self._is_awaited.set()
        if self._error is not None:
            raise self._error
        return self._placements

    def start(self, config: InstanceConfig, placement: Placement) -> Handle:
        """An instance that was started already, or another one."""
        started = self._started.pop(config.instance, None)
        if started is not None:
            return started
        assert self._cluster is not None
        return self._cluster.start(config, placement)

    def close(self, wait_s: float | None = 0.0) -> None:
        """Begin to end what still runs and to let go of the cluster, and wait for that so long; None is to the end."""
        self._is_awaited.set()
        if self._opener is not None and self._closer is None:
            self._closer = threading.Thread(target=self._end, args=(self._opener,), name="end-cluster", daemon=True)
            self._closer.start()
        if self._closer is not None:
            self._closer.join(wait_s)

    # ---- in threads -------------------------------------------------------------------------------------
    def _pass_on(self, event: InstanceEvent) -> None:
        with self._lock:
            if self._emit is None:
                self._waiting.put(event)
            else:
                self._emit(event)

    def _open(self, config: Callable[[Placement], InstanceConfig]) -> None:
        assert self._cluster is not None
        try:
            self._placements = self._cluster.place(self._spec, self._say)
            for placement in self._placements:
                if self._is_awaited.is_set():
                    break  # it is closed already; whoever needs an instance that is not there starts it
                self._started[placement.instance] = self._cluster.start(config(placement), placement)
        except BaseException as error:  # noqa: BLE001 - raised again in the driver's thread
            self._error = error
        finally:
            self._is_there.set()
        while not self._is_awaited.wait(TOUCH_S):
            for handle in tuple(self._started.values()):
                handle.touch()

    def _end(self, opener: threading.Thread) -> None:
        assert self._cluster is not None
        opener.join()
        try:
            self._cluster.close()
        except Exception:
            log.exception("the cluster could not be let go of")
