"""Publishes a job: says what its output is made of, and where what was tried again belongs."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from runner.dataset.failures import failures_of, put_failures
from runner.dataset.layout import Layout, check_published, read_layout
from runner.dataset.publish import publish, withdraw
from runner.dataset.splice import MARK, Additions, Base
from runner.entity.lease import Part
from runner.entity.parallel import OutputSpec, ParallelSpec
from runner.errors import RunnerError
from runner.schedule.book import Ledgerbook
from runner.schedule.commit import Committer
from runner.schedule.failures import read_failures, read_open_items
from runner.schedule.journal import part_of
from runner.schedule.opening import Places
from runner.store.home import JobFolder

log = logging.getLogger(__name__)


class Release:
    """The output of one job, from what is known of an earlier publication to the next one."""

    def __init__(self, output: OutputSpec, folder: JobFolder, staging: Path, name: str) -> None:
        self._output, self._folder, self._staging, self._name = output, folder, staging, name
        self.layout: Layout | None = read_layout(folder.layout)
        """What is published already."""
        self.is_open = withdraw(staging, output, self.layout)
        """Whether anything may be tried again: a publication that has begun to show is finished first."""

    @property
    def places(self) -> Places:
        """Where the rows of failures would stand in what is published."""
        return self.layout.places() if self.layout is not None else {}

    def check(self) -> None:
        """Before work starts: raise OutputChanged unless what is published is there as it was."""
        if self.layout is not None and self.is_open:
            check_published(self.layout, self._place)

    @property
    def _place(self) -> Path:
        target = Path(self._output.target)
        return target if self._output.is_folder else target.parent

    def publish(self, committer: Committer, epoch: int) -> None:
        """Publish what is committed. Raises what `runner.dataset.publish` does."""
        schemas = committer.journal.schemas
        base = self._base(committer.book, schemas)
        additions = self._additions(committer.book, schemas)
        layout = self._folder.layout
        publish(self._output, self._staging, base, self._name, additions, layout=layout, epoch=epoch)

    def _base(self, book: Ledgerbook, schemas: dict[int, str]) -> Base:
        if self.layout is None:
            firsts, parts = book.parts(self._folder.journal, schemas)
            return Base(parts, firsts)
        files = self.layout.files
        firsts = np.array([file.first_mini_batch for file in files], np.int64)
        return Base([file.as_part(self._place) for file in files], firsts, self.layout, self._folder.layout)

    def _additions(self, book: Ledgerbook, schemas: dict[int, str]) -> Additions:
        sources: list[Part] = []
        rows = [*self._mended(book, schemas, sources), *self._marks()]
        return Additions.of(sources, rows)

    def _mended(self, book: Ledgerbook, schemas: dict[int, str], sources: list[Part]) -> Iterator[tuple[int, ...]]:
        after = self.layout.epoch if self.layout is not None else 0
        for record in book.mends(self._folder.journal, after):
            part = part_of(record, schemas)
            if part is None:
                continue
            row = byte = 0
            for one in record.mends:
                what = (one.mini_batch, one.first_item, one.item_count, len(sources))
                yield (*what, one.rows, one.size, row, byte, one.at_row, one.at_byte)
                row, byte = row + one.rows, byte + one.size
            sources.append(part)

    def _marks(self) -> Iterator[tuple[int, ...]]:
        places = self.places
        for one in read_open_items(self._folder):
            at = places.get((one.mini_batch, one.first_item), (one.at_row, one.at_byte))
            yield (one.mini_batch, one.first_item, one.item_count, MARK, 0, 0, 0, 0, *at)


def tell_failures(spec: ParallelSpec, folder: JobFolder) -> str:
    """Put what is open beside the output, else into the job's folder; take away what is open no more. Never raises.

    Returns what its user should know, "" when all is where it belongs. What cannot be written costs the data set: the
    records that `runner failures` reads have everything.
    """
    inside = folder.root / "failures"
    why = ""
    if spec.output is not None:
        beside = failures_of(spec.output)
        why = _put(beside, folder, may_replace=spec.output.overwrite)
        if not why:
            shutil.rmtree(inside, ignore_errors=True)  # of a run that could not
            return ""
    failed = _put(inside, folder, may_replace=True)
    if not failed and not (why and inside.exists()):
        return ""
    where = f"`runner failures {folder.root.name}` lists them" if failed else f"they are in {inside}"
    said = f"the failures data set is not where it should be, {where}: {why or failed}"
    log.warning(said)
    return said


def _put(place: Path, folder: JobFolder, *, may_replace: bool) -> str:
    """Why the data set is not at its place; "" when it is."""
    try:
        done = put_failures(place, read_failures(folder), folder.root, may_replace=may_replace)
    except RunnerError as error:
        return str(error)
    return "" if done else f"{place} is not this job's"
