"""From reports to the journal: the only way in which a lease becomes done.

Order of events: records and failures of the waiting reports are appended to their files, then one append of all
journal records with one fsync, then the instances are told. A crash before the fsync leaves longer files than the
last journal record says; the next driver cuts them.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from runner.entity.lease import Part, Report, Tally
from runner.errors import StorageFailed
from runner.schedule.causes import Causes
from runner.schedule.failures import encode_failure
from runner.schedule.journal import Committed, Journal, Record


@dataclass(slots=True)
class Ledgerbook:
    """What has been committed so far: counts, and the part of each range."""

    tally: Tally = field(default_factory=Tally)
    parts: dict[int, Part] = field(default_factory=dict)
    """By the first mini-batch of its range."""
    ranges: list[tuple[int, int]] = field(default_factory=list)
    causes: Causes = field(default_factory=Causes)

    def enter(self, first: int, end: int, tally: Tally, part: Part | None) -> None:
        """Add one committed range."""
        self.tally = self.tally + tally
        self.ranges.append((first, end))
        if part is not None:
            self.parts[first] = part

    def parts_in_order(self) -> list[Part]:
        """The parts by mini-batch number."""
        return [self.parts[first] for first in sorted(self.parts)]


class Tail:
    """A file beside the journal whose valid length stands in the journal's records."""

    def __init__(self, path: Path, length: int, *, durable: bool) -> None:
        self._path, self._durable, self.length = path, durable, length
        try:
            self._file: BinaryIO = open(path, "ab", buffering=0)  # noqa: SIM115 - closed by close()
            self._file.truncate(length)
        except OSError as error:
            raise StorageFailed(str(path), error.strerror or str(error)) from None

    def append(self, data: bytes) -> None:
        """Append; on disk when it returns if the file is durable."""
        if not data:
            return
        try:
            view = memoryview(data)
            while view:
                view = view[self._file.write(view) :]
            if self._durable:
                os.fdatasync(self._file.fileno())
        except OSError as error:
            raise StorageFailed(str(self._path), error.strerror or str(error)) from None
        self.length += len(data)

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class Committer:
    """Appends reports to the journal and enters them in the book."""

    def __init__(self, journal: Journal, book: Ledgerbook, failures: Tail, records: Tail) -> None:
        self._journal, self.book = journal, book
        self._failures, self._records = failures, records

    def commit(self, reports: Sequence[Report]) -> None:
        """Make reports durable, all by one fsync of the journal. Raises StorageFailed: the driver must end then."""
        self._failures.append(b"".join(encode_failure(f) for report in reports for f in report.failures))
        self._records.append(b"".join(report.records for report in reports))
        lines: list[Record] = []
        for report in reports:
            number, news = self._journal.number_schema(report.part.schema if report.part else "")
            lines += [*news, self._record(report, number)]
        self._journal.append(lines)
        for report in reports:
            self.book.enter(report.first, report.end, report.tally, report.part)
            for failure in report.failures:
                self.book.causes.see(failure)

    def _record(self, report: Report, schema: int) -> Committed:
        part, tally = report.part, report.tally
        return Committed(
            epoch=report.epoch,
            first=report.first,
            end=report.end,
            lending=report.lending,
            instance=report.instance,
            part=part.file if part else "",
            size=part.size_bytes if part else 0,
            sha256=part.sha256 if part else "",
            rows=part.row_count if part else tally.row_count,
            schema=schema,
            schema_mini_batch=part.frame_mini_batch if part else -1,
            frame_columns=part.frame_columns if part else None,
            items=tally.item_count,
            failed_items=tally.failed_item_count,
            failed={str(cls): n for cls, n in tally.failed_by_class.items()},
            failures_end=self._failures.length,
            records_end=self._records.length,
        )

    def close(self) -> None:
        """Close journal and files."""
        for file in (self._journal, self._failures, self._records):
            file.close()
