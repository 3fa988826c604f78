"""What travels between driver and instances: leases out, reports and signs of life back."""

from __future__ import annotations

from dataclasses import dataclass, field

from runner.entity.status import FailureClass


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemRange:
    """Items [first_item, first_item + item_count) of one mini-batch: rows or files, counted within it."""

    mini_batch: int
    first_item: int
    item_count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """Mini-batches [first, end) lent to one instance: by which incarnation of the driver, which copy of the lease."""

    first: int
    end: int
    epoch: int
    lending: int = 0
    ranges: tuple[ItemRange, ...] = ()
    """When not empty, only these items are run, in order of their places: those that an earlier run had set aside."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """The output file of one committed range, in the staging folder; on disk before anything names it."""

    file: str
    size_bytes: int
    sha256: str
    row_count: int
    frame_columns: tuple[str, ...] | None = None
    """Text with a frame header asked for: the columns of the first frame in order, and its mini-batch."""
    frame_mini_batch: int = -1
    schema: str = ""
    """Parquet and IPC: the Arrow schema, serialised and base64 encoded, and the first mini-batch that had it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """Exact counts over final mini-batches."""

    mini_batch_count: int = 0
    failed_mini_batch_count: int = 0
    item_count: int = 0
    failed_item_count: int = 0
    row_count: int = 0
    """Rows or lines returned."""
    failed_by_class: dict[FailureClass, int] = field(default_factory=dict)

    def __add__(self, other: Tally) -> Tally:
        by_class = dict(self.failed_by_class)
        for cls, count in other.failed_by_class.items():
            by_class[cls] = by_class.get(cls, 0) + count
        return Tally(
            mini_batch_count=self.mini_batch_count + other.mini_batch_count,
            failed_mini_batch_count=self.failed_mini_batch_count + other.failed_mini_batch_count,
            item_count=self.item_count + other.item_count,
            failed_item_count=self.failed_item_count + other.failed_item_count,
            row_count=self.row_count + other.row_count,
            failed_by_class=by_class,
        )

    def less(self, other: Tally) -> Tally:
        """What is left without `other`; never below nothing, for counts that are only for display."""
        by_class = {cls: n - other.failed_by_class.get(cls, 0) for cls, n in self.failed_by_class.items()}
        return Tally(
            mini_batch_count=max(self.mini_batch_count - other.mini_batch_count, 0),
            failed_mini_batch_count=max(self.failed_mini_batch_count - other.failed_mini_batch_count, 0),
            item_count=max(self.item_count - other.item_count, 0),
            failed_item_count=max(self.failed_item_count - other.failed_item_count, 0),
            row_count=max(self.row_count - other.row_count, 0),
            failed_by_class={cls: n for cls, n in by_class.items() if n > 0},
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A mini-batch, or items of one that bisecting found, set aside with the cause of the last try."""

    mini_batch: int
    first_item: int = 0
    """Counted within the mini-batch."""
    unit: int
    file: str
    row: int | None
    """First row, 0-based in its file; None for file inputs."""
    key: str | None = None
    item_count: int
    cls: FailureClass
    exception_type: str
    message: str
    traceback: str
    attempts: int
    instance: str
    worker: str
    time: float
    """Seconds since 1970."""
    at_row: int = 0
    at_byte: int = 0
    """Where in the part of its range its rows or lines would stand, had it succeeded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mend:
    """Items of a lease with `ranges` that now succeeded, and how much of the lease's part is theirs, in order."""

    items: ItemRange
    row_count: int
    byte_count: int
    """Of text; 0 for tables."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """An instance says that every mini-batch of [first, end) is final and its part is on disk."""

    instance: int
    first: int
    end: int
    epoch: int
    lending: int
    part: Part | None
    tally: Tally
    failures: tuple[Failure, ...] = ()
    records: bytes = b""
    """RECORD structs of runner.dispatch, one per mini-batch: what processed_mini-batches.csv is made from."""
    elapsed_s: float = 0.0
    mends: tuple[Mend, ...] = ()
    """Only of a lease with `ranges`, whose tally counts just those items."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InFlight:
    """The entry at hand of one worker."""

    worker: str
    phase: str
    mini_batch: int
    running_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseProgress:
    """How far an instance is with one piece of a lease that it has not reported."""

    first: int
    end: int
    final_count: int
    unstarted_count: int
    """Mini-batches that nobody has claimed."""
    is_held: bool = False
    """What is left is a retry, a bisect or one long call: it is never lent twice."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Heartbeat:
    """A sign of life of an instance, about once a second, with live (not yet committed) counts."""

    instance: int
    live: Tally
    """Final mini-batches of open leases; display only."""
    attempt_count: int
    """Attempts ended since the instance began: progress, whatever became of them."""
    worker_count: int
    in_flight: tuple[InFlight, ...] = ()
    leases: tuple[LeaseProgress, ...] = ()
    log_chunks: tuple[tuple[str, bytes], ...] = ()
    """New log text by path relative to the job's logs folder, from an instance that cannot write there itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceReady:
    """The first worker of an instance has imported the script and ended init()."""

    instance: int
    host: str
    pid: int


@dataclass(frozen=True, slots=True, kw_only=True)
class InitFailure:
    """One worker failed to import the script or to end init(). The script's fault, never a mini-batch's."""

    instance: int
    worker: str
    is_import: bool
    """True before the script was imported (exit code 2), False in init() (exit code 1)."""
    what: str
    traceback: str
    ever_ready: bool
    """Whether any worker of this instance has ended init() before."""
    failure_count: int
    """Init failures of this instance so far."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseSplit:
    """An instance divides `lease` into pieces; each will be reported on its own, under the same epoch and lending."""

    instance: int
    lease: Lease
    pieces: tuple[tuple[int, int], ...]
    """Adjacent ranges [first, end) that together are the lease."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseCut:
    """The answer to a retraction: of the piece [first, end) the instance keeps [first, limit) and gives the rest back.

    With `limit == end` it keeps all. No worker of it can begin anything at or behind `limit` any more.
    """

    instance: int
    first: int
    end: int
    epoch: int
    limit: int


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceFailed:
    """The instance cannot go on: shutdown() raised, the disk is full, a defect. `reason` is one of errors.MEANINGS."""

    instance: int
    reason: str
    message: str
    traceback: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceClosed:
    """Every worker has ended (after shutdown() where it was asked for); the instance's last word."""

    instance: int


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceLost:
    """Said by the cluster, not by the instance: its process or its node is gone."""

    instance: int
    what: str


InstanceEvent = (
    Report
    | Heartbeat
    | InstanceReady
    | InitFailure
    | LeaseSplit
    | LeaseCut
    | InstanceFailed
    | InstanceClosed
    | InstanceLost
)


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceConfig:
    """What an instance is told when it begins."""

    instance: int
    spec_json: bytes
    """The ParallelSpec, as msgspec encodes it."""
    plan_path: str
    """Readable by the workers; written before the first lease is lent, perhaps after the instance began."""
    worker_count: int
    scratch: str
    """Local folder for spool and sockets; ledgers go to /dev/shm. Made and removed by the instance."""
    staging: str | None
    """Where parts go; None for summary only."""
    logs: str
    """The job's logs folder, or a local folder whose growth is shipped in heartbeats when `ship_logs`."""
    ship_logs: bool = False
    home: str = ""
    gpu_ids: tuple[str, ...] = ()
    epoch: int = 0
