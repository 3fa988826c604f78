"""A lease while an instance holds it: its ledger, its segments, what failed in it, and the pieces it is reported in.

A lease begins as one piece. When finished mini-batches would wait too long for others it is divided; each piece is
reported once all of it is final, and closed when the driver says that it is committed.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

import numpy as np

from runner.dispatch._ledger import DONE, SET_ASIDE, Ledger
from runner.entity.lease import Failure, Lease, Tally
from runner.entity.plan import Plan
from runner.instance.policy import Limits, divide
from runner.worker.messages import Flushed, Lend
from runner.worker.open_lease import segment_path


class PieceState(Enum):
    """How far a piece has got."""

    OPEN = "open"
    ASSEMBLING = "assembling"
    REPORTED = "reported"
    SETTLED = "settled"


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
    failures: dict[int, Failure] = field(default_factory=dict)
    failures_bytes: int = 0
    tracebacks: dict[str, str] = field(default_factory=dict)
    """Equal tracebacks are kept once: thousands of mini-batches tend to fail at the same line."""
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

    @staticmethod
    def begin(number: int, lease: Lease, plan: Plan, *, ledgers: Path, spool: Path, payload: str, now: float) -> Tenure:
        """Make the ledger and the spool; OSError when there is no room."""
        at = bisect_left(plan.unit_starts, lease.first + 1)
        after = bisect_left(plan.unit_starts, lease.end)
        name = f"{number}-{lease.first}"
        folder = spool / name
        folder.mkdir()
        path = str(ledgers / name)
        return Tenure(
            number=number,
            lease=lease,
            ledger=Ledger.create(path, lease.first, lease.end, [lease.first, *plan.unit_starts[at:after]]),
            ledger_path=path,
            spool=str(folder),
            payload=payload,
            pieces=[Piece(lease.first, lease.end, lease.first)],
            lent_at=now,
        )

    @property
    def offer(self) -> Lend:
        """What workers are told."""
        return Lend(
            lease=self.number,
            ledger_path=self.ledger_path,
            spool=self.spool,
            payload=self.payload,
            first=self.lease.first,
            end=self.lease.end,
            generation=self.generation,
        )

    @property
    def is_open(self) -> bool:
        """Whether something in it may still have to be run."""
        return any(piece.state is PieceState.OPEN for piece in self.pieces)

    @property
    def is_settled(self) -> bool:
        """Whether everything is committed."""
        return all(piece.state is PieceState.SETTLED for piece in self.pieces)

    def holds(self, mini_batch: int) -> bool:
        """Whether the number is in this lease."""
        return self.lease.first <= mini_batch < self.lease.end

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

    def note_failure(self, failure: Failure, now: float) -> None:
        """One was set aside."""
        self.failures[failure.mini_batch] = failure
        self.failures_bytes += 200 + len(failure.message)
        if failure.traceback not in self.tracebacks:
            self.tracebacks[failure.traceback] = failure.traceback
            self.failures_bytes += len(failure.traceback)
        self.live = self.live + failure_tally(failure)
        self._note_final(now)

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
                    found.append(piece)
        return found

    def is_due(self, now: float, limits: Limits) -> bool:
        """Whether finished mini-batches have waited long enough, or hold too much memory."""
        waiting = [piece for piece in self.pieces if piece.state is PieceState.OPEN and piece.waiting_since is not None]
        if not waiting:
            return False
        oldest = min(piece.waiting_since for piece in waiting if piece.waiting_since is not None)
        return now - oldest >= limits.hold_s or self.failures_bytes > limits.failures_bytes

    def split(self) -> list[tuple[Lease, tuple[tuple[int, int], ...]]]:
        """Divide open pieces so that what is final in them stands by itself; each divided range with its pieces."""
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
        return divide(piece.first, (states == DONE) | (states == SET_ASIDE))

    def retract(self, first: int, end: int, limit: int) -> int | None:
        """Shorten the last piece to what is begun; its new end, None when [first, end) is no open piece of this lease.

        Only the end of a lease can be given back: a ledger has one limit.
        """
        piece = next((piece for piece in self.pieces if (piece.first, piece.end) == (first, end)), None)
        if piece is None or piece.state is not PieceState.OPEN:
            return None
        if end != self.ledger.limit:
            return end
        # At least one mini-batch stays, so that the piece is reported and its counts are told in the usual way.
        cut = self.ledger.lower_limit(max(limit, first + 1))
        piece.end = cut
        return cut

    # ---- what is committed --------------------------------------------------------------------------------------

    def note_reported(self, piece: Piece, tally: Tally) -> None:
        """A piece is on its way to the driver: its counts are no longer live, its failures no longer kept here."""
        piece.state = PieceState.REPORTED
        self.live = without(self.live, tally)
        for number in [number for number in self.failures if piece.first <= number < piece.end]:
            del self.failures[number]
        if not self.failures:
            self.tracebacks.clear()
            self.failures_bytes = 0

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


def failure_tally(failure: Failure) -> Tally:
    """What one mini-batch that was set aside counts."""
    return Tally(
        mini_batch_count=1,
        failed_mini_batch_count=1,
        item_count=failure.item_count,
        failed_item_count=failure.item_count,
        failed_by_class={failure.cls: 1},
    )


def without(live: Tally, reported: Tally) -> Tally:
    """Live counts less those that were reported; never below nothing, since they are for display."""
    by_class = {cls: n - reported.failed_by_class.get(cls, 0) for cls, n in live.failed_by_class.items()}
    return Tally(
        mini_batch_count=max(live.mini_batch_count - reported.mini_batch_count, 0),
        failed_mini_batch_count=max(live.failed_mini_batch_count - reported.failed_mini_batch_count, 0),
        item_count=max(live.item_count - reported.item_count, 0),
        failed_item_count=max(live.failed_item_count - reported.failed_item_count, 0),
        row_count=max(live.row_count - reported.row_count, 0),
        failed_by_class={cls: n for cls, n in by_class.items() if n > 0},
    )
