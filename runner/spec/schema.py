"""The keys of a `type: parallel` job: shapes, meanings, defaults. The reference page is made from these tables."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from runner.spec.data_shapes import NAME, input_shape, output_shape
from runner.spec.findings import Findings, Path
from runner.spec.shapes import (
    Choice,
    Key,
    ListOf,
    MapOf,
    Number,
    Table,
    Whole,
    anything,
    flag,
    free_text,
    kind_of,
    spelt,
    text,
)
from runner.spec.sizes import byte_count, mini_batch_text

KIND = "parallel"
LONGEST_S = 259_200
READ_ONLY = frozenset({"$schema", "id", "status", "creation_context", "log_files", "studio_url", "base_path"})
OTHER_KINDS = ("command", "pipeline", "sweep", "spark", "automl", "import", "finetuning", "distillation")
JOB_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
SECONDS = Number(low=0, high=LONGEST_S)
THRESHOLD = Whole(low=-1)
LOGGING_LEVEL = Choice(("DEBUG", "INFO", "WARNING"))
LATER = {
    "partition_by": "published in folders by key",
    "infer": "types of CSV columns",
    "depends_on": "steps of a pipeline",
    "max_concurrent_steps": "steps of a pipeline",
}
"""Keys of `runner:` that are known and mean something this version cannot do; refused, never ignored."""


def job_name(value: Any, at: Path, found: Findings) -> Any:
    """A name that is also a folder's; `--` is kept for the steps of pipelines."""
    if isinstance(value, str) and JOB_NAME.fullmatch(value) and "--" not in value:
        return value
    remedy = "use letters, digits, `.`, `_` and single `-`, beginning with a letter or digit, at most 128 of them"
    return found.problem(at, f"is {kind_of(value)}, which cannot name a job", remedy)


def compute_name(value: Any, at: Path, found: Findings) -> Any:
    """`foo` and `azureml:foo` are the same name."""
    name = text(value, at, found)
    return name.removeprefix("azureml:") if name else None


def environment(value: Any, at: Path, found: Findings) -> Any:
    """A reference, or a mapping that describes one; kept as it is."""
    if isinstance(value, str | Mapping):
        return text(value, at, found) if isinstance(value, str) else _ENVIRONMENT(value, at, found)
    remedy = "write `azureml:<name>:<version>`, or a mapping with image or conda_file"
    return found.problem(at, f"is {kind_of(value)}", remedy)


def later(what: str) -> Any:
    """The shape of a key whose function is not here yet."""

    def refuse(value: Any, at: Path, found: Findings) -> Any:
        return found.problem(at, f"({what}) is not supported by this version", "leave it out")

    return refuse


def identity(value: Any, at: Path, found: Findings) -> Any:
    shaped = _IDENTITY(value, at, found)
    if shaped is not None and "type" not in shaped and found.is_clean(*at):
        return found.problem(at, "has no type", "write `type: managed`, `aml_token` or `user_identity` below it")
    if shaped is not None:
        found.notice(at, "is kept but has no effect: the job runs as the user who runs the runner")
    return shaped


def shm_size(value: Any, at: Path, found: Findings) -> Any:
    if isinstance(value, str) and re.fullmatch(r"\s*\d+(\.\d+)?\s*[bkmg]\s*", value, re.IGNORECASE):
        return value
    return found.problem(at, f"is {kind_of(value)}", "write a number with b, k, m or g, such as `2g`")


def services(value: Any, at: Path, found: Findings) -> Any:
    shaped = MapOf(anything, "`name: {type: ...}`")(value, at, found)
    if shaped:
        found.notice(at, "are kept but not started")
    return shaped


def entry_script(value: Any, at: Path, found: Findings) -> Any:
    script = text(value, at, found)
    return script.strip() if script else None


def tag(value: Any, at: Path, found: Findings) -> Any:
    return "" if value is None else spelt(value, at, found)


_ENVIRONMENT_KEYS = (
    "name",
    "version",
    "label",
    "image",
    "conda_file",
    "build",
    "description",
    "tags",
    "properties",
    "os_type",
    "inference_config",
    "latest_version",
)
_ENVIRONMENT = Table(
    keys={name: Key(anything, "kept as it is") for name in _ENVIRONMENT_KEYS},
    ignored=frozenset({"$schema", "id", "creation_context"}),
)
_IDENTITY = Table(
    keys={
        "type": Key(
            Choice(("managed", "managed_identity", "aml_token", "amltoken", "user_identity"), fold=True),
            "whose identity",
        ),
        **{
            name: Key(anything, "kept as it is")
            for name in ("client_id", "object_id", "resource_id", "msi_resource_id")
        },
    },
)
_TASK_ELSEWHERE = dict.fromkeys(("code", "entry_script", "program_arguments", "environment", "append_row_to"), "task")
_RETRY_ELSEWHERE = dict.fromkeys(("max_retries", "timeout"), "retry_settings")
_RESOURCES_ELSEWHERE = dict.fromkeys(("instance_count", "instance_type", "shm_size"), "resources")

TASK = Table(
    keys={
        "type": Key(Choice(("run_function", "function", "model"), fold=True), "`run_function`", "run_function"),
        "code": Key(text, "the folder that is snapshotted and from which the script is imported"),
        "entry_script": Key(entry_script, "a file below code, or a dotted module"),
        "program_arguments": Key(free_text, "what the script finds in sys.argv; split on white space, no shell"),
        "environment": Key(environment, "kept; one that is not configured means the Python that runs the runner"),
        "append_row_to": Key(free_text, "`${{outputs.<name>}}`: where what run() returns goes; left out: summary only"),
    },
    tolerated={
        "args": "is ignored; write `program_arguments`",
        "model": "is ignored; pass a model as an input",
    },
)
RETRY_SETTINGS = Table(
    keys={
        "max_retries": Key(Whole(low=0), "tries after the first one", "2"),
        "timeout": Key(SECONDS, "seconds that one call of run() may take", "60"),
    },
)
RESOURCES = Table(
    keys={
        "instance_count": Key(Whole(low=1), "nodes", "1"),
        "instance_type": Key(anything, "passed through"),
        "shm_size": Key(shm_size, "passed through"),
        "properties": Key(MapOf(anything, "`name: value`"), "passed through"),
        "max_instance_count": Key(Whole(low=1), "passed through"),
        "locations": Key(ListOf(text, "[westeurope]"), "passed through"),
        "docker_args": Key(anything, "passed through"),
    },
)
_COLUMNS = ListOf(text, "[id, price]")
RUNNER = Table(
    keys={
        "mini_batch_format": Key(Choice(("pandas", "arrow", "numpy", "polars")), "what run() gets", "pandas"),
        "columns": Key(_COLUMNS, "the columns that are read", "all"),
        "frame_types": Key(Choice(("numpy", "arrow")), "what pandas frames hold their columns in", "numpy"),
        "output_format": Key(Choice(("text", "csv", "jsonl", "parquet", "ipc")), "how results are written", "text"),
        "compression": Key(Choice(("none", "gzip", "zstd")), "of what is written", "none"),
        "keep_columns": Key(_COLUMNS, "input columns written in front of what run() returns"),
        "part_size": Key(byte_count, "about the size of one file of an output folder", "128mb"),
        "memory": Key(byte_count, "of one worker"),
        "bisect": Key(flag, "find the items that make a mini-batch fail", "false"),
        "writable": Key(flag, "whether arrow and numpy mini-batches may be written to", "false"),
        "speculate": Key(flag, "whether slow work may be lent twice", "true with `append_row_to`, else false"),
        "gpus_per_worker": Key(Number(low=0, closed=True), "GPUs of one worker; fractions share one", "0"),
        "overwrite": Key(flag, "whether an existing output is replaced", "false"),
        **{name: Key(later(what), what) for name, what in LATER.items()},
    },
)
JOB = Table(
    keys={
        "type": Key(Choice((KIND,), fold=True), "`parallel`"),
        "name": Key(job_name, "of the job; generated when left out"),
        "version": Key(spelt, "passed through"),
        "display_name": Key(text, "for readers", "the name"),
        "description": Key(free_text, "for readers"),
        "tags": Key(MapOf(tag, "`name: text`", nullable=True), "for readers"),
        "properties": Key(MapOf(tag, "`name: text`", nullable=True), "for programs"),
        "experiment_name": Key(text, "what jobs are grouped by", "the current folder's name"),
        "comment": Key(free_text, "passed through"),
        "services": Key(services, "kept, not started"),
        "identity": Key(identity, "kept, no effect"),
        "is_deterministic": Key(flag, "whether results may be reused", "true"),
        "compute": Key(compute_name, "`local`, or a name from the configuration", "Ray"),
        "inputs": Key(MapOf(input_shape, "`name: {type, path}`", NAME), "data and values by name"),
        "outputs": Key(MapOf(output_shape, "`name: {type, path}`", NAME, nullable=True), "where results go, by name"),
        "input_data": Key(anything, "`${{inputs.<name>}}`: the input that is cut into mini-batches"),
        "mini_batch_size": Key(
            mini_batch_text, "files, bytes (`10kb`) or rows (`1000 rows`) for one run()", "1 file, 1mb"
        ),
        "partition_keys": Key(ListOf(text, "[store, brand]"), "one mini-batch for each value of these columns"),
        "max_concurrency_per_instance": Key(Whole(low=1), "worker processes on a node", "its cores"),
        "error_threshold": Key(THRESHOLD, "items that may fail; -1: any number", "-1"),
        "mini_batch_error_threshold": Key(THRESHOLD, "mini-batches that may fail; -1: any number", "-1"),
        "retry_settings": Key(RETRY_SETTINGS, "tries and time-outs"),
        "logging_level": Key(LOGGING_LEVEL, "of the script's root logger", "INFO"),
        "resources": Key(RESOURCES, "what it runs on"),
        "environment_variables": Key(MapOf(spelt, '`NAME: "text"`'), "of the workers"),
        "task": Key(TASK, "the script"),
        "runner": Key(RUNNER, "extensions of this runner"),
    },
    ignored=READ_ONLY,
    tolerated={"output_data": "is ignored; write `append_row_to` below `task:`"},
    elsewhere={**_TASK_ELSEWHERE, **_RETRY_ELSEWHERE, **_RESOURCES_ELSEWHERE, **dict.fromkeys(RUNNER.keys, "runner")},
)


def shape_job(values: Mapping[str, Any], found: Findings) -> dict[str, Any] | None:
    """The document in its final types, empty groups left in; None when it is no parallel job at all."""
    kind = values.get("type")
    word = kind.lower() if isinstance(kind, str) else kind
    if word != KIND:
        where = ("type",) if "type" in values else ()
        if word in OTHER_KINDS:
            found.problem(where, f"is {kind!r}, a kind of job that this version does not run", "write `type: parallel`")
        elif kind is None:
            found.problem(where, "type is missing", "write `type: parallel`")
        else:
            found.problem(where, f"is {kind_of(kind)}, which is no kind of job", "write `type: parallel`")
        return None
    shaped: dict[str, Any] = JOB(values, (), found)
    for name in ("environment_variables", "inputs", "outputs", "properties", "tags"):
        shaped.setdefault(name, {})
    return shaped
