"""After an outlet was shut nothing comes through."""

from __future__ import annotations

from runner.cluster.outlet import Outlet
from runner.entity.lease import InstanceClosed, InstanceEvent


def test_events_pass_until_it_is_shut() -> None:
    seen: list[InstanceEvent] = []
    outlet = Outlet(seen.append)
    outlet.pass_on(InstanceClosed(instance=1))
    assert outlet.shut()
    outlet.pass_on(InstanceClosed(instance=2))
    assert seen == [InstanceClosed(instance=1)]
    assert not outlet.shut()


def test_whoever_takes_an_event_may_shut_it() -> None:
    outlet: Outlet
    seen: list[InstanceEvent] = []

    def take(event: InstanceEvent) -> None:
        seen.append(event)
        outlet.shut()

    outlet = Outlet(take)
    outlet.pass_on(InstanceClosed(instance=1))
    outlet.pass_on(InstanceClosed(instance=2))
    assert len(seen) == 1
