"""From reports to the journal: the only way in which a lease becomes done.

Order of events: records and failures of the waiting reports are appended to their files, then one append of all
journal records with one fsync, then the instances are told. A crash before the fsync leaves longer files than the
last journal record says; the next driver cuts them.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

from runner.dataset.storage import sync_folder
from runner.entity.lease import Report
from runner.entity.plan import Plan
from runner.errors import StorageFailed
from runner.schedule.book import Ledgerbook
from runner.schedule.failures import encode_failure
from runner.schedule.journal import Committed, Journal, Mended, Record
from runner.schedule.mending import Mending, is_mend, mending_of


class Tail:
    """A file beside the journal whose valid length stands in the journal's records.

    One that is not durable may be shorter than that after a power cut; it is never padded.
    """

    def __init__(self, path: Path, length: int, *, durable: bool) -> None:
        self._path, self._durable = path, durable
        try:
            is_new = not path.exists()
            self._file: BinaryIO = open(path, "ab", buffering=0)  # noqa: SIM115 - closed by close()
            self.length = min(length, os.fstat(self._file.fileno()).st_size)
            self._file.truncate(self.length)
            if is_new and durable:
                sync_folder(path.parent)
        except OSError as error:
            raise StorageFailed(str(path), error.strerror or str(error)) from None
        if durable and self.length < length:
            self._file.close()
            raise StorageFailed(str(path), f"has {self.length} bytes, and the journal counts on {length}")

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

    def __init__(self, journal: Journal, book: Ledgerbook, failures: Tail, records: Tail, plan: Plan) -> None:
        self.journal, self.book = journal, book
        self._failures, self._records, self._plan = failures, records, plan

    def commit(self, reports: Sequence[Report]) -> None:
        """Make reports durable, all by one fsync of the journal. Raises StorageFailed: the driver must end then."""
        mendings = [self._mending(report) for report in reports]
        told = [
            report.failures if mending is None else mending.failures for report, mending in _both(reports, mendings)
        ]
        texts = [b"".join(map(encode_failure, failures)) for failures in told]
        failures_end, records_end = self._failures.length, self._records.length
        self._failures.append(b"".join(texts))
        self._records.append(b"".join(report.records for report in reports))
        lines: list[Record] = []
        places: list[int] = []
        for report, mending, text in zip(reports, mendings, texts, strict=True):
            failures_end, records_end = failures_end + len(text), records_end + len(report.records)
            number, news = self.journal.number_schema(report.part.schema if report.part else "")
            lines += news
            places.append(len(lines))
            ends = {"failures_end": failures_end, "records_end": records_end, "schema": number}
            lines.append(self._committed(report, ends) if mending is None else _mended(report, mending, ends))
        starts = self.journal.append(lines)
        for report, mending, failures, place in zip(reports, mendings, told, places, strict=True):
            self._enter(report, mending, lines[place], starts[place])
            for failure in failures:
                self.book.causes.see(failure)

    def _mending(self, report: Report) -> Mending | None:
        retried = self.book.retried
        return mending_of(report, retried, self._plan) if retried and is_mend(report, retried) else None

    def _enter(self, report: Report, mending: Mending | None, record: Record, start: int) -> None:
        if mending is None:
            assert isinstance(record, Committed)
            self.book.enter(report.first, report.end, record.tally, start if report.part else -1)
            return
        self.book.enter_mend(report.epoch, mending.tally, start)
        for number in mending.mini_batches:
            self.book.settle(number, self._plan.span_of(number).item_count)

    def _committed(self, report: Report, ends: dict[str, int]) -> Committed:
        tally = report.tally
        is_one_each = sum(tally.failed_by_class.values()) == tally.failed_mini_batch_count
        return Committed(
            **_fields(report, ends),
            rows=report.part.row_count if report.part else tally.row_count,
            items=tally.item_count,
            failed_items=tally.failed_item_count,
            failed={str(cls): n for cls, n in tally.failed_by_class.items()},
            failed_mini_batches=-1 if is_one_each else tally.failed_mini_batch_count,
        )

    def close(self) -> None:
        """Close journal and files."""
        for file in (self.journal, self._failures, self._records):
            file.close()


def _both(reports: Sequence[Report], mendings: Sequence[Mending | None]) -> zip[tuple[Report, Mending | None]]:
    return zip(reports, mendings, strict=True)


def _mended(report: Report, mending: Mending, ends: dict[str, int]) -> Mended:
    tally = mending.tally
    return Mended(
        **_fields(report, ends),
        rows=report.part.row_count if report.part else tally.row_count,
        mends=mending.mends,
        failed_items=tally.failed_item_count,
        failed={str(cls): n for cls, n in tally.failed_by_class.items()},
        failed_mini_batches=tally.failed_mini_batch_count,
    )


def _fields(report: Report, ends: dict[str, int]) -> dict[str, Any]:
    part = report.part
    return {
        "epoch": report.epoch,
        "first": report.first,
        "end": report.end,
        "lending": report.lending,
        "instance": report.instance,
        "part": part.file if part else "",
        "size": part.size_bytes if part else 0,
        "sha256": part.sha256 if part else "",
        "schema_mini_batch": part.frame_mini_batch if part else -1,
        "frame_columns": part.frame_columns if part else None,
        **ends,
    }
