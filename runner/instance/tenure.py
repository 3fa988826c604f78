"""A lease while an instance holds it: its ledger, its segments, what failed in it, and the pieces it is reported in.

A lease begins as one piece. When finished mini-batches would wait too long for others it is divided; each piece is
reported once all of it is final, and closed when the driver says that it is committed.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

import numpy as np

from runner.dispatch._ledger import CLAIMED, DONE, FREE, Ledger
from runner.entity.lease import Failure, Lease, LeaseProgress, Tally
from runner.entity.plan import Plan
from runner.instance.bisect import Bisection
from runner.instance.places import Survivors
from runner.instance.policy import Limits, divide, held_back
from runner.worker.messages import Flushed, Lend
from runner.worker.open_lease import segment_path

OWN_SLOT = 8191
"""The instance's own slot in ledgers, for what no worker has or had; boards have fewer slots."""


class PieceState(Enum):
    """How far a piece has got."""

    OPEN = "open"
    ASSEMBLING = "assembling"
    REPORTED = "reported"
    SETTLED = "settled"
    DROPPED = "dropped"
    """Nobody wants it from here any more."""


@dataclass(slots=True, eq=False)
class Piece:
    """Mini-batches [first, end) that are reported together; those before `cursor` are final."""

    first: int
    end: int
    cursor: int
    state: PieceState = PieceState.OPEN
    waiting_since: float | None = None
    """When something in it became final and was not reported."""


@dataclass(slots=True, eq=False)
class Tenure:
    """Everything an instance knows of one lease. `number` is what it is called when speaking with workers."""

    number: int
    lease: Lease
    ledger: Ledger
    ledger_path: str
    spool: str
    payload: str
    """Where workers append what they have encoded for the part; empty when nothing is encoded by them."""
    pieces: list[Piece]
    failures: dict[int, list[Failure]] = field(default_factory=dict)
    """Of each mini-batch that is set aside, or whose failing items are, in order."""
    failures_bytes: int = 0
    tracebacks: dict[str, str] = field(default_factory=dict)
    """Equal tracebacks are kept once: thousands of mini-batches tend to fail at the same line."""
    searches: dict[int, Bisection] = field(default_factory=dict)
    """Mini-batches that are run range by range."""
    memory_tries: set[int] = field(default_factory=set)
    """What was tried again because memory had run out; that is not done twice."""
    survivors: dict[int, Survivors] = field(default_factory=dict)
    """Of mini-batches that were run range by range, what succeeded; kept where the driver wants to know."""
    live: Tally = field(default_factory=Tally)
    """Final and not reported; for display."""
    generation: int = 0
    unit_tries: dict[int, tuple[int, int]] = field(default_factory=dict)
    """How often reading a unit failed, and the first mini-batch that could not be had."""
    flush_deaths: int = 0
    dry: set[int] = field(default_factory=set)
    """Slots whose workers have nothing to do here."""
    segment_left: dict[int, int] = field(default_factory=dict)
    """Segments and how many of their mini-batches are not settled."""
    lent_at: float = 0.0
    assembling_count: int = 0
    _own_segments: int = 0

    @staticmethod
    def begin(number: int, lease: Lease, plan: Plan, *, ledgers: Path, spool: Path, payload: str, now: float) -> Tenure:
        """Make the ledger and the spool; OSError when there is no room."""
        at = bisect_left(plan.unit_starts, lease.first + 1)
        after = bisect_left(plan.unit_starts, lease.end)
        name = f"{number}-{lease.first}"
        folder = spool / name
        folder.mkdir()
        path = str(ledgers / name)
        ledger = Ledger.create(path, lease.first, lease.end, [lease.first, *plan.unit_starts[at:after]])
        if lease.ranges:
            begin = lease.first
            for wanted in sorted({items.mini_batch for items in lease.ranges}):
                ledger.exclude(begin, wanted)
                begin = wanted + 1
            ledger.exclude(begin, lease.end)
        return Tenure(
            number=number,
            lease=lease,
            ledger=ledger,
            ledger_path=path,
            spool=str(folder),
            payload=payload,
            pieces=[Piece(lease.first, lease.end, lease.first)],
            lent_at=now,
        )

    def offer(self, *, is_followed: bool = False) -> Lend:
        """What workers are told; whether something else follows that comes before."""
        return Lend(
            lease=self.number,
            ledger_path=self.ledger_path,
            spool=self.spool,
            payload=self.payload,
            first=self.lease.first,
            end=self.lease.end,
            generation=self.generation,
            is_followed=is_followed,
        )

    @property
    def is_open(self) -> bool:
        """Whether something in it may still have to be run."""
        return any(piece.state is PieceState.OPEN for piece in self.pieces)

    @property
    def is_settled(self) -> bool:
        """Whether everything is committed, or not wanted from here."""
        return all(piece.state in (PieceState.SETTLED, PieceState.DROPPED) for piece in self.pieces)

    def holds(self, mini_batch: int) -> bool:
        """Whether the number is in the range of this lease, though perhaps not named by it."""
        return self.lease.first <= mini_batch < self.lease.end

    def is_wanted(self, mini_batch: int) -> bool:
        """Whether another try of it is worth anything."""
        return any(p.first <= mini_batch < p.end and p.state is PieceState.OPEN for p in self.pieces)

    def partial_ranges(self, plan: Plan) -> dict[int, list[tuple[int, int]]]:
        """Of the mini-batches that the lease does not name as a whole, the items that it names: (first, count)."""
        found: dict[int, list[tuple[int, int]]] = {}
        for items in sorted(self.lease.ranges, key=lambda items: (items.mini_batch, items.first_item)):
            found.setdefault(items.mini_batch, []).append((items.first_item, items.item_count))
        return {number: items for number, items in found.items() if items != [(0, plan.span_of(number).item_count)]}

    def next_own_segment(self) -> int:
        """Counts the segments that the instance itself makes."""
        self._own_segments += 1
        return self._own_segments

    # ---- what becomes final -------------------------------------------------------------------------------------

    def note_flushed(self, message: Flushed, now: float) -> None:
        """A worker has completed some."""
        self.segment_left[message.segment] = self.segment_left.get(message.segment, 0) + message.mini_batch_count
        self.live = self.live + Tally(
            mini_batch_count=message.mini_batch_count,
            item_count=message.item_count,
            failed_item_count=message.failed_item_count,
            row_count=message.row_count,
        )
        self._note_final(now)

    def keep_text(self, text: str, limit_bytes: int) -> str:
        """A traceback, kept once however often it comes; empty once those of this lease have grown too long."""
        known = self.tracebacks.get(text)
        if known is None:
            if self.failures_bytes > limit_bytes:
                return ""
            self.tracebacks[text] = known = text
            self.failures_bytes += len(text)
        return known

    def note_failure(self, failure: Failure) -> None:
        """A mini-batch was set aside, or items of one."""
        self.failures.setdefault(failure.mini_batch, []).append(failure)
        self.failures_bytes += 200 + len(failure.message)

    def note_set_aside(self, number: int, now: float) -> None:
        """Nothing of a mini-batch is left to run, and nothing of it succeeded."""
        failures = self.failures[number]
        items = sum(failure.item_count for failure in failures)
        self.live = self.live + Tally(
            mini_batch_count=1,
            failed_mini_batch_count=1,
            item_count=items,
            failed_item_count=items,
            failed_by_class=dict(Counter(failure.cls for failure in failures)),
        )
        self._note_final(now)

    def failures_of(self, piece: Piece) -> tuple[Failure, ...]:
        """What failed in a piece, in order."""
        inside = (number for number in sorted(self.failures) if piece.first <= number < piece.end)
        return tuple(failure for number in inside for failure in self.failures[number])

    def _note_final(self, now: float) -> None:
        for piece in self.pieces:
            if piece.state is PieceState.OPEN and piece.waiting_since is None:
                piece.waiting_since = now

    def take_finished(self) -> list[Piece]:
        """Open pieces that are final from end to end; they count as being assembled from now on."""
        found = []
        for piece in self.pieces:
            if piece.state is PieceState.OPEN:
                piece.cursor = self.ledger.first_open(piece.cursor, piece.end)
                if piece.cursor == piece.end:
                    piece.state = PieceState.ASSEMBLING
                    self.assembling_count += 1
                    found.append(piece)
        return found

    def is_due(self, now: float, limits: Limits) -> bool:
        """Whether finished mini-batches have waited long enough, or hold too much memory."""
        if self.lease.ranges:
            return False  # a piece of it would not say which ranges are its own
        waiting = [piece for piece in self.pieces if piece.state is PieceState.OPEN and piece.waiting_since is not None]
        if not waiting:
            return False
        oldest = min(piece.waiting_since for piece in waiting if piece.waiting_since is not None)
        return now - oldest >= limits.hold_s or self.failures_bytes > limits.failures_bytes

    def progress(self, long_calls: Collection[int]) -> list[LeaseProgress]:
        """How far each piece is that has not been reported, given the mini-batches whose calls take long."""
        said = []
        excused = self.searches.keys() | self.memory_tries
        for piece in self.pieces:
            if piece.state not in (PieceState.OPEN, PieceState.ASSEMBLING):
                continue
            words = self.ledger.words(piece.cursor, piece.end)
            open_count, unstarted_count, is_held = held_back(words, piece.cursor, excused, long_calls)
            said.append(
                LeaseProgress(
                    first=piece.first,
                    end=piece.end,
                    final_count=piece.end - piece.first - open_count,
                    unstarted_count=unstarted_count,
                    is_held=is_held,
                )
            )
        return said

    def split(self) -> list[tuple[Lease, tuple[tuple[int, int], ...]]]:
        """Divide open pieces so that what is final in them stands by itself; each divided range with its pieces."""
        if self.lease.ranges:
            return []
        said = []
        kept: list[Piece] = []
        for piece in self.pieces:
            parts = self._parts(piece) if piece.state is PieceState.OPEN else ()
            piece.waiting_since = None
            if len(parts) < 2:
                kept.append(piece)
                continue
            kept += [Piece(first, end, end if is_final else first) for first, end, is_final in parts]
            lease = Lease(first=piece.first, end=piece.end, epoch=self.lease.epoch, lending=self.lease.lending)
            said.append((lease, tuple((first, end) for first, end, _ in parts)))
        self.pieces = kept
        return said

    def _parts(self, piece: Piece) -> tuple[tuple[int, int, bool], ...]:
        states = self.ledger.words(piece.first, piece.end) & 7
        return divide(piece.first, (states != FREE) & (states != CLAIMED))

    def retract(self, first: int, end: int, limit: int) -> int | None:
        """Shorten the last piece to what is begun; its new end, None when [first, end) is no open piece of this lease.

        Only the end of a lease can be given back: a ledger has one limit.
        """
        piece = next((piece for piece in self.pieces if (piece.first, piece.end) == (first, end)), None)
        if piece is None or piece.state is not PieceState.OPEN:
            return None
        if end != self.ledger.limit or self.lease.ranges:
            return end
        # At least one mini-batch stays, so that the piece is reported and its counts are told in the usual way.
        cut = self.ledger.lower_limit(max(limit, first + 1))
        piece.end = cut
        return cut

    def drop(self, first: int, end: int) -> None:
        """Nobody wants [first, end) from here any more: what of it is free will not be run.

        It may have been divided meanwhile, which the driver did not know.
        """
        for piece in self.pieces:
            if first <= piece.first and piece.end <= end and piece.state is not PieceState.SETTLED:
                self.ledger.exclude(piece.first, min(piece.end, self.ledger.end))
                piece.state = PieceState.DROPPED

    @property
    def is_assembling(self) -> bool:
        """Whether the assembler may be reading the ledger."""
        return self.assembling_count > 0

    # ---- what is committed --------------------------------------------------------------------------------------

    def note_reported(self, piece: Piece, tally: Tally) -> None:
        """A piece is on its way to the driver: its counts are no longer live, its failures no longer kept here."""
        piece.state = PieceState.REPORTED
        self.live = self.live.less(tally)
        for number in [number for number in self.failures if piece.first <= number < piece.end]:
            del self.failures[number]
        left = [failure for failures in self.failures.values() for failure in failures]
        self.tracebacks = {failure.traceback: failure.traceback for failure in left}
        self.failures_bytes = sum(map(len, self.tracebacks)) + sum(200 + len(failure.message) for failure in left)

    def settle(self, first: int, end: int) -> bool:
        """The driver has committed a piece: its segments may go. False when there is no such piece."""
        for piece in self.pieces:
            if (piece.first, piece.end) == (first, end) and piece.state is PieceState.REPORTED:
                piece.state = PieceState.SETTLED
                self._drop_segments(piece)
                return True
        return False

    def _drop_segments(self, piece: Piece) -> None:
        words = self.ledger.words(piece.first, piece.end)
        numbers, counts = np.unique(words[(words & 7) == DONE] >> 32, return_counts=True)
        for segment, count in zip(numbers.tolist(), counts.tolist(), strict=True):
            left = self.segment_left.get(segment, 0) - count
            self.segment_left[segment] = left
            if left == 0:
                Path(segment_path(self.spool, segment)).unlink(missing_ok=True)
