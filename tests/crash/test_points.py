"""Every file-system operation of a driver and its instance is a point at which it is killed, or lied to, and resumed.

The end must be that of a calm run: text byte for byte, Parquet row for row, the same failures, the same counts, nothing
left beside the output. A few points run by default, all of them with `make crash-points`.
"""

from __future__ import annotations

import errno
import tempfile
from collections.abc import Callable, Iterator
from io import BytesIO
from itertools import accumulate
from pathlib import Path

import pytest
from faults.lanes import Lane, every, lanes, spread
from faults.library import Fault, Harm, Point, build
from faults.world import KINDS

from runner.errors import JournalDamaged
from runner.schedule.journal import decode

FEW = {
    "text": {"kill": 16, "torn": 8, "io": 6, "room": 4, "short": 4, "cut": 4, "flip": 3},
    "parquet": {"kill": 6, "torn": 3, "io": 2, "room": 1, "short": 1, "cut": 1, "flip": 1},
}
"""Parquet takes three times as long: its workers import more."""
REACHED = 0.8
"""A run has its own order of beats and logs, so a few points are never come to."""
ALL = pytest.param(True, marks=[pytest.mark.soak, pytest.mark.timeout(7200)], id="all")
some_or_all = pytest.mark.parametrize("all_points", [pytest.param(False, id="some"), ALL])


@pytest.fixture(scope="module")
def world() -> Iterator[list[Lane]]:
    """A lane for each kind of output, side by side, in memory: what a kill leaves behind is the same there."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        library = build(Path(folder))
        with lanes(Path(folder), library, KINDS) as made:
            yield made


def meet(
    world: list[Lane],
    name: str,
    fault_at: Callable[[Point], Fault],
    *,
    all_points: bool,
    ops: str = "",
    path: str = "",
    nth: int = 0,
) -> None:
    """Give every lane its share of faults, and fail with all that went wrong."""
    asked: list[list[Fault]] = []
    for lane in world:
        points = [point for point in lane.points if not ops or point.op in ops.split()]
        points = [point for point in points if point.path.endswith(path) and nth in (0, point.nth)]
        chosen = points if all_points else spread(points, FEW[lane.kind][name])
        asked.append([fault_at(point) for point in chosen])
        lane.ask(asked[-1])
    outcomes = [(lane, one) for lane, faults in zip(world, asked, strict=True) for one in lane.hear(faults)]
    wrong = [told for lane, outcome in outcomes if (told := outcome.wrong(lane.calm))]
    assert not wrong, "\n\n".join([f"{len(wrong)} of {len(outcomes)}:", *wrong])
    hits = sum(outcome.hit for _, outcome in outcomes)
    assert hits >= REACHED * len(outcomes), f"only {hits} of {len(outcomes)} points were come to"


@some_or_all
def test_it_may_be_killed_before_any_operation(world: list[Lane], all_points: bool) -> None:
    meet(world, "kill", lambda point: Fault("kill", point), all_points=all_points)


@some_or_all
def test_it_may_be_killed_in_the_middle_of_a_write_and_after_any_operation(world: list[Lane], all_points: bool) -> None:
    meet(world, "torn", lambda point: Fault("torn", point), all_points=all_points)


def test_what_a_driver_leaves_that_is_killed_after_the_record_goes(world: list[Lane]) -> None:
    meet(world, "kill", lambda point: Fault("kill", point), all_points=True, ops="unlink", path="/untidy/probe")
    meet(world, "kill", lambda point: Fault("kill", point), all_points=True, ops="rmdir", path=".staging")


@some_or_all
def test_an_operation_may_fail(world: list[Lane], all_points: bool) -> None:
    meet(world, "io", lambda point: Fault("error", point, errno.EIO), all_points=all_points)


def test_a_first_record_that_may_or_may_not_be_durable_still_finds_its_part(world: list[Lane]) -> None:
    def fault(point: Point) -> Fault:
        return Fault("error", point, errno.EIO)

    meet(world, "io", fault, all_points=True, ops="sync", path="/journal", nth=2)


def test_no_half_of_a_data_set_stays_where_it_could_not_be_put(world: list[Lane]) -> None:
    meet(world, "io", lambda point: Fault("error", point, errno.EIO), all_points=True, ops="rename", path=".failures")


@some_or_all
def test_a_disk_may_be_full_from_any_operation_on(world: list[Lane], all_points: bool) -> None:
    growing = "open write mkdir copy fallocate truncate"
    meet(world, "room", lambda point: Fault("error", point, errno.ENOSPC, True), all_points=all_points, ops=growing)


@some_or_all
def test_a_write_may_be_shorter_than_asked(world: list[Lane], all_points: bool) -> None:
    meet(world, "short", lambda point: Fault("short", point), all_points=all_points, ops="write copy")


# The journal itself

THIRD = Fault("kill", Point("write", "*/jobs/probe/journal", 3))
"""Killed before the third append: the beginning and one commit at least stand in the journal."""
LAST_RECORD, WHOLE = 240, 360
"""About as long as the last record is (a little beyond tears the one before it), and less than the whole is."""


@some_or_all
def test_a_tail_torn_at_any_byte_costs_that_record_alone(world: list[Lane], all_points: bool) -> None:
    for lane in world:
        cuts = [cut + 1 for cut in range(LAST_RECORD)]
        chosen = cuts if all_points and lane.kind == "text" else every(cuts, FEW[lane.kind]["cut"])
        lane.ask([THIRD] * len(chosen), [Harm(cut=cut) for cut in chosen])
        outcomes = list(lane.hear([THIRD] * len(chosen)))
        wrong = [told for outcome in outcomes if (told := outcome.wrong(lane.calm))]
        assert not wrong, "\n\n".join(wrong)
        assert all(outcome.hit for outcome in outcomes)


@some_or_all
def test_a_bit_that_turned_is_refused_with_its_place_and_nothing_is_touched(
    world: list[Lane], all_points: bool
) -> None:
    for lane in world:
        flips = [Harm(flip_byte=byte, flip_bit=byte % 8) for byte in range(WHOLE)]
        chosen = flips if all_points and lane.kind == "text" else every(flips, FEW[lane.kind]["flip"])
        lane.ask([THIRD] * len(chosen), chosen)
        for harm, outcome in zip(chosen, list(lane.hear([THIRD] * len(chosen))), strict=True):
            assert outcome.hit
            starts = record_starts(outcome.journal.encode())
            start = max(start for start in starts if start <= harm.flip_byte)
            assert outcome.statuses[-1] == "Failed JOURNAL_DAMAGED", (harm, outcome)
            assert f"journal: byte {start}: " in outcome.talk
            assert outcome.is_kept, "a damaged journal is left as it is"
            assert "raised" in outcome.seen, "nothing is published"


def test_every_bit_of_a_journal_is_guarded(world: list[Lane]) -> None:
    (lane,) = (lane for lane in world if lane.kind == "text")
    lane.ask([THIRD], [Harm(cut=1)])
    (outcome,) = lane.hear([THIRD])
    good = outcome.journal.encode()
    starts = record_starts(good)
    for byte in range(len(good) - 1):  # the last one is the line feed, without which the record is a torn one
        start = max(start for start in starts if start <= byte)
        for bit in range(8):
            turned = bytearray(good)
            turned[byte] ^= 1 << bit
            with pytest.raises(JournalDamaged) as damage:
                list(decode(BytesIO(turned)))
            assert damage.value.offset == start, (byte, bit)
    for length in range(len(good)):
        read = list(decode(BytesIO(good[:length])))
        assert len(read) == sum(1 for start in starts[1:] if start <= length), length


def record_starts(journal: bytes) -> list[int]:
    """Where each record begins, and where the last one ends."""
    return [0, *accumulate(len(line) for line in journal.splitlines(keepends=True))]
