"""Pages of what a job has set aside, read from its folder: nothing is held in memory beyond a page.

A page ends where enough failures or enough text are together, and its token says after which failure. Reading on from
there would begin at the front again, so the last few readers are kept where they stopped.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from runner.entity.failure import FailureRow
from runner.entity.page import FailuresPage
from runner.entity.status import FailureClass
from runner.server.pages import page_size_of, seal, unseal
from runner.store.home import JobFolder

PAGE_TEXT = 2 * 1024 * 1024
"""Characters of message and traceback in one page, about."""
KEPT = 16
KEPT_S = 30.0
"""What is older may have been tried again since."""
_ITEM_BITS, _COPY_BITS = 40, 24


@dataclass(slots=True)
class _Reader:
    """The failures of a job with their keys, which grow: place, and number among those of the same place."""

    rows: Iterator[FailureRow]
    stopped: float = 0.0
    _key: int = -1
    _ahead: tuple[int, FailureRow] | None = None

    def next(self) -> tuple[int, FailureRow] | None:
        """The next failure."""
        if self._ahead is not None:
            ahead, self._ahead = self._ahead, None
            return ahead
        row = next(self.rows, None)
        if row is None:
            return None
        place = (row.mini_batch << _ITEM_BITS | row.first_item) << _COPY_BITS
        # In the history several failures may be of the same items.
        self._key = self._key + 1 if self._key >> _COPY_BITS == place >> _COPY_BITS else place
        return self._key, row

    def put_back(self, key: int, row: FailureRow) -> None:
        """Give this one again."""
        self._ahead = key, row


class FailurePages:
    """Pages of failures of the jobs of one home; threads may share it."""

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._readers: OrderedDict[str, _Reader] = OrderedDict()

    def page(
        self,
        folder: JobFolder,
        *,
        page_size: int,
        page_token: str,
        classes: Iterable[FailureClass],
        include_history: bool,
    ) -> FailuresPage:
        """The failures after the token, of these classes only unless there are none."""
        from runner.schedule.failures import read_failures  # numpy, for which no other call should wait

        wanted = frozenset(classes)
        sealed = ("failures", folder.root.name, sorted(wanted), include_history)
        size, after = page_size_of(page_size), unseal(page_token, sealed)
        reader = self._take(page_token) or _Reader(read_failures(folder, all=include_history))
        rows: list[FailureRow] = []
        last, text = 0, 0
        while (found := reader.next()) is not None:
            key, row = found
            if (after is not None and key <= after) or (wanted and row.cls not in wanted):
                continue
            if len(rows) == size or text > PAGE_TEXT:
                reader.put_back(key, row)
                token = seal(last, sealed)
                self._keep(token, reader)
                return FailuresPage(failures=tuple(rows), next_page_token=token)
            rows.append(row)
            last, text = key, text + len(row.message) + len(row.traceback)
        return FailuresPage(failures=tuple(rows))

    def _take(self, token: str) -> _Reader | None:
        with self._mutex:
            reader = self._readers.pop(token, None)
        return reader if reader is not None and time.monotonic() - reader.stopped < KEPT_S else None

    def _keep(self, token: str, reader: _Reader) -> None:
        reader.stopped = time.monotonic()
        with self._mutex:
            self._readers[token] = reader
            if len(self._readers) > KEPT:
                self._readers.popitem(last=False)
