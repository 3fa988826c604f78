"""What becomes of a lease whose instance was lost: which mini-batches are suspects, and how the rest is lent again.

A lost node costs no mini-batch a try. But one that takes its instance down with it must not do so for ever: what was
in flight is run alone from then on, and a lease that is lost again and again is lent in smaller and smaller pieces
until it is known which mini-batch it is.
"""

from __future__ import annotations

from collections.abc import Collection

from runner.schedule.stretches import OpenLease, Stretch, ranges_within

INFRASTRUCTURE_LOSSES = 3
"""A lease that was lost more often than this is lent in ever smaller pieces, in the end one mini-batch at a time."""
STRIKES = 2
"""Further losses, after the one that made it a suspect, for which a mini-batch is charged."""
SHRINK = 16
LONE_LIMIT = 64
"""A lease of so many mini-batches goes to single ones at once when its losses are used up."""


def divide_lost(held: OpenLease, in_flight: Collection[int], *, counts: bool) -> tuple[list[Stretch], list[Stretch]]:
    """What is lent again in the usual way, and what is lent alone; in order, and together the whole lease.

    With `counts` False the loss says nothing about the mini-batches.
    """
    first, end, cap = held.first, held.end, held.cap
    suspects = {number for number in in_flight if first <= number < end} if counts else set()
    if counts and held.losses > INFRASTRUCTURE_LOSSES:
        cap = max(1, min(cap, (end - first) // SHRINK))
        if end - first <= LONE_LIMIT:
            suspects = set(range(first, end))
    if held.is_lone:
        suspects = {first}
    if held.is_mend:
        suspects &= {one.mini_batch for one in held.ranges}
    rest: list[Stretch] = []
    lone: list[Stretch] = []
    at = first
    for number in (*sorted(suspects), end):
        if at < number:
            _add(rest, held, at, number, cap)
        if number < end:
            _add(lone, held, number, number + 1, 1)
        at = number + 1
    return rest, lone


def _add(to: list[Stretch], held: OpenLease, first: int, end: int, cap: int) -> None:
    ranges = ranges_within(held.ranges, first, end)
    if not held.is_mend:
        to.append(Stretch(first, end, held.next_lending, held.losses, cap))
    elif ranges:
        to.append(Stretch(ranges[0].mini_batch, ranges[-1].mini_batch + 1, held.next_lending, held.losses, cap, ranges))
