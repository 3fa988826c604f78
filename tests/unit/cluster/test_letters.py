"""Events and calls survive the way between driver and actor."""

from __future__ import annotations

import msgspec
import pytest

from runner.cluster.letters import (
    Begun,
    Letter,
    Probe,
    Start,
    decode_call,
    decode_event,
    decode_start,
    encode_call,
    encode_event,
    encode_start,
)
from runner.entity.lease import (
    Failure,
    Heartbeat,
    InFlight,
    InitFailure,
    InstanceClosed,
    InstanceConfig,
    InstanceFailed,
    InstanceLost,
    InstanceReady,
    Lease,
    LeaseCut,
    LeaseSplit,
    Part,
    Report,
    Tally,
)
from runner.entity.status import FailureClass

TALLY = Tally(mini_batch_count=3, item_count=9, failed_by_class={FailureClass.CRASH: 1})
FAILURE = Failure(
    mini_batch=1, unit=0, file="/d/ü.parquet", row=None, item_count=3, cls=FailureClass.CRASH, exception_type="",
    message="died", traceback="", attempts=3, instance="0", worker="0-1", time=1.5,
)  # fmt: skip
EVENTS: list[Letter] = [
    Report(
        instance=1,
        first=0,
        end=3,
        epoch=2,
        lending=1,
        tally=TALLY,
        failures=(FAILURE,),
        records=bytes(range(256)),
        part=Part(file="p", size_bytes=1, sha256="ab", row_count=8, frame_columns=("a", "b"), frame_mini_batch=0),
    ),
    Heartbeat(
        instance=1,
        live=TALLY,
        attempt_count=4,
        worker_count=2,
        log_chunks=(("user/stdout/0.txt", b"\xff\0"),),
        in_flight=(InFlight(worker="0-1", phase="run", mini_batch=2, running_s=0.5),),
    ),
    InstanceReady(instance=0, host="h", pid=1),
    InitFailure(instance=0, worker="w", is_import=True, what="x", traceback="t", ever_ready=False, failure_count=1),
    LeaseSplit(instance=0, lease=Lease(first=0, end=4, epoch=1), pieces=((0, 2), (2, 4))),
    LeaseCut(instance=0, first=0, end=4, epoch=1, limit=2),
    InstanceFailed(instance=0, reason="INTERNAL", message="m"),
    InstanceClosed(instance=0),
    InstanceLost(instance=0, what="gone"),
    Begun(instance=0, host="h", pid=1, start_time=2, boot="b", is_apart=True),
]


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)
def test_an_event_arrives_as_it_was_sent(event: Letter) -> None:
    assert decode_event(encode_event(event)) == event


def test_a_call_arrives_with_its_arguments() -> None:
    lease = Lease(first=5, end=9, epoch=3)
    method, arguments = decode_call(encode_call("lend", lease))
    assert method == "lend"
    assert msgspec.json.decode(arguments, type=tuple[Lease]) == (lease,)


def test_what_an_actor_begins_with_arrives() -> None:
    config = InstanceConfig(
        instance=0,
        spec_json=b'{"name":"\xc3\xbc"}',
        plan_path="/p",
        worker_count=2,
        scratch="/s",
        staging=None,
        logs="/l",
    )
    start = Start(
        config=config,
        logs_probe=Probe(path="/l/p", content="c"),
        staging_probe=None,
        cpu_count=2,
        environment={"A": "b"},
    )
    assert decode_start(encode_start(start)) == start
