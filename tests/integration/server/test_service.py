"""The service as any gRPC client meets it: who may call, health, reflection, paging, watchers, and how it ends."""

from __future__ import annotations

import asyncio
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import descriptor_pool, json_format, message_factory
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from grpc_status import rpc_status
from served_jobs import Hand, serving, write_job

from runner.api.v1 import job_pb2, job_service_pb2, job_service_pb2_grpc
from runner.client.remote import Remote, find_token
from runner.entity.job import Progress
from runner.errors import ArgumentInvalid, ServerUnavailable, TooManyWatchers, Unauthenticated
from runner.server.server import Server, check_listen
from runner.store.home import Home


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


@pytest.fixture
def address(home: Home) -> Iterator[str]:
    with serving(home, []) as address:
        yield address


@pytest.fixture
def channel(address: str, home: Home) -> Iterator[grpc.Channel]:
    """A channel that sends the token with every call, made as a stranger would make it."""

    class Bearer(
        grpc.UnaryUnaryClientInterceptor, grpc.UnaryStreamClientInterceptor, grpc.StreamStreamClientInterceptor
    ):  # type: ignore[misc]
        def add(self, go: Any, details: Any, request: Any) -> Any:
            metadata = [*(details.metadata or []), ("authorization", f"Bearer {home.token()}")]
            return go(details._replace(metadata=metadata), request)

        intercept_unary_unary = intercept_unary_stream = intercept_stream_stream = add

    with grpc.insecure_channel(address) as bare:
        yield grpc.intercept_channel(bare, Bearer())


@pytest.fixture
def stub(channel: grpc.Channel) -> Any:
    return job_service_pb2_grpc.JobServiceStub(channel)  # type: ignore[no-untyped-call]


def fail(error: grpc.RpcError) -> tuple[grpc.StatusCode, Any, list[str]]:
    """Code, ErrorInfo, and the kinds of all details."""
    status = rpc_status.from_call(error)
    assert status is not None
    info = error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(info)
    return error.code(), info, [detail.type_url.rpartition(".")[2] for detail in status.details]  # type: ignore[attr-defined]


def test_health_needs_no_token(address: str) -> None:
    with grpc.insecure_channel(address) as bare:
        for service in ("", "runner.api.v1.JobService"):
            answer = health_pb2_grpc.HealthStub(bare).Check(health_pb2.HealthCheckRequest(service=service), timeout=10)
            assert answer.status == health_pb2.HealthCheckResponse.SERVING


@pytest.mark.parametrize("header", [None, "Bearer wrong", "Bearer ", "Bearer \xe9"])
def test_every_other_call_needs_the_token(address: str, header: str | None) -> None:
    metadata = [("authorization", header)] if header and header.isascii() else []
    with grpc.insecure_channel(address) as bare:
        stub: Any = job_service_pb2_grpc.JobServiceStub(bare)  # type: ignore[no-untyped-call]
        calls = (
            lambda: stub.GetJob(job_service_pb2.GetJobRequest(name="jobs/a"), metadata=metadata, timeout=10),
            lambda: list(stub.WatchJob(job_service_pb2.WatchJobRequest(name="jobs/a"), metadata=metadata, timeout=10)),
        )
        for call in calls:
            with pytest.raises(grpc.RpcError) as caught:
                call()
            code, info, _ = fail(caught.value)
            assert (code, info.reason, info.domain) == (grpc.StatusCode.UNAUTHENTICATED, "UNAUTHENTICATED", "runner")
        with pytest.raises(grpc.RpcError):
            ProtoReflectionDescriptorDatabase(bare).get_services()


def test_the_client_names_where_a_token_is_looked_for(
    address: str, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    for token in ("", "wrong"):
        remote = Remote(address, token)
        with pytest.raises(Unauthenticated, match=r"RUNNER_TOKEN.*RUNNER_HOME/token") as caught:
            remote.get("sift")
        assert caught.value.address == address
        remote.close()
    assert find_token(home) == home.token()
    monkeypatch.setenv("RUNNER_TOKEN", "from the environment")
    assert find_token(home) == "from the environment"
    monkeypatch.delenv("RUNNER_TOKEN")
    assert find_token(Home(home.root / "other")) == ""


def test_a_stranger_can_call_it_by_reflection_alone(
    channel: grpc.Channel, home: Home, stub: Any, tmp_path: Path
) -> None:
    for number in range(5):
        spec = job_pb2.JobSpec(document=json_format.json.dumps(write_job(tmp_path / str(number))))
        stub.CreateJob(job_service_pb2.CreateJobRequest(job=job_pb2.Job(spec=spec), job_id=f"job{number}"), timeout=10)
    told = ProtoReflectionDescriptorDatabase(channel)
    name = next(one for one in told.get_services() if one.endswith(".JobService"))
    about = descriptor_pool.DescriptorPool(told).FindServiceByName(name).FindMethodByName("ListJobs")
    ask, answer = (message_factory.GetMessageClass(one) for one in (about.input_type, about.output_type))
    send = channel.unary_unary(f"/{name}/ListJobs", ask.SerializeToString, answer.FromString)
    pages, token = [], ""
    while not pages or token:
        reply = json_format.MessageToDict(
            send(json_format.ParseDict({"page_size": 2, "page_token": token}, ask()), timeout=10),
            preserving_proto_field_name=True,
        )
        pages.append([job["name"] for job in reply["jobs"]])
        token = reply.get("next_page_token", "")
    assert pages == [["jobs/job4", "jobs/job3"], ["jobs/job2", "jobs/job1"], ["jobs/job0"]]
    assert reply["jobs"][0]["status"] == "JOB_STATUS_STARTING"


def test_an_error_has_one_reason_and_the_facts_it_names(stub: Any) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        stub.GetJob(job_service_pb2.GetJobRequest(name="jobs/nobody"), timeout=10)
    code, info, kinds = fail(caught.value)
    assert (code, info.reason, dict(info.metadata)) == (grpc.StatusCode.NOT_FOUND, "JOB_NOT_FOUND", {"name": "nobody"})
    assert kinds == ["ErrorInfo"]
    assert "nobody" in str(caught.value)
    with pytest.raises(grpc.RpcError) as caught:
        stub.GetJob(job_service_pb2.GetJobRequest(name="jobs/../etc"), timeout=10)
    assert fail(caught.value)[1].reason == "ARGUMENT_INVALID"
    with pytest.raises(grpc.RpcError) as caught:
        spec = job_pb2.JobSpec(document='{"type": "parallel", "colour": 1}')
        stub.CreateJob(job_service_pb2.CreateJobRequest(job=job_pb2.Job(spec=spec)), timeout=10)
    code, info, kinds = fail(caught.value)
    assert (code, info.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "SPEC_INVALID")
    assert kinds == ["ErrorInfo", "BadRequest"]


@pytest.mark.parametrize("document", ["", "[]", "{", '"text"', "{}"])
def test_a_document_that_is_no_job_is_refused_and_leaves_nothing(stub: Any, home: Home, document: str) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        spec = job_pb2.JobSpec(document=document)
        stub.CreateJob(job_service_pb2.CreateJobRequest(job=job_pb2.Job(spec=spec)), timeout=10)
    assert fail(caught.value)[0] is grpc.StatusCode.INVALID_ARGUMENT
    assert not list(home.jobs.iterdir())


def test_events_logs_and_outputs_are_paged(stub: Any, home: Home, tmp_path: Path) -> None:
    spec = job_pb2.JobSpec(document=json_format.json.dumps(write_job(tmp_path / "work")))
    stub.CreateJob(job_service_pb2.CreateJobRequest(job=job_pb2.Job(spec=spec), job_id="sift"), timeout=10)
    Hand(home, "sift").complete()
    events, token = [], ""
    while not events or token:
        request = job_service_pb2.ListEventsRequest(parent="jobs/sift", page_size=3, page_token=token)
        reply = stub.ListEvents(request, timeout=10)
        assert len(reply.events) <= 3
        events += [event.name for event in reply.events]
        token = reply.next_page_token
    assert events == [f"jobs/sift/events/{number}" for number in range(1, 8)]
    first = stub.ListEvents(job_service_pb2.ListEventsRequest(parent="jobs/sift", page_size=3), timeout=10)
    with pytest.raises(grpc.RpcError) as caught:
        request = job_service_pb2.ListEventsRequest(parent="jobs/other", page_token=first.next_page_token)
        stub.ListEvents(request, timeout=10)
    assert caught.value.code() in (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND)  # type: ignore[attr-defined]
    with pytest.raises(grpc.RpcError) as caught:
        request = job_service_pb2.ListLogsRequest(parent="jobs/sift", page_token=first.next_page_token)
        stub.ListLogs(request, timeout=10)
    assert fail(caught.value)[1].reason == "ARGUMENT_INVALID"
    outputs = stub.ListOutputs(job_service_pb2.ListOutputsRequest(parent="jobs/sift"), timeout=10).outputs
    assert [output.name for output in outputs] == ["jobs/sift/outputs/scores"]


def test_a_watch_that_is_idle_gives_signs_of_life(home: Home, tmp_path: Path) -> None:
    with serving(home, [], heartbeat_s=0.1) as address:
        remote = Remote(address, home.token())
        made = remote.create(write_job(tmp_path / "work"), name="sift")
        hand = Hand(home, "sift")
        watching = remote.watch("sift")
        assert next(watching).job is not None
        beat = next(sighting for sighting in watching if sighting.job is None)
        assert int(beat.cursor) >= made.revision
        hand.complete()
        assert [sighting.job.status for sighting in watching if sighting.job is not None][-1] == "Completed"
        remote.close()
        hand.die()


def test_watchers_beyond_the_limit_are_told_when_to_try_again(home: Home, tmp_path: Path) -> None:
    with serving(home, [], watcher_limit=2) as address:
        remote = Remote(address, home.token())
        remote.create(write_job(tmp_path / "work"), name="sift")
        hand = Hand(home, "sift")
        watching = [remote.watch("sift") for _ in range(2)]
        for one in watching:
            next(one)
        with pytest.raises(TooManyWatchers, match="2 watchers") as caught:
            next(remote.watch("sift"))
        assert caught.value.retry_s == 5.0
        hand.complete()
        for one in watching:
            list(one)
        assert next(remote.watch("sift")).job is not None, "those that ended made room"
        remote.close()


def test_a_slow_reader_misses_states_but_never_the_newest(home: Home, tmp_path: Path, stub: Any) -> None:
    spec = job_pb2.JobSpec(document=json_format.json.dumps(write_job(tmp_path / "work", description="d" * 200_000)))
    stub.CreateJob(job_service_pb2.CreateJobRequest(job=job_pb2.Job(spec=spec), job_id="sift"), timeout=10)
    hand = Hand(home, "sift")
    slow = stub.WatchJob(job_service_pb2.WatchJobRequest(name="jobs/sift"))
    next(slow)
    quick: queue.Queue[int] = queue.Queue()

    def read() -> None:
        for reply in stub.WatchJob(job_service_pb2.WatchJobRequest(name="jobs/sift")):
            quick.put(reply.job.progress.done_item_count)

    reader = threading.Thread(target=read)
    reader.start()
    for count in range(1, 101):
        hand.store.beat("sift", Progress(done_item_count=count))
        while quick.get(timeout=20) != count:
            pass  # the quick reader has seen this state: it was told
    hand.complete()
    reader.join(timeout=20)
    replies = list(slow)
    assert len(replies) < 90, "the states in between were not queued"
    assert replies[-1].job.status == job_pb2.JOB_STATUS_COMPLETED
    assert replies[-1].job.progress.done_item_count == 100


@pytest.mark.parametrize(
    "listen", ["0.0.0.0:0", "192.0.2.1:9", "[::]:0", "example.com:80", ":1", "127.0.0.1", "x:y", ""]
)
def test_any_address_but_loopback_is_refused(home: Home, listen: str) -> None:
    with pytest.raises(ArgumentInvalid, match=r"127\.0\.0\.1") as caught:
        Server(home, [].append, listen)
    assert caught.value.argument == "--listen"


@pytest.mark.parametrize(
    ("listen", "used"),
    [
        ("127.0.0.1:0", "127.0.0.1:0"),
        ("localhost:7", "127.0.0.1:7"),
        ("[::1]:7", "[::1]:7"),
        ("127.8.0.1:7", "127.8.0.1:7"),
    ],
)
def test_loopback_addresses_are_taken(listen: str, used: str) -> None:
    assert check_listen(listen) == used


def test_a_port_that_is_taken_is_told(address: str, home: Home, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ArgumentInvalid, match=f"{address}.*another port"):
        asyncio.run(Server(home, [].append, address).start())
    assert capfd.readouterr().err == ""


def test_nothing_that_answers_is_told_with_the_address() -> None:
    remote = Remote("127.0.0.1:1", "token")
    with pytest.raises(ServerUnavailable, match=r"127\.0\.0\.1:1"):
        remote.get("sift")
    with pytest.raises(ServerUnavailable, match=r"127\.0\.0\.1:1"):
        next(remote.watch("sift"))
    remote.close()
    for wrong in ("localhost", "http://", ":5", "host:port"):
        with pytest.raises(ArgumentInvalid, match="HOST:PORT"):
            Remote(wrong, "token")


def test_a_service_that_stops_ends_its_watches(home: Home, tmp_path: Path) -> None:
    with serving(home, []) as address:
        remote = Remote(address, home.token())
        remote.create(write_job(tmp_path / "work"), name="sift")
        hand = Hand(home, "sift")
        watching = remote.watch("sift")
        next(watching)
    with pytest.raises(ServerUnavailable):
        list(watching)
    remote.close()
    hand.die()


SERVE = """
import sys
from runner.server.server import serve
from runner.store.home import Home

serve(Home(sys.argv[1]), print, on_ready=lambda address: print(address, flush=True))
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_serving_ends_cleanly_with_a_signal(home: Home, tmp_path: Path, number: int) -> None:
    command = [sys.executable, "-c", SERVE, str(home.root)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        remote = Remote(process.stdout.readline().strip(), home.token())
        made = remote.create(write_job(tmp_path / "work"), name="sift")
        hand = Hand(home, made.name)
        watching = remote.watch("sift")
        next(watching)
        process.send_signal(number)
        assert process.wait(timeout=30) == 0
        assert process.stderr.read() == ""
    with pytest.raises(ServerUnavailable):
        list(watching)
    remote.close()
    hand.die()
