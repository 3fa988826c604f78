"""The keys of a `type: parallel` job: shapes, meanings, defaults. The reference page is made from these tables."""

from __future__ import annotations

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
from runner.spec.shapes import Choice, Key, ListOf, MapOf, Number, Table, Whole, anything, flag, free_text, spelt, text
from runner.spec.sizes import byte_count, mini_batch_text

KIND = "parallel"
THRESHOLD = Whole(low=-1)
LOGGING_LEVEL = Choice(("DEBUG", "INFO", "WARNING"))
LATER = {
    "infer": "types of CSV columns",
}
"""Keys of `runner:` that are known and mean something this version cannot do; refused, never ignored."""


def later(what: str) -> Any:
    """The shape of a key whose function is not here yet."""

    def refuse(value: Any, at: Path, found: Findings) -> Any:
        return found.problem(at, f"({what}) is not supported by this version", "leave it out")

    return refuse


def entry_script(value: Any, at: Path, found: Findings) -> Any:
    script = text(value, at, found)
    return script.strip() if script else None


_TASK_ELSEWHERE = dict.fromkeys(("code", "entry_script", "program_arguments", "environment", "append_row_to"), "task")
_RETRY_ELSEWHERE = dict.fromkeys(("max_retries", "timeout"), "retry_settings")

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
_COLUMNS = ListOf(text, "[id, price]")
RUNNER = Table(
    keys={
        "mini_batch_format": Key(Choice(("pandas", "arrow", "numpy", "polars")), "what run() gets", "pandas"),
        "columns": Key(_COLUMNS, "the columns that are read", "all"),
        "frame_types": Key(Choice(("numpy", "arrow")), "what pandas frames hold their columns in", "numpy"),
        "output_format": Key(Choice(("text", "csv", "jsonl", "parquet", "ipc")), "how results are written", "text"),
        "compression": Key(Choice(("none", "gzip", "zstd")), "of what is written", "none"),
        "keep_columns": Key(_COLUMNS, "input columns written in front of what run() returns"),
        "path_column": Key(text, "a column of a table that tells the file of each row"),
        "partition_by": Key(_COLUMNS, "columns whose values name the folders of the output"),
        "part_size": Key(byte_count, "about the size of one file of an output folder", "128mb"),
        "limit": Key(Whole(low=1), "only so many mini-batches are run, the first ones: a trial", "all"),
        "memory": Key(byte_count, "of one worker"),
        "bisect": Key(flag, "find the items that make a mini-batch fail", "false"),
        "writable": Key(flag, "whether arrow and numpy mini-batches may be written to", "false"),
        "speculate": Key(flag, "whether slow work may be lent twice", "true with `append_row_to`, else false"),
        "gpus_per_worker": Key(Number(low=0, closed=True), "GPUs of one worker; fractions share one", "0"),
        "overwrite": OVERWRITE,
        "depends_on": DEPENDS_ON,
        **PIPELINE_ONLY,
        **{name: Key(later(what), what) for name, what in LATER.items()},
    },
)
JOB = Table(
    keys={
        "type": Key(Choice((KIND,), fold=True), "`parallel`"),
        **BASE,
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
    elsewhere={**_TASK_ELSEWHERE, **_RETRY_ELSEWHERE, **RESOURCES_ELSEWHERE, **dict.fromkeys(RUNNER.keys, "runner")},
)


def shape_job(values: Mapping[str, Any], found: Findings) -> dict[str, Any]:
    """The document of a parallel job in its final types, empty groups left in."""
    shaped: dict[str, Any] = JOB(values, (), found)
    shaped["type"] = KIND
    for name in ("environment_variables", "inputs", "outputs", "properties", "tags"):
        shaped.setdefault(name, {})
    return shaped
