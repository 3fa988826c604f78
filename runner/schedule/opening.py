"""What a driver does with the journal before it lends anything: checks it, opens it, and says what is tried again.

A run after one that had ended as Failed or Canceled tries again what was set aside until then, and so does a redrive.
`Reopened` says so in the journal; a run after a crash finds it there, and goes on with what of it is not mended.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping
from pathlib import Path

import msgspec

from runner.dataset.storage import sync_folder, sync_tree, telling
from runner.entity.lease import ItemRange
from runner.entity.plan import Plan
from runner.entity.status import JobStatus
from runner.errors import JournalDamaged, StorageFailed
from runner.schedule.book import Said
from runner.schedule.commit import Committer, Tail
from runner.schedule.failures import OpenItems, read_failures, read_open_items
from runner.schedule.journal import JOURNAL_VERSION, Begun, Journal, Opened, Reopened
from runner.store.home import JobFolder
from runner.store.store import Store

Places = Mapping[tuple[int, int], tuple[int, int]]
"""By mini-batch and first item of a failure, where its rows would stand: row and byte."""


class Redrive(msgspec.Struct, frozen=True):
    """`redrive.json`: this run tries again what is open, with the code of that folder. It is there until it has."""

    code: str | None
    number: int

    @staticmethod
    def read(folder: JobFolder) -> Redrive | None:
        """What the run is to redrive, None for nothing."""
        try:
            return _REDRIVE.decode(folder.redrive.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, msgspec.MsgspecError) as error:
            raise StorageFailed(str(folder.redrive), f"cannot be read: {error}") from None


_REDRIVE = msgspec.json.Decoder(Redrive)
"""Made here: msgspec crashes when two threads decode a type for the first time at once."""


def count_ends(store: Store, name: str) -> int:
    """How often the job has ended without being complete."""
    return sum(event.status in (JobStatus.FAILED, JobStatus.CANCELED) for event in store.events(name))


def was_completed(store: Store, name: str) -> bool:
    """Whether the job has published before."""
    return any(event.status is JobStatus.COMPLETED for event in store.events(name))


def open_journal(folder: JobFolder, name: str, plan: Plan, said: Said, ends: int) -> Committer:
    """Open the journal for appending, under the next epoch; what was torn is cut off. JournalDamaged, StorageFailed."""
    _check(folder.journal, name, plan, said)
    journal = Journal(folder.journal, said.length)
    for number, text in said.schemas.items():
        journal.know_schema(number, text)
    failures = Tail(folder.failures, said.failures_end, durable=True)
    records = Tail(folder.records, said.records_end, durable=False)
    begun: list[Begun] = []
    if said.begun is None:
        _settle_folder(folder)
        begun = [Begun(JOURNAL_VERSION, name, plan.fingerprint)]
    journal.append([*begun, Opened(said.epoch + 1, time.time(), socket.gethostname(), os.getpid(), ends)])
    return Committer(journal, said.book, failures, records, plan)


def _settle_folder(folder: JobFolder) -> None:
    """Make durable what a journal is worth nothing without: the job, its code, and the names of both."""
    with telling(folder.root, "the job cannot be made durable"):
        for path in (folder.document, folder.spec):
            if path.exists():
                with open(path, "rb") as file:
                    os.fsync(file.fileno())
        if folder.code.exists():
            sync_tree(folder.code)
        sync_folder(folder.root)
        sync_folder(folder.root.parent)


def _check(path: Path, name: str, plan: Plan, said: Said) -> None:
    begun = said.begun
    if begun is None:
        return
    if begun.version != JOURNAL_VERSION:
        raise JournalDamaged(0, f"it is not of version {JOURNAL_VERSION}, which this runner reads")
    if begun.job != name or begun.fingerprint != plan.fingerprint:
        raise JournalDamaged(0, "it belongs to another job or another plan")
    ranges = said.book.ranges()
    if ranges and (ranges[0][0] < 0 or ranges[-1][1] > plan.mini_batch_count):
        raise JournalDamaged(0, f"it commits more than the {plan.mini_batch_count} mini-batches of {path.parent}")


def reopen(
    folder: JobFolder, plan: Plan, said: Said, committer: Committer, ends: int, redrive: Redrive | None, places: Places
) -> list[ItemRange]:
    """What this run tries again, in order; the book knows it too. `places` are those of published failures."""
    last, book = said.reopened, committer.book
    is_anew = ends > said.ends or (redrive is not None and (last is None or redrive.number > last.number))
    if is_anew and said.failures_end:
        code, number = (redrive.code or "", redrive.number) if redrive else ("", last.number if last else 0)
        if code:
            with telling(folder.root / code, "the code of the redrive cannot be made durable"):
                sync_tree(folder.root / code)
                sync_folder(folder.root)
        last = Reopened(said.epoch + 1, said.failures_end, code, number)
        committer.journal.append([last])
    before = last.failures_end if last is not None else 0
    tried: list[OpenItems] = []
    left: set[tuple[int, int]] = set()
    for one in read_open_items(folder):
        if one.offset < before:
            tried.append(_placed(one, places))
        else:
            left.add((one.mini_batch, one.first_item))
    if left:
        for row in read_failures(folder):
            if (row.mini_batch, row.first_item) in left:
                book.causes.see(row)
    book.retry(tried, plan)
    return [ItemRange(mini_batch=one.mini_batch, first_item=one.first_item, item_count=one.item_count) for one in tried]


def _placed(one: OpenItems, places: Places) -> OpenItems:
    at = places.get((one.mini_batch, one.first_item))
    return one if at is None else msgspec.structs.replace(one, at_row=at[0], at_byte=at[1])
