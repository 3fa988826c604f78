"""The slow, obvious twins of the native ledger and loop: what the compiled ones must agree with, call by call.

A word is a tuple (state, attempt, slot, segment) in a dict. There is one process and no memory order here.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Sequence
from typing import Any

import numpy as np

from runner.dispatch._ledger import CLAIMED, DONE, FREE, SET_ASIDE, WITHDRAWN
from runner.dispatch._loop import COUNT, DRY, FULL, RECORD, ROWS, STOPPED, Taken

NEW = (FREE, 0, 0, 0)


class OracleLedger:
    def __init__(self, first: int, end: int, unit_starts: Sequence[int]) -> None:
        self.first, self.end, self.limit = first, end, end
        self.state = dict.fromkeys(range(first, end), NEW)
        self.units = [range(lo, hi) for lo, hi in zip(unit_starts, [*unit_starts[1:], end], strict=True)]
        self.taken: dict[int, int] = {}
        self.retry_count = 0
        self.aborted = False

    def is_free(self, number: int) -> bool:
        return self.state[number][0] == FREE

    def is_claimed_by(self, number: int, slot: int) -> bool:
        return self.state[number][0] == CLAIMED and self.state[number][2] == slot

    def claim(self, slot: int, lo: int, hi: int, max_count: int) -> tuple[int, int]:
        wanted = [] if self.aborted else [m for m in range(max(lo, self.first), min(hi, self.end)) if self.is_free(m)]
        run: list[int] = []
        for number in wanted[: max(max_count, 0)]:
            if run and number != run[-1] + 1:
                break
            run.append(number)
        for number in run:
            self.state[number] = (CLAIMED, self.state[number][1], slot, 0)
        return (run[0], len(run)) if run else (-1, 0)

    def assign(self, slot: int, number: int) -> bool:
        free = self.is_free(number)
        if free:
            self.state[number] = (CLAIMED, self.state[number][1], slot, 0)
        return free

    def complete(self, slot: int, numbers: Iterable[int], segment: int) -> int:
        mine = [m for m in dict.fromkeys(numbers) if self.is_claimed_by(m, slot)]
        for number in mine:
            self.state[number] = (DONE, self.state[number][1], slot, segment)
        return len(mine)

    def pass_on(self, number: int, slot: int, to_slot: int) -> bool:
        mine = self.is_claimed_by(number, slot)
        if mine:
            self.state[number] = (CLAIMED, self.state[number][1], to_slot, 0)
        return mine

    def retry(self, number: int, slot: int, hold: bool = False) -> bool:
        mine = self.is_claimed_by(number, slot)
        if mine and hold:
            self.state[number] = (CLAIMED, self.state[number][1] + 1, slot, 0)
        elif mine:
            self.state[number] = (FREE, self.state[number][1] + 1, 0, 0)
            self.retry_count += 1
        return mine

    def set_aside(self, number: int, slot: int) -> bool:
        mine = self.is_claimed_by(number, slot)
        if mine:
            self.state[number] = (SET_ASIDE, self.state[number][1], slot, 0)
        return mine

    def free_slot(self, slot: int, held: Container[int] = ()) -> list[int]:
        numbers = [m for m in self.state if self.is_claimed_by(m, slot) and m not in held]
        for number in numbers:
            self.state[number] = (FREE, self.state[number][1], 0, 0)
        return numbers

    def lower_limit(self, limit: int) -> int:
        while self.limit > max(limit, self.first) and self.state[self.limit - 1] == NEW:
            self.limit -= 1
            self.state[self.limit] = (WITHDRAWN, 0, 0, 0)
        return self.limit

    def exclude(self, lo: int, hi: int) -> int:
        free = [m for m in range(lo, hi) if self.is_free(m)]
        self.state.update(dict.fromkeys(free, (WITHDRAWN, 0, 0, 0)))
        return len(free)

    def take_unit(self, slot: int, prefer: int = -1) -> int:
        if self.aborted:
            return -1
        order = [*range(max(prefer, 0), len(self.units)), *range(max(prefer, 0))]
        for unit in order:
            if unit < len(self.units) and unit not in self.taken and any(map(self.is_free, self.units[unit])):
                self.taken[unit] = slot
                return unit
        return -1

    def release_units(self, slot: int) -> None:
        self.taken = {unit: owner for unit, owner in self.taken.items() if owner != slot}

    def has_free(self, lo: int, hi: int) -> bool:
        return any(map(self.is_free, range(lo, hi)))

    def fullest_stretch(self) -> tuple[int, int]:
        best, lo = (0, 0), self.first
        for number in range(self.first, self.end + 1):
            if number == self.end or not self.is_free(number):
                if number - lo > best[1] - best[0]:
                    best = (lo, number)
                lo = number + 1
        return best if best[0] < best[1] else (0, 0)

    def counts(self, lo: int, hi: int) -> tuple[int, int, int, int]:
        states = [self.state[m][0] for m in range(lo, hi)]
        return states.count(FREE), states.count(CLAIMED), states.count(DONE), states.count(SET_ASIDE)

    def first_open(self, lo: int, hi: int) -> int:
        return next((m for m in range(lo, hi) if self.state[m][0] in (FREE, CLAIMED)), hi)


class OracleLoop:
    """Drains like the native loop, one claim at a time; time is what its `clock` says, one reading per mini-batch."""

    def __init__(
        self,
        slot: int,
        run: Callable[..., Any],
        mode: int,
        *,
        finish: Callable[[Any, int, int], tuple[Any, int, int]],
        fail: Callable[[int, int, int, int, BaseException], None],
        context: Callable[[int, int], Any] | None = None,
        keep: bool = False,
        max_bytes: int = 1 << 60,
    ) -> None:
        self.slot, self.run, self.mode, self.finish, self.fail = slot, run, mode, finish, fail
        self.context, self.keep, self.max_bytes = context, keep, max_bytes
        self.entries: list[tuple[tuple[int, ...], Any]] = []
        self.kept_rows: list[tuple[Any, int]] = []
        self.buffered_bytes = 0

    def drain(self, ledger: OracleLedger, slab: Any) -> int:
        while True:
            if ledger.aborted:
                return STOPPED
            number, count = ledger.claim(self.slot, slab.first_mini_batch, slab.end_mini_batch, 1)
            if count == 0:
                return DRY
            end = self.call(ledger, slab, number)
            if end != DRY:
                return end

    def call(self, ledger: OracleLedger, slab: Any, number: int) -> int:
        index = number - slab.first_mini_batch
        if slab.bounds is not None:
            start, stop = int(slab.bounds[index]), int(slab.bounds[index + 1])
        else:
            start = min(index * slab.rows_per_mini_batch, slab.row_count)
            stop = min(start + slab.rows_per_mini_batch, slab.row_count)
        attempt = ledger.state[number][1]
        try:
            self.run_one(slab, number, attempt, start, stop)
        except (SystemExit, KeyboardInterrupt, GeneratorExit):
            raise
        except BaseException as error:  # noqa: BLE001 - the script's, as in the native loop
            self.fail(number, attempt, slab.first_item + start, stop - start, error)
        return FULL if self.buffered_bytes >= self.max_bytes else DRY

    def run_one(self, slab: Any, number: int, attempt: int, start: int, stop: int) -> None:
        if slab.columns is not None:
            batch = {name: array[start:stop] for name, array in slab.columns}
        else:
            batch = slab.cut(start, stop, number)
        result = self.run(batch) if self.context is None else self.run(batch, self.context(number, attempt))
        if self.mode == COUNT and (
            isinstance(result, (list, tuple)) or (isinstance(result, np.ndarray) and result.ndim)
        ):
            output, length, rows, size = None, len(result), len(result), 0
        elif self.mode == ROWS and is_plain(result):
            output, length, rows, size = ("array", result.copy()), len(result), len(result), result.nbytes
        else:
            output, length, rows = self.finish(result, number, stop - start)
            size = len(output) if isinstance(output, bytes) else 64 * rows
            output = ("object", output, rows) if self.mode == ROWS else output
        if self.keep and rows != stop - start:
            raise ValueError(f"run returned {rows} rows for {stop - start} items")
        record = (number, stop - start, length, min(length, stop - start), rows, attempt, self.slot)
        self.entries.append((record, output))
        if self.keep and slab.kept is not None:
            self.kept_rows += [(slab.kept, row) for row in range(start, stop)]
        self.buffered_bytes += size + RECORD.itemsize

    def take(self) -> tuple[list[tuple[int, ...]], list[Any], list[tuple[Any, int]]]:
        """Records without their times, outputs, and kept rows one by one."""
        outputs = [] if self.mode == COUNT else joined([output for _, output in self.entries])
        taken = [record for record, _ in self.entries], outputs, self.kept_rows
        self.entries, self.kept_rows, self.buffered_bytes = [], [], 0
        return taken


def joined(outputs: list[Any]) -> list[Any]:
    """Adjacent arrays of one type as one."""
    result: list[Any] = []
    for output in outputs:
        before = result[-1] if result else None
        if before and output[0] == before[0] == "array" and before[1].dtype == output[1].dtype:
            result[-1] = ("array", np.concatenate([before[1], output[1]]))
        else:
            result.append(output)
    return result


def is_plain(result: object) -> bool:
    """One run of numbers in memory: what the native loop copies without asking."""
    return (
        type(result) is np.ndarray
        and result.ndim == 1
        and result.flags.c_contiguous
        and result.dtype.isnative
        and result.dtype.kind in "biuf"
        and result.dtype != np.longdouble
    )


def plain_taken(taken: Taken) -> tuple[list[tuple[int, ...]], list[Any], list[tuple[Any, int]]]:
    """What the native loop hands over, in the oracle's form."""
    names = ["mini_batch", "item_count", "length", "succeeded", "row_count", "attempt", "slot"]
    records = [tuple(int(record[name]) for name in names) for record in taken.records]
    return records, taken.outputs, [(rows, row) for rows, start, stop in taken.kept for row in range(start, stop)]


def same_outputs(left: list[Any], right: list[Any]) -> bool:
    """Equal as values: arrays by type and bytes, since NaN is not equal to itself."""
    return list(map(frozen, left)) == list(map(frozen, right))


def frozen(output: Any) -> Any:
    if isinstance(output, tuple) and output[0] == "array":
        return "array", output[1].dtype.str, output[1].tobytes()
    return output
