"""A parallel job with everything resolved: what driver, instance and worker are given, stored beside the plan as JSON.

Nothing here refers to the YAML any more: paths are absolute, bindings are substituted, defaults are in.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

from runner.entity.table import TableOptions

SizeKind = Literal["files", "bytes", "rows"]
MiniBatchFormat = Literal["pandas", "arrow", "numpy", "polars"]
OutputFormat = Literal["text", "csv", "jsonl", "parquet", "ipc"]

CANCEL_GRACE_S = 30.0
"""How long calls that are under way, and `shutdown()` after them, may take when a job is cancelled or has failed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitInput:
    """One input whose data is cut into mini-batches."""

    name: str
    kind: Literal["table", "files"]
    path: str
    table: TableOptions = field(default_factory=TableOptions)


@dataclass(frozen=True, slots=True, kw_only=True)
class MiniBatchSize:
    """How much one `run()` gets: so many files, source bytes, or rows; `value` is at least 1."""

    kind: SizeKind
    value: int


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputSpec:
    """Where and how what `run` returned is published (`append_row_to`); absent means summary only."""

    name: str
    target: str
    is_folder: bool
    format: OutputFormat = "text"
    file_name: str = "parallel_run_step.txt"
    """For text in a folder: the one file the rows are aggregated in."""
    frame_header: bool = False
    """`--append_row_dataframe_header`: one header line, from the first mini-batch in order that returned a frame."""
    to_csv: dict[str, object] = field(default_factory=dict)
    """Keyword arguments of `DataFrame.to_csv` from `parallel_run_step.settings.json`."""
    keep_columns: tuple[str, ...] = ()
    part_size_bytes: int = 128 * 1024 * 1024
    compression: str = "none"
    partition_by: tuple[str, ...] = ()
    """Columns whose values name the folders `name=value` that rows are published in."""
    overwrite: bool = False

    @property
    def staged(self) -> OutputSpec:
        """How parts are written before they are published: rows that are still to go to folders keep their types."""
        return replace(self, format="ipc", compression="none", partition_by=()) if self.partition_by else self


@dataclass(frozen=True, slots=True, kw_only=True)
class ParallelSpec:
    """Everything that running a parallel job needs. Times are seconds; -1 in a threshold ignores it."""

    name: str
    entry_script: str
    """As written: a path relative to the code folder, or a dotted module."""
    code: str | None
    """Absolute path of the snapshot of the code folder; None when the job has none."""
    argv: tuple[str, ...] = ()
    """`sys.argv[1:]` of the entry script: the program arguments, split and substituted."""
    environment_variables: dict[str, str] = field(default_factory=dict)
    inputs: tuple[SplitInput, ...]
    columns: tuple[str, ...] | None = None
    mini_batch_size: MiniBatchSize
    partition_keys: tuple[str, ...] = ()
    mini_batch_format: MiniBatchFormat = "pandas"
    frame_types: Literal["numpy", "arrow"] = "numpy"
    writable: bool = False
    worker_count: int | None = None
    """Workers of one instance; None means the cores of the node."""
    instance_count: int = 1
    gpus_per_worker: float = 0.0
    max_retries: int = 2
    timeout_s: float = 60.0
    task_overhead_timeout_s: float = 30.0
    progress_update_timeout_s: float | None = None
    """None means tries x (timeout + task overhead) + the limit of init()."""
    first_task_creation_timeout_s: float = 600.0
    error_threshold: int = -1
    mini_batch_error_threshold: int = -1
    allowed_failed_percent: float = 100.0
    logging_level: Literal["DEBUG", "INFO", "WARNING"] = "INFO"
    output: OutputSpec | None = None
    side_outputs: dict[str, str] = field(default_factory=dict)
    """Folders made at the start, by output name: what the script writes there is its own."""
    bisect: bool = False
    speculate: bool | None = None
    memory_bytes: int | None = None
    limit: int | None = None
    """Only so many mini-batches, the first ones, are run: a trial."""
    compute: Literal["local", "ray"] = "ray"
    ray_address: str | None = None
    """A configured cluster; None means the embedded Ray of this RUNNER_HOME."""
    cancel_grace_s: float = CANCEL_GRACE_S
    notices: tuple[str, ...] = ()
    """What fell back to a default and must be said once (environment, compute name)."""

    @property
    def init_timeout_s(self) -> float:
        """How long `init()` may take before it counts as failed."""
        return 3 * self.timeout_s + 30

    @property
    def progress_limit_s(self) -> float:
        """Seconds without any ended attempt after which the job fails."""
        if self.progress_update_timeout_s is not None:
            return self.progress_update_timeout_s
        return (self.max_retries + 1) * (self.timeout_s + self.task_overhead_timeout_s) + self.init_timeout_s
