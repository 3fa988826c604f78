"""Steps, graphs and registered things as any gRPC client asks for them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from piped_jobs import write_pipeline
from served_jobs import serving

from runner.api.v1 import asset_pb2, experiment_pb2, job_pb2, job_service_pb2, job_service_pb2_grpc, step_pb2
from runner.client.remote import Remote
from runner.entity.asset import Asset
from runner.store.home import Home


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


@pytest.fixture
def address(home: Home) -> Iterator[str]:
    with serving(home, []) as address:
        yield address


@pytest.fixture
def remote(address: str, home: Home) -> Iterator[Remote]:
    remote = Remote(address, home.token())
    yield remote
    remote.close()


@pytest.fixture
def call(address: str, home: Home) -> Iterator[Any]:
    """`call("GetStep", request)`: the reply of one method."""
    metadata = (("authorization", f"Bearer {home.token()}"),)
    with grpc.insecure_channel(address) as channel:
        stub: Any = job_service_pb2_grpc.JobServiceStub(channel)  # type: ignore[no-untyped-call]
        yield lambda method, request: getattr(stub, method)(request, metadata=metadata, timeout=20)


def reason(call: Any, method: str, request: Any) -> tuple[str, str]:
    """Code and reason of a call that fails."""
    with pytest.raises(grpc.RpcError) as caught:
        call(method, request)
    status = rpc_status.from_call(caught.value)
    assert status is not None
    info = error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(info)
    return caught.value.code().name, info.reason  # type: ignore[attr-defined]


@pytest.fixture
def nested(remote: Remote, tmp_path: Path) -> str:
    """A pipeline with a sub-pipeline."""
    document = write_pipeline(tmp_path / "work")
    inner = {"type": "pipeline", "jobs": {"weigh": {"type": "command", "compute": "local", "command": "true"}}}
    document["jobs"]["sub"] = {"type": "pipeline", "component": inner}
    return remote.create(document, name="dawn").name


def test_a_step_is_found_by_its_key(call: Any, nested: str) -> None:
    step = call("GetStep", step_pb2.GetStepRequest(name="jobs/dawn/steps/sub--weigh"))
    assert (step.name, step.key) == ("jobs/dawn/steps/sub--weigh", "sub/weigh")
    assert (step.job.name, step.job.step) == ("jobs/dawn--sub--weigh", step.name)
    assert step.job.status == job_pb2.JOB_STATUS_NOT_STARTED
    assert reason(call, "GetStep", step_pb2.GetStepRequest(name="jobs/dawn/steps/sub")) == (
        "NOT_FOUND",
        "JOB_NOT_FOUND",
    )
    wrong = step_pb2.GetStepRequest(name="jobs/dawn")
    assert reason(call, "GetStep", wrong) == ("INVALID_ARGUMENT", "ARGUMENT_INVALID")


def test_steps_are_paged_in_the_order_of_the_file(call: Any, nested: str) -> None:
    keys: list[str] = []
    token = ""
    while True:
        page = call("ListSteps", step_pb2.ListStepsRequest(parent="jobs/dawn", page_size=2, page_token=token))
        keys += [step.key for step in page.steps]
        if not (token := page.next_page_token):
            break
    assert keys == ["sift", "count", "sub/weigh"]
    assert call("ListSteps", step_pb2.ListStepsRequest(parent="jobs/dawn--sift")).steps == []


def test_a_graph_is_asked_for_by_its_name(call: Any, nested: str) -> None:
    graph = call("GetJobGraph", step_pb2.GetJobGraphRequest(name="jobs/dawn/graph"))
    assert [step.key for step in graph.steps] == ["sift", "count", "sub/weigh"]
    wrong = step_pb2.GetJobGraphRequest(name="jobs/dawn")
    assert reason(call, "GetJobGraph", wrong) == ("INVALID_ARGUMENT", "ARGUMENT_INVALID")


def test_an_update_that_says_nothing_is_refused(call: Any, nested: str) -> None:
    request = job_service_pb2.UpdateJobRequest(name="jobs/dawn")
    assert reason(call, "UpdateJob", request) == ("INVALID_ARGUMENT", "ARGUMENT_INVALID")
    request.removed_tags.append("a")
    assert call("UpdateJob", request).name == "jobs/dawn"


def test_pages_of_the_newest_are_not_disturbed_by_what_is_added(call: Any, remote: Remote, tmp_path: Path) -> None:
    cargo = Asset(kind="data", name="cargo", version="", type="uri_folder", path=str(tmp_path))
    for _ in range(5):
        remote.create_asset(cargo)
    request = asset_pb2.ListAssetsRequest(kind=asset_pb2.ASSET_KIND_DATA, asset_id="cargo", page_size=2)
    seen: list[str] = []
    while True:
        page = call("ListAssets", request)
        seen += [asset.name for asset in page.assets]
        remote.create_asset(cargo)
        request.page_token = page.next_page_token
        if not request.page_token:
            break
    assert seen == [f"data/cargo/versions/{number}" for number in (5, 4, 3, 2, 1)]
    request.page_token = call("ListAssets", request).next_page_token
    request.asset_id = "other"
    assert reason(call, "ListAssets", request) == ("INVALID_ARGUMENT", "ARGUMENT_INVALID")


def test_asking_for_an_experiment_does_not_make_it(call: Any, remote: Remote) -> None:
    request = experiment_pb2.GetExperimentRequest(name="experiments/tides")
    assert reason(call, "GetExperiment", request) == ("NOT_FOUND", "EXPERIMENT_NOT_FOUND")
    remote.experiment("tides")
    assert call("GetExperiment", request).name == "experiments/tides"
