"""One job as `runner show` prints it: how it stands, what it is, and of a pipeline its steps."""

from __future__ import annotations

from collections.abc import Sequence

from runner.cli.render import command_line, summary
from runner.cli.step_tree import counts_line, ends_line
from runner.cli.steps import steps_table
from runner.entity.job import JobState


def portrait(job: JobState, steps: Sequence[JobState] = ()) -> list[str]:
    """All lines but those of its events."""
    head, *rest = summary(job)
    lines = [head, *_names(job)]
    if job.type == "command":
        lines.append(f"  command: {command_line(job)}")
    if job.reused_from:
        lines.append(f"  not run: {job.reuse_reason}; outputs and logs are those of {job.reused_from}")
    elif job.reuse_reason:
        lines.append(f"  {job.reuse_reason}")
    lines += rest
    if job.status != "Completed":
        lines += [f"  output {output.name} (not published): {output.path}" for output in job.outputs]
    if steps:
        lines.append(f"  {ends_line(steps) if job.status.is_terminal else counts_line(steps)}")
        lines += [f"  {line}".rstrip() for line in steps_table(job, steps).splitlines()]
    return lines


def _names(job: JobState) -> list[str]:
    """Everything by which it may be known."""
    said = []
    if job.parent:
        said.append(f"step {job.step} of {job.parent}")
    if job.display_name and job.display_name != job.name:
        said.append(f"display name {job.display_name}")
    if job.experiment_name:
        said.append(f"experiment {job.experiment_name}")
    if job.is_archived:
        said.append("archived")
    lines = [f"  {', '.join(said)}"] if said else []
    if job.description:
        lines.append(f"  {job.description}")
    tags = ", ".join(f"{key}={value}" for key, value in job.tags.items())
    return [*lines, f"  tags {tags}"] if tags else lines
