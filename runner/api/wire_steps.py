"""Steps and graphs of pipelines as messages and back."""

from __future__ import annotations

import msgspec

from runner.api.names import graph_name, job_name, parse_graph_name, parse_job_name, step_name
from runner.api.v1 import step_pb2
from runner.api.wire import document_from_wire, job_from_wire, job_to_wire
from runner.entity.job import JobState
from runner.entity.pipeline import PipelineSpec, PromotedOutput, StepSource, StepSpec


def step_to_wire(job: JobState) -> step_pb2.Step:
    """The job of a step as a message."""
    return step_pb2.Step(name=step_name(job.parent, job.step), key=job.step, job=job_to_wire(job))


def step_from_wire(message: step_pb2.Step) -> JobState:
    """A message as the job of a step."""
    return job_from_wire(message.job)


def graph_to_wire(spec: PipelineSpec) -> step_pb2.JobGraph:
    """A pipeline as a message."""
    return step_pb2.JobGraph(
        name=graph_name(spec.name),
        experiment_name=spec.experiment_name,
        steps=map(_step_to_wire, spec.steps),
        outputs=(
            step_pb2.PromotedOutput(name=one.name, type=one.type, step=one.step, output=one.output)
            for one in spec.outputs
        ),
        continue_on_step_failure=spec.continue_on_step_failure,
        force_rerun=spec.force_rerun,
        max_concurrent_steps=spec.max_concurrent_steps,
        overwrite=spec.overwrite,
        notices=spec.notices,
        literals=_text(spec.literals),
    )


def graph_from_wire(message: step_pb2.JobGraph) -> PipelineSpec:
    """A message as a pipeline."""
    return PipelineSpec(
        name=parse_graph_name(message.name),
        experiment_name=message.experiment_name,
        steps=tuple(map(_step_from_wire, message.steps)),
        outputs=tuple(
            PromotedOutput(name=one.name, type=one.type, step=one.step, output=one.output) for one in message.outputs
        ),
        continue_on_step_failure=message.continue_on_step_failure,
        force_rerun=message.force_rerun,
        max_concurrent_steps=message.max_concurrent_steps if message.HasField("max_concurrent_steps") else None,
        overwrite=message.overwrite,
        notices=tuple(message.notices),
        literals=document_from_wire(message.literals),
    )


def _step_to_wire(step: StepSpec) -> step_pb2.GraphStep:
    return step_pb2.GraphStep(
        key=step.key,
        job=job_name(step.job),
        type=step.type,
        document=_text(step.document),
        code=step.code,
        component=step.component,
        sources=(
            step_pb2.StepSource(input=one.input, step=one.step, output=one.output, is_optional=one.is_optional)
            for one in step.sources
        ),
        depends_on=step.depends_on,
        is_deterministic=step.is_deterministic,
    )


def _step_from_wire(message: step_pb2.GraphStep) -> StepSpec:
    return StepSpec(
        key=message.key,
        job=parse_job_name(message.job),
        type="parallel" if message.type == "parallel" else "command",
        document=document_from_wire(message.document),
        code=message.code,
        component=message.component,
        sources=tuple(
            StepSource(input=one.input, step=one.step, output=one.output, is_optional=one.is_optional)
            for one in message.sources
        ),
        depends_on=tuple(message.depends_on),
        is_deterministic=message.is_deterministic,
    )


def _text(value: object) -> str:
    return msgspec.json.encode(value).decode()
