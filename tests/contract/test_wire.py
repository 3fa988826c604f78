"""The shape of `runner.api.v1`, walked by its descriptors; and entities that come back from the wire unchanged."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from hypothesis import given
from hypothesis import strategies as st

from runner.api import names as resources
from runner.api import wire, wire_assets, wire_steps
from runner.api.v1 import (
    asset_pb2,
    error_reason_pb2,
    event_pb2,
    experiment_pb2,
    failure_pb2,
    job_pb2,
    job_service_pb2,
    list_view_pb2,
    published_pb2,
    step_pb2,
)
from runner.entity.asset import Asset, ExperimentState, PublishedState, PublishedStatus
from runner.entity.failure import FailureRow
from runner.entity.job import Event, JobError, JobState, OutputState, Progress
from runner.entity.page import LogFile
from runner.entity.pipeline import PipelineSpec, PromotedOutput, StepSource, StepSpec
from runner.entity.status import FailureClass, JobStatus
from runner.errors import ArgumentInvalid

MODULES = (
    job_service_pb2,
    job_pb2,
    step_pb2,
    event_pb2,
    failure_pb2,
    asset_pb2,
    published_pb2,
    experiment_pb2,
    list_view_pb2,
    error_reason_pb2,
)
FILES = [module.DESCRIPTOR for module in MODULES]
PROTOS = Path(__file__).parents[2] / "protos"
SERVICE = job_service_pb2.DESCRIPTOR.services_by_name["JobService"]


def messages() -> Iterator[Descriptor]:
    for file in FILES:
        yield from file.message_types_by_name.values()


def fields() -> Iterator[FieldDescriptor]:
    for message in messages():
        yield from message.fields


def test_every_file_is_walked() -> None:
    assert {file.name for file in FILES} == {str(path.relative_to(PROTOS)) for path in PROTOS.rglob("*.proto")}


def test_the_path_of_each_file_is_its_package() -> None:
    for file in FILES:
        assert file.package == "runner.api.v1"
        assert file.name.startswith("runner/api/v1/")
        assert (PROTOS / file.name).is_file()


def test_the_zero_of_every_enum_says_nothing_and_values_have_its_prefix() -> None:
    for file in FILES:
        for enum in file.enum_types_by_name.values():
            prefix = re.sub(r"(?<!^)(?=[A-Z])", "_", enum.name).upper()
            assert enum.values_by_number[0].name == f"{prefix}_UNSPECIFIED"
            assert all(value.name.startswith(f"{prefix}_") for value in enum.values)


def test_no_enum_stands_inside_a_message() -> None:
    assert not [enum.full_name for message in messages() for enum in message.enum_types]


def test_integers_are_signed_and_units_are_suffixes() -> None:
    unsigned = {FieldDescriptor.CPPTYPE_UINT32, FieldDescriptor.CPPTYPE_UINT64}
    for field in fields():
        assert field.cpp_type not in unsigned, field.full_name
        if field.message_type is not None and field.message_type.full_name == "google.protobuf.Timestamp":
            assert field.name.endswith("_time"), field.full_name
        if field.message_type is not None and field.message_type.full_name == "google.protobuf.Duration":
            assert field.name.endswith("_duration"), field.full_name


def test_names_of_fields_are_lower_snake_case() -> None:
    for field in fields():
        assert re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", field.name), field.full_name


def test_every_list_is_paged_and_is_no_stream() -> None:
    listing = [method for method in SERVICE.methods if method.name.startswith("List")]
    assert listing
    for method in listing:
        asked, told = method.input_type, method.output_type
        assert {"page_size", "page_token"} <= set(asked.fields_by_name), method.name
        assert "next_page_token" in told.fields_by_name, method.name
        assert told.fields[0].number == 1
        assert told.fields[0].is_repeated, f"{method.name}: the results are field 1"
        assert not method.server_streaming


def test_requests_are_named_after_their_methods_and_only_watch_and_read_stream() -> None:
    for method in SERVICE.methods:
        assert method.input_type.name == f"{method.name}Request"
        assert method.server_streaming == method.name.startswith(("Watch", "Read"))
        assert not method.client_streaming


def test_a_resource_begins_with_its_name() -> None:
    for name in ("Job", "Event", "Output", "LogFile", "Step", "JobGraph", "Asset", "PublishedPipeline", "Experiment"):
        found = next(message for message in messages() if message.name == name)
        assert (found.fields[0].name, found.fields[0].number) == ("name", 1)


@pytest.mark.parametrize("path", [file.name for file in FILES])
def test_every_element_has_a_comment(path: str) -> None:
    said, bare = False, []
    for number, line in enumerate((PROTOS / path).read_text().splitlines(), 1):
        text = line.strip()
        if text.startswith("//"):
            said = True
            continue
        if re.match(r"(service|message|enum|rpc) ", text) or re.search(r" = \d+;", text):
            bare += [] if said else [f"{path}:{number}: {text}"]
        said = False
    assert not bare


def test_comments_of_methods_name_the_codes_they_may_return() -> None:
    text = (PROTOS / "runner/api/v1/job_service.proto").read_text()
    reasons = set(re.findall(r"`([A-Z]+(?:_[A-Z]+)+)`", text))
    known = {key.removeprefix("ERROR_REASON_") for key in error_reason_pb2.ErrorReason.DESCRIPTOR.values_by_name}
    codes = {"INVALID_ARGUMENT", "ALREADY_EXISTS", "FAILED_PRECONDITION", "NOT_FOUND", "OUT_OF_RANGE"}
    codes |= {"RESOURCE_EXHAUSTED", "DATA_LOSS", *job_pb2.JobStatus.DESCRIPTOR.values_by_name}
    assert reasons <= known | codes
    for method in SERVICE.methods:
        before = text.split(f"  rpc {method.name}(")[0]
        asks_of_one = {"name", "parent"} & set(method.input_type.fields_by_name)
        assert ("`NOT_FOUND`" if asks_of_one else "`INVALID_ARGUMENT`") in before[before.rindex("\n\n") :], method.name


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
names = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,30}", fullmatch=True)
counts = st.integers(0, 2**62)
times = st.integers(0, 4_000_000_000_000_000).map(lambda micros: micros / 1e6)
maybe_times = st.none() | times
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
progress = st.builds(
    Progress,
    item_count=st.none() | counts,
    failed_item_count=counts,
    done_item_count=counts,
    mini_batch_count=st.none() | counts,
    done_mini_batch_count=counts,
    failed_mini_batch_count=counts,
    failed_by_class=st.dictionaries(st.sampled_from(["crash", "read"]), counts),
    first_failures=st.dictionaries(st.sampled_from(["crash", "read"]), st.text(max_size=9)),
    instance_count=st.integers(0, 1000),
    worker_count=st.integers(0, 1000),
)
keys = st.from_regex(r"[a-z_][a-z0-9_]{0,9}(/[a-z_][a-z0-9_]{0,9})?", fullmatch=True)
tags = st.dictionaries(texts, texts, max_size=3)
documents = st.dictionaries(texts, values, max_size=4)
jobs = st.builds(
    JobState,
    name=names,
    type=st.just("parallel"),
    status=st.sampled_from(list(JobStatus)),
    run_number=st.integers(1, 9),
    display_name=texts,
    description=texts,
    experiment_name=texts,
    tags=tags,
    properties=tags,
    document=documents,
    create_time=times,
    start_time=maybe_times,
    end_time=maybe_times,
    heartbeat_time=maybe_times,
    host=texts,
    driver_pid=st.integers(0, 2**22),
    created_by=texts,
    message=texts,
    progress=progress,
    outputs=st.lists(st.builds(OutputState, name=names, type=texts, path=texts), max_size=2).map(tuple),
    error=st.none()
    | st.builds(
        JobError, reason=st.just("INIT_FAILED"), message=texts, traceback=texts, exit_code=st.sampled_from([1, 2])
    ),
    studio_url=texts,
    revision=counts,
    is_archived=st.booleans(),
    reused_from=st.just("") | names,
    reuse_reason=texts,
)
steps = st.builds(lambda job, parent, key: replace(job, parent=parent, step=key), jobs, names, keys)


@given(jobs | steps)
def test_a_job_comes_back_from_the_wire_as_it_went(job: JobState) -> None:
    sent = wire.job_to_wire(job).SerializeToString()
    assert wire.job_from_wire(job_pb2.Job.FromString(sent)) == job


@given(names, st.builds(Event, time=times, status=st.sampled_from(list(JobStatus)), message=texts))
def test_an_event_comes_back_from_the_wire_as_it_went(name: str, event: Event) -> None:
    assert wire.event_from_wire(wire.event_to_wire(name, 1, event)) == event


@given(steps)
def test_a_step_comes_back_from_the_wire_as_it_went(step: JobState) -> None:
    sent = wire_steps.step_to_wire(step)
    assert wire_steps.step_from_wire(step_pb2.Step.FromString(sent.SerializeToString())) == step
    assert resources.parse_step_name(sent.name) == (step.parent, step.step)


sources = st.builds(StepSource, input=texts, step=keys, output=texts, is_optional=st.booleans())
plans = st.builds(
    StepSpec,
    key=keys,
    job=names,
    type=st.sampled_from(["command", "parallel"]),
    document=documents,
    code=texts,
    component=texts,
    sources=st.lists(sources, max_size=2).map(tuple),
    depends_on=st.lists(keys, max_size=2).map(tuple),
    is_deterministic=st.booleans(),
)
graphs = st.builds(
    PipelineSpec,
    name=names,
    experiment_name=texts,
    steps=st.lists(plans, max_size=2).map(tuple),
    outputs=st.lists(st.builds(PromotedOutput, name=texts, type=texts, step=keys, output=texts), max_size=2).map(tuple),
    continue_on_step_failure=st.booleans(),
    force_rerun=st.booleans(),
    max_concurrent_steps=st.none() | st.integers(1, 99),
    overwrite=st.booleans(),
    notices=st.lists(texts, max_size=2).map(tuple),
    literals=documents,
)


@given(graphs)
def test_a_graph_comes_back_from_the_wire_as_it_went(spec: PipelineSpec) -> None:
    sent = wire_steps.graph_to_wire(spec).SerializeToString()
    assert wire_steps.graph_from_wire(step_pb2.JobGraph.FromString(sent)) == spec


assets = st.builds(
    Asset,
    kind=st.sampled_from(["data", "component"]),
    name=names,
    version=names,
    type=texts,
    path=texts,
    document=documents,
    description=texts,
    tags=tags,
    job=st.just("") | names,
    create_time=times,
)


@given(assets)
def test_an_asset_comes_back_from_the_wire_as_it_went(asset: Asset) -> None:
    sent = wire_assets.asset_to_wire(asset).SerializeToString()
    assert wire_assets.asset_from_wire(asset_pb2.Asset.FromString(sent)) == asset


published = st.builds(
    PublishedState,
    id=names,
    name=texts,
    description=texts,
    version=texts,
    status=st.sampled_from(list(PublishedStatus)),
    document=documents,
    job=st.just("") | names,
    continue_on_step_failure=st.sampled_from([None, True, False]),
    create_time=times,
)


@given(published)
def test_a_published_pipeline_comes_back_from_the_wire_as_it_went(state: PublishedState) -> None:
    sent = wire_assets.published_to_wire(state).SerializeToString()
    assert wire_assets.published_from_wire(published_pb2.PublishedPipeline.FromString(sent)) == state


@given(st.builds(ExperimentState, name=names, create_time=times, archived_time=maybe_times, tags=tags))
def test_an_experiment_comes_back_from_the_wire_as_it_went(state: ExperimentState) -> None:
    sent = wire_assets.experiment_to_wire(state).SerializeToString()
    assert wire_assets.experiment_from_wire(experiment_pb2.Experiment.FromString(sent)) == state


@given(st.none() | st.dictionaries(texts, st.none() | texts, min_size=1, max_size=4))
def test_changes_of_tags_come_back_from_the_wire_as_they_went(changes: dict[str, str | None] | None) -> None:
    given_tags, removed = wire.changes_to_wire(changes)
    assert wire.changes_from_wire(given_tags, removed) == changes


@pytest.mark.parametrize("archived", [True, False, None])
def test_a_view_comes_back_from_the_wire_as_it_went(archived: bool | None) -> None:
    assert wire_assets.view_from_request(wire_assets.view_to_wire(archived)) is archived
    assert wire_assets.view_from_request(0) is False


def test_numbers_of_no_kind_and_no_status_are_refused() -> None:
    with pytest.raises(ArgumentInvalid, match="AssetKind"):
        wire_assets.kind_from_request(0)
    with pytest.raises(ArgumentInvalid, match="PublishedPipelineStatus"):
        wire_assets.published_status_from_request(0)
    assert (
        wire_assets.published_from_wire(
            published_pb2.PublishedPipeline(name="publishedPipelines/a", status=99)  # type: ignore[arg-type]
        ).status
        is PublishedStatus.DISABLED
    )


@pytest.mark.parametrize("resource", ["data/a", "data/a/versions/", "model/a/versions/1", "data//versions/1", "a"])
def test_an_asset_name_of_no_known_form_is_refused(resource: str) -> None:
    with pytest.raises(ArgumentInvalid, match="data/NAME/versions/VERSION"):
        resources.parse_asset_name(resource)


failures = st.builds(
    FailureRow,
    mini_batch=counts,
    first_item=counts,
    unit=counts,
    file=texts,
    row=st.none() | counts,
    key=st.none() | texts,
    item_count=counts,
    cls=st.sampled_from(list(FailureClass)),
    exception_type=texts,
    message=texts,
    traceback=texts,
    attempts=st.integers(0, 2**31 - 1),
    instance=texts,
    worker=texts,
    time=times,
    is_open=st.booleans(),
)


@given(failures)
def test_a_failure_comes_back_from_the_wire_as_it_went(row: FailureRow) -> None:
    sent = wire.failure_to_wire(row).SerializeToString()
    assert wire.failure_from_wire(failure_pb2.Failure.FromString(sent)) == row


def test_the_classes_of_failures_are_the_same_on_the_wire() -> None:
    names = [value.name for value in failure_pb2.FailureClass.DESCRIPTOR.values]
    assert {name.removeprefix("FAILURE_CLASS_").lower() for name in names[1:]} == set(FailureClass)
    assert wire.failure_from_wire(failure_pb2.Failure(failure_class=99)).cls is FailureClass.INFRASTRUCTURE  # type: ignore[arg-type]
    with pytest.raises(ArgumentInvalid, match="FailureClass"):
        wire.classes_from_request([0])


def test_a_log_file_comes_back_from_the_wire_with_its_path() -> None:
    log = LogFile(path="user/stdout/node_0/process 0.txt", size_bytes=12)
    assert wire.log_from_wire(wire.log_to_wire("sift", log)) == log


def test_a_status_of_a_newer_service_does_not_break_a_client() -> None:
    assert wire.status_from_wire(99) == JobStatus.RUNNING


@pytest.mark.parametrize("resource", ["", "sift", "jobs/", "job/sift", "jobs/a/b", "steps/a"])
def test_a_resource_name_of_no_known_form_is_refused(resource: str) -> None:
    with pytest.raises(ArgumentInvalid, match="jobs/NAME"):
        resources.parse_job_name(resource)


@pytest.mark.parametrize("resource", ["jobs/a", "jobs/a/logs", "jobs/a/logs/", "jobs//logs/x", "jobs/a/outputs/x"])
def test_a_log_name_of_no_known_form_is_refused(resource: str) -> None:
    with pytest.raises(ArgumentInvalid, match="jobs/NAME/logs/"):
        resources.parse_name(resource, "logs")
