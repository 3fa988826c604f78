"""Which failures are open, which are history, by what the journal says of the lines of failures.jsonl."""

from __future__ import annotations

import resource
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from runner.entity.failure import FailureRow
from runner.entity.lease import Failure
from runner.entity.status import FailureClass
from runner.errors import JournalDamaged
from runner.schedule.failures import MESSAGE_LIMIT, TRACEBACK_LIMIT, count_open, encode_failure, read_failures
from runner.schedule.journal import Begun, Committed, Journal, Mended, MendedItems, Opened, Record
from runner.store.home import JobFolder


def failure(mini_batch: int, first_item: int = 0, item_count: int = 10, message: str = "no oil") -> Failure:
    return Failure(
        mini_batch=mini_batch,
        first_item=first_item,
        unit=0,
        file="/data/lamps",
        row=mini_batch * 10 + first_item,
        item_count=item_count,
        cls=FailureClass.USER_ERROR,
        exception_type="ValueError",
        message=message,
        traceback="Traceback ...",
        attempts=3,
        instance="node-000",
        worker="process001",
        time=12.5,
    )


class Writer:
    """A journal and its failures, record by record."""

    def __init__(self, root: Path) -> None:
        self.folder = JobFolder(root)
        self.length = 0
        self.journal = Journal(self.folder.journal, 0)
        self.add(Begun(1, "job", "abc"), Opened(1, 1.5, "host", 42))

    def add(self, *records: Record) -> None:
        self.journal.append(records)

    def fail(self, *failures: Failure) -> int:
        with open(self.folder.failures, "ab") as file:
            for one in failures:
                self.length += file.write(encode_failure(one))
        return self.length

    def commit(self, first: int, end: int, *failures: Failure) -> None:
        self.add(Committed(epoch=1, first=first, end=end, failures_end=self.fail(*failures)))

    def mend(self, mends: Sequence[tuple[int, int, int]], *failures: Failure) -> None:
        done = tuple(MendedItems(m, first, count, 1, 1, 0, 0) for m, first, count in mends)
        self.add(Mended(epoch=2, first=0, end=100, mends=done, failures_end=self.fail(*failures)))

    def places(self, *, all: bool = False) -> list[tuple[int, int, int]]:  # noqa: A002
        return [(row.mini_batch, row.first_item, row.item_count) for row in read_failures(self.folder, all=all)]


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[Writer]:
    made = Writer(tmp_path)
    yield made
    made.journal.close()


def test_failures_come_by_mini_batch_and_first_item_whatever_the_order_of_commits(writer: Writer) -> None:
    writer.commit(5, 10, failure(7, 4, 1), failure(7, 0, 2), failure(5))
    writer.commit(0, 5, failure(3))
    assert writer.places() == [(3, 0, 10), (5, 0, 10), (7, 0, 2), (7, 4, 1)]
    assert next(read_failures(writer.folder)) == FailureRow(
        mini_batch=3,
        unit=0,
        file="/data/lamps",
        row=30,
        key=None,
        item_count=10,
        cls=FailureClass.USER_ERROR,
        exception_type="ValueError",
        message="no oil",
        traceback="Traceback ...",
        attempts=3,
        instance="node-000",
        worker="process001",
        time=12.5,
    )


def test_what_no_record_counts_does_not_count(writer: Writer) -> None:
    assert writer.places() == [] and count_open(writer.folder) == 0
    writer.commit(0, 5, failure(3))
    writer.fail(failure(4))
    assert writer.places(all=True) == [(3, 0, 10)]
    with open(writer.folder.journal, "ab") as file:
        file.write(b"torn")
    assert writer.places() == [(3, 0, 10)]


def test_a_mend_supersedes_the_failures_of_its_items_and_no_others(writer: Writer) -> None:
    writer.commit(0, 10, failure(1), failure(3, 0, 2), failure(3, 5, 2), failure(4))
    writer.mend([(1, 0, 4), (1, 5, 5), (3, 5, 2)], failure(1, 4, 1, "still no oil"))
    assert writer.places() == [(1, 4, 1), (3, 0, 2), (4, 0, 10)]
    assert next(row.message for row in read_failures(writer.folder)) == "still no oil"
    history = [(row.mini_batch, row.first_item, row.is_open) for row in read_failures(writer.folder, all=True)]
    assert history == [(1, 0, False), (1, 4, True), (3, 0, True), (3, 5, False), (4, 0, True)]


def test_what_fails_again_as_a_whole_supersedes_too(writer: Writer) -> None:
    writer.commit(0, 10, failure(1))
    writer.mend([], failure(1, message="again"))
    writer.mend([], failure(1, message="and again"))
    assert [row.message for row in read_failures(writer.folder)] == ["and again"]
    assert [row.is_open for row in read_failures(writer.folder, all=True)] == [False, False, True]
    writer.mend([(1, 0, 10)])
    assert writer.places() == [] and len(writer.places(all=True)) == 3


def test_texts_are_bounded_and_always_utf_8(writer: Writer) -> None:
    huge = failure(1, message="m\udc80" * MESSAGE_LIMIT)
    writer.commit(0, 2, huge)
    row = next(read_failures(writer.folder))
    assert len(row.message) < MESSAGE_LIMIT + 100 and row.message.startswith("m\\udc80") and "left out" in row.message
    assert writer.folder.failures.stat().st_size < 2 * (MESSAGE_LIMIT + TRACEBACK_LIMIT)


def test_a_damaged_journal_is_refused(writer: Writer) -> None:
    writer.commit(0, 2, failure(1))
    data = bytearray(writer.folder.journal.read_bytes())
    data[20] ^= 1
    writer.folder.journal.write_bytes(data)
    with pytest.raises(JournalDamaged, match="byte 0"):
        list(read_failures(writer.folder))


def test_a_hundred_thousand_failures_are_read_one_at_a_time(writer: Writer) -> None:
    count = 100_000
    text = "x" * 300
    for first in range(0, count, 1000):
        writer.commit(first, first + 1000, *(failure(n, message=text) for n in range(first, first + 1000)))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began = time.process_time()
    assert sum(row.item_count for row in read_failures(writer.folder)) == 10 * count
    assert time.process_time() - began < 10
    # The lines are mapped, so the kernel may count pages of the file: what is counted here is that and the index.
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < (writer.folder.failures.stat().st_size >> 10) + 60_000
