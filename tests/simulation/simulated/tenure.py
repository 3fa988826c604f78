"""A lease as a simulated instance holds it: what is free, at work, final, and the pieces it is reported in."""

from __future__ import annotations

from dataclasses import dataclass, field

from runner.entity.lease import ItemRange, Lease, LeaseProgress
from runner.entity.plan import Plan


@dataclass(slots=True)
class Outcome:
    """What became of the items of one mini-batch that were to be run."""

    good: list[ItemRange]
    bad: list[ItemRange]


@dataclass(slots=True)
class Piece:
    first: int
    end: int
    is_reported: bool = False
    is_settled: bool = False


@dataclass(slots=True, eq=False)
class Tenure:
    lease: Lease
    items: dict[int, list[ItemRange]]
    """By mini-batch, what is to be run."""
    pieces: list[Piece]
    limit: int
    claimed: set[int] = field(default_factory=set)
    final: dict[int, Outcome] = field(default_factory=dict)
    waiting_since: float | None = None

    @staticmethod
    def begin(lease: Lease, plan: Plan) -> Tenure:
        items: dict[int, list[ItemRange]] = {}
        if lease.ranges:
            for one in lease.ranges:
                items.setdefault(one.mini_batch, []).append(one)
        else:
            for number in range(lease.first, lease.end):
                count = plan.span_of(number).item_count
                items[number] = [ItemRange(mini_batch=number, first_item=0, item_count=count)]
        return Tenure(lease, items, [Piece(lease.first, lease.end)], lease.end)

    @property
    def is_open(self) -> bool:
        return any(not (piece.is_reported or piece.is_settled) for piece in self.pieces)

    @property
    def is_settled(self) -> bool:
        return all(piece.is_settled for piece in self.pieces)

    def take(self) -> int | None:
        """The lowest mini-batch that nobody has begun, claimed for the caller."""
        for number in self.items:
            if number < self.limit and number not in self.claimed and number not in self.final:
                self.claimed.add(number)
                return number
        return None

    def unstarted(self, piece: Piece) -> int:
        return sum(
            piece.first <= number < min(piece.end, self.limit)
            and number not in self.claimed
            and number not in self.final
            for number in self.items
        )

    def is_final(self, piece: Piece) -> bool:
        return all(number in self.final for number in self.items if piece.first <= number < piece.end)

    def divide(self) -> list[tuple[Lease, tuple[tuple[int, int], ...]]]:
        """Make pieces of what is final in open pieces; what each divided range became."""
        said = []
        kept: list[Piece] = []
        for piece in self.pieces:
            if piece.is_reported or piece.is_settled or self.lease.ranges:
                kept.append(piece)
                continue
            parts: list[Piece] = []
            last: bool | None = None
            for number in range(piece.first, piece.end):
                is_final = number in self.final
                if is_final is last:
                    parts[-1].end = number + 1
                else:
                    parts.append(Piece(number, number + 1))
                last = is_final
            kept += parts
            if len(parts) > 1:
                lease = Lease(first=piece.first, end=piece.end, epoch=self.lease.epoch, lending=self.lease.lending)
                said.append((lease, tuple((part.first, part.end) for part in parts)))
        self.pieces = kept
        self.waiting_since = None
        return said

    def cut(self, first: int, end: int, limit: int) -> int | None:
        """Give back what nobody has begun; the piece's new end."""
        for piece in self.pieces:
            if (piece.first, piece.end) == (first, end) and not (piece.is_reported or piece.is_settled):
                if end != self.limit:
                    return end
                begun = [n for n in (*self.claimed, *self.final) if n < end]
                self.limit = piece.end = max(limit, first + 1, max(begun, default=-1) + 1)
                for number in [n for n in self.items if n >= self.limit]:
                    del self.items[number]
                return self.limit
        return None

    def forget(self, first: int, end: int) -> None:
        """Nobody wants what of it lies in [first, end)."""
        for piece in self.pieces:
            if first <= piece.first and piece.end <= end:
                piece.is_settled = True
                for number in [n for n in self.items if piece.first <= n < piece.end]:
                    if number not in self.final:
                        self.final[number] = Outcome([], [])

    def progress(self) -> list[LeaseProgress]:
        told = []
        for piece in self.pieces:
            if not (piece.is_reported or piece.is_settled):
                final = sum(piece.first <= number < piece.end for number in self.final)
                unstarted = self.unstarted(piece)
                told.append(
                    LeaseProgress(first=piece.first, end=piece.end, final_count=final, unstarted_count=unstarted)
                )
        return told
