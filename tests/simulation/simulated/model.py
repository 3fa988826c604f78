"""What must be true, recounted independently of the code that is tested: by item, from the reports that are durable."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from runner.entity.lease import ItemRange, Report, Tally
from runner.entity.parallel import ParallelSpec
from runner.entity.plan import Plan
from runner.errors import RunnerError, ThresholdExceeded
from runner.schedule.core import Core
from runner.schedule.journal import Committed, Mended
from simulated.chance import Violated


def demand(claim: bool, *what: object) -> None:
    if not claim:
        raise Violated(" ".join(map(str, what)))


class Model:
    """Committed ranges, open failures, and what of these is being tried again."""

    def __init__(self, plan: Plan, spec: ParallelSpec) -> None:
        self.plan, self.spec = plan, spec
        self.reports: list[Report] = []
        """Durable, in the order of the journal."""
        self.in_doubt: list[Report] = []
        """Being appended when their driver ended: each may be durable or not, but none without those before it."""
        self.ranges: list[tuple[int, int]] = []
        """Committed, in order, adjacent ones joined."""
        self.committed: set[int] = set()
        self.open: dict[int, list[tuple[int, int]]] = {}
        """By mini-batch, first item and count of what is set aside."""
        self.retried: set[int] = set()
        self.row_count = 0
        self.losses: dict[int, int] = {}
        self.lone_losses: dict[int, int] = {}

    # ---- a driver takes over ------------------------------------------------------------------------------------

    def replayed(self, records: Sequence[object], tally: Tally) -> None:
        """What a new driver reads is what was durable, and perhaps some of what was in doubt; nothing less."""
        said = [one for one in records if isinstance(one, (Committed, Mended))]
        known = [*self.reports, *self.in_doubt]
        demand(len(self.reports) <= len(said) <= len(known), "the journal lost or made up records")
        for record, report in zip(said, known, strict=False):
            same = (record.first, record.end, record.epoch, record.lending, record.instance)
            demand(same == (report.first, report.end, report.epoch, report.lending, report.instance), "other records")
        more = known[len(self.reports) : len(said)]
        self.in_doubt = []
        for report in more:
            self.commit(report)
        self.retried = set()
        self.losses, self.lone_losses = {}, {}
        self.check_tally(tally)

    # ---- commits ------------------------------------------------------------------------------------------------

    def commit(self, report: Report) -> None:
        """A report is durable."""
        self.reports.append(report)
        self.row_count += report.tally.row_count
        failed: dict[int, list[tuple[int, int]]] = {}
        for failure in report.failures:
            failed.setdefault(failure.mini_batch, []).append((failure.first_item, failure.item_count))
            if failure.exception_type == "InstanceLost":
                number = failure.mini_batch
                enough = self.losses.get(number, 0) >= 3 and self.lone_losses.get(number, 0) >= 2
                demand(enough, "mini-batch", number, "is charged for losses that it was no suspect of")
        if not self._is_mend(report):
            self.committed.update(range(report.first, report.end))
            self.ranges = _joined(self.ranges, (report.first, report.end))
            self.open.update(failed)
            return
        mended = {one.items.mini_batch for one in report.mends} | failed.keys()
        demand(mended <= self.retried, "mends of what is not tried again:", mended - self.retried)
        for number in mended:
            before = self.open.pop(number)
            now = [
                (one.items.first_item, one.items.item_count) for one in report.mends if one.items.mini_batch == number
            ]
            now += failed.get(number, [])
            demand(_items(before) == _items(now), "a mend of", number, "is not of what was set aside")
            if number in failed:
                self.open[number] = failed[number]
            self.retried.discard(number)

    def check_tally(self, tally: Tally) -> None:
        """The counts of the journal are those of the items."""
        mini_batches = sum(end - first for first, end in self.ranges)
        items = sum(self.plan.span_of(n).item_count for first, end in self.ranges for n in range(first, end))
        failed, failed_items = self.failed(self.open)
        said = (tally.mini_batch_count, tally.item_count, tally.failed_mini_batch_count, tally.failed_item_count)
        demand(
            said == (mini_batches, items, failed, failed_items), "counts", said, "not", (mini_batches, items, failed)
        )
        demand(tally.row_count == self.row_count, "rows", tally.row_count, "not", self.row_count)
        is_open = sum(map(len, self.open.values()))
        demand(sum(tally.failed_by_class.values()) == is_open, is_open, "failures are open, not", tally.failed_by_class)

    def failed(self, numbers: Iterable[int]) -> tuple[int, int]:
        """Failed mini-batches and failed items among these."""
        mini_batches = items = 0
        for number in numbers:
            count = sum(count for _, count in self.open[number])
            items += count
            mini_batches += count == self.plan.span_of(number).item_count
        return mini_batches, items

    def check_thresholds(self, error: RunnerError | None) -> None:
        """A threshold has tripped if and only if the committed counts are above it."""
        failed, items = self.failed(self.open.keys() - self.retried)
        spec = self.spec
        is_above = (
            0 <= spec.mini_batch_error_threshold < failed
            or 0 <= spec.error_threshold < items
            or failed * 100 > spec.allowed_failed_percent * self.plan.mini_batch_count
        )
        if is_above:
            demand(error is not None, "thresholds did not trip at", failed, items)
        else:
            demand(not isinstance(error, ThresholdExceeded), "thresholds tripped at", failed, items)

    # ---- after every step ---------------------------------------------------------------------------------------

    def check(self, core: Core) -> None:
        """Every mini-batch is in exactly one of pending, one open lease, accepted, committed; and so is every mend."""
        table = core.table
        accepted = [report for report in core.take_commit() if not self._is_mend(report)]
        places = [*self.ranges, *table.pending]
        places += [(held.first, held.end) for held in table.open_leases if not held.is_mend]
        places += [(report.first, report.end) for report in accepted]
        at = 0
        for first, end in sorted(places):
            if first != at:
                raise Violated(f"mini-batch {min(first, at)} is {'nowhere' if at < first else 'in two places'}")
            at = end
        demand(at == self.plan.mini_batch_count, "mini-batch", at, "is nowhere")
        committed = sum(end - first for first, end in (*self.ranges, *((r.first, r.end) for r in accepted)))
        demand(table.committed_count == committed, "the table counts", table.committed_count, "of", committed)
        if not (self.retried or table.mending_count):
            return
        mends = [*table.pending_mends, *(one for held in table.open_leases for one in held.ranges)]
        accepted_mends = {m for r in core.take_commit() if self._is_mend(r) for m in _named(r)}
        numbers = {one.mini_batch for one in mends}
        demand(len(mends) == len(set(mends)), "a mend is in two places")
        demand(numbers.isdisjoint(accepted_mends), "a mend is open and accepted")
        demand(numbers | accepted_mends == self.retried, "mends", numbers, accepted_mends, "not", self.retried)

    def _is_mend(self, report: Report) -> bool:
        return report.first in self.committed

    # ---- in the end ---------------------------------------------------------------------------------------------

    def check_items(self, good: Iterable[ItemRange], bad: Iterable[ItemRange], *, is_complete: bool) -> None:
        """Every item is in the named parts once or open as a failure once."""
        seen: set[tuple[int, int]] = set()
        for one in (*good, *bad):
            for item in range(one.first_item, one.first_item + one.item_count):
                demand((one.mini_batch, item) not in seen, "item", (one.mini_batch, item), "is there twice")
                seen.add((one.mini_batch, item))
        if is_complete:
            demand(len(seen) == self.plan.item_count, "of", self.plan.item_count, "items only", len(seen), "are there")


def _joined(ranges: list[tuple[int, int]], more: tuple[int, int]) -> list[tuple[int, int]]:
    joined: list[tuple[int, int]] = []
    for first, end in sorted([*ranges, more]):
        if joined and joined[-1][1] >= first:
            demand(joined[-1][1] == first, "mini-batch", first, "is committed twice")
            joined[-1] = (joined[-1][0], end)
        else:
            joined.append((first, end))
    return joined


def _items(ranges: Iterable[tuple[int, int]]) -> set[int]:
    return {item for first, count in ranges for item in range(first, first + count)}


def _named(report: Report) -> set[int]:
    return {one.items.mini_batch for one in report.mends} | {one.mini_batch for one in report.failures}
