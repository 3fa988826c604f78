"""Every mini-batch is in exactly one of pending, one open lease, committed; whatever happens to instances."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.entity.lease import Lease
from runner.schedule.leases import LeaseTable
from runner.schedule.sizing import FIRST_PER_WORKER, GROWTH, LEASE_LIMIT, Pace, lease_size


def table(total: int = 100, instances: int = 1, workers: int = 2, **kw: object) -> LeaseTable:
    made = LeaseTable(total=total, epoch=1, **kw)  # type: ignore[arg-type]
    for instance in range(instances):
        made.join(instance, workers)
    return made


def drain(made: LeaseTable, instance: int = 0) -> list[tuple[int, int]]:
    """Lend and commit to the end; the ranges in order of their commit."""
    done = []
    now = 0.0
    while (lease := made.lend(instance, now)) is not None:
        now += 0.5
        assert made.commit(lease.first, lease.end, lease.epoch, now)
        done.append((lease.first, lease.end))
    return done


def test_leases_are_contiguous_lowest_first_and_cover_the_plan() -> None:
    done = drain(table(1000))
    assert done[0][0] == 0 and done[-1][1] == 1000
    assert all(a[1] == b[0] for a, b in itertools.pairwise(done))


def test_an_instance_holds_no_more_leases_than_the_depth() -> None:
    made = table(1000)
    held = [made.lend(0, 0.0), made.lend(0, 0.0), made.lend(0, 0.0)]
    assert held[0] and held[1] and held[2] is None


def test_an_instance_that_has_not_joined_is_lent_nothing() -> None:
    assert table(10).lend(7, 0.0) is None


def test_a_commit_counts_once_and_only_for_an_open_range_of_this_epoch() -> None:
    made = table(100)
    lease = made.lend(0, 0.0)
    assert lease is not None
    assert not made.commit(lease.first, lease.end, 0, 1.0), "another epoch"
    assert not made.commit(lease.first, lease.end - 1, 1, 1.0), "another range"
    assert made.commit(lease.first, lease.end, 1, 1.0)
    assert not made.commit(lease.first, lease.end, 1, 1.0), "a second time"
    assert made.committed_count == lease.end - lease.first


def test_what_a_lost_instance_held_is_lent_again_under_the_next_lending() -> None:
    made = table(100, instances=2)
    first = made.lend(0, 0.0)
    assert first is not None and first.lending == 0
    assert made.lose(0) == [first]
    again = made.lend(1, 1.0)
    assert again == Lease(first=first.first, end=first.end, epoch=1, lending=1)
    assert made.commit(again.first, again.end, 1, 2.0)
    assert not made.commit(first.first, first.end, 1, 2.0), "the lost copy comes too late"


def test_pieces_replace_their_lease_and_are_committed_one_by_one() -> None:
    made = table(100)
    lease = made.lend(0, 0.0)
    assert lease is not None and (lease.first, lease.end) == (0, 4)
    assert not made.split(0, lease, [(0, 2), (3, 4)]), "a gap"
    assert made.split(0, lease, [(0, 1), (1, 4)])
    assert not made.commit(0, 4, 1, 1.0)
    assert made.commit(1, 4, 1, 1.0) and made.commit(0, 1, 1, 1.0)
    assert made.committed_count == 4


def test_leases_prefer_to_end_at_unit_borders() -> None:
    made = table(1000, unit_starts=(0, 100, 200, 300, 400, 500, 600, 700, 800, 900))
    ends = {end for first, end in drain(made) if end - first > 100}
    assert ends and all(end % 100 == 0 for end in ends)


def test_restored_ranges_are_never_lent_again() -> None:
    made = table(10)
    made.restore([(4, 6), (0, 2)])
    assert made.committed_count == 4
    lent = [n for first, end in drain(made) for n in range(first, end)]
    assert lent == [2, 3, 6, 7, 8, 9] and made.is_finished
    with pytest.raises(ValueError, match="does not fit"):
        table(10).restore([(0, 5), (4, 6)])


def test_sizes_grow_with_the_pace_and_shrink_towards_the_end() -> None:
    pace = Pace()
    assert lease_size(pace, 2, 10**9, 1) == 2 * FIRST_PER_WORKER
    pace.ended(4, 0.0, 0.001)
    assert lease_size(pace, 2, 10**9, 1) == 4 * GROWTH, "no faster than the growth allows"
    pace.ended(10**6, 0.001, 0.011)
    assert lease_size(pace, 2, 10**9, 1) == LEASE_LIMIT
    slow = Pace()
    slow.ended(4, 0.0, 40.0)
    assert lease_size(slow, 2, 10**9, 1) == 2, "at least one mini-batch a worker"
    steady = Pace()
    steady.ended(1000, 0.0, 1.0)
    sizes = [lease_size(steady, 2, pending, 2) for pending in (10_000, 2_000, 800)]
    assert sizes == [1000, 500, 200]


@given(st.data())
def test_nothing_is_lost_or_doubled_whatever_happens(data: st.DataObject) -> None:
    total = data.draw(st.integers(1, 200))
    made = table(total, instances=3)
    alive, committed, now = {0, 1, 2}, set[int](), 0.0
    for _ in range(data.draw(st.integers(0, 60))):
        now += 0.1
        action = data.draw(st.sampled_from(["lend", "commit", "lose", "join", "split"]))
        instance = data.draw(st.integers(0, 2))
        held = [o for o in made.open_leases if o.instance == instance]
        if action == "lend":
            made.lend(instance, now)
        elif action == "lose":
            alive.discard(instance)
            made.lose(instance)
        elif action == "join" and instance not in alive:
            alive.add(instance)
            made.join(instance, 2)
        elif action == "commit" and held:
            lease = data.draw(st.sampled_from(held)).lease
            assert made.commit(lease.first, lease.end, 1, now)
            numbers = set(range(lease.first, lease.end))
            assert not numbers & committed
            committed |= numbers
        elif action == "split" and held:
            lease = data.draw(st.sampled_from(held)).lease
            if lease.end - lease.first > 1:
                cut = data.draw(st.integers(lease.first + 1, lease.end - 1))
                assert made.split(instance, lease, [(lease.first, cut), (cut, lease.end)])
        open_numbers = [n for o in made.open_leases for n in range(o.lease.first, o.lease.end)]
        assert len(open_numbers) == len(set(open_numbers)) and not set(open_numbers) & committed
        assert made.committed_count == len(committed)
        assert made.pending_count + len(open_numbers) + len(committed) == total
