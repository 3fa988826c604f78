"""The journal: the append-only record of committed leases, and the only truth about what is done.

One record is one line: the CRC-32 of its JSON as eight hex digits, a space, the JSON, a line feed.
The first record is `Begun`; each incarnation of the driver appends `Opened`; each committed lease is one `Committed`.
A run that tries again what earlier ones have set aside appends `Reopened`, and a `Mended` for each lease of that kind:
it stands beside the `Committed` of those mini-batches, which is never changed, and supersedes their failures.
What a record names (part, failures, records) is on disk before the record is.

A crash can tear the last line: it has no line feed then and is cut off.
A complete line that does not match its checksum is damage, and nothing after it can be trusted: JournalDamaged.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO
from zlib import crc32

import msgspec

from runner.dataset.storage import sync_folder
from runner.entity.lease import Part, Tally
from runner.entity.status import FailureClass
from runner.errors import JournalDamaged, StorageFailed

JOURNAL_VERSION = 1


class Begun(msgspec.Struct, frozen=True, tag="begun", tag_field="kind"):
    """The journal belongs to this job and this plan."""

    version: int
    job: str
    fingerprint: str


class Opened(msgspec.Struct, frozen=True, omit_defaults=True, tag="opened", tag_field="kind"):
    """A driver took over; its reports carry this epoch."""

    epoch: int
    time: float
    host: str
    pid: int
    ends: int = 0
    """How often the job had ended as Failed or Canceled by then: an end after this one reopens what was set aside."""


class Schema(msgspec.Struct, frozen=True, tag="schema", tag_field="kind"):
    """A schema that parts refer to by number, so that it is not repeated in every record."""

    number: int
    text: str


class Committed(msgspec.Struct, frozen=True, omit_defaults=True, tag="committed", tag_field="kind"):
    """Mini-batches [first, end) are done; the two `_end` are lengths of the files beside the journal."""

    epoch: int
    first: int
    end: int
    lending: int = 0
    instance: int = 0
    part: str = ""
    size: int = 0
    sha256: str = ""
    rows: int = 0
    schema: int = -1
    schema_mini_batch: int = -1
    frame_columns: tuple[str, ...] | None = None
    items: int = 0
    failed_items: int = 0
    failed: dict[str, int] = {}
    """Failures by class."""
    failed_mini_batches: int = -1
    """Where mini-batches failed item by item; otherwise each failure is one."""
    failures_end: int = 0
    records_end: int = 0

    @property
    def tally(self) -> Tally:
        """The counts of this lease."""
        is_one_each = self.failed_mini_batches < 0
        return Tally(
            mini_batch_count=self.end - self.first,
            failed_mini_batch_count=sum(self.failed.values()) if is_one_each else self.failed_mini_batches,
            item_count=self.items,
            failed_item_count=self.failed_items,
            row_count=self.rows,
            failed_by_class={FailureClass(k): n for k, n in self.failed.items()},
        )


class Reopened(msgspec.Struct, frozen=True, omit_defaults=True, tag="reopened", tag_field="kind"):
    """What is open among the first `failures_end` bytes of the failures is tried again from here on.

    A resume of a job that had ended does that, and a redrive, which brings code of its own and has a number.
    """

    epoch: int
    failures_end: int
    code: str = ""
    number: int = 0


class MendedItems(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Items that now succeeded, how much of the part is theirs, and where in the output before they belong."""

    mini_batch: int
    first_item: int
    item_count: int
    rows: int
    size: int
    at_row: int
    at_byte: int


class Mended(msgspec.Struct, frozen=True, omit_defaults=True, tag="mended", tag_field="kind"):
    """A lease of items that had been set aside is done. It supersedes every failure that its items overlap.

    Its items are `mends` and those of the failures that stand in front of `failures_end`. Counts are differences, to be
    added to those of all records before.
    """

    epoch: int
    first: int
    end: int
    lending: int = 0
    instance: int = 0
    part: str = ""
    size: int = 0
    sha256: str = ""
    rows: int = 0
    schema: int = -1
    schema_mini_batch: int = -1
    frame_columns: tuple[str, ...] | None = None
    mends: tuple[MendedItems, ...] = ()
    failed_items: int = 0
    failed: dict[str, int] = {}
    failed_mini_batches: int = 0
    failures_end: int = 0
    records_end: int = 0

    @property
    def tally(self) -> Tally:
        """What it changes in the counts."""
        return Tally(
            failed_mini_batch_count=self.failed_mini_batches,
            failed_item_count=self.failed_items,
            row_count=self.rows,
            failed_by_class={FailureClass(k): n for k, n in self.failed.items()},
        )


Record = Begun | Opened | Schema | Committed | Reopened | Mended
_decoder: msgspec.json.Decoder[Record] = msgspec.json.Decoder(Record)
_encoder = msgspec.json.Encoder()
_CHECKSUM = re.compile(rb"[0-9a-f]{8} ")


def encode(record: Record) -> bytes:
    """One record as its line."""
    body = _encoder.encode(record)
    return b"%08x %s\n" % (crc32(body), body)


@dataclass(slots=True)
class Replay:
    """What a journal says: the records in order, and how many of its bytes hold whole records."""

    records: list[Record] = field(default_factory=list)
    length: int = 0
    torn_bytes: int = 0


def decode(lines: Iterable[bytes], decoder: msgspec.json.Decoder[Any] = _decoder) -> Iterator[tuple[Any, int]]:
    """Records with the offset of each line's end; a torn last line is left out. Raises JournalDamaged.

    `decoder` may be for less than a whole record, where not all of it is needed.
    """
    offset = 0
    one = decoder.decode
    for line in lines:
        body = line[9:-1]
        try:
            # Everything that can be wrong with a line is looked into only once something is.
            if line[:9] != b"%08x " % crc32(body) or line[-1] != 10:
                raise ValueError
            record = one(body)
        except (ValueError, msgspec.DecodeError):
            if not line.endswith(b"\n"):
                return
            raise _damage(line, offset) from None
        if offset == 0 and not line.startswith(b'{"kind":"begun"', 9):
            raise JournalDamaged(0, "the first record does not say which job it belongs to")
        offset += len(line)
        yield record, offset


def _damage(line: bytes, offset: int) -> JournalDamaged:
    body = line[9:-1]
    if not _CHECKSUM.match(line):
        return JournalDamaged(offset, "the record does not begin with a checksum")
    if line[:9] != b"%08x " % crc32(body):
        return JournalDamaged(offset, "the checksum does not match the record")
    try:
        _decoder.decode(body)
    except msgspec.DecodeError as error:
        return JournalDamaged(offset, f"the record is of no known form ({error})")
    return JournalDamaged(offset, "the record cannot be read")


def replay(path: Path) -> Replay:
    """Read a journal with all its records; one that is absent is empty. Raises JournalDamaged.

    For journals of any length there is `runner.schedule.book.read_book`, which keeps only what a driver needs.
    """
    result = Replay()
    try:
        with open(path, "rb") as file:
            for record, end in decode(file):
                result.records.append(record)
                result.length = end
            result.torn_bytes = os.fstat(file.fileno()).st_size - result.length
    except FileNotFoundError:
        pass
    return result


class Journal:
    """The journal of one job, open for appending by the driver that holds the job's lock.

    A failed write or fsync must end the driver: what is on disk is not known any more. So nothing is appended after it.
    """

    def __init__(self, path: Path, length: int) -> None:
        self._path = path
        self._schemas: dict[str, int] = {}
        self._is_broken = False
        self.length = length
        """Where the next record begins."""
        try:
            is_new = not path.exists()
            self._file: BinaryIO = open(path, "ab", buffering=0)  # noqa: SIM115 - closed by close()
            self._file.truncate(length)
            self._file.seek(length)
            if is_new:
                sync_folder(path.parent)
        except OSError as error:
            raise StorageFailed(str(path), error.strerror or str(error)) from None

    def append(self, records: Iterable[Record]) -> list[int]:
        """Write records and make them durable by one fsync; returns where each begins."""
        if self._is_broken:
            raise StorageFailed(str(self._path), "a record could not be made durable; resume the job")
        lines = list(map(encode, records))
        try:
            view = memoryview(b"".join(lines))
            while view:
                view = view[self._file.write(view) :]
            os.fdatasync(self._file.fileno())
        except OSError as error:
            self._is_broken = True
            raise StorageFailed(str(self._path), error.strerror or str(error)) from None
        starts = []
        for line in lines:
            starts.append(self.length)
            self.length += len(line)
        return starts

    @property
    def is_broken(self) -> bool:
        """Whether it may hold a record that nobody was told of, because making it durable failed."""
        return self._is_broken

    @property
    def schemas(self) -> dict[int, str]:
        """Every schema by its number."""
        return {number: text for text, number in self._schemas.items()}

    def know_schema(self, number: int, text: str) -> None:
        """Remember a schema that a replay has met."""
        self._schemas[text] = number

    def number_schema(self, text: str) -> tuple[int, list[Record]]:
        """The number of a schema, with the record to append first when it is new; -1 for no schema."""
        if not text:
            return -1, []
        if text in self._schemas:
            return self._schemas[text], []
        number = self._schemas[text] = len(self._schemas)
        return number, [Schema(number=number, text=text)]

    def close(self) -> None:
        """Close the file; nothing is lost that was appended."""
        self._file.close()


def part_of(record: Committed | Mended, schemas: dict[int, str]) -> Part | None:
    """The part that a record names, None for a lease without output."""
    if not record.part:
        return None
    return Part(
        file=record.part,
        size_bytes=record.size,
        sha256=record.sha256,
        row_count=record.rows,
        frame_columns=record.frame_columns,
        frame_mini_batch=record.schema_mini_batch,
        schema=schemas.get(record.schema, ""),
    )
