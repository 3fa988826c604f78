"""The keys of a `type: command` job: shapes, meanings, defaults. The reference page is made from these tables."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from runner.spec.findings import Findings, Path
from runner.spec.job_schema import (
    BASE,
    DEPENDS_ON,
    OVERWRITE,
    PIPELINE_ONLY,
    READ_ONLY,
    RESOURCES,
    RESOURCES_ELSEWHERE,
    SECONDS,
    environment,
)
from runner.spec.shapes import (
    Choice,
    Key,
    ListOf,
    MapOf,
    Number,
    Shape,
    Table,
    Whole,
    anything,
    flag,
    free_text,
    kind_of,
    one_of,
    spelt,
    text,
)

KIND = "command"
VARIABLE = re.compile(r"[^=\0]+")
PROCESSES = Key(Whole(low=1), "processes on each instance", "1")
DISTRIBUTIONS: Mapping[str, Table] = {
    "pytorch": Table(keys={"type": Key(anything, "`pytorch`"), "process_count_per_instance": PROCESSES}),
    "mpi": Table(keys={"type": Key(anything, "`mpi`"), "process_count_per_instance": PROCESSES}),
    "tensorflow": Table(
        keys={
            "type": Key(anything, "`tensorflow`"),
            "worker_count": Key(Whole(low=1), "processes that work", "instance_count"),
            "parameter_server_count": Key(Whole(low=0), "processes that hold parameters", "0"),
        },
    ),
    "ray": Table(
        keys={
            "type": Key(anything, "`ray`"),
            "port": Key(Whole(low=1, high=65535), "of the head"),
            "address": Key(text, "of a cluster that is there already"),
            "include_dashboard": Key(flag, "whether the head serves its pages", "false"),
            "dashboard_port": Key(Whole(low=1, high=65535), "of those pages"),
            "head_node_additional_args": Key(free_text, "more words for the head's `ray start`"),
            "worker_node_additional_args": Key(free_text, "more words for the others' `ray start`"),
        },
    ),
}


def by_type(tables: Mapping[str, Table]) -> Shape:
    """The shape of a mapping whose `type` says which table its keys are from."""
    choice = Choice(tuple(tables), fold=True)

    def check(value: Any, at: Path, found: Findings) -> Any:
        if not isinstance(value, Mapping):
            return found.problem(at, f"is {kind_of(value)}, not a mapping", "write `type:` below it")
        if value.get("type") is None:
            return found.problem(at, "has no type", f"write `type:` below it, {one_of(choice.words)}")
        kind = choice(value["type"], (*at, "type"), found)
        if kind is None:
            return None
        defaults = {"parameter_server_count": 0} if kind == "tensorflow" else {}
        return {**defaults, **tables[kind](value, at, found), "type": kind}

    return check


LIMITS = Table(
    keys={"timeout": Key(SECONDS, "seconds that the command may run; then it is stopped and the job fails")},
)
QUEUE_SETTINGS = Table(
    keys={
        "job_tier": Key(Choice(("null", "spot", "basic", "standard", "premium"), fold=True), "kept, no effect"),
        "priority": Key(Choice(("low", "medium", "high"), fold=True), "kept, no effect"),
    },
)
RETRY_SETTINGS = Table(
    keys={"max_retries": Key(Whole(low=0), "tries after the first one", "0")},
    elsewhere={"timeout": "limits"},
)
RUNNER = Table(
    keys={
        "retry_settings": Key(RETRY_SETTINGS, "`max_retries`: how often a command that failed is tried again"),
        "cancel_grace": Key(
            Number(low=0, closed=True, high=86_400), "seconds between SIGTERM and SIGKILL on a cancel or time-out", "30"
        ),
        "gpus_per_worker": Key(Number(low=0, closed=True), "GPUs of each process", "0"),
        "overwrite": OVERWRITE,
        "depends_on": DEPENDS_ON,
        **PIPELINE_ONLY,
    },
    elsewhere={"timeout": "limits", "max_retries": "retry_settings"},
)
COMMAND = Table(
    keys={
        "type": Key(Choice((KIND,), fold=True), "`command`; may be left out", "command"),
        **BASE,
        "command": Key(free_text, "what bash runs; bindings are put in as they are, without quotes"),
        "code": Key(text, "the folder whose copy the command runs in", "an empty folder"),
        "additional_includes": Key(ListOf(text, "[../shared]", some=False), "more files and folders, put beside code"),
        "environment": Key(
            environment, "kept; one that is not configured means this machine, with the Python that runs the runner"
        ),
        "environment_variables": Key(MapOf(spelt, '`NAME: "text"`', VARIABLE), "of the command; may hold bindings"),
        "distribution": Key(by_type(DISTRIBUTIONS), "several processes that know of each other"),
        "resources": Key(RESOURCES, "what it runs on"),
        "limits": Key(LIMITS, "`timeout`: seconds that the command may run", "none"),
        "queue_settings": Key(QUEUE_SETTINGS, "kept, no effect"),
        "parameters": Key(
            MapOf(anything, "`name: value`", nullable=True), "what the command has logged; passed through"
        ),
        "runner": Key(RUNNER, "extensions of this runner"),
    },
    ignored=READ_ONLY | {"parent_job_name"},
    elsewhere={
        **RESOURCES_ELSEWHERE,
        "docker_args": "resources",
        "timeout": "limits",
        "process_count_per_instance": "distribution",
        "worker_count": "distribution",
        "parameter_server_count": "distribution",
        "job_tier": "queue_settings",
        "priority": "queue_settings",
        **dict.fromkeys(RUNNER.keys, "runner"),
    },
)


def shape_command(values: Mapping[str, Any], found: Findings) -> dict[str, Any]:
    """The document of a command in its final types, empty groups left in."""
    shaped: dict[str, Any] = COMMAND(values, (), found)
    shaped["type"] = KIND
    for name in ("environment_variables", "inputs", "outputs", "parameters", "properties", "tags"):
        shaped.setdefault(name, {})
    return shaped
