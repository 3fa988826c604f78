"""One actor as the driver sees it: a thread that listens, a thread that tells, and the verdict that it is gone.

The listener asks the actor for events; an answer, even an empty one, is the sign of life. Ray says within milliseconds
that a process has died. One that is silent for 10 s (stopped, cut off) is killed first and then said to be lost, and
one whose instance says nothing for 30 s while its process answers is taken as hung. The teller sends calls in order,
numbered, and again when the network may have lost them.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from runner.cluster.base import Placement
from runner.cluster.letters import PLAN_SUFFIXES, Begun, Mismatch, decode_event, encode_call
from runner.cluster.link import ActorLink, Gone, Unreachable
from runner.cluster.outlet import Outlet
from runner.cluster.processes import is_same_process, kill_process, read_boot
from runner.entity.lease import InstanceClosed, InstanceConfig, InstanceFailed, InstanceLost, Lease
from runner.errors import RunnerError

SILENCE_S = 10.0
HUNG_S = 30.0
POLL_S = 1.0
_STEP_S = 0.25
_LATE_S = 0.5
_DOUBT_S = 2.0
_WAITING_AGAIN_S = 60.0
_KINDLY_S = 0.5
_BURIAL_S = 3.0

Call = tuple[bytes, bytes]
"""A method with its arguments, and bytes that go with it as they are."""


class RayHandle:
    """An instance in an actor. Made when the actor has been asked for, which may then wait for room on the cluster."""

    def __init__(
        self,
        link: ActorLink,
        config: InstanceConfig,
        placement: Placement,
        outlet: Outlet,
        *,
        is_reachable: Callable[[], bool],
        pack_code: Callable[[], bytes],
        say_waiting: Callable[[], None],
        find_misfit: Callable[[], RunnerError | None],
        on_begun: Callable[[], None],
    ) -> None:
        self._link = link
        self._config = config
        self._placement = placement
        self._outlet = outlet
        self._is_reachable = is_reachable
        self._pack_code = pack_code
        self._say_waiting = say_waiting
        self._find_misfit = find_misfit
        self._on_begun = on_begun
        self._calls: queue.SimpleQueue[Call | None] = queue.SimpleQueue()
        self._touch_waits = threading.Event()
        self._begun: Begun | None = None
        self._has_begun = threading.Event()
        self._has_ended = threading.Event()
        self._burial = threading.Lock()
        self._listener = threading.Thread(target=self._listen, name=f"listen-{self.instance}", daemon=True)
        self._teller = threading.Thread(target=self._tell, name=f"tell-{self.instance}", daemon=True)
        self._listener.start()
        self._teller.start()

    @property
    def instance(self) -> int:
        return self._placement.instance

    @property
    def node(self) -> str:
        return self._placement.node

    @property
    def has_ended(self) -> bool:
        return self._has_ended.is_set()

    def lend(self, lease: Lease) -> None:
        self._put("lend", lease)

    def settle(self, first: int, end: int) -> None:
        self._put("settle", first, end)

    def retract(self, first: int, end: int, limit: int) -> None:
        self._put("retract", first, end, limit)

    def forget(self, first: int, end: int) -> None:
        self._put("forget", first, end)

    def commit_now(self) -> None:
        self._put("commit_now")

    def close(self, run_shutdown: bool, grace_s: float) -> None:
        if self._has_begun.is_set():
            self._put("close", run_shutdown, grace_s)
        elif self._end():  # it still waits for room, so there is nobody to ask
            self._outlet.pass_on(InstanceClosed(instance=self.instance))

    def touch(self) -> None:
        if not self._touch_waits.is_set():  # one on its way is as good as many
            self._touch_waits.set()
            self._put("touch")

    def kill(self) -> None:
        """End the actor, also one that is stopped or still waits for room."""
        self._outlet.shut()
        self._end()
        if threading.current_thread() is not self._listener:
            self._listener.join(_BURIAL_S)

    def lose(self, why: str) -> None:
        """Say that the instance is lost, unless it has ended already; the reason lies outside of it."""
        if self._end():
            self._pass_on_loss(why)
        if threading.current_thread() is not self._listener:
            self._listener.join(_BURIAL_S)

    def _put(self, method: str, *arguments: object) -> None:
        self._calls.put((encode_call(method, *arguments), b""))

    def _listen(self) -> None:
        try:
            self._await_room()
            self._hear()
        except Gone as error:
            # An actor that never said anything may have found no runner on its node, or another one.
            misfit = self._find_misfit() if self._begun is None and not self._has_ended.is_set() else None
            if misfit is not None:
                self._outlet.pass_on(InstanceFailed(instance=self.instance, reason=misfit.reason, message=str(misfit)))
            elif self._end():
                self._pass_on_loss(str(error))

    def _pass_on_loss(self, why: str) -> None:
        what = f"instance {self.instance} on {self._placement.host}: {why}"
        self._outlet.pass_on(InstanceLost(instance=self.instance, what=what))

    def _await_room(self) -> None:
        """Return when the actor runs; until then say, now and then, what it waits for."""
        reply = self._link.poll(0, 0.0)
        patience = _DOUBT_S
        while not self._has_ended.is_set():
            began = time.monotonic()
            while not self._has_ended.is_set() and time.monotonic() - began < patience:
                if self._link.is_ready(reply, _STEP_S):
                    self._link.take(reply)
                    self._on_begun()
                    return
            if not self._is_reachable():
                raise Gone("the Ray it was to run on is gone")
            # It asks Ray for numbers, for which a head that dies just then would let it wait for ever.
            threading.Thread(target=self._say_waiting, name="say-waiting", daemon=True).start()
            patience = _WAITING_AGAIN_S

    def _hear(self) -> None:
        """Take events until the instance has closed or is gone."""
        acknowledged = 0
        heard = spoke = time.monotonic()
        while not self._has_ended.is_set():
            reply = self._link.poll(acknowledged, POLL_S)
            events = self._await_reply(reply, heard)
            if events is None:
                continue
            heard = time.monotonic()
            if events:
                spoke = heard
            elif heard - spoke > HUNG_S:
                raise Gone(f"its process answers, but the instance has said nothing for {HUNG_S:g} s")
            acknowledged += len(events)
            for event in events:
                self._on_event(event)

    def _await_reply(self, reply: Any, heard: float) -> list[bytes] | None:
        """The events; None when the reply is lost and should be asked for again."""
        while not self._has_ended.is_set():
            silent_s = time.monotonic() - heard
            if silent_s > SILENCE_S:
                raise Gone(f"silent for {SILENCE_S:g} s")
            if silent_s > POLL_S + _LATE_S and not self._is_reachable():
                raise Gone("the Ray it ran on is gone")
            if not self._link.is_ready(reply, _STEP_S):
                continue
            try:
                events: list[bytes] = self._link.take(reply)
                return events
            except Unreachable as error:
                if not self._is_reachable():
                    raise Gone("the Ray it ran on is gone") from error
                self._has_ended.wait(_STEP_S)
                return None
        return None

    def _on_event(self, data: bytes) -> None:
        event = decode_event(data)
        if isinstance(event, Begun):
            self._begun = event
            self._has_begun.set()
            return
        if isinstance(event, Mismatch):
            raise Gone(f"its node has runner {event.version} for {event.python}")
        self._outlet.pass_on(event)
        if isinstance(event, InstanceClosed):
            self._end()

    def _tell(self) -> None:
        """Send the calls in order, each with effect once, until the actor has ended."""
        while not self._has_begun.wait(_STEP_S):
            if self._has_ended.is_set():
                return
        assert self._begun is not None
        waiting: list[Call] = [(encode_call("bring_code"), self._pack_code())] if self._begun.is_apart else []
        plan_is_there = not self._begun.is_apart
        sent = 0
        try:
            while not self._has_ended.is_set():
                calls = self._next_calls(block=not waiting)
                if not plan_is_there and any(call.startswith(_LEND) for call, _ in calls):
                    calls = self._plan_calls() + calls
                    plan_is_there = True
                waiting += calls
                if self._deliver(sent, waiting):
                    sent += len(waiting)
                    waiting = []
        except Gone:
            return  # the listener hears of it too, and says so

    def _plan_calls(self) -> list[Call]:
        """The plan last, behind what belongs to it."""
        plan = Path(self._config.plan_path)
        beside = [plan.with_name(plan.name + suffix) for suffix in PLAN_SUFFIXES]
        return [(encode_call("bring_plan", path.name), path.read_bytes()) for path in beside if path.exists()]

    def _next_calls(self, *, block: bool) -> list[Call]:
        calls = [self._calls.get()] if block else []
        while not self._calls.empty():
            calls.append(self._calls.get())
        self._touch_waits.clear()
        return [call for call in calls if call is not None]

    def _deliver(self, number: int, calls: list[Call]) -> bool:
        """Whether the actor has made these calls; False when it may not have, and should be told again."""
        if not calls:
            return True
        reply = self._link.tell(number, calls)
        while not self._has_ended.is_set():
            if self._link.is_ready(reply, _STEP_S):
                try:
                    self._link.take(reply)
                    return True
                except Unreachable:
                    self._has_ended.wait(_STEP_S)
                    return False
        return False

    def _end(self) -> bool:
        """Kill the actor and, on this machine, see that its process is gone; False when that was done before."""
        with self._burial:
            if self._has_ended.is_set():
                return False
            self._has_ended.set()
            self._calls.put(None)
            self._link.kill()
            begun = self._begun
            if begun is None or begun.boot != read_boot():
                return True
            # Ray says at once that a stopped process is dead, and kills it five seconds later.
            if not self._is_buried(begun, _KINDLY_S):
                kill_process(begun.pid, begun.start_time)
                self._is_buried(begun, _BURIAL_S)
            return True

    @staticmethod
    def _is_buried(begun: Begun, within_s: float) -> bool:
        deadline = time.monotonic() + within_s
        while is_same_process(begun.pid, begun.start_time):
            if time.monotonic() > deadline:
                return False
            time.sleep(0.005)
        return True


_LEND = encode_call("lend")[:7]
"""How every encoded `lend` begins."""
